"""Tests of splicing against docs/method.md, 1.3: durations, starts, partners, frame sources, and untouched rows."""

import collections
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from svilm_jax.config import ConfigError, SpliceConfig
from svilm_jax.input.splicing import check_splice, draw_partners, draw_spans, fitted_block, splice_batch


def test_spans_are_uniform_over_durations_and_then_over_starts():
    times = 6
    masks = np.asarray(draw_spans(jax.random.key(0), 20_000, times))
    durations = masks.sum(axis=1)
    assert set(durations) == {4, 5}  # U{⌊6/2⌋+1 … 6−1}
    seen = collections.Counter(map(tuple, masks.tolist()))
    for duration in (4, 5):
        starts = times - duration + 1
        for start in range(starts):
            mask = tuple(start <= j < start + duration for j in range(times))
            assert abs(seen.pop(mask) / 20_000 - 1 / 2 / starts) < 0.02
    assert not seen  # whole spans and nothing else


@pytest.mark.parametrize("partner", ["roll", "derangement"])
def test_partners_stay_in_their_block_and_are_never_oneself(partner):
    drawn = set()
    for seed in range(50):
        partners = np.asarray(draw_partners(jax.random.key(seed), 12, SpliceConfig(partner=partner, block=4)))
        assert partners.shape == (3, 4)
        for block in partners:
            assert sorted(block) == [0, 1, 2, 3]
            assert all(p != i for i, p in enumerate(block))
            drawn.add(tuple(block.tolist()))
    assert len(drawn) == (1 if partner == "roll" else 6)  # six round trips through four rows


@pytest.mark.parametrize("partner", ["roll", "derangement"])
def test_frames_are_the_clips_own_inside_the_mask_and_the_partners_outside(partner):
    batch, frames, t = 8, 8, 2
    video = jnp.arange(batch * frames).reshape(batch, frames, 1, 1, 1).astype(jnp.uint8) * jnp.ones(
        (1, 1, 2, 2, 3), jnp.uint8
    )
    config = SpliceConfig(partner=partner, block=4, min_whole_fraction=0.0)
    key = jax.random.key(3)
    out, mask, spliced, _ = splice_batch(key, video, jnp.ones(batch, bool), config, t)
    partners = np.asarray(draw_partners(jax.random.split(key, 3)[1], batch, config))
    assert bool(spliced.all())
    for i, j in itertools.product(range(batch), range(frames)):
        other = i // 4 * 4 + partners[i // 4][i % 4]
        source = i if mask[i, j // t] else other
        assert int(out[i, j, 0, 0, 0]) == source * frames + j


def test_only_a_share_is_spliced_and_the_others_stay_whole():
    video = jnp.arange(400, dtype=jnp.int32).reshape(400, 1, 1, 1, 1) * jnp.ones((1, 8, 1, 1, 1), jnp.int32)
    out, mask, spliced, span = splice_batch(
        jax.random.key(0), video, jnp.ones(400, bool), SpliceConfig(prob=0.25, block=4), 2
    )
    assert 70 < int(spliced.sum()) < 130
    assert bool(mask[~spliced].all())
    np.testing.assert_array_equal(out[~spliced], video[~spliced])
    assert not bool(mask[spliced].all(axis=1).any())
    assert not bool(span.all(axis=1).any())  # also drawn for whole clips
    assert bool((span == mask)[spliced].all())
    assert not bool((out[spliced] == video[spliced]).all(axis=(1, 2, 3, 4)).any())


@pytest.mark.parametrize(("prob", "fraction", "whole"), [(1.0, 0.0625, 4), (1.0, 0.0, 0), (1.0, 0.001, 1)])
def test_some_clips_stay_whole_to_measure_the_index(prob, fraction, whole):
    config = SpliceConfig(prob=prob, min_whole_fraction=fraction, block=4)
    video = jnp.zeros((64, 8, 1, 1, 1), jnp.uint8)
    chosen = set()
    for seed in range(20):
        spliced = np.asarray(splice_batch(jax.random.key(seed), video, jnp.ones(64, bool), config, 2).spliced)
        assert (~spliced).sum() == whole
        chosen |= set(np.flatnonzero(~spliced).tolist())
    assert (len(chosen) > 10) == (whole > 0)


def test_rows_that_did_not_decode_are_neither_foreground_nor_background():
    video = jnp.arange(4, dtype=jnp.uint8).reshape(4, 1, 1, 1, 1) * jnp.ones((1, 8, 2, 2, 3), jnp.uint8)
    valid = jnp.array([True, False, True, True])
    out, mask, spliced, _ = splice_batch(
        jax.random.key(0), video, valid, SpliceConfig(block=4, min_whole_fraction=0.0), 2
    )
    assert spliced.tolist() == [True, False, False, True]  # roll: the second clip is the third one's background
    assert bool(mask[1].all())
    assert bool(mask[2].all())
    assert (np.asarray(out[2]) == 2).all()


@pytest.mark.parametrize(
    ("batch", "pieces", "block"), [(1024, 64, 8), (1024, 256, 4), (24, 4, 6), (64, 1, 8), (7, 1, 7), (11, 1, 1)]
)
def test_a_block_is_fitted_to_the_rows_of_a_device(batch, pieces, block):
    assert fitted_block(SpliceConfig(), batch, pieces).block == block
    assert fitted_block(SpliceConfig(block=2), batch, pieces).block == 2


@pytest.mark.parametrize(
    ("changes", "times", "batch", "pieces", "message"),
    [
        ({"block": 8}, 8, 24, 4, "splice.block=8"),
        ({"block": 1}, 8, 8, 1, "at least 2"),
        ({"block": 4}, 2, 8, 1, "at least 3"),
    ],
)
def test_what_cannot_be_spliced_is_refused(changes, times, batch, pieces, message):
    with pytest.raises(ConfigError, match=message):
        check_splice(SpliceConfig(**changes), times, batch, pieces)
