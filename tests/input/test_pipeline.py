"""Tests of the input pipeline: batch contract, and batches as a function of seed and position alone."""

import contextlib
import logging

import numpy as np
import pytest

from svilm_jax.config import ConfigError, InputConfig, TextConfig, VideoConfig
from svilm_jax.input import schema
from svilm_jax.input.pipeline import InputError, TrainInput
from svilm_jax.input.records import DatasetError
from svilm_jax.text.tokenizers import load_tokenizer

VIDEO = VideoConfig(num_frames=4, image_size=32)
TEXT = TextConfig(max_length=16, phrase_length=10)
TOKENIZER = load_tokenizer("builtin:moving_shapes")


@pytest.fixture
def make(numbered):
    """Makes inputs over the numbered clips, closed at the end of the test."""
    with contextlib.ExitStack() as stack:

        def build(batch_size=8, seed=0, start_step=0, process=(0, 1), text=TEXT, **options):
            config = InputConfig(**{"dataset": str(numbered), "shuffle_block": 4, **options})
            index, count = process
            data = TrainInput(config, VIDEO, text, TOKENIZER, batch_size=batch_size, seed=seed,
                              start_step=start_step, process_index=index, process_count=count)  # fmt: skip
            return stack.enter_context(data)

        yield build


def take(data, count):
    return [next(data) for _ in range(count)]


def same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert first[name].dtype == second[name].dtype
        assert np.array_equal(first[name], second[name]), name


def test_batch_contract(make):
    batch = next(make())
    expected = {
        "video": ((8, 4, 32, 32, 3), np.uint8),
        "text": ((8, 16), np.int32),
        "text_mask": ((8, 16), np.bool_),
        "nouns": ((8, 2, 10), np.int32),
        "noun_mask": ((8, 2), np.bool_),
        "valid": ((8,), np.bool_),
        "index": ((8,), np.int64),
    }
    assert {name: (array.shape, array.dtype.type) for name, array in batch.items()} == expected
    assert batch["valid"].all()
    assert np.array_equal(batch["text_mask"], batch["text"] != TOKENIZER.pad_id)
    assert next(make(text=TextConfig(max_length=16)))["nouns"].shape == (8, 2, 16)


def test_rows_belong_together(make):
    for batch in take(make(random_crop=False, flip=False), 3):
        for row in range(8):
            caption = TOKENIZER.decode(batch["text"][row])
            phrases = [TOKENIZER.decode(ids) for ids in batch["nouns"][row][batch["noun_mask"][row]]]
            if caption.startswith("a red square over floor"):
                assert int(caption.split()[-1]) == batch["index"][row]
                assert phrases == ["a video of a red square", f"a video of floor {batch['index'][row]}"]
            else:
                assert phrases == ["a video of one thing"]
            stripe = batch["video"][row, :, -3:, :, 2].mean()
            assert abs(stripe - 5 * batch["index"][row]) < 6


