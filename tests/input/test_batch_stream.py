"""Tests of the batch stream: stopped, resumed and sharded for any function of epoch and number."""

import json

import numpy as np
import pytest

from svilm_jax.config import ConfigError
from svilm_jax.input.batch_stream import InputError, ReadOptions, ShardOptions, Stream, shuffled
from svilm_jax.input.sampler import BlockShuffleSampler


def load(epoch, number):
    return {"epoch": np.array(epoch), "number": np.array([number, -number], np.int32)}


def stream(records=10, batch_size=4, block=1, load=load, reading=None, identity="these", **share):
    options = ShardOptions(batch_size, **share)
    return Stream(load, shuffled(records, block, options.seed), identity, options, reading or ReadOptions())


def test_what_stands_at_a_position_is_the_order_alone():
    order = BlockShuffleSampler(10, 2, 7)
    with stream(block=2, seed=7, start_step=3) as data:
        batches = [next(data) for _ in range(5)]
        assert iter(data) is data
        assert data.num_records == 10
    rows = [(int(e), int(n)) for batch in batches for e, n in zip(batch["epoch"], batch["number"][:, 0], strict=True)]
    assert rows == [order(position) for position in range(12, 32)]
    assert batches[0]["number"].shape == (4, 2)
    assert batches[0]["number"].dtype == np.int32


def test_an_epoch_may_end_inside_a_batch():
    with stream() as data:
        assert data.steps_per_epoch == 2.5
        batch = [next(data) for _ in range(3)][-1]
    assert batch["epoch"].tolist() == [0, 0, 1, 1]


def test_a_closed_stream_says_so_and_may_be_closed_again():
    data = stream()
    next(data)
    data.close()
    data.close()
    with pytest.raises(InputError, match="this input is closed"):
        next(data)


@pytest.mark.parametrize("reading", [ReadOptions(threads=1), ReadOptions(threads=3, prefetch=4)])
def test_what_loading_raises_arrives(reading):
    def fail(epoch, number):
        raise KeyError(f"record {number}")

    with stream(load=fail, reading=reading) as data, pytest.raises(KeyError, match="record"):
        next(data)


def test_a_saved_state_is_json_and_names_what_changed():
    with stream(start_step=5) as data:
        assert data.state()["step"] == 5
        next(data)
        assert data.state()["step"] == 6
        saved = json.loads(json.dumps(data.state()))
        data.check_state(saved)
    for other, message in (
        (stream(identity="others"), "dataset was 'these' and is 'others' .the records, or the weights"),
        (stream(batch_size=5), "batch_size was 4 and is 5"),
        (stream(block=2), "shuffle_block was 1 and is 2"),
    ):
        with other, pytest.raises(InputError, match=f"cannot resume: {message}"):
            other.check_state(saved)
    with stream() as data, pytest.raises(InputError, match="seed was None and is 0"):
        data.check_state({"dataset": "these"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"process_count": 3}, "batch_size=4: expected a multiple of 3 processes"),
        ({"block": 3}, "shuffle_block=3: expected a divisor of train.batch_size=4"),
        ({"block": 4, "records": 3}, "number of records, which is 3"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        stream(**options)
