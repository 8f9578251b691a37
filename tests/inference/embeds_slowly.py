"""Script that embeds a folder slowly and in many parts, so that a test can kill it midway: MODEL FOLDER OUT."""

import sys
import time
from pathlib import Path

from svilm_jax.inference import embedding, trained
from svilm_jax.interop.folder import read_folder

read_clip = embedding.read_clip


def slow(*args):
    time.sleep(0.1)
    return read_clip(*args)


if __name__ == "__main__":
    trained.BATCH_SIZE, embedding._PART_SECONDS, embedding.read_clip = 2, 0.0, slow
    model, folder, out = sys.argv[1:]
    embedding.embed_files(read_folder(model), model, [Path(folder)], Path(out))
