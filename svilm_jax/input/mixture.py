"""Mixture of datasets: its order, a pure function of weights, seed and position, and the loader of its clips.

The rows of a mixture are numbered through: those of the first dataset, then those of the second, and so on.
"""

import bisect
import dataclasses
import functools
import itertools
from collections.abc import Sequence

import numpy as np

from svilm_jax.input.batch_stream import Batch
from svilm_jax.input.example import ClipLoader
from svilm_jax.input.sampler import MIXTURE, BlockShuffleSampler
from svilm_jax.input.schema import Record

# Blocks per round, in which every dataset has its exact number of blocks: weights are kept to half a thousandth.
ROUND = 1000


@dataclasses.dataclass(frozen=True)
class MixtureSampler:
    """Order of a mixture: blocks of consecutive records, each from one dataset.

    The blocks of a round of 1,000 are divided among the datasets by weight (largest remainders), and those of one
    dataset are spread evenly over the round, each at a random place of its own interval. Small parts of the stream,
    such as a batch, therefore have nearly the same proportions. Every dataset is read in its own shuffled order, epoch
    after epoch, whatever the others do.

    Attributes:
      sources: order of each dataset, all with the same block.
      weights: positive weight of each dataset; only their ratios matter.
      seed: random seed of the experiment.
    """

    sources: tuple[BlockShuffleSampler, ...]
    weights: tuple[float, ...]
    seed: int

    def __post_init__(self) -> None:
        if len({source.block for source in self.sources}) != 1 or len(self.sources) != len(self.weights):
            raise ValueError("a mixture needs one weight per dataset and the same block in all of them")
        if 0 in (counts := self.blocks_per_round):
            small = self.weights[counts.index(0)] / sum(self.weights)
            raise ValueError(f"a weight is {small:.2g} of their sum: expected at least {1 / ROUND}")

    @property
    def records(self) -> int:
        """Number of records of all datasets."""
        return sum(source.records for source in self.sources)

    @property
    def block(self) -> int:
        """Consecutive records that stay together."""
        return self.sources[0].block

    @property
    def epoch_length(self) -> int:
        """Number of rows that are called an epoch: as many as all datasets together have in one epoch each."""
        return sum(source.epoch_length for source in self.sources)

    @functools.cached_property
    def blocks_per_round(self) -> tuple[int, ...]:
        """Number of blocks of each dataset in a round."""
        exact = np.asarray(self.weights) / sum(self.weights) * ROUND
        counts = np.floor(exact).astype(int)
        largest = np.argsort(counts - exact, kind="stable")  # largest remainder first
        counts[largest[: ROUND - counts.sum()]] += 1
        return tuple(counts.tolist())

    @functools.cached_property
    def offsets(self) -> tuple[int, ...]:
        """Number of the first record of each dataset in the mixture."""
        return tuple(itertools.accumulate((source.records for source in self.sources[:-1]), initial=0))

    def __call__(self, position: int) -> tuple[int, int]:
        """Returns (epoch of the dataset, record number in the mixture) at a stream position, from 0."""
        block, inside = divmod(position, self.block)
        turn, place = divmod(block, ROUND)
        sources, ranks = _arranged(self.blocks_per_round, self.seed, turn)
        source = int(sources[place])
        own = (turn * self.blocks_per_round[source] + int(ranks[place])) * self.block + inside
        epoch, record = self.sources[source](own)
        return epoch, self.offsets[source] + record

    def rows_before(self, position: int) -> tuple[int, ...]:
        """Returns the number of rows of each dataset before a position that starts a block."""
        turn, place = divmod(position // self.block, ROUND)
        sources, _ = _arranged(self.blocks_per_round, self.seed, turn)
        started = np.bincount(sources[:place], minlength=len(self.sources))
        return tuple(
            (turn * count + int(more)) * self.block for count, more in zip(self.blocks_per_round, started, strict=True)
        )


class MixtureLoader:
    """Loads a record of a mixture into a row of a batch, by the loader of its dataset. Picklable, as those are."""

    def __init__(self, loaders: Sequence[ClipLoader], offsets: Sequence[int]):
        self._loaders, self._offsets = tuple(loaders), tuple(offsets)

    def __call__(self, epoch: int, index: int) -> Batch:
        """Returns the row of record `index` of the mixture, in epoch `epoch` of its dataset."""
        source = source_of(index, self._offsets)
        row = self._loaders[source](epoch, index - self._offsets[source])
        return {**row, "index": np.array(index, np.int64)}

    def failure(self, index: int, record: Record) -> str | None:
        """Returns why record `index` cannot be used, or None if it can."""
        return self._loaders[source_of(index, self._offsets)].failure(record)


def source_of(index: int, offsets: Sequence[int]) -> int:
    """Returns which dataset has record `index` of the mixture."""
    return bisect.bisect_right(offsets, index) - 1


@functools.lru_cache(maxsize=64)
def _arranged(counts: tuple[int, ...], seed: int, turn: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the dataset of each block of a round [ROUND], and its rank among those of its dataset [ROUND]."""
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, MIXTURE, turn))))
    places = np.concatenate([(np.arange(count) + rng.random(count)) / count for count in counts])
    order = np.argsort(places, kind="stable")
    sources = np.repeat(np.arange(len(counts)), counts)[order]
    ranks = np.concatenate([np.arange(count) for count in counts])[order]
    return sources, ranks
