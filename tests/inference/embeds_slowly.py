"""Embeds a folder so slowly, and keeps so many parts, that a test can kill it on the way: FOLDER OUT."""

import sys
import time
from pathlib import Path

from svilm_jax.inference import embedding, trained
from tests.tiny import tiny_model

read_clip = embedding.read_clip


def slow(*args):
    time.sleep(0.1)
    return read_clip(*args)


if __name__ == "__main__":
    trained.BATCH_SIZE, embedding._PART_SECONDS, embedding.read_clip = 2, 0.0, slow
    embedding.embed_files(tiny_model(), "runs/tiny", [Path(sys.argv[1])], Path(sys.argv[2]))
