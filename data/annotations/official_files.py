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

from svilm_data.pipeline.errors import PreparationError

from svilm_jax.filesystem import json_reader
from svilm_jax.filesystem.unicode_repair import Repairs

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
# Exceptions of the readers of packed files for damaged ones.
_DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError)


@dataclasses.dataclass(frozen=True)
class OfficialFile:
    """One file, on disk or in an archive.

    Attributes:
      path: path on disk; that of the archive if `member` is set.
      member: name in the archive, or "".
      repairs: counts strings that were not valid Unicode; shared by all files below one folder.
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
        """Location for error messages: path, and member after a colon."""
        return f"{self.path}:{self.member}" if self.member else str(self.path)

    @contextlib.contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Opens the file's bytes as a stream, unpacked.

        Raises:
          PreparationError: it cannot be read, or is not an archive or gzip file although its name says so.
        """
        try:
            with contextlib.ExitStack() as stack:
                yield self._open(stack)
        except _DAMAGE as error:
            raise PreparationError(f"{self.where}: cannot be read ({error}); download it again") from error

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yields (where, text) of every line, as a stream; `where` names file and line; line ends are stripped.

        Raises:
          PreparationError: not UTF-8.
        """
        with self.open() as file, _json_errors():
            for where, text in json_reader.lines(file, self.where):
                yield where, text.rstrip("\r\n")

    def json(self) -> Any:
        """Reads the document as a whole; strings with lone surrogates are repaired and counted in `repairs`.

        Raises:
          PreparationError: not JSON in UTF-8, or a duplicate name in an object, of which Python would keep one.
        """
        with self.open() as file, _json_errors():
            return json_reader.document(file, self.where, self.repairs)

    def json_lines(self) -> Iterator[tuple[str, Any]]:
        """Yields (where, value) of every line that is not blank, as a stream; otherwise like `json`."""
        with self.open() as file, _json_errors():
            yield from json_reader.json_lines(file, self.where, self.repairs)

    def _open(self, stack: contextlib.ExitStack) -> IO[bytes]:
        if not self.member:
            raw: IO[bytes] = stack.enter_context(self.path.open("rb"))
        elif self.path.name.lower().endswith(".zip"):
            archive = stack.enter_context(zipfile.ZipFile(self.path))
            try:
                raw = stack.enter_context(archive.open(self.member))
            except (
                RuntimeError,
                NotImplementedError,
            ) as error:  # a password, or a compression that zlib does not support
                raise PreparationError(f"{self.where}: cannot be unpacked ({error}); unpack it by hand") from error
        else:
            member = stack.enter_context(tarfile.open(self.path)).extractfile(self.member)  # noqa: SIM115
            if member is None:
                raise PreparationError(f"{self.where}: is not a regular file")
            raw = stack.enter_context(member)
        packed = (self.member or self.path.name).endswith(".gz")
        return stack.enter_context(io.BufferedReader(gzip.GzipFile(fileobj=raw))) if packed else raw  # type: ignore[arg-type]


class OfficialFiles:
    """The files below a folder (or one file), including the members of archives."""

    def __init__(self, root: Path):
        """Lists the files.

        Args:
          root: a folder, an archive or a file.

        Raises:
          PreparationError: it does not exist, or is an archive that cannot be read.
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
        """Returns what had to be repaired in the files that were read, for the summary."""
        note = self._repairs.note()
        return {"text with lone surrogates": note} if note else {}

    def find(self, *patterns: str) -> list[OfficialFile]:
        """Returns all files whose published name matches one of the patterns (shell style, case-insensitive).

        Of several files with the same name (such as a plain and a packed one), the least packed, then the shallowest is
        returned.
        """
        best: dict[str, OfficialFile] = {}
        for file in sorted(self._files, key=_access_cost):
            if any(fnmatch.fnmatchcase(file.name.lower(), pattern.lower()) for pattern in patterns):
                best.setdefault(file.name.lower(), file)
        return [best[name] for name in sorted(best)]

    def find_one(self, *patterns: str, description: str) -> OfficialFile:
        """Returns the only file with a published name; the first pattern with a matching file decides.

        Args:
          *patterns: possible names, best first.
          description: noun for the file, for the error.

        Raises:
          PreparationError: no file matches, or several match one pattern.
        """
        file = self.find_optional(*patterns)
        if file is None:
            raise PreparationError(
                f"--annotations {self.root}: no {description}: expected {' or '.join(patterns)}, plain, .gz or "
                "in an archive"
            )
        return file

    def find_optional(self, *patterns: str) -> OfficialFile | None:
        """Returns the file as `find_one` does, or None if there is none."""
        for pattern in patterns:
            files = self.find(pattern)
            if len(files) > 1:
                names = ", ".join(file.where for file in files[:3])
                raise PreparationError(
                    f"--annotations {self.root}: {pattern} matches several files ({names}): keep one"
                )
            if files:
                return files[0]
        return None


def _access_cost(file: OfficialFile) -> tuple[bool, bool, int]:
    """Sort key: less packed files first, then shallower ones."""
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
        raise PreparationError(f"{path}: not a readable archive ({error}); download it again") from error
    # By path components, since `tar -C folder .` writes every name as "./name".
    return [n for n in names if not any(p.startswith(".") or p == "__MACOSX" for p in PurePosixPath(n).parts)]
