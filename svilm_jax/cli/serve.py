"""The `svilm serve` command."""

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
    """Adds the arguments of `svilm serve`."""
    parser.epilog = "example: svilm serve --index features.parquet, then open http://127.0.0.1:7860"
    parser.add_argument("--index", type=Path, required=True, metavar="FILE", help="index file written by `svilm embed`")
    parser.add_argument("--model", type=Path, metavar="DIR", help="default: the model recorded in FILE")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: 127.0.0.1, this machine only); there is no password",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="host name of this server, in addition to --host; may be repeated",
    )
    parser.add_argument("--port", type=int, default=7860, metavar="N", help="port, 0: any free one (default: 7860)")
    parser.add_argument("--top", type=int, default=6, metavar="N", help="clips shown per query (default: 6)")
    parser.add_argument(
        "--max-upload-mb", type=int, default=100, metavar="N", help="size limit of an uploaded clip (default: 100)"
    )


def run(args: argparse.Namespace) -> None:
    """Serves until stopped.

    Raises:
      ServingError: Gradio is not installed, or the address is not available.
      ConfigError: a number out of range, or an invalid host name.
      IndexFileError: the file cannot be used, or is of another model.
    """
    require_gradio()
    for name, low, high in (("top", 1, 60), ("max_upload_mb", 1, 4096), ("port", 0, 65535)):
        if not low <= getattr(args, name) <= high:
            raise ConfigError(f"--{name.replace('_', '-')}={getattr(args, name)}: expected {low} to {high}")
    from svilm_jax.cli.index_file import open_index
    from svilm_jax.serving.request_filter import allowed_hosts

    with listen(args.host, args.port) as listener, tempfile.TemporaryDirectory(prefix="svilm_serve_") as folder:
        host, port = listener.getsockname()[:2]
        hosts = allowed_hosts(args.host, host, args.allow_host)
        index, model, _ = open_index(args.index, args.model)
        model.embed_text("a first sentence, so that no visitor waits for the compiler")
        uploads = set_up_gradio(Path(folder))
        import uvicorn

        from svilm_jax.serving.app import build_app
        from svilm_jax.serving.service import Service

        made = Path(folder, "playable")
        made.mkdir()
        app = build_app(Service(model, index, made, args.max_upload_mb << 20), args.top, uploads, hosts)
        print(f"http://{f'[{host}]' if ':' in host else host}:{port}   (Ctrl-C stops)", flush=True)
        if not _is_loopback(host):
            warning = "anyone who can reach this address sees these videos: there is no password"
            if hosts == ["*"]:
                warning += ", and any Host header is accepted, so other web pages can read it too: give --allow-host"
            print(warning, file=sys.stderr)
        # The server raises the signal that stopped it again; the folder must be removed in that case, too.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2)).run(
                sockets=[listener]
            )


def require_gradio() -> None:
    """Checks that Gradio is installed.

    Raises:
      ServingError: Gradio is not installed.
    """
    if importlib.util.find_spec("gradio") is None:
        raise ServingError("the page needs Gradio, which is not installed: pip install -e .[serve]")


def set_up_gradio(folder: Path) -> Path:
    """Configures Gradio before its import: no outgoing requests, and uploads in a folder that ends with the server.

    Returns:
      The folder of uploads, used by this server only.
    """
    uploads = folder / "gradio"
    uploads.mkdir(mode=0o700)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(uploads)
    os.environ["GRADIO_EXAMPLES_CACHE"] = str(folder / "examples")  # which it serves to anyone, too
    return uploads


def listen(host: str, port: int) -> socket.socket:
    """Returns a bound socket; called first, so that an occupied port is reported before a model is loaded.

    Raises:
      ServingError: the address is not available.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()  # binding alone does not keep a second server from the same port
    except OSError as error:
        raise ServingError(
            f"--host={host} --port={port}: cannot be listened on ({error.strerror}): give another --port"
        ) from error
    return listener


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host).is_loopback
