"""Trained model for inference: embeddings of videos and sentences, and phrase grounding."""

import dataclasses
import functools
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from svilm_jax.config import Config, ConfigError
from svilm_jax.inference.clip_input import Video, read_clip
from svilm_jax.inference.encoder import Encoder
from svilm_jax.inference.fingerprint import Fingerprint, model_fingerprint
from svilm_jax.inference.heat_maps import heat_maps, resolve_block, resolve_readout
from svilm_jax.input.clips import decoded_ahead
from svilm_jax.models.parameters import parameters
from svilm_jax.models.svilm import SVILM
from svilm_jax.text.review import TextReview, review_text
from svilm_jax.text.tokenizers import Tokenizer

BATCH_SIZE = 16  # maximum number of clips per batch
_DECODERS = 2  # threads that decode ahead of the model


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedModel:
    """A trained model with its config and tokenizer, created by `svilm_jax.load`.

    Attributes:
      model: the Flax module with its parameters.
      config: of its training; its inputs are specified by `config.model`.
      tokenizer: of its text tower.
      step: number of training steps.
      grounding_block: the grouping block selected for pointing on the validation split, from 1; 0: the last.
      fresh: name prefixes of parameters that were never trained (of an import of some towers).
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
        if self.config.task == "localization":
            raise ConfigError(f"a model of task {self.config.task!r} has no towers: load the model of its features")
        return Encoder(self.model, self.config, self.tokenizer, batch_size=BATCH_SIZE, fill=False)

    @functools.cached_property
    def fingerprint(self) -> Fingerprint:
        """Fingerprint of parameters, model config and tokenizer."""
        return model_fingerprint(parameters(self.model), self.config, self.tokenizer)

    @property
    def warning(self) -> str:
        """Warning about a model that was imported and not trained since; "" otherwise."""
        if not self.fresh:
            return ""
        return f"{len(self.fresh)} of its parameters are untrained: results are meaningless; train the model first"

    def embed_video(self, videos: Sequence[Video] | Video) -> np.ndarray:
        """Embeds clips in the joint space.

        Args:
          videos: paths of files or their bytes, or arrays uint8 [T, h, w, 3], RGB, of any number of frames and any
            size; or one of these. As in evaluation, frames are taken at the centers of equal segments, and cropped to
            their largest central square.

        Returns:
          float32 [N, C], L2-normalized: the dot product with `embed_text` is the cosine.

        Raises:
          VideoError: a file that cannot be read, by name.
          ValueError: an array of another kind; the message gives its shape and dtype.
        """
        readings = self.encoder.videos(self._clips(videos), ("embedding",))
        rows = [reading["embedding"] for reading in readings]
        return np.stack(rows) if rows else np.zeros((0, self.config.model.embed_dim), np.float32)

    def embed_text(self, texts: Sequence[str] | str) -> np.ndarray:
        """Embeds sentences (or a single one) in the joint space: float32 [N, C], L2-normalized.

        Out-of-vocabulary words and tokens beyond `config.model.text.max_length` have no effect; `review_text` lists
        them.
        """
        return self.encoder.texts([texts] if isinstance(texts, str) else list(texts))

    def review_text(self, text: str, phrase: bool = False) -> TextReview:
        """Returns the unknown words and truncated tokens of a text for `embed_text` (or of a phrase for `ground`)."""
        lengths = self.config.model.text
        if phrase:
            # The words of the prompt are known; only its length matters.
            prompt = len(self.tokenizer.pieces(self.config.input.prompts[0].format("")))
            return review_text(self.tokenizer, text, max(2, (lengths.phrase_length or lengths.max_length) - prompt))
        return review_text(self.tokenizer, text, lengths.max_length)

    def ground(self, video: Video, phrase: str, block: int | None = None) -> "GroundedPhrase":
        """Locates a phrase in a clip.

        Args:
          video: as for `embed_video`.
          phrase: such as "a red ball"; it is put into the first training prompt.
          block: the grouping block to read, from 1, 0 for the last; None: `grounding_block`.

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
        return GroundedPhrase(clip, heat[0], mass[0], similarity, model.video.tubelet_size)

    def _clips(self, videos: Sequence[Video] | Video) -> Iterator[np.ndarray]:
        one = isinstance(videos, (str, Path, bytes)) or (isinstance(videos, np.ndarray) and videos.ndim == 4)
        several = [videos] if one else typing.cast(Sequence[Video], videos)
        tasks = ((video,) for video in several)
        yield from decoded_ahead(lambda video: read_clip(video, self.config.model.video), tasks, _DECODERS, 2)


@dataclasses.dataclass(frozen=True)
class GroundedPhrase:
    """Location of a phrase in a clip.

    Attributes:
      frames: uint8 [T, H, W, 3], the model's input.
      heat: float32 [Nt, h, w], larger at the phrase; comparable within a clip, not between clips.
      mass: float32 [Nt, h, w] in [0, 1]: the probability that a patch belongs to the group that matches the phrase.
      similarity: cosine of the phrase and that group; low if the phrase is not in the clip.
      tubelet: frames, rows and columns of pixels per element of `heat`.
    """

    frames: np.ndarray
    heat: np.ndarray
    mass: np.ndarray
    similarity: float
    tubelet: tuple[int, int, int]

    def per_frame(self) -> np.ndarray:
        """Heat map of every frame, float32 [T, H, W] scaled to [0, 1] over the clip, constant within a patch."""
        low, high = float(self.heat.min()), float(self.heat.max())
        scaled = (self.heat - low) / max(high - low, 1e-6)
        for axis, times in enumerate(self.tubelet):
            scaled = scaled.repeat(times, axis)
        return scaled.astype(np.float32)  # [T, H, W]
