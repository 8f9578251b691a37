"""Web application with an explicit set of routes: the page, indexed videos by row, and uploads by key."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse, Response
from starlette.middleware.trustedhost import TrustedHostMiddleware

from svilm_jax.serving import style
from svilm_jax.serving.errors import BusyError
from svilm_jax.serving.page import build_page
from svilm_jax.serving.request_filter import Gate, Message, Receive, Send
from svilm_jax.serving.service import Service, ShownClip
from svilm_jax.video.decoding import VideoError

_OPEN_RANGE = re.compile(rb"bytes=(\d+)-")
_PIECE_BYTES = 2 << 20  # of a video, sent at once

# The browser itself blocks other origins, whatever a version of Gradio would load.
_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'self'; form-action 'self'; "
    "base-uri 'self'; object-src 'none'"
)


def build_app(service: Service, top: int, uploads: Path, hosts: Sequence[str]) -> FastAPI:
    """Builds the server's application.

    Args:
      top: number of clips shown for a query.
      uploads: folder of `command.set_up_gradio`; no other file is accepted from a visitor.
      hosts: of `gate.allowed_hosts`.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/clips/{row}")
    def clip(row: int) -> FileResponse:
        try:
            return _file(service, service.clip(row))
        except IndexError as error:
            raise HTTPException(404, "no such clip") from error

    @app.get("/posters/{row}")
    def poster(row: int) -> Response:
        try:
            return Response(service.poster(service.clip(row)), media_type="image/jpeg")
        except (IndexError, VideoError) as error:
            raise HTTPException(404, "no such clip, or it cannot be read") from error

    @app.get("/uploads/{key}")
    def upload(key: str) -> FileResponse:
        try:
            return _file(service, service.upload(key))
        except KeyError as error:
            raise HTTPException(404, "no such upload") from error

    theme = gr.themes.Default(
        primary_hue="blue", neutral_hue="slate", font=list(style.FONTS), font_mono=list(style.MONOSPACE)
    )
    page = build_page(service, top, uploads)
    # A mounted page counts as not launched yet, and Gradio then treats every file as named by the author.
    page.has_launched = True
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
        allowed_paths=[],  # not even those of the index: they are served by row number only
        max_file_size=service.max_upload_bytes,
        show_error=False,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        theme=theme,
        css=style.CSS,
    )
    # The middleware added last runs first.
    app.add_middleware(Gate, uploads=uploads)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    app.add_middleware(_Answers)
    return app


class _Answers:
    """Adds the security policy to every response, and serves videos in pieces.

    An open-ended range request gets the next piece of the file. A browser has six connections per server, and six
    videos that it reads at playback speed would occupy all of them, with none left for the next query.
    """

    def __init__(self, app: Any):
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [
                    (b"content-security-policy", _POLICY.encode()),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                ]
                message["headers"] = [*message.get("headers", []), *headers]
            await send(message)

        if scope["path"].startswith(("/clips/", "/uploads/")):
            scope = {**scope, "headers": [(name, _piece(name, value)) for name, value in scope["headers"]]}
        await self._app(scope, receive, answer)


def _piece(name: bytes, value: bytes) -> bytes:
    found = _OPEN_RANGE.fullmatch(value) if name == b"range" else None
    return b"bytes=%d-%d" % (int(found[1]), int(found[1]) + _PIECE_BYTES - 1) if found else value


def _file(service: Service, clip: ShownClip) -> FileResponse:
    try:
        path, kind = service.playable(clip)
    except VideoError as error:
        raise HTTPException(404, "this video cannot be read") from error
    except BusyError as error:
        raise HTTPException(503, str(error), {"Retry-After": "5"}) from error
    return FileResponse(path, media_type=kind, content_disposition_type="inline")
