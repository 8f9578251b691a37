"""How is a model asked in a browser? The `svilm serve` command."""

import argparse
import contextlib
import importlib.util
import ipaddress
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path

from svilm_jax.config import ConfigError
from svilm_jax.serving.errors import ServingError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `svilm serve` takes."""
    parser.epilog = "example: svilm serve --index features.parquet, then open http://127.0.0.1:7860"
    parser.add_argument("--index", type=Path, required=True, metavar="FILE", help="what `svilm embed` wrote")
    parser.add_argument("--model", type=Path, metavar="DIR", help="default: the one that FILE names")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: 127.0.0.1, this machine alone); there is no password",
    )
    parser.add_argument("--port", type=int, default=7860, metavar="N", help="0: any that is free (default: 7860)")
    parser.add_argument("--top", type=int, default=6, metavar="N", help="clips shown for a sentence (default: 6)")
    parser.add_argument(
        "--max-upload-mb", type=int, default=100, metavar="N", help="of a visitor's clip (default: 100)"
    )


def run(args: argparse.Namespace) -> None:
    """Serves until it is stopped.

    Raises:
      ServingError: Gradio is not installed, or the address cannot be listened on.
      ConfigError: a number that is out of range.
      IndexFileError: the file cannot be used, or is of another model.
    """
    require_gradio()
    for name, low, high in (("top", 1, 60), ("max_upload_mb", 1, 4096), ("port", 0, 65535)):
        if not low <= getattr(args, name) <= high:
            raise ConfigError(f"--{name.replace('_', '-')}={getattr(args, name)}: expected {low} to {high}")
    from svilm_jax import load
    from svilm_jax.inference.index import ClipIndex

    with listen(args.host, args.port) as listener, tempfile.TemporaryDirectory(prefix="svilm_serve_") as folder:
        index = ClipIndex.read(args.index)
        path = args.model or index.model_path()
        model = load(path)
        index.check_model(model, path)
        model.embed_text("a first sentence, so that no visitor waits for the compiler")
        set_up_gradio(Path(folder))
        import uvicorn

        from svilm_jax.serving.app import build_app
        from svilm_jax.serving.service import Service

        made = Path(folder, "playable")
        made.mkdir()
        app = build_app(Service(model, index, made, args.max_upload_mb << 20), args.top)
        host, port = listener.getsockname()[:2]
        print(f"http://{f'[{host}]' if ':' in host else host}:{port}   (Ctrl-C stops)", flush=True)
        if not _is_loopback(host):
            print("anyone who reaches this address sees these videos: there is no password", file=sys.stderr)
        # The server raises the signal that stopped it once more; the folder is to be removed also then.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2)).run(
                sockets=[listener]
            )


def require_gradio() -> None:
    """Says in one line what is missing.

    Raises:
      ServingError: Gradio is not installed.
    """
    if importlib.util.find_spec("gradio") is None:
        raise ServingError("the page needs Gradio, which is not installed: pip install -e .[serve]")


def set_up_gradio(folder: Path) -> None:
    """To be called before Gradio is imported: it calls nobody, and keeps uploads where they go with the server."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "gradio")


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; asked for first, so that a port that is taken is told before a model is loaded.

    Raises:
      ServingError: it cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise ServingError(
            f"--host={host} --port={port}: cannot be listened on ({error.strerror}): give another --port"
        ) from error
    return listener


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host).is_loopback
