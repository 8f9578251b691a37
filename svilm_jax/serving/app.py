"""Starlette application: the page, indexed videos by row, and uploaded videos by key."""

import re
from collections.abc import Sequence
from importlib.resources import files
from urllib.parse import urlsplit

import jinja2
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders, UploadFile
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.templating import Jinja2Templates
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from svilm_jax.serving.errors import BusyError, ServingError
from svilm_jax.serving.page import Page, PageQuery, build_page, error_status
from svilm_jax.serving.service import Service, ShownClip
from svilm_jax.video import VideoError

_FORM_BYTES = 64 << 10  # of an upload's request, besides the file
_DISCARDED_BYTES = 4 << 30  # read at most of a request that is rejected
_OPEN_RANGE = re.compile(rb"bytes=(\d+)-")
_PIECE_BYTES = 2 << 20  # of a video, sent per open-ended range request
_CACHED = {"Cache-Control": "private, max-age=3600"}

_SECURITY_HEADERS = {
    # The page has no script, and nothing is loaded from another host.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; media-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with "no-referrer", browsers send "Origin: null" with the page's own forms
}


def build_app(service: Service, top: int, hosts: Sequence[str]) -> Starlette:
    """Builds the server's application.

    Args:
      service: a model and its index.
      top: number of clips shown for a query.
      hosts: accepted Host names, from `trusted_hosts`.
    """
    loader = jinja2.PackageLoader("svilm_jax.serving", "templates")
    # Queries, phrases and file names come from visitors and from the index: they are escaped as text.
    templates = Jinja2Templates(
        env=jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    )
    style = files("svilm_jax.serving").joinpath("static", "style.css").read_text(encoding="utf-8")

    def rendered(request: Request, page: Page) -> Response:
        headers = {"Cache-Control": "no-store"} | ({"Retry-After": "5"} if page.status == 503 else {})
        return templates.TemplateResponse(request, "page.html.j2", {"page": page}, page.status, headers)

    def page(request: Request) -> Response:
        return rendered(request, build_page(service, top, PageQuery.read(request.query_params)))

    def style_sheet(request: Request) -> Response:
        return Response(style, media_type="text/css")

    def clip(request: Request) -> Response:
        try:
            return _video(service, service.clip(request.path_params["row"]))
        except IndexError as error:
            raise HTTPException(404, "no such clip") from error

    def poster(request: Request) -> Response:
        try:
            picture = service.poster(service.clip(request.path_params["row"]))
        except (IndexError, VideoError) as error:
            raise HTTPException(404, "no such clip, or it cannot be read") from error
        return Response(picture, media_type="image/jpeg", headers=_CACHED)

    def uploaded(request: Request) -> Response:
        try:
            return _video(service, service.upload(request.path_params["key"]))
        except KeyError as error:
            raise HTTPException(404, "no such upload") from error

    async def upload(request: Request) -> Response:
        _require_same_origin(request)
        query = PageQuery.read(request.query_params)
        body = _LimitedBody(request.receive, service.max_upload_bytes + _FORM_BYTES)
        try:
            async with Request(request.scope, body.receive).form(max_files=1, max_fields=1) as form:
                file = form.get("file")
                if not isinstance(file, UploadFile):
                    raise HTTPException(400, "expected a form with a file")
                key = await run_in_threadpool(service.add_upload, file.file, file.filename or "")
        except (ServingError, BusyError) as error:
            await body.discard_rest()
            content = await run_in_threadpool(build_page, service, top, query)
            content.status = 413 if isinstance(error, _TooLargeError) else error_status(error)
            content.upload_error = str(error)
            return rendered(request, content)
        return RedirectResponse(query.url(row=None, upload=key), 303)

    routes = [
        Route("/", page),
        Route("/style.css", style_sheet),
        Route("/clips/{row:int}", clip),
        Route("/posters/{row:int}", poster),
        Route("/uploads/{key}", uploaded),
        Route("/uploads", upload, methods=["POST"]),
    ]
    middleware = [
        Middleware(SecurityHeaders),
        Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
    ]
    app = Starlette(routes=routes, middleware=middleware)
    app.router.redirect_slashes = False
    return app


class SecurityHeaders:
    """ASGI middleware that adds the security headers to every response."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request; every response gets the security headers."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_SECURITY_HEADERS)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class VideoResponse(FileResponse):
    """A video file; an open-ended range request gets the next piece of it.

    A browser has six connections per server, and six videos that it reads at playback speed would occupy all of them,
    with none left for the next query.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the file, or the requested range of it."""
        headers = [(name, _piece(value) if name == b"range" else value) for name, value in scope["headers"]]
        await super().__call__({**scope, "headers": headers}, receive, send)


def _piece(value: bytes) -> bytes:
    """Returns a Range header with an end, if it has none."""
    found = _OPEN_RANGE.fullmatch(value)
    return b"bytes=%d-%d" % (int(found[1]), int(found[1]) + _PIECE_BYTES - 1) if found else value


def _video(service: Service, clip: ShownClip) -> VideoResponse:
    try:
        path, kind = service.playable(clip)
    except VideoError as error:
        raise HTTPException(404, "this video cannot be read") from error
    except BusyError as error:
        raise HTTPException(503, str(error), {"Retry-After": "5"}) from error
    return VideoResponse(path, media_type=kind, headers=_CACHED)


def _require_same_origin(request: Request) -> None:
    """Rejects forms of other sites' pages, which could fill this disk with uploads without the visitor's knowledge."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower():
        raise HTTPException(403, "sent by another site's page")


class _TooLargeError(ServingError):
    """An upload beyond the size limit."""


class _LimitedBody:
    """The body of a request, up to a size: no more of it is stored.

    Args:
      receive: ASGI channel of the request.
      max_bytes: size limit.
    """

    def __init__(self, receive: Receive, max_bytes: int):
        self._receive, self._max_bytes = receive, max_bytes
        self._received, self._more = 0, True

    async def receive(self) -> Message:
        """Returns the next message of the request.

        Raises:
          _TooLargeError: the body is larger than the limit.
        """
        message = await self._next()
        if self._received > self._max_bytes:
            limit = self._max_bytes >> 20
            raise _TooLargeError(f"This file is larger than {limit} MB, the limit of this server.")
        return message

    async def discard_rest(self) -> None:
        """Reads the rest of a rejected body: a browser that is still sending does not show the response."""
        while self._more and self._received < _DISCARDED_BYTES:
            await self._next()

    async def _next(self) -> Message:
        message = await self._receive()
        self._received += len(message.get("body", b""))
        self._more = message.get("more_body", False)
        return message
