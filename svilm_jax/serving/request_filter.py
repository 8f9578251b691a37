"""Request filter in front of Gradio: rejects requests that would make it read local files or fetch addresses.

Gradio represents a browser's file by the path under which it is stored. A handwritten request can contain any other
path, or an address, so requests are validated here before Gradio reads them.
"""

import ipaddress
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from starlette.responses import PlainTextResponse

from svilm_jax.config import ConfigError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_UPLOAD = "/gradio_api/upload"  # a file itself, whose size Gradio limits
_QUESTIONS = frozenset({"/gradio_api/queue/join", "/gradio_api/cancel", "/gradio_api/reset"})
_QUESTION_BYTES = 1 << 20
_FETCHING = re.compile(r"/proxy=|/file[=/]+\s*https?:", re.IGNORECASE)
_HOST_NAME = re.compile(r"(\*\.)?[a-z0-9._-]+", re.IGNORECASE)
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


def uploaded(path: object, folder: Path) -> bool:
    """Returns whether this is an absolute path inside the folder of uploads, with symbolic links followed."""
    if not isinstance(path, str) or not Path(path).is_absolute():  # no address is
        return False
    try:
        return folder.resolve() in Path(path).resolve().parents
    except (OSError, ValueError, RuntimeError):  # too long, a zero byte, links in a circle
        return False


def allowed_hosts(host: str, bound: str, names: Sequence[str]) -> list[str]:
    """Returns the accepted Host names, for Starlette's `TrustedHostMiddleware`.

    Another site can point its own host name at this machine (DNS rebinding) and read the responses with its scripts.
    Such requests carry that name in the Host header.

    Args:
      host: as requested.
      bound: the address listened on. For a wildcard address every name is accepted unless `names` has some.
      names: additional ones; "*.example.org" includes all subdomains.

    Raises:
      ConfigError: an invalid name.
    """
    for name in names:
        if not _HOST_NAME.fullmatch(name) and not _is_ipv6(name):
            raise ConfigError(f"--allow-host={name}: expected a name without a port, such as videos.example.org")
    if ipaddress.ip_address(bound).is_unspecified and not names:
        return ["*"]
    return list(dict.fromkeys([*_LOOPBACK, *(f"[{n}]" if _is_ipv6(n) else n for n in (host, bound, *names))]))


def _is_ipv6(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).version == 6
    except ValueError:
        return False


class Gate:
    """Middleware that validates requests: files only from uploads, and no addresses.

    Everything that the page itself does not send is rejected, so that another version of Gradio opens no other way in.

    Args:
      app: the wrapped application.
      uploads: folder in which Gradio stores uploads.
    """

    def __init__(self, app: Any, uploads: Path):
        self._app, self._uploads = app, uploads

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def refuse(status: int, why: str) -> None:
            await PlainTextResponse(why, status)(scope, receive, send)

        path = scope["path"]
        if _FETCHING.search(path):
            await refuse(404, "not found")
        elif scope["method"] == "POST" and (b"sec-fetch-site", b"cross-site") in scope["headers"]:
            await refuse(403, "sent by another site's page")  # which could fill this disk with uploads, unseen
        elif scope["method"] in ("GET", "HEAD") or (scope["method"] == "POST" and path == _UPLOAD):
            await self._app(scope, receive, send)
        elif scope["method"] != "POST" or path not in _QUESTIONS:
            await refuse(404, "not found")
        elif (body := await _body(receive)) is None:
            await refuse(413, "too long a question")
        elif (checked := _checked(body, self._uploads)) is None:
            await refuse(400, "no question that this page asks")
        else:
            await self._app(_with_length(scope, len(checked)), _replayed(checked, receive), send)


async def _body(receive: Receive) -> bytes | None:
    """None: too long."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > _QUESTION_BYTES:
            return None
        if not message.get("more_body"):  # all is there, or the visitor is gone
            return bytes(body)


def _checked(body: bytes, uploads: Path) -> bytes | None:
    """Returns a re-serialized request, so that it cannot be parsed differently; None: rejected."""
    try:
        question = json.loads(body)
        return json.dumps(question).encode() if _harmless(question, uploads) else None
    except (ValueError, RecursionError):
        return None


def _harmless(question: Any, uploads: Path) -> bool:
    """Returns whether all files are uploads; removes the addresses next to them, which the server does not need."""
    waiting = [question]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if "path" in value and not uploaded(value["path"], uploads):
                return False
            value.pop("url", None)
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return True


def _with_length(scope: Message, length: int) -> Message:
    headers = [(n, v) for n, v in scope["headers"] if n.lower() not in (b"content-length", b"transfer-encoding")]
    return {**scope, "headers": [*headers, (b"content-length", b"%d" % length)]}


def _replayed(body: bytes, receive: Receive) -> Receive:
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay
