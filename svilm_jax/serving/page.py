"""Content of the page: a query with its results, and the grounding of a phrase in one clip.

Every state of the page is a URL, so that it needs no script, no cookie and no state on the server: `q` is the query,
`row` or `upload` the selected clip, `phrase` the phrase to ground in it.
"""

import base64
import dataclasses
import io
import secrets
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

import numpy as np
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


@dataclasses.dataclass
class Page:
    """Content of the page: the variables of its template.

    Attributes:
      query: the state that the URL describes.
      summary: description of the index.
      num_rows: number of clips in the index.
      max_upload_mb: size limit of an upload.
      status: HTTP status.
      upload_error: message about a rejected upload; "": none.
      cards: search results, best first.
      search_error, search_notes: messages about the query.
      title: of the selected clip; "": no clip is selected.
      upload_video: URL of the selected upload; "": none is selected.
      phrase: content of the phrase's input field.
      grounded: result of phrase grounding, if any; `picture` is its image as a URL.
      grounding_error, phrase_notes: messages about the selected clip and the phrase.
    """

    query: PageQuery
    summary: str
    num_rows: int
    max_upload_mb: int
    status: int = 200
    upload_error: str = ""
    cards: Sequence[Card] = ()
    search_error: str = ""
    search_notes: str = ""
    title: str = ""
    upload_video: str = ""
    phrase: str = ""
    grounded: GroundedImage | None = None
    picture: str = ""
    grounding_error: str = ""
    phrase_notes: str = ""

    max_characters = MAX_CHARACTERS


def build_page(service: Service, top: int, query: PageQuery) -> Page:
    """Computes the content of the page.

    Args:
      service: a model and its index.
      top: number of clips shown for a query.
      query: the state that the URL describes.
    """
    page = Page(query, _summary(service), len(service.index), service.max_upload_bytes >> 20)
    found: list[FoundClip] = []
    if query.q is not None:
        try:
            found = service.search(query.q, top)
            page.search_notes = service.notes(query.q)
        except (ServingError, BusyError) as error:
            page.search_error, page.status = str(error), error_status(error)
    page.cards = [_card(service, query, rank, clip) for rank, clip in enumerate(found, 1)]
    # The query itself is the first phrase to be located in a chosen clip.
    phrase = query.phrase if query.phrase is not None else (query.q if found else None)
    page.phrase = phrase or ""
    try:
        clip = _select(service, page, found)
        if clip is not None and phrase is not None:
            page.grounded = service.ground(clip, phrase)
            page.picture = _data_url(page.grounded.picture)
            page.phrase_notes = service.notes(phrase, phrase=True)
    except (ServingError, BusyError) as error:
        page.grounding_error, page.status = str(error), error_status(error)
    return page


def error_status(error: ServingError | BusyError) -> int:
    """Returns the HTTP status of a page with this error."""
    return 503 if isinstance(error, BusyError) else 400


def _select(service: Service, page: Page, found: list[FoundClip]) -> ShownClip | None:
    """Returns the clip selected by the query, if any, and sets its title on the page.

    Raises:
      ServingError: there is no such clip.
    """
    query = page.query
    if query.upload is not None:
        try:
            clip = service.upload(query.upload)
        except KeyError as error:
            raise ServingError("This upload is no longer on the server: upload the file again.") from error
        page.title, page.upload_video = f"Your clip: {clip.name}", f"/uploads/{query.upload}"
        return clip
    if query.row is None:
        return None
    try:
        row = int(query.row)
        clip, hit = service.clip(row), service.index.clip(row)
    except (ValueError, IndexError) as error:
        raise ServingError("There is no such clip in the index: choose one of the results.") from error
    rank = next((f"Clip {rank}: " for rank, other in enumerate(found, 1) if other.row == row), "")
    page.title = f"{rank}{_file_name(hit.video)}, {hit.start:.1f}–{hit.end:.1f} s"
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


def _data_url(image: np.ndarray) -> str:
    """Returns uint8 [h, w, 3] as the URL of a PNG image."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _file_name(video: str) -> str:
    return video.replace("\\", "/").rsplit("/", 1)[-1]
