"""The `svilm serve` command."""

import argparse
import contextlib
import importlib.util
import ipaddress
import signal
import socket
import sys
import tempfile
from pathlib import Path

from svilm_jax.config import ConfigError
from svilm_jax.serving.errors import ServingError
from svilm_jax.serving.trusted_hosts import trusted_hosts

# Packages of the extra `serve` -> their names when installed.
_PACKAGES = {"starlette": "starlette", "uvicorn": "uvicorn", "python_multipart": "python-multipart"}


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

    Args:
      args: as parsed by `add_arguments`.

    Raises:
      ServingError: a package of the extra `serve` is not installed, or the address is not available.
      ConfigError: a number out of range, or an invalid host name.
      IndexFileError: the file cannot be used, or is of another model.
    """
    require_packages()
    for name, low, high in (("top", 1, 60), ("max_upload_mb", 1, 4096), ("port", 0, 65535)):
        if not low <= getattr(args, name) <= high:
            raise ConfigError(f"--{name.replace('_', '-')}={getattr(args, name)}: expected {low} to {high}")

    with listen(args.host, args.port) as listener, tempfile.TemporaryDirectory(prefix="svilm_serve_") as folder:
        host, port = listener.getsockname()[:2]
        hosts = trusted_hosts(args.host, host, args.allow_host)
        from svilm_jax.cli.index_file import open_index

        index, model, _ = open_index(args.index, args.model)
        model.embed_text("a first sentence, so that no visitor waits for the compiler")
        import uvicorn

        from svilm_jax.serving.app import build_app
        from svilm_jax.serving.service import Service

        app = build_app(Service(model, index, Path(folder), args.max_upload_mb << 20), args.top, hosts)
        print(f"http://{f'[{host}]' if ':' in host else host}:{port}   (Ctrl-C stops)", flush=True)
        if not ipaddress.ip_address(host).is_loopback:
            warning = "anyone who can reach this address sees these videos: there is no password"
            if hosts == ["*"]:
                warning += ", and any Host header is accepted, so other web pages can read it too: give --allow-host"
            print(warning, file=sys.stderr)
        # The server raises the signal that stopped it again; the folder must be removed in that case, too.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        config = uvicorn.Config(
            app, log_level="warning", lifespan="off", ws="none", server_header=False, timeout_graceful_shutdown=2
        )
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


def require_packages() -> None:
    """Checks that the packages of the extra `serve` are installed.

    Raises:
      ServingError: one is not; says how to install them.
    """
    for module, package in _PACKAGES.items():
        if importlib.util.find_spec(module) is None:
            raise ServingError(f"the page needs {package}, which is not installed: pip install -e .[serve]")


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
