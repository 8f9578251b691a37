"""Store of uploaded videos: files under random names in a private folder, the oldest of which are removed."""

import collections
import dataclasses
import secrets
import shutil
import threading
from pathlib import Path
from typing import IO

from svilm_jax.serving.errors import ServingError
from svilm_jax.video.folders import SUFFIXES

_MAX_FILES = 64
_MAX_TOTAL_BYTES = 4 << 30
_MAX_NAME = 120  # characters of a displayed file name


@dataclasses.dataclass(frozen=True)
class Upload:
    """An uploaded video.

    Attributes:
      path: of the stored file.
      name: file name on the visitor's machine, for display only; never part of a path.
    """

    path: Path
    name: str


class UploadStore:
    """Uploaded videos by key. A key cannot be guessed, and no other file can be reached through one.

    Args:
      folder: for the files; is created, readable by this user only.
      max_bytes: size limit of one file.
    """

    def __init__(self, folder: Path, max_bytes: int):
        folder.mkdir(mode=0o700)
        self._folder, self.max_bytes = folder, max_bytes
        self._uploads: collections.OrderedDict[str, Upload] = collections.OrderedDict()
        self._lock = threading.Lock()

    def save(self, content: IO[bytes], name: str) -> Upload:
        """Stores a file, which has no key yet.

        Raises:
          ServingError: larger than the limit, or empty.
        """
        name = _display_name(name)
        size = content.seek(0, 2)
        content.seek(0)
        if size > self.max_bytes:
            raise ServingError(f"{name}: larger than {self.max_bytes >> 20} MB, the limit of this server.")
        if not size:
            raise ServingError("Choose a video file to upload.")
        # The ending helps FFmpeg to recognize formats without a signature.
        suffix = Path(name).suffix.lower()
        path = self._folder / (secrets.token_hex(16) + (suffix if suffix in SUFFIXES else ""))
        with path.open("xb") as file:
            shutil.copyfileobj(content, file)
        return Upload(path, name)

    def add(self, upload: Upload) -> str:
        """Returns a new key of a stored file; the oldest uploads beyond the limits are removed."""
        key = secrets.token_urlsafe(16)
        with self._lock:
            self._uploads[key] = upload
            while len(self._uploads) > 1 and (len(self._uploads) > _MAX_FILES or self._size() > _MAX_TOTAL_BYTES):
                _, oldest = self._uploads.popitem(last=False)
                oldest.path.unlink(missing_ok=True)
        return key

    def get(self, key: str) -> Upload:
        """Returns an upload by its key.

        Raises:
          KeyError: unknown, or removed.
        """
        return self._uploads[key]

    def _size(self) -> int:
        return sum(upload.path.stat().st_size for upload in self._uploads.values())


def _display_name(name: str) -> str:
    """Returns the last part of a file name without unprintable characters; some browsers send a whole path."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(c for c in last if c.isprintable())[-_MAX_NAME:] or "upload"
