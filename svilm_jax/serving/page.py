"""Content of the page: a query with its results, and the grounding of a phrase in one clip.

Every state of the page is a URL, so that it needs no script, no cookie and no state on the server: `q` is the query,
`row` or `upload` the selected clip, `phrase` the phrase to ground in it.
"""

import base64
import dataclasses
import io
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from PIL import Image

from svilm_jax.inference.index import FoundClip
from svilm_jax.serving.errors import BusyError, ServingError
from svilm_jax.serving.service import MAX_CHARACTERS, GroundedImage, Service, ShownClip

# Part of the address of every video: a browser may cache a video, but not beyond the life of this server, since another
# one can have another index at the same address.
_VERSION = secrets.token_hex(4)


@dataclasses.dataclass(frozen=True)
class PageQuery:
    """Parameters of the page's URL; None: absent.

    Attributes:
      q: text query.
      row: of the selected clip in the index.
      upload: key of the selected upload.
      phrase: to be grounded in the selected clip.
    """

    q: str | None = None
    row: str | None = None
    upload: str | None = None
    phrase: str | None = None

    @classmethod
    def read(cls, parameters: Mapping[str, str]) -> "PageQuery":
        """Reads the parameters of a URL; others are ignored."""
        return cls(**{field.name: parameters.get(field.name) for field in dataclasses.fields(cls)})

    def url(self, path: str = "/", **changes: object) -> str:
        """Returns a URL with these parameters, of which `changes` replaces some; None removes one."""
        values = {name: value for name, value in {**dataclasses.asdict(self), **changes}.items() if value is not None}
        return f"{path}?{urlencode(values)}#grounding"


@dataclasses.dataclass(frozen=True)
class Card:
    """A search result as displayed; `poster` is "" for a video that plays without being transcoded."""

    rank: int
    clip: FoundClip
    name: str
    title: str
    video: str
    poster: str
    ground: str
    selected: bool


@dataclasses.dataclass(frozen=True)
class Page:
    """A rendered state of the page: the variables of its template, and the HTTP status."""

    status: int
    context: dict[str, Any]


def build_page(service: Service, top: int, query: PageQuery, upload_error: str = "", status: int = 200) -> Page:
    """Computes the content of the page.

    Args:
      service: a model and its index.
      top: number of clips shown for a query.
      query: the state that the URL describes.
      upload_error: message about a rejected upload; "": none.
      status: HTTP status of the page unless an error gives another one.
    """
    context: dict[str, Any] = {
        "query": query,
        "summary": _summary(service),
        "max_characters": MAX_CHARACTERS,
        "max_upload_mb": service.max_upload_bytes >> 20,
        "upload_action": query.url("/uploads"),
        "upload_error": upload_error,
        "cards": [],
        "search_error": "",
        "search_notes": "",
        "num_rows": len(service.index),
        "title": "",
        "phrase": query.phrase or "",
        "upload_video": "",
        "grounding_error": "",
        "grounded": None,
        "picture": "",
        "phrase_notes": "",
    }
    found: list[FoundClip] = []
    if query.q is not None:
        try:
            found = service.search(query.q, top)
            context["search_notes"] = service.notes(query.q)
        except (ServingError, BusyError) as error:
            context["search_error"], status = str(error), _status(error)
    context["cards"] = [_card(service, query, rank, clip) for rank, clip in enumerate(found, 1)]
    try:
        clip = _selected(service, query, found, context)
        phrase = query.phrase if query.phrase is not None else (query.q if found else None)
        context["phrase"] = phrase or ""
        if clip is not None and phrase is not None:
            grounded = service.ground(clip, phrase)
            context |= {"grounded": grounded, "picture": _data_url(grounded)}
            context["phrase_notes"] = service.notes(phrase, phrase=True)
    except (ServingError, BusyError) as error:
        context["grounding_error"], status = str(error), _status(error)
    return Page(status, context)


def _selected(service: Service, query: PageQuery, found: list[FoundClip], context: dict[str, Any]) -> ShownClip | None:
    """Returns the selected clip, if any, and adds its title to the context.

    Raises:
      ServingError: there is no such clip.
    """
    if query.upload is not None:
        try:
            clip = service.upload(query.upload)
        except KeyError as error:
            raise ServingError("This upload is no longer on the server: upload the file again.") from error
        context |= {"title": f"Your clip: {clip.name}", "upload_video": f"/uploads/{query.upload}"}
        return clip
    if query.row is None:
        return None
    try:
        row = int(query.row)
        clip, hit = service.clip(row), service.index.clip(row)
    except (ValueError, IndexError) as error:
        raise ServingError("There is no such clip in the index: choose one of the results.") from error
    rank = next((f"Clip {rank}: " for rank, other in enumerate(found, 1) if other.row == row), "")
    context["title"] = f"{rank}{_file_name(hit.video)}, {hit.start:.1f}–{hit.end:.1f} s"
    return clip


def _card(service: Service, query: PageQuery, rank: int, clip: FoundClip) -> Card:
    fragment = service.fragment(clip.row)
    return Card(
        rank,
        clip,
        name=_file_name(clip.video),
        title=service.title(clip),
        video=f"/clips/{clip.row}?v={_VERSION}{fragment or ''}",
        poster=f"/posters/{clip.row}?v={_VERSION}" if fragment is None else "",
        ground=query.url(row=clip.row, upload=None, phrase=None),
        selected=query.row == str(clip.row) and query.upload is None,
    )


def _summary(service: Service) -> str:
    rows, videos = len(service.index), len(service.index.videos)
    content = f"{videos:,} videos" if rows == videos else f"{rows:,} windows of {videos:,} videos"
    return f"{content}, embedded by {_file_name(service.index.origin.model)}"


def _status(error: ServingError | BusyError) -> int:
    return 503 if isinstance(error, BusyError) else 400


def _data_url(grounded: GroundedImage) -> str:
    buffer = io.BytesIO()
    Image.fromarray(grounded.picture).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _file_name(video: str) -> str:
    return video.replace("\\", "/").rsplit("/", 1)[-1]
