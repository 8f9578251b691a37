"""Tests of the index sampler: a block permutation in each epoch, and a function of seed and position alone."""

import numpy as np
import pytest

from svilm_jax.input.sampler import BlockShuffleSampler, clip_rng


def epoch(order: BlockShuffleSampler, number: int) -> list[int]:
    positions = range(number * order.epoch_length, (number + 1) * order.epoch_length)
    entries = [order(position) for position in positions]
    assert {e for e, _ in entries} == {number}
    return [index for _, index in entries]


@pytest.mark.parametrize(("records", "block"), [(1, 1), (7, 1), (64, 8), (50, 8), (30, 3), (5000, 1)])
def test_each_epoch_is_a_permutation(records, block):
    order = BlockShuffleSampler(records, block, 0)
    assert order.epoch_length == records // block * block
    for number in (0, 1, 5):
        assert sorted(epoch(order, number)) == list(range(order.epoch_length))


def test_epochs_and_seeds_differ():
    orders = [epoch(BlockShuffleSampler(96, 8, seed), number) for seed in range(3) for number in range(3)]
    assert len({tuple(o) for o in orders}) == 9


def test_blocks_stay_together_and_are_shuffled_inside():
    order = BlockShuffleSampler(64, 8, 3)
    inside = set()
    for number in range(4):
        blocks = np.array(epoch(order, number)).reshape(-1, 8)
        assert all(len(set(row // 8)) == 1 for row in blocks)
        inside |= {tuple(row % 8) for row in blocks}
    assert len(inside) > 25


def test_every_block_reaches_every_place():
    order = BlockShuffleSampler(16, 2, 0)
    places = np.zeros((8, 8))
    for number in range(400):
        for place, index in enumerate(epoch(order, number)[::2]):
            places[place, index // 2] += 1
    assert places.min() > 25  # 50 expected
    assert places.max() < 80


def test_long_permutations_take_no_memory():
    order = BlockShuffleSampler(10**12, 4, 0)
    assert len({order(position)[1] for position in range(1000)}) == 1000


def test_clip_randomness_depends_on_seed_epoch_and_record():
    draws = [clip_rng(*key).random() for key in [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)]]
    assert len(set(draws)) == 4
    assert clip_rng(0, 0, 1).random() == draws[1]


def test_block_larger_than_the_dataset():
    with pytest.raises(ValueError, match="shuffle_block=8"):
        BlockShuffleSampler(7, 8, 0)
