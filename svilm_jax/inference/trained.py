"""Trained model for inference: embeddings of videos and sentences, and phrase grounding."""

import dataclasses
import functools
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from svilm_jax.config import Config, ConfigError
from svilm_jax.inference.encoding import Encoder
from svilm_jax.inference.fingerprint import Fingerprint, model_fingerprint
from svilm_jax.inference.heat_maps import heat_maps, resolve_block, resolve_readout
from svilm_jax.inference.videos import Video, read_clip
from svilm_jax.input.clips import decoded_ahead
from svilm_jax.input.text_review import TextReview, review_text
from svilm_jax.input.tokenization import Tokenizer
from svilm_jax.models.parameters import parameters
from svilm_jax.models.svilm import SVILM

BATCH_SIZE = 16  # clips at once, at most
_DECODERS = 2  # threads that decode ahead of the model


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedModel:
    """A trained model with what belongs to it; `svilm_jax.load` makes one.

    Attributes:
      model: the Flax module with its parameters.
      config: of its training; what it takes is in `config.model`.
      tokenizer: of its text tower.
      step: training steps that it took.
      grounding_block: the grouping block that points best, as its validation split said, from 1; 0: the last.
      fresh: starts of the names of parameters that were never trained (of an import of some towers).
    """

    model: SVILM
    config: Config
    tokenizer: Tokenizer
    step: int
    grounding_block: int = 0
    fresh: tuple[str, ...] = ()

    @functools.cached_property
    def encoder(self) -> Encoder:
        """Compiled once for every power of two of clips up to `BATCH_SIZE`."""
        if self.config.task != "video_text":
            raise ConfigError(f"a model of task {self.config.task!r} has no towers: load the one that it was made from")
        return Encoder(self.model, self.config, self.tokenizer, batch_size=BATCH_SIZE, fill=False)

    @functools.cached_property
    def fingerprint(self) -> Fingerprint:
        """What tells this model from every other: of its parameters, its model config and its tokenizer."""
        return model_fingerprint(parameters(self.model), self.config, self.tokenizer)

    @property
    def warning(self) -> str:
        """A sentence for whoever asks a model that was imported and not trained since; "" else."""
        if not self.fresh:
            return ""
        return f"{len(self.fresh)} of its parameters were never trained: what it finds is noise; train it first"

    def embed_video(self, videos: Sequence[Video] | Video) -> np.ndarray:
        """Clips in the joint space.

        Args:
          videos: paths of files or their bytes, or arrays uint8 [T, h, w, 3], RGB, of any number of frames and any
            size; or one of these. As in evaluation, frames are taken in the middle of equal segments, and of each the
            largest square in the middle.

        Returns:
          float32 [N, C], L2-normalised: the product with `embed_text` is the cosine.

        Raises:
          VideoError: a file that cannot be read, by name.
          ValueError: an array of another kind; the message gives its shape and dtype.
        """
        readings = self.encoder.videos(self._clips(videos), ("embedding",))
        rows = [reading["embedding"] for reading in readings]
        return np.stack(rows) if rows else np.zeros((0, self.config.model.embed_dim), np.float32)

    def embed_text(self, texts: Sequence[str] | str) -> np.ndarray:
        """Sentences (or one of them) in the joint space: float32 [N, C], L2-normalised.

        Words that the vocabulary lacks and tokens beyond `config.model.text.length` do not count; `review_text` says
        which those are.
        """
        return self.encoder.texts([texts] if isinstance(texts, str) else list(texts))

    def review_text(self, text: str, phrase: bool = False) -> TextReview:
        """What of a text `embed_text` (or of a phrase, `ground`) reads: unknown words, and tokens that are cut."""
        lengths = self.config.model.text
        if phrase:
            # Those of the prompt are known; only the room that it takes matters.
            prompt = len(self.tokenizer.pieces(self.config.input.prompts[0].format("")))
            return review_text(self.tokenizer, text, max(2, (lengths.noun_length or lengths.length) - prompt))
        return review_text(self.tokenizer, text, lengths.length)

    def ground(self, video: Video, phrase: str, block: int | None = None) -> "GroundedPhrase":
        """Where a phrase is in a clip.

        Args:
          video: as of `embed_video`.
          phrase: such as "a red ball"; it is put into the first prompt of training.
          block: the grouping block that is read, from 1, 0 for the last; None: `grounding_block`.

        Raises:
          VideoError, ValueError: as `embed_video`.
          ConfigError: the model has no such block.
        """
        model = self.config.model
        index = resolve_block(self.grounding_block if block is None else block, model.grouping)
        readout = resolve_readout("auto", model.grouping.assignment)
        (clip,) = self._clips([video])
        (reading,) = self.encoder.videos([clip], ("group_embedding", "logits", "assignments"))
        embedded = self.encoder.phrases([phrase])
        heat, mass, matched = heat_maps(reading, embedded, readout, 1.0, index)
        similarity = float(embedded[0] @ reading["group_embedding"][matched[0]])
        return GroundedPhrase(clip, heat[0], mass[0], similarity, model.video.tubelet)

    def _clips(self, videos: Sequence[Video] | Video) -> Iterator[np.ndarray]:
        one = isinstance(videos, (str, Path, bytes)) or (isinstance(videos, np.ndarray) and videos.ndim == 4)
        several = [videos] if one else typing.cast(Sequence[Video], videos)
        tasks = ((video,) for video in several)
        yield from decoded_ahead(lambda video: read_clip(video, self.config.model.video), tasks, _DECODERS, 2)


@dataclasses.dataclass(frozen=True)
class GroundedPhrase:
    """A phrase in a clip.

    Attributes:
      frames: uint8 [T, H, W, 3], what the model saw.
      heat: float32 [Nt, h, w], larger where the phrase is; comparable over the clip, not between clips.
      mass: float32 [Nt, h, w] in [0, 1]: the probability that a patch belongs to the group that matches the phrase.
      similarity: cosine of the phrase and that group; low where the phrase is not there at all.
      tubelet: frames, rows and columns of pixels that one number of `heat` stands for.
    """

    frames: np.ndarray
    heat: np.ndarray
    mass: np.ndarray
    similarity: float
    tubelet: tuple[int, int, int]

    def per_frame(self) -> np.ndarray:
        """The heat map of every frame, float32 [T, H, W] in [0, 1] over the clip, in steps of a patch."""
        low, high = float(self.heat.min()), float(self.heat.max())
        scaled = (self.heat - low) / max(high - low, 1e-6)
        for axis, times in enumerate(self.tubelet):
            scaled = scaled.repeat(times, axis)
        return scaled.astype(np.float32)  # [T, H, W]
