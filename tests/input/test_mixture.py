"""Tests of mixtures: shares by weight, each dataset in its own order, and the same batches everywhere."""

import contextlib
import copy
import itertools

import numpy as np
import pytest

from svilm_jax.config import ConfigError, InputConfig, TextConfig, VideoConfig, resolve
from svilm_jax.input import schema
from svilm_jax.input.batch_stream import InputError
from svilm_jax.input.mixture import MixtureSampler
from svilm_jax.input.pipeline import TrainInput
from svilm_jax.input.sampler import BlockShuffleSampler
from svilm_jax.text.tokenizers import load_tokenizer

VIDEO = VideoConfig(num_frames=2, image_size=16)
TEXT = TextConfig(max_length=16, phrase_length=10)
TOKENIZER = load_tokenizer("builtin:moving_shapes")


def sampler(weights=(0.9, 0.1), records=(400, 120), block=4, seed=0):
    orders = tuple(BlockShuffleSampler(count, block, seed + 7 * n) for n, count in enumerate(records))
    return MixtureSampler(orders, weights, seed)


def rows(order, start, stop):
    """Returns (epochs, records, datasets) of positions."""
    epochs, records = np.array([order(position) for position in range(start, stop)]).T
    return epochs, records, np.searchsorted(order.offsets, records, side="right") - 1


@pytest.mark.parametrize("weights", [(0.9, 0.1), (3, 1), (2.0, 2.0), (0.5, 0.3, 0.2)])
def test_shares_are_the_weights(weights):
    order = sampler(weights, (400, 120, 64)[: len(weights)])
    _, _, sources = rows(order, 0, 4000)  # one round of 1,000 blocks
    exact = np.array(weights) / sum(weights)
    assert np.bincount(sources) / 4000 == pytest.approx(exact, abs=1e-3)
    epoch = rows(order, 0, order.epoch_length)[2]
    assert np.bincount(epoch) / len(epoch) == pytest.approx(exact, abs=0.01)


def test_every_batch_has_nearly_the_same_shares():
    _, _, sources = rows(sampler(), 0, 8000)
    per_batch = sources.reshape(-1, 80).sum(axis=1)  # of the second dataset; 8 expected, in blocks of 4
    assert set(per_batch) <= {0, 4, 8, 12, 16}
    assert np.mean((per_batch >= 4) & (per_batch <= 12)) > 0.95


def test_each_dataset_is_read_in_its_own_order():
    order = sampler()
    epochs, records, sources = rows(order, 0, 12_000)
    for source, alone in enumerate(order.sources):
        mine = sources == source
        found = list(zip(epochs[mine].tolist(), (records[mine] - order.offsets[source]).tolist(), strict=True))
        assert found == [alone(position) for position in range(len(found))]
        assert len(found) > 2 * alone.epoch_length  # several epochs, without a gap
    blocks = sources.reshape(-1, 4)
    assert (blocks == blocks[:, :1]).all()


def test_a_position_needs_no_earlier_one():
    order, fresh = sampler(seed=3), sampler(seed=3)
    far = 10**12 // 4 * 4
    assert [fresh(far + i) for i in range(8)] == [copy.deepcopy(order)(far + i) for i in range(8)]
    assert order.rows_before(4 * 10**9) == (9 * 4 * 10**8, 4 * 10**8)


def test_rows_before_a_position_are_counted():
    order = sampler((0.7, 0.2, 0.1), (100, 60, 40), block=2)
    sources = rows(order, 0, 3000)[2]
    for position in (0, 2, 64, 1998, 2000, 2500):
        assert order.rows_before(position) == tuple(np.bincount(sources[:position], minlength=3))


def test_rounds_and_seeds_are_arranged_anew():
    seen = {tuple(rows(sampler(seed=seed), 4000 * turn, 4000 * turn + 400)[2]) for seed in range(3) for turn in (0, 1)}
    assert len(seen) == 6


def test_one_dataset_is_read_as_without_a_mixture():
    alone = BlockShuffleSampler(50, 4, 5)
    mixed = MixtureSampler((alone,), (3.0,), 5)
    assert [mixed(position) for position in range(5000)] == [alone(position) for position in range(5000)]


def test_a_weight_that_would_vanish_is_refused():
    with pytest.raises(ValueError, match=r"a weight is 0.0001 of their sum: expected at least 0.001"):
        sampler((0.9999, 0.0001))


