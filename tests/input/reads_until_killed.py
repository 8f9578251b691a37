"""Script that reads batches with worker processes, prints their ids, and waits. Argument: a prepared dataset."""

import multiprocessing
import signal
import sys

from svilm_jax.config import InputConfig, TextConfig, VideoConfig
from svilm_jax.input.pipeline import TrainInput
from svilm_jax.text.tokenizers import load_tokenizer

if __name__ == "__main__":
    config = InputConfig(dataset=sys.argv[1], workers=2, threads=1, prefetch=1)
    tokenizer = load_tokenizer("builtin:moving_shapes")
    data = TrainInput(config, VideoConfig(num_frames=4, image_size=16), TextConfig(), tokenizer, batch_size=2, seed=0)
    next(data)
    print(*(worker.pid for worker in multiprocessing.active_children()), flush=True)
    signal.pause()
