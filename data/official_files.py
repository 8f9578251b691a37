"""Lookup of official annotation files by published name below one folder: plain, gzipped, or inside an archive.

Archives are read member by member and never unpacked, so that no member name can point outside a folder.
"""

import contextlib
import dataclasses
import fnmatch
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from svilm_jax.input import json_reader
from svilm_jax.input.text_repair import Repairs

from .errors import PreparationError

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
# What the readers of packed files raise where one is damaged.
_DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError)


@dataclasses.dataclass(frozen=True)
class OfficialFile:
    """One file, wherever it lies.

    Attributes:
      path: on disk; the archive's where `member` is set.
      member: its name in the archive, or "".
      repairs: counts the strings that were not valid Unicode; all files below one folder share it.
    """

    path: Path
    member: str = ""
    repairs: Repairs = dataclasses.field(default_factory=Repairs, compare=False, repr=False)

    @property
    def name(self) -> str:
        """The published name: without folders and without `.gz`."""
        return PurePosixPath(self.member or self.path.name).name.removesuffix(".gz")

    @property
    def where(self) -> str:
        """For errors."""
        return f"{self.path}:{self.member}" if self.member else str(self.path)

    @contextlib.contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The file's bytes as a stream, unpacked.

        Raises:
          PreparationError: it cannot be read, or is no archive or gzip file although its name says so.
        """
        try:
            with contextlib.ExitStack() as stack:
                yield self._open(stack)
        except _DAMAGE as error:
            raise PreparationError(f"{self.where}: cannot be read ({error}); download it again") from error

    def lines(self) -> Iterator[tuple[str, str]]:
        """(where, text) of every line, as a stream; `where` names file and line for errors; line ends are stripped.

        Raises:
          PreparationError: not UTF-8.
        """
        with self.open() as file, _json_errors():
            for where, text in json_reader.lines(file, self.where):
                yield where, text.rstrip("\r\n")

    def json(self) -> Any:
        """The document, held whole; strings with half a character are repaired and counted in `repairs`.

        Raises:
          PreparationError: not JSON in UTF-8, or an object with a name twice, of which Python would keep one.
        """
        with self.open() as file, _json_errors():
            return json_reader.document(file, self.where, self.repairs)

    def json_lines(self) -> Iterator[tuple[str, Any]]:
        """(where, value) of every line that is not blank, as a stream; otherwise as `json`."""
        with self.open() as file, _json_errors():
            yield from json_reader.json_lines(file, self.where, self.repairs)

    def _open(self, stack: contextlib.ExitStack) -> IO[bytes]:
        if not self.member:
            raw: IO[bytes] = stack.enter_context(self.path.open("rb"))
        elif self.path.name.lower().endswith(".zip"):
            archive = stack.enter_context(zipfile.ZipFile(self.path))
            try:
                raw = stack.enter_context(archive.open(self.member))
            except (RuntimeError, NotImplementedError) as error:  # a password, or a compression that zlib does not know
                raise PreparationError(f"{self.where}: cannot be unpacked ({error}); unpack it by hand") from error
        else:
            member = stack.enter_context(tarfile.open(self.path)).extractfile(self.member)  # noqa: SIM115
            if member is None:
                raise PreparationError(f"{self.where}: is no file")
            raw = stack.enter_context(member)
        packed = (self.member or self.path.name).endswith(".gz")
        return stack.enter_context(io.BufferedReader(gzip.GzipFile(fileobj=raw))) if packed else raw  # type: ignore[arg-type]


class OfficialFiles:
    """The files below a folder (or one file), archives looked into."""

    def __init__(self, root: Path):
        """`root`: a folder, an archive or a file.

        Raises:
          PreparationError: there is no such thing, or an archive that cannot be read.
        """
        if not root.exists():
            raise PreparationError(f"--annotations {root}: no such file or folder")
        self.root = root
        paths = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file())
        self._files: list[OfficialFile] = []
        self._repairs = Repairs()
        for path in paths:
            if path.name.startswith("."):
                continue
            if path.name.lower().endswith(ARCHIVES):
                self._files += [OfficialFile(path, member, self._repairs) for member in _members(path)]
            else:
                self._files.append(OfficialFile(path, repairs=self._repairs))

    def notes(self) -> dict[str, str]:
        """What had to be repaired in the files that were read, for the summary."""
        note = self._repairs.note()
        return {"text with half a character": note} if note else {}

    def find(self, *patterns: str) -> list[OfficialFile]:
        """All files whose published name fits one of the patterns (shell style, case ignored).

        The same name found twice (plain and packed, say) gives the least packed, then the shallowest.
        """
        best: dict[str, OfficialFile] = {}
        for file in sorted(self._files, key=_effort):
            if any(fnmatch.fnmatchcase(file.name.lower(), pattern.lower()) for pattern in patterns):
                best.setdefault(file.name.lower(), file)
        return [best[name] for name in sorted(best)]

    def one(self, *patterns: str, what: str) -> OfficialFile:
        """The file of that name; the first pattern that any file fits decides.

        Raises:
          PreparationError: none, or several; `what` says what it is.
        """
        found = self.optional(*patterns)
        if found is None:
            raise PreparationError(
                f"--annotations {self.root}: no {what}: expected {' or '.join(patterns)}, plain, .gz or in an archive"
            )
        return found

    def optional(self, *patterns: str) -> OfficialFile | None:
        """As `one`, or None where there is none."""
        for pattern in patterns:
            found = self.find(pattern)
            if len(found) > 1:
                names = ", ".join(file.where for file in found[:3])
                raise PreparationError(f"--annotations {self.root}: {pattern} fits several files ({names}): keep one")
            if found:
                return found[0]
        return None


def _effort(file: OfficialFile) -> tuple[bool, bool, int]:
    """Smaller for less packed files, then for shallower ones."""
    inner = PurePosixPath(file.member)
    return bool(file.member), (inner.name or file.path.name).endswith(".gz"), len(file.path.parts) + len(inner.parts)


@contextlib.contextmanager
def _json_errors() -> Iterator[None]:
    try:
        yield
    except json_reader.JsonError as error:
        raise PreparationError(str(error)) from error


def _members(path: Path) -> list[str]:
    try:
        if path.name.lower().endswith(".zip"):
            with zipfile.ZipFile(path) as archive:
                names = [item.filename for item in archive.infolist() if not item.is_dir()]
        else:
            with tarfile.open(path) as packed:
                names = [item.name for item in packed if item.isfile()]
    except _DAMAGE as error:
        raise PreparationError(f"{path}: no archive that can be read ({error}); download it again") from error
    # By parts, since `tar -C folder .` writes every name as "./name".
    return [n for n in names if not any(p.startswith(".") or p == "__MACOSX" for p in PurePosixPath(n).parts)]
