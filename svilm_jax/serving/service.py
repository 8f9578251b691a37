"""Serving logic, independent of Gradio: text queries, phrase grounding, and uploaded clips."""

import collections
import dataclasses
import io
import secrets
import threading
from pathlib import Path

import numpy as np
from PIL import Image

from svilm_jax.filesystem.unicode_repair import repaired
from svilm_jax.inference.clip_input import read_clip
from svilm_jax.inference.index import ClipIndex, FoundClip
from svilm_jax.inference.model import TrainedModel
from svilm_jax.input import temporal_sampling
from svilm_jax.serving.browser_transcode import PlayableVideos
from svilm_jax.serving.errors import ServingError
from svilm_jax.serving.overlay import overlay
from svilm_jax.video.decoding import Limits, VideoError, VideoInfo, decode, probe
from svilm_jax.video.reader import DEFAULT_LIMITS

_SHOWN_SIDE = 288  # minimum side of pictures on the page; the model's input may be smaller
_UPLOADS = 64  # maximum number of known uploads
_MAX_CHARACTERS = 2000  # of a query: far beyond the limit of any text tower


@dataclasses.dataclass(frozen=True)
class ShownClip:
    """A clip for phrase grounding.

    Attributes:
      path: of the video.
      start, end: seconds, both -1 for all of it.
      limits: resource limits for the video.
    """

    path: Path
    start: float = -1.0
    end: float = -1.0
    limits: Limits = DEFAULT_LIMITS


@dataclasses.dataclass(frozen=True, eq=False)
class PointedPhrase:
    """A grounded phrase for display.

    Attributes:
      picture: uint8 [rows, columns, 3] of `overlay`.
      similarity: cosine of the phrase with the best-matching group.
    """

    picture: np.ndarray
    similarity: float


