"""Fixtures of the input tests: a small prepared dataset of clips that encode their number."""

from pathlib import Path

import numpy as np
import pytest
from svilm_data.pipeline.record_writer import write_records

from svilm_jax.input.schema import Caption, Record, SceneObject
from tests.video.encoded_videos import encode, numbered_frames

TRAIN, FRAMES = 24, 8


def _record(number: int, video: bytes | None = None) -> Record:
    frames = numbered_frames(FRAMES, 40, 48)
    frames[:, 30:, :, 2] = 5 * number  # told apart by a blue stripe
    masks = np.zeros((FRAMES, 20, 24), np.uint8)
    masks[:, :5, :6] = 1
    masks[:, 15:] = np.arange(2, 2 + FRAMES)[:, None, None]  # tells the frame
    return Record(
        id=f"clip{number}",
        video=encode(frames) if video is None else video,
        captions=(
            Caption(f"a red square over floor {number}", ("a red square", f"floor {number}")),
            Caption("one thing gets brighter", ("one thing",), 0.0, 0.5),
        ),
        group=f"g{number // 4}",
        objects=(SceneObject("a red square", 1),),
        masks=masks,
    )


@pytest.fixture(scope="session")
def numbered(tmp_path_factory) -> Path:
    """Version folder with splits train (24 clips), validation (6), and mixed (6, of which clip 2 is broken)."""
    splits = {
        "train": [_record(i) for i in range(TRAIN)],
        "validation": [_record(i) for i in range(6)],
        "mixed": [_record(i, b"broken" * 99 if i == 2 else None) for i in range(6)],
    }
    return write_records("numbered", splits, tmp_path_factory.mktemp("numbered"), "Clips with numbers.", 10_000)
