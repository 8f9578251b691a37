"""Script that embeds a folder slowly and in many parts, so that a test can kill it midway: MODEL FOLDER OUT."""

import sys
import time
from pathlib import Path

from svilm_jax.checkpoints.model_directory import read_model_directory
from svilm_jax.inference import embedding, embedding_parts, model

read_clip = embedding.read_clip


def slow(*args):
    time.sleep(0.1)
    return read_clip(*args)


if __name__ == "__main__":
    model.BATCH_SIZE, embedding_parts._PART_SECONDS, embedding.read_clip = 2, 0.0, slow
    model, folder, out = sys.argv[1:]
    embedding.embed_files(read_model_directory(model), model, [Path(folder)], Path(out))