class Service:
    """A model and its index for many visitors; one request is computed at a time.

    Args:
      model, index: a matching pair (`ClipIndex.check_model`).
      folder: for transcoded videos; must exist.
      max_upload_bytes: of an uploaded video.
    """

    def __init__(self, model: TrainedModel, index: ClipIndex, folder: Path, max_upload_bytes: int):
        self.model, self.index, self.max_upload_bytes = model, index, max_upload_bytes
        self._playable = PlayableVideos(folder)
        self._limits = Limits(max_bytes=max_upload_bytes, max_pixels=4096 * 2304, max_frames=50_000, max_seconds=3600.0)
        self._uploads: collections.OrderedDict[str, Path] = collections.OrderedDict()
        self._lock = threading.Lock()
        self._common = _common_folder(index)

    def title(self, found: FoundClip) -> str:
        """Returns a video's path relative to the index's common folder, which hides its location on this machine."""
        parts = _parts(found.video)
        return "/".join(parts[self._common :] if self._common > 1 else parts[-1:])

    def search(self, sentence: str, top: int) -> list[FoundClip]:
        """Returns the clips that match a query best.

        Raises:
          ServingError: an empty query.
        """
        with self._lock:
            embedded = self.model.embed_text(_checked(sentence, "a sentence, such as “a red square is sliding left”"))
            return self.index.search(embedded[0], top)

    def notes(self, text: str, phrase: bool = False) -> str:
        """Returns which parts of a query or phrase the model does not understand; "" if there are none."""
        notes = "; ".join(self.model.review_text(" ".join(text.split()), phrase).notes)
        return f"{notes[0].upper()}{notes[1:]}." if notes else ""

    def clip(self, row: int) -> ShownClip:
        """Returns a clip of the index.

        Raises:
          IndexError: there is no such row.
        """
        found = self.index.clip(row)
        if self.index.origin.window is None:
            return ShownClip(Path(found.video))
        return ShownClip(Path(found.video), found.start, found.end)

    def point(self, clip: ShownClip, phrase: str) -> PointedPhrase:
        """Grounds a phrase in a clip.

        Raises:
          ServingError: an empty phrase, or a video that cannot be read (any more).
        """
        phrase = _checked(phrase, "a phrase, such as “a red square”")
        video = self.model.config.model.video
        larger = dataclasses.replace(video, image_size=max(video.image_size, _SHOWN_SIDE))
        with self._lock:
            try:
                seen = read_clip(clip.path, video, clip.start, clip.end, clip.limits)
                shown = read_clip(clip.path, larger, clip.start, clip.end, clip.limits)
                seconds = temporal_sampling.window(probe(clip.path, limits=clip.limits).duration, clip.start, clip.end)
            except VideoError as error:
                raise ServingError(f"This video cannot be read: {_told(error, clip.path)}") from error
            grounded = self.model.ground(seen, phrase)
        times = temporal_sampling.center_times(video.num_frames, *seconds)
        middles = np.arange(len(grounded.heat)) * grounded.tubelet[0] + grounded.tubelet[0] // 2  # [Nt]
        picture = overlay(shown[middles], grounded.heat, times[middles])
        return PointedPhrase(picture, grounded.similarity)

    def add_upload(self, path: str | Path) -> str:
        """Registers a visitor's video; returns the key of `upload`, which cannot be guessed.

        Raises:
          ServingError: deleted, too large, or not readable.
        """
        path = Path(path)
        if path.is_file() and path.stat().st_size > self.max_upload_bytes:
            raise ServingError(f"{path.name}: larger than the {self.max_upload_bytes >> 20} MB that are taken here")
        try:
            probe(path, limits=self._limits)
            # The header alone does not show whether the content decodes.
            read_clip(path, self.model.config.model.video, limits=self._limits)
        except VideoError as error:
            raise ServingError(f"This is no video that can be read here. {_told(error, path)}") from error
        key = secrets.token_urlsafe(16)
        with self._lock:
            self._uploads[key] = path
            while len(self._uploads) > _UPLOADS:
                self._uploads.popitem(last=False)
        return key

    def upload(self, key: str) -> ShownClip:
        """Returns an upload by its key.

        Raises:
          KeyError: unknown, or expired: Gradio deletes uploads after a while.
        """
        path = self._uploads[key]
        if not path.is_file():
            raise KeyError(key)
        return ShownClip(path, limits=self._limits)

    def fragment(self, row: int) -> str | None:
        """Returns the URL fragment that limits a row's video to the row's seconds in a browser; "": all of it.

        None if the video must be transcoded first, or cannot be.
        """
        clip = self.clip(row)
        try:
            if self._playable.media_type(clip.path) is None:
                return None
        except VideoError:
            return None
        return "" if clip.end < 0 else f"#t={clip.start:.3f},{clip.end:.3f}"

    def poster(self, clip: ShownClip) -> bytes:
        """Returns a JPEG of the middle frame of a clip.

        Raises:
          VideoError: it cannot be read.
        """

        def middle(info: VideoInfo) -> np.ndarray:
            return temporal_sampling.center_times(1, *temporal_sampling.window(info.duration, clip.start, clip.end))

        frame = decode(clip.path, middle, short_side=_SHOWN_SIDE, limits=clip.limits).images[0]
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=80)
        return buffer.getvalue()

    def playable(self, clip: ShownClip) -> tuple[Path, str]:
        """Returns a browser-compatible file, and its media type.

        Raises:
          VideoError: it cannot be read.
          BusyError: it must be transcoded, and too many others are waiting.
        """
        whole = clip.end < 0
        return self._playable.find(clip.path, 0.0 if whole else clip.start, None if whole else clip.end, clip.limits)


def _common_folder(index: ClipIndex) -> int:
    """Returns the number of leading path components that all videos share."""
    folders = {tuple(_parts(video)[:-1]) for video in index.videos}
    first, last = min(folders), max(folders)  # whatever is between them begins as both do
    return next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))


def _parts(video: str) -> list[str]:
    return video.replace("\\", "/").split("/")


def _told(error: VideoError, path: Path) -> str:
    """Returns a video's name and the error, without its location on this machine."""
    reason = error.reason.replace(str(path), path.name) if path.is_file() else "no such file"
    return f"{path.name}: {reason}"


def _checked(text: str, expected: str) -> str:
    text = " ".join(repaired(text)[0].split())
    if not text:
        raise ServingError(f"Type {expected}.")
    if len(text) > _MAX_CHARACTERS:
        raise ServingError(f"That is {len(text)} characters: type at most {_MAX_CHARACTERS}.")
    return text
