"""Serving logic, independent of HTTP: text queries, phrase grounding, and uploaded clips."""

import contextlib
import dataclasses
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from svilm_jax.filesystem.unicode_repair import repaired
from svilm_jax.inference.clip_input import read_clip
from svilm_jax.inference.index import ClipIndex, FoundClip
from svilm_jax.inference.model import TrainedModel
from svilm_jax.input import temporal_sampling
from svilm_jax.serving.browser_transcode import PlayableVideos
from svilm_jax.serving.errors import BusyError, ServingError
from svilm_jax.serving.overlay import overlay
from svilm_jax.serving.uploads import UploadStore
from svilm_jax.video import VideoError, VideoInfo, decode, probe
from svilm_jax.video.info import DEFAULT_LIMITS, Limits

_SHOWN_SIDE = 288  # minimum side of pictures on the page; the model's input may be smaller
_MAX_WAITING = 16  # requests for the model, each of which occupies one of the server's 40 threads
MAX_CHARACTERS = 2000  # of a query: far beyond the limit of any text tower


@dataclasses.dataclass(frozen=True)
class ShownClip:
    """A clip for phrase grounding.

    Attributes:
      path: of the video.
      start, end: seconds, both -1 for all of it.
      limits: resource limits for the video.
      name: of the video in messages; "": its file name.
    """

    path: Path
    start: float = -1.0
    end: float = -1.0
    limits: Limits = DEFAULT_LIMITS
    name: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class GroundedImage:
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
      folder: for transcoded and uploaded videos; must exist and be empty.
      max_upload_bytes: size limit of an uploaded video.
    """

    def __init__(self, model: TrainedModel, index: ClipIndex, folder: Path, max_upload_bytes: int):
        self.model, self.index, self.max_upload_bytes = model, index, max_upload_bytes
        (folder / "transcoded").mkdir()
        self._playable = PlayableVideos(folder / "transcoded")
        self._uploads = UploadStore(folder / "uploads", max_upload_bytes)
        self._limits = Limits(max_bytes=max_upload_bytes, max_pixels=4096 * 2304, max_frames=50_000, max_seconds=3600.0)
        self._lock, self._waiting = threading.Lock(), threading.Semaphore(_MAX_WAITING)
        self._common = _common_folder(index)

    def title(self, found: FoundClip) -> str:
        """Returns a video's path relative to the index's common folder, which hides its location on this machine."""
        parts = _parts(found.video)
        return "/".join(parts[self._common :] if self._common > 1 else parts[-1:])

    def search(self, sentence: str, top: int) -> list[FoundClip]:
        """Returns the clips that match a query best.

        Raises:
          ServingError: an empty query.
          BusyError: too many requests are waiting.
        """
        sentence = _checked(sentence, "a sentence, such as “a red square is sliding left”")
        with self._turn():
            return self.index.search(self.model.embed_text(sentence)[0], top)

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

    def ground(self, clip: ShownClip, phrase: str) -> GroundedImage:
        """Grounds a phrase in a clip.

        Raises:
          ServingError: an empty phrase, or a video that cannot be read (any more).
          BusyError: too many requests are waiting.
        """
        phrase = _checked(phrase, "a phrase, such as “a red square”")
        video = self.model.config.model.video
        larger = dataclasses.replace(video, image_size=max(video.image_size, _SHOWN_SIDE))
        with self._turn():
            try:
                seen = read_clip(clip.path, video, clip.start, clip.end, clip.limits)
                shown = read_clip(clip.path, larger, clip.start, clip.end, clip.limits)
                seconds = temporal_sampling.window(probe(clip.path, limits=clip.limits).duration, clip.start, clip.end)
            except VideoError as error:
                raise ServingError(f"This video cannot be read: {_reason(error, clip)}") from error
            grounded = self.model.ground(seen, phrase)
        times = temporal_sampling.center_times(video.num_frames, *seconds)
        middles = np.arange(len(grounded.heat)) * grounded.tubelet[0] + grounded.tubelet[0] // 2  # [Nt]
        picture = overlay(shown[middles], grounded.heat, times[middles])
        return GroundedImage(picture, grounded.similarity)

    def add_upload(self, content: IO[bytes], name: str) -> str:
        """Stores a visitor's video; returns the key for `upload`, which cannot be guessed.

        Args:
          content: the file, seekable.
          name: its name on the visitor's machine.

        Raises:
          ServingError: too large, empty, or not readable.
          BusyError: too many requests are waiting.
        """
        stored = self._uploads.save(content, name)
        clip = ShownClip(stored.path, limits=self._limits, name=stored.name)
        try:
            with self._turn():
                probe(clip.path, limits=clip.limits)
                # The header alone does not show whether the content decodes.
                read_clip(clip.path, self.model.config.model.video, limits=clip.limits)
            return self._uploads.add(stored)
        except VideoError as error:
            reason = _reason(error, clip)
            stored.path.unlink(missing_ok=True)
            raise ServingError(f"This file cannot be read as a video. {reason}") from error
        except BaseException:
            stored.path.unlink(missing_ok=True)
            raise

    def upload(self, key: str) -> ShownClip:
        """Returns an upload by its key.

        Raises:
          KeyError: unknown, or removed to make room for later ones.
        """
        upload = self._uploads.get(key)
        return ShownClip(upload.path, limits=self._limits, name=upload.name)

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

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Waits for the model, which serves one request at a time.

        Raises:
          BusyError: too many others are waiting.
        """
        if not self._waiting.acquire(blocking=False):
            raise BusyError("The server is busy: try again in a moment.")
        try:
            with self._lock:
                yield
        finally:
            self._waiting.release()


def _common_folder(index: ClipIndex) -> int:
    """Returns the number of leading path components that all videos share."""
    folders = {tuple(_parts(video)[:-1]) for video in index.videos}
    first, last = min(folders), max(folders)  # whatever is between them begins as both do
    return next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))


def _parts(video: str) -> list[str]:
    return video.replace("\\", "/").split("/")


def _reason(error: VideoError, clip: ShownClip) -> str:
    """Returns a video's name and the error, without its location on this machine."""
    name = clip.name or clip.path.name
    reason = error.reason.replace(str(clip.path), name) if clip.path.is_file() else "no such file"
    return f"{name}: {reason}"


def _checked(text: str, expected: str) -> str:
    text = " ".join(repaired(text)[0].split())
    if not text:
        raise ServingError(f"Type {expected}.")
    if len(text) > MAX_CHARACTERS:
        raise ServingError(f"That is {len(text)} characters: type at most {MAX_CHARACTERS}.")
    return text
