"""Commands of the documentation: the `sh` blocks of its Markdown files, one argument list per command."""

import dataclasses
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Everything a reader gets to see; the notebooks are executed by the build.
PAGES = sorted(
    {
        *ROOT.glob("*.md"),
        *(page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts),
        *(page for folder in ("data", "experiments", "svilm_jax") for page in (ROOT / folder).rglob("*.md")),
    }
)
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]*\bpython experiments/[^`\n]+ --[^`\n]*)`")


@dataclasses.dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
      page: path of its file, relative to the repository.
      text: as it is written, on one line.
      words: without environment variables.
    """

    page: str
    text: str
    words: tuple[str, ...]

    @property
    def kind(self) -> str:
        """The subcommand of `svilm` with what it is about: a dataset, a task of `score`, or the name of a config."""
        name = self.words[1]
        if name in ("prepare", "score"):
            return f"{name} {self.words[2]}"
        if name in ("train", "eval", "import", "compile"):
            config = next((word.partition("=")[2] for word in self.words if word.startswith("--config=")), "")
            file = config.partition(":")[0].removeprefix("configs/").removesuffix(".py")
            return f"{name} {file}".strip()
        return name


def fenced(page: Path, language: str) -> list[str]:
    """Returns the contents of the fenced blocks of a language."""
    return [content for found, content in _FENCE.findall(page.read_text()) if found == language]


def documented() -> Iterator[Command]:
    """Yields every command of the `sh` blocks, and the scripts that tables name in code spans."""
    for page in PAGES:
        lines = [line for block in fenced(page, "sh") for line in block.replace("\\\n", " ").splitlines()]
        lines += _INLINE.findall(page.read_text())
        for line in lines:
            words = shlex.split(line, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words.pop(0)
            if words:
                text = re.sub(r"\s+#.*|(?<=\s)\s+", "", line).strip()
                yield Command(page.relative_to(ROOT).as_posix(), text, tuple(words))


COMMANDS = list(documented())
