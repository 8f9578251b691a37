"""Reader of logs in JSON lines, of which a killed process may have left an incomplete line."""

import json
from pathlib import Path
from typing import Any


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Reads the objects of a log; incomplete lines are dropped, and a missing file has none."""
    lines = []
    for text in path.read_text().splitlines() if path.is_file() else []:
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines
