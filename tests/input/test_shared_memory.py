"""Tests of worker processes: use of /dev/shm stays below the stated bound, and a killed worker is reported."""

import collections
import itertools
import multiprocessing
import os
import signal
import threading
import time

import pytest

from svilm_jax.config import ConfigError, InputConfig, TextConfig, VideoConfig
from svilm_jax.errors import STOP_SIGNALS
from svilm_jax.input.pipeline import InputError, TrainInput
from svilm_jax.input.shared_memory import FOLDER, check_shared_memory, shared_bytes
from svilm_jax.text.tokenizers import load_tokenizer

_PATIENCE = 600.0  # seconds for workers on a busy machine
VIDEO = VideoConfig(num_frames=16, image_size=64)
ROWS, WORKERS, PREFETCH = 7, 2, 3
CLIPS = ROWS * 16 * 64 * 64 * 3  # bytes of a batch


@pytest.fixture
def data(numbered):
    config = InputConfig(dataset=str(numbered), workers=WORKERS, threads=1, prefetch=PREFETCH)
    tokenizer = load_tokenizer("builtin:moving_shapes")
    with TrainInput(config, VIDEO, TextConfig(max_length=16), tokenizer, batch_size=ROWS, seed=0) as made:
        yield made


def held():
    """Bytes of clips in shared memory; batches of this size are made nowhere else in the tests."""
    files = [file.stat().st_size for file in FOLDER.glob("psm_*") if file.exists()]
    return CLIPS * files.count(CLIPS)


def test_the_bound_holds_however_slow_training_is(data):
    bound = shared_bytes(VIDEO, ROWS, WORKERS, PREFETCH)
    most, deadline = 0, time.monotonic() + _PATIENCE
    for _ in range(6):
        batch = next(data)
        most = max(most, held())
    while most < 0.8 * bound and time.monotonic() < deadline:  # workers fill up whatever they may
        most = max(most, held())
        time.sleep(0.02)
    for _ in range(50):  # and no more than that
        most = max(most, held())
        time.sleep(0.02)
    assert batch["video"].nbytes == CLIPS
    assert 0.8 * bound <= most <= bound


def send_to_workers(signals):
    """Sends them as soon as there are worker processes, which then are still importing."""
    deadline = time.monotonic() + _PATIENCE
    while len(workers := multiprocessing.active_children()) < WORKERS and time.monotonic() < deadline:
        time.sleep(0.001)
    for worker, number in itertools.product(workers, signals):
        os.kill(worker.pid, number)


def test_workers_survive_stop_signals_and_one_that_is_killed_is_told(data):
    sender = threading.Thread(target=send_to_workers, args=(STOP_SIGNALS,))
    sender.start()
    next(data)
    sender.join()
    send_to_workers(STOP_SIGNALS)
    for _ in range(4 * PREFETCH * WORKERS):  # more than they had ready
        next(data)
    os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
    with pytest.raises(InputError, match="a decoding process died .*exit code -9.*config.input.workers"):
        collections.deque(itertools.islice(data, 8 * PREFETCH), maxlen=0)


def test_what_does_not_fit_is_refused_with_both_sizes(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 2**30}))
    large = VideoConfig(num_frames=32, image_size=224)
    check_shared_memory(large, 16, 1, 1, folder=tmp_path)
    message = r"workers=16 with config.input.prefetch=4: batches of 16 clips take up to 11.63 GiB of .*, and 1.00 GiB"
    with pytest.raises(ConfigError, match=message):
        check_shared_memory(large, 16, 16, 4, folder=tmp_path)
    check_shared_memory(large, 16, 0, 4, folder=tmp_path)
    check_shared_memory(large, 16, 16, 4, folder=tmp_path / "nothing")


def test_the_processes_of_a_host_share_what_is_free(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 2**30}))
    video = VideoConfig(num_frames=32, image_size=224)
    check_shared_memory(video, 4, 2, 2, 1, tmp_path)
    with pytest.raises(ConfigError, match=r"batches of 4 clips in each of 8 processes take up to 2.01 GiB"):
        check_shared_memory(video, 4, 2, 2, 8, tmp_path)
