"""Phrase grounding evaluator: pointing game and region overlap on clips with at least two objects.

How a phrase gets its group m* and its heat map is defined in `svilm_jax/inference/heat_maps.py`. The point is the
strongest patch, refined by the assignment weights of m* in its neighborhood (see `pointing`). The region of a phrase is
the set of tokens that are assigned to m*, whatever the readout.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from svilm_jax.config import Config, ConfigError
from svilm_jax.config.constraints import CountOrZero, LocalPath, Temperature, Text
from svilm_jax.config.grades import Chosen
from svilm_jax.evaluation.clips import EvaluationClips, EvaluationError, object_masks
from svilm_jax.evaluation.grounding.pointing import PointingGame
from svilm_jax.evaluation.grounding.regions import RegionOverlap
from svilm_jax.evaluation.metric import Metric
from svilm_jax.evaluation.section import Section
from svilm_jax.inference.encoder import Encoder
from svilm_jax.inference.heat_maps import Readout, heat_maps, resolve_block, resolve_readout


@dataclasses.dataclass(frozen=True)
class GroundingOptions:
    """Options of phrase grounding.

    Attributes:
      dataset: folder of a prepared dataset; "": `config.input.dataset`.
      split: split of it, with masks.
      limit: use the first N clips; 0: all.
      readout: see `heat_maps`; auto: the official one of the config's assignment.
      block: the grouping block whose affinities are read, from 1; 0: the last. Tokens mix with every layer: an earlier
        block may localize better.
      block_split: read the block with the most hits on this split instead; never `split`; "": use `block`.
      temperature: temperature of `similarity_weighted`; default as in the spatial grounding loss.
      prefix: prefix of the metric names.
    """

    dataset: Chosen[LocalPath] = ""
    split: Chosen[Text] = "test"
    limit: Chosen[CountOrZero] = 0
    readout: Chosen[Readout] = "auto"
    block: Chosen[CountOrZero] = 0
    block_split: Chosen[str] = ""
    temperature: Chosen[Temperature] = 0.07
    prefix: Chosen[Text] = "grounding"


class GroundingEvaluator:
    """Pointing game and region overlap, with phrase-blind baselines."""

    READ = ("group_embedding", "logits", "assignments")
    SECTION = Section(
        "Spatial grounding",
        "Localization of noun phrases, on clips with at least two objects. The phrase-blind baseline always points at "
        "an object but ignores the phrase; the ceiling is that of the patch grid.",
        headline="pointing_game",
    )

    def __init__(self, options: GroundingOptions, config: Config):
        self.options = options
        if options.block_split and (options.block or options.block_split == options.split):
            raise ConfigError(
                f"grounding block_split={options.block_split!r}: expected a split other than {options.split!r}, which "
                "is reported, and no block in addition"
            )
        self._dataset, self._video = options.dataset or config.input.dataset, config.model.video
        self._readout = resolve_readout(options.readout, config.model.grouping.assignment)
        self._block = resolve_block(options.block, config.model.grouping)
        self._blocks = range(len(config.model.grouping.after_layers))
        for split in filter(None, (options.split, options.block_split)):
            self.clips(split)

    def clips(self, split: str = "") -> EvaluationClips:
        """Returns the clips of a split, "" for the reported one; clips with fewer than two objects are skipped."""
        return EvaluationClips(self._dataset, split or self.options.split, self.options.limit, self._video)

    def chosen_block(self, encoder: Encoder) -> int:
        """Returns the index of the block to read, -1 for the last; selected on `block_split` if there is one."""
        if not self.options.block_split:
            return self._block
        games = [game for game, _ in self._play(encoder, self.clips(self.options.block_split), self._blocks)]
        return max(self._blocks, key=lambda block: (games[block].hits, -block))

    def run(self, encoder: Encoder) -> Iterator[Metric]:
        """Yields the metrics that `pointing` and `regions` define.

        `block`: the number of the block that is read, if it was selected.
        """
        clips, prefix, block = self.clips(), self.options.prefix, self.chosen_block(encoder)
        ((game, overlap),) = self._play(encoder, clips, (block,))
        yield from game.metrics(prefix)
        yield from overlap.metrics(prefix)
        if self.options.block_split:
            yield Metric(f"{prefix}/block", float(block + 1), label="grouping block used, selected on another split")
        yield clips.failed_fraction(prefix)

    def _play(
        self, encoder: Encoder, clips: EvaluationClips, blocks: Sequence[int]
    ) -> list[tuple[PointingGame, RegionOverlap]]:
        """Computes both scores over the clips, for each block."""
        scenes: list[tuple[list[str], np.ndarray]] = []

        def frames() -> Iterator[np.ndarray]:
            for _, clip in clips.read(clips.numbers):
                scene = object_masks(clip)
                if scene is not None and len(scene[0]) > 1:
                    scenes.append(scene)
                    yield clip.frames

        known = list(dict.fromkeys(item.phrase for n in clips.numbers for item in clips.records[n].objects))
        embedded = dict(zip(known, encoder.phrases(known), strict=True))
        scores, clips_scored = [(PointingGame(), RegionOverlap()) for _ in blocks], 0
        for reading in encoder.videos(frames(), self.READ):
            # Outputs arrive a batch after the clips were taken: scenes wait in a queue until they are scored.
            phrases, masks = scenes.pop(0)
            queries = np.stack([embedded[phrase] for phrase in phrases])  # [K, C]
            for block, (game, overlap) in zip(blocks, scores, strict=True):
                heat, mass, matched = heat_maps(reading, queries, self._readout, self.options.temperature, block)
                game.add(heat, mass, masks, self._video.tubelet_size)
                overlap.add(reading["assignments"][block].argmax(axis=0), matched, masks, self._video.tubelet_size)
            clips_scored += 1
        if not clips_scored:
            raise EvaluationError(f"split {clips.split!r}: no decodable clip with masks of two objects or more")
        return scores
