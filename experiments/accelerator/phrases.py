"""Noun phrases of a prepared dataset, as the JSON file that `svilm prepare --phrases` reads.

python -m experiments.accelerator.phrases runs/data/moving_shapes FILE
"""

import json
import sys
from pathlib import Path

from svilm_jax.input.records import open_records


def phrases(dataset: str) -> dict[str, list[str]]:
    """Returns caption -> phrases over all splits of a dataset."""
    info = json.loads(next(Path(dataset).glob("*/dataset_info.json")).read_text())
    found: dict[str, list[str]] = {}
    for split in info["splits"]:
        records = open_records(dataset, split["name"])
        for number in range(len(records)):
            found |= {caption.text: list(caption.phrases) for caption in records[number].captions}
    return found


if __name__ == "__main__":
    table = phrases(sys.argv[1])
    Path(sys.argv[2]).write_text(json.dumps(table, separators=(",", ":"), ensure_ascii=False))
    print(f"{sys.argv[2]}: {len(table)} captions")
