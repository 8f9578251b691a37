"""YAML documents with texts of several lines as blocks."""

from collections.abc import Sequence
from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    """Dumper of plain values that writes texts of several lines as they are."""

    def ignore_aliases(self, data: Any) -> bool:
        """Repeats equal values instead of referring to the first one."""
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def documents_text(documents: Sequence[Any], comments: Sequence[str] = ()) -> str:
    """Returns a stream of YAML documents, the keys in the order given, after comments of one line each."""
    head = "".join(f"# {line}\n" for line in comments)
    texts = [yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=10_000) for document in documents]
    return head + "---\n".join(texts)