@pytest.fixture
def make(numbered, moving_shapes):
    """Makes inputs over the numbered clips and moving shapes, closed at the end of the test."""
    with contextlib.ExitStack() as stack:

        def build(batch_size=8, start_step=0, process=(0, 1), first=None, second=None, **options):
            mixture = {
                "numbered": {"dataset": str(numbered), "weight": 3.0, **(first or {})},
                "shapes": {"dataset": str(moving_shapes), **(second or {})},
            }
            config = resolved(mixture=mixture, shuffle_block=2, threads=1, **options)
            index, count = process
            data = TrainInput(config, VIDEO, TEXT, TOKENIZER, batch_size=batch_size, seed=1,
                              start_step=start_step, process_index=index, process_count=count)  # fmt: skip
            return stack.enter_context(data)

        yield build


def resolved(**options) -> InputConfig:
    return resolve({"input": options}).input


def take(data, count):
    return [next(data) for _ in range(count)]


def same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert np.array_equal(first[name], second[name]), name


def test_batches_resume_exactly_and_do_not_depend_on_processes_or_workers(make):
    whole = take(make(), 6)
    assert {int(i) // 24 > 0 for batch in whole for i in batch["index"]} == {True, False}
    for expected, batch in zip(whole[2:], take(make(start_step=2), 4), strict=True):
        same(expected, batch)
    for count in (2, 4):
        parts = [take(make(process=(p, count)), 3) for p in range(count)]
        for step, batch in enumerate(whole[:3]):
            same(batch, {name: np.concatenate([part[step][name] for part in parts]) for name in batch})
    for expected, batch in zip(whole[:3], take(make(workers=2), 3), strict=True):
        same(expected, batch)


def test_shares_are_logged(make):
    data = make()
    found = data.scalars(3)
    assert list(found) == ["mixture/numbered", "mixture/shapes"]
    indices = np.concatenate([batch["index"] for batch in take(data, 3)])
    assert found["mixture/shapes"] == np.mean(indices >= 24)
    assert data.scalars(500)["mixture/numbered"] == pytest.approx(0.75, abs=1e-3)


def test_every_dataset_has_its_own_texts(make):
    batches = take(make(second={"prompts": ("see {}",), "text": "paragraph"}), 4)
    starts = {"numbered": set(), "shapes": set()}
    for batch, row in itertools.product(batches, range(8)):
        if batch["noun_mask"][row, 0]:
            phrase = TOKENIZER.decode(batch["nouns"][row, 0])
            starts["numbered" if batch["index"][row] < 24 else "shapes"].add(" ".join(phrase.split()[:3]))
    assert starts["numbered"] == {"a video of"}
    assert all(not start.startswith("a video of") for start in starts["shapes"])


def test_a_resumed_run_refuses_other_weights(make):
    saved = make().state()
    make().check_state(saved)
    for change in ({"first": {"weight": 2.0}}, {"second": {"split": "test"}}, {"second": {"text": "paragraph"}}):
        with pytest.raises(InputError, match="or the weights of a mixture"):
            make(**change).check_state(saved)


def test_failures_name_the_dataset(make, monkeypatch):
    read = schema.from_example

    def damaged(example):
        record = read(example)
        if record.captions and record.captions[0].text.endswith("floor 5"):
            raise ValueError("cut off")
        return record

    monkeypatch.setattr(schema, "from_example", damaged)
    data = make(max_failure_fraction=1.0)
    batches = take(data, 6)
    assert list(data.failures) == ["numbered: record 5"]
    assert "is damaged (ValueError: cut off)" in data.failures["numbered: record 5"]
    assert {int(batch["index"][row]) for batch in batches for row in np.flatnonzero(~batch["valid"])} == {5}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"second": {"weight": 1e-5}}, "config.input.mixture: a weight is"),
        ({"first": {"dataset": ""}}, "config.input.mixture.numbered.dataset='': expected the folder"),
        ({"first": {"text": "sentences"}}, "config.input.mixture.numbered.text='sentences' with config.input.text="),
        ({"first": {"wieght": 1.0}}, "config.input.mixture.numbered.wieght: no such key; did you mean 'weight'?"),
    ],
)
def test_mistakes_are_refused(make, options, message):
    with pytest.raises(ConfigError, match=message.replace("(", r"\(").replace("?", r"\?")):
        make(**options)