def test_every_epoch_holds_every_record_once_in_blocks(make):
    data = make()
    assert data.num_records == 24
    assert data.steps_per_epoch == 3.0
    for _ in range(2):
        indices = np.concatenate([batch["index"] for batch in take(data, 3)])
        assert sorted(indices) == list(range(24))
        assert all(len(set(block // 4)) == 1 for block in indices.reshape(-1, 4))


def test_resuming_continues_exactly(make):
    whole = take(make(), 6)
    resumed = make(start_step=2)
    assert resumed.state()["step"] == 2
    for expected, batch in zip(whole[2:], take(resumed, 4), strict=True):
        same(expected, batch)


def test_the_same_whatever_threads_cache_and_prefetch(make):
    expected = take(make(threads=1), 6)
    for options in ({"threads": 3, "prefetch": 5}, {"cache_bytes": 10**8}, {"cache_bytes": 200_000}):
        for first, second in zip(expected, take(make(**options), 6), strict=True):
            same(first, second)


def test_the_global_batch_does_not_depend_on_processes(make):
    for count in (2, 4):
        parts = [take(make(process=(p, count)), 3) for p in range(count)]
        for step, batch in enumerate(take(make(), 3)):
            joined = {name: np.concatenate([part[step][name] for part in parts]) for name in batch}
            same(batch, joined)


def test_worker_processes_change_nothing(make):
    expected = take(make(), 5)
    data = make(workers=2, threads=1)
    for first, second in zip(expected, take(data, 5), strict=True):
        same(first, second)
    data.close()
    with pytest.raises(InputError, match="closed"):
        next(data)


def test_epochs_and_seeds_draw_anew(make):
    first, *_, again = take(make(shuffle_block=1, batch_size=24), 2)
    other = next(make(shuffle_block=1, batch_size=24, seed=1))
    rows = [batch["video"][np.argsort(batch["index"])] for batch in (first, again, other)]
    assert not np.array_equal(first["index"], again["index"])
    assert not np.array_equal(first["index"], other["index"])
    assert (rows[0] != rows[1]).any((1, 2, 3, 4)).mean() > 0.9
    assert (rows[0] != rows[2]).any((1, 2, 3, 4)).mean() > 0.9


def test_flips_only_where_the_texts_allow(make, monkeypatch):
    def flipped(data):
        # The red square stands in the left upper corner, unless mirrored.
        video = np.concatenate([batch["video"] for batch in take(data, 6)])
        return (video[:, 0, 3, -3, 0] > 150).mean()

    assert 0.25 < flipped(make(random_crop=False, shuffle_block=1)) < 0.75
    assert flipped(make(random_crop=False, flip=False)) == 0
    monkeypatch.setattr("svilm_jax.input.example.mentions_side", lambda texts: True)
    assert flipped(make(random_crop=False)) == 0


def test_a_broken_clip_is_masked_counted_and_named_once(make, caplog):
    with caplog.at_level(logging.WARNING):
        data = make(split="mixed", batch_size=6, shuffle_block=1, max_failure_fraction=0.5)
        batches = take(data, 3)
    for batch in batches:
        broken = batch["index"] == 2
        assert np.array_equal(batch["valid"], ~broken)
        assert not batch["video"][broken].any()
        assert not batch["noun_mask"][broken].any()
        assert batch["video"][~broken].any((1, 2, 3, 4)).all()
    assert list(data.failures) == ["clip2"]
    assert "cannot be read" in data.failures["clip2"]
    assert len([r for r in caplog.records if "clip2" in r.getMessage()]) == 1


@pytest.mark.parametrize("workers", [0, 1])
def test_too_many_broken_clips_stop_training(make, workers):
    data = make(split="mixed", batch_size=6, shuffle_block=1, max_failure_fraction=0.1, workers=workers)
    with pytest.raises(InputError, match=r"1 of 6 clips .*max_failure_fraction=0\.1: clip2: cannot be read"):
        next(data)


def test_saved_state_is_checked(make, numbered):
    data = make()
    saved = data.state()
    take(data, 2)
    assert data.state() == {**saved, "step": 2}
    make(start_step=2).check_state(data.state())
    for other, message in [
        (make(seed=1), "seed was 0 and is 1"),
        (make(batch_size=4), "batch_size was 8 and is 4"),
        (make(shuffle_block=2), "shuffle_block was 4 and is 2"),
        (make(split="validation", batch_size=4), "dataset was"),
    ]:
        with pytest.raises(InputError, match=f"cannot resume: {message}"):
            other.check_state({**saved, "batch_size": 4} if "dataset" in message else saved)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 6}, "shuffle_block=4"),
        ({"process": (0, 3)}, "multiple of 3 processes"),
        ({"cache_bytes": 10, "workers": 1}, "cache of their own"),
        ({"shuffle_block": 32, "batch_size": 32}, "number of records, which is 24"),
        ({"prompts": ("no place",)}, "exactly one"),
    ],
)
def test_settings_that_do_not_fit_are_refused(make, options, message):
    with pytest.raises(ConfigError, match=message):
        make(**options)


def test_no_dataset(make):
    with pytest.raises(DatasetError, match="no dataset given"):
        make(dataset="")


def test_batches_of_real_shapes(moving_shapes):
    config = InputConfig(dataset=str(moving_shapes), cache_bytes=10**8, shuffle_block=2)
    tokenizer = load_tokenizer("dataset", dataset=moving_shapes)
    with TrainInput(config, VideoConfig(num_frames=8, image_size=48), TEXT, tokenizer, batch_size=8, seed=0) as data:
        batch = next(data)
    assert batch["valid"].all()
    assert not (batch["text"] == tokenizer.unk_id).any()


@pytest.mark.parametrize("cache_bytes", [0, 2**20])
def test_a_damaged_record_is_left_out_counted_and_named(make, monkeypatch, cache_bytes):
    whole = schema.from_example

    def damaged(example):
        record = whole(example)
        if record.id == victim:
            raise ValueError("cut off")
        return record

    data = make(max_failure_fraction=1.0, cache_bytes=cache_bytes)
    victim = data._parts[0].records[5].id
    monkeypatch.setattr(schema, "from_example", damaged)
    rows = [row for batch in take(data, data.num_records // 8) for row in zip(*batch.values(), strict=True)]
    names = ("video", "text", "text_mask", "nouns", "noun_mask", "valid", "index")
    broken = [dict(zip(names, row, strict=True)) for row in rows if row[-1] == 5]
    assert broken
    for row in broken:
        assert not row["valid"]
        assert not row["video"].any()
        assert not row["noun_mask"].any()
    assert all(row[-2] for row in rows if row[-1] != 5)
    assert list(data.failures) == ["record 5"]
    assert "is damaged (ValueError: cut off)" in data.failures["record 5"]
