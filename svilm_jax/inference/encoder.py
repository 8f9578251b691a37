"""Batched encoding of clips and sentences into NumPy arrays: one compiled function per tower, fixed batch sizes."""

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from svilm_jax.config import Config
from svilm_jax.models.outputs import VideoOutputs
from svilm_jax.parallel import batch_sharding, data_parallelism
from svilm_jax.text.tokenizers import Tokenizer

# Readable outputs per clip. Final video tokens are the largest array by far, and no metric needs all of them: their
# mean over positions is what temporal grouping compares (docs/method.md, 1.3, step 3).
READINGS: Mapping[str, Callable[[Any, VideoOutputs], jax.Array]] = {
    "embedding": lambda model, outputs: outputs.embedding,  # [B, C]
    "group_embedding": lambda model, outputs: outputs.group_embedding,  # [B, M, C]
    "logits": lambda model, outputs: jnp.stack(outputs.logits, axis=1),  # [B, blocks, M, Nt, h, w]
    "assignments": lambda model, outputs: jnp.stack(outputs.assignments, axis=1),  # the same
    "time_tokens": lambda model, outputs: outputs.time_tokens,  # [B, Nt, D]
    "features": lambda model, outputs: outputs.tokens.astype(jnp.float32).mean(axis=(1, 2)),  # [B, D]
    "features_by_time": lambda model, outputs: outputs.time_tokens.reshape(len(outputs.tokens), -1),  # [B, Nt*D]
    "scores": lambda model, outputs: model.head(outputs.tokens),  # [B, classes], of a classification head
}


# Frozen features of a clip, and the output they come from: the mean over all its tokens, or the concatenated means of
# its temporal indices, which keep the temporal order.
FEATURES: Mapping[str, str] = {"clip": "features", "time": "features_by_time"}


class Encoder:
    """Inference wrapper of a model, with the tokenizer and the config it was trained with.

    Args:
      model: has `encode_video` and `encode_text` as `svilm_jax.models.svilm.SVILM` does.
      config: of the experiment; `model.video`, `model.text` and `input.prompts` are read.
      tokenizer: of the experiment.
      mesh: where the parameters are placed; None: the default device.
      batch_size: clips per batch, rounded up to a multiple of the mesh's shards; the last batch is padded and the
        padding dropped.
      fill: whether the last batch is padded to a full one, so that one shape is compiled. False, for occasional small
        requests: only to the next power of two.

    Every process of a multi-host run sees all clips and gets all results, so that metrics are the same everywhere.
    """

    def __init__(
        self,
        model: nnx.Module,
        config: Config,
        tokenizer: Tokenizer,
        mesh: Mesh | None = None,
        batch_size: int = 32,
        fill: bool = True,
    ):
        # Parameters are arguments and not constants: two encoders of one architecture share compiled code.
        self._graphdef, self._state = nnx.split(model)
        self.config, self.tokenizer, self.mesh = config, tokenizer, mesh
        rows = data_parallelism(mesh) if mesh is not None else 1
        self._rows, self._fill = rows, fill
        self.batch_size = -(-batch_size // rows) * rows

    def videos(self, clips: Iterable[np.ndarray], read: Sequence[str]) -> Iterator[dict[str, np.ndarray]]:
        """Yields the outputs of the video tower for each clip, in order.

        Args:
          clips: uint8 [T, H, W, 3] each, of the config's size; consumed batch by batch, and not kept.
          read: names of `READINGS`; only these leave the device.

        Yields:
          name -> array, float32, without the batch axis (`READINGS` gives the shapes).

        Raises:
          ValueError: a clip of another shape or dtype than the config's.
        """
        for batch in _batches(clips, self.batch_size):
            video = self._put(self._filled(batch))
            with self._on_mesh():
                outputs = _read_videos(self._graphdef, self._state, video, tuple(read), self.mesh)
            arrays = {name: np.asarray(array, np.float32) for name, array in outputs.items()}
            for row in range(len(batch)):
                yield {name: array[row] for name, array in arrays.items()}

    def answers(self, clips: Iterable[np.ndarray], questions: Sequence[Sequence[str]]) -> Iterator[np.ndarray]:
        """Yields the answer logits for the questions of each clip, in order; every clip is encoded once.

        Args:
          clips: as for `videos`.
          questions: of each clip; may grow while the clips are read.

        Yields:
          float32 [Q, classes] per clip, Q its number of questions.
        """
        size, length = 2 * self.batch_size, self.config.model.text.max_length
        classes = len(self.config.model.head.classes)
        asked = iter(questions)
        for batch in _batches(clips, self.batch_size):
            video = self._put(self._filled(batch))
            with self._on_mesh():
                seen = _encode_videos(self._graphdef, self._state, video)
            of_clips = list(itertools.islice(asked, len(batch)))
            flat = [(row, question) for row, own in enumerate(of_clips) for question in own]
            scores: list[np.ndarray] = []
            for some in _batches(flat, size):
                filled = some + some[:1] * (size - len(some))
                tokens = self.tokenizer.encode([question for _, question in filled], length)
                rows = np.array([row for row, _ in filled], np.int32)
                with self._on_mesh():
                    mask = self._put(self.tokenizer.mask(tokens))
                    arrays = (self._put(rows), self._put(tokens), mask)
                    found = _read_answers(self._graphdef, self._state, seen, *arrays, self.mesh)
                scores += list(np.asarray(found, np.float32)[: len(some)])
            left = iter(scores)
            for own in of_clips:
                yield np.array(list(itertools.islice(left, len(own))), np.float32).reshape(len(own), classes)

    def call(self, function: Callable[..., Any], *arrays: Any) -> Any:
        """Runs `function(model, *arrays)`, compiled, for models without towers. Results are NumPy arrays.

        Args:
          function: hashable; compiled once for each.
          *arrays: NumPy arrays, or nested dicts of them.
        """
        with self._on_mesh():
            return jax.tree.map(np.asarray, _call(self._graphdef, self._state, function, *arrays))

    def texts(self, texts: Sequence[str], length: int | None = None) -> np.ndarray:
        """Encodes sentences -> float32 [N, C], L2-normalized; `length` tokens each (default: that of captions)."""
        length = length or self.config.model.text.max_length
        distinct = list(dict.fromkeys(texts))  # phrases repeat a lot
        rows = []
        for batch in _batches(distinct, 2 * self.batch_size):
            tokens = self.tokenizer.encode(batch, length)
            # Padded with a real sentence: a row of padding alone would have nothing to attend to.
            missing = self._padded(len(batch), 2 * self.batch_size) - len(batch)
            tokens = np.concatenate([tokens, tokens[:1].repeat(missing, 0)])
            with self._on_mesh():
                mask = self._put(self.tokenizer.mask(tokens))
                embedding = _read_texts(self._graphdef, self._state, self._put(tokens), mask, self.mesh)
            rows.append(np.asarray(embedding, np.float32)[: len(batch)])
        if not rows:
            return np.zeros((0, self.config.model.embed_dim), np.float32)
        position = {text: i for i, text in enumerate(distinct)}
        return np.concatenate(rows)[[position[text] for text in texts]]  # [N, C]

    def phrases(self, phrases: Sequence[str]) -> np.ndarray:
        """Encodes noun phrases in the first training prompt -> float32 [N, C], L2-normalized."""
        text = self.config.model.text
        prompt = self.config.input.prompts[0]
        return self.texts([prompt.format(phrase) for phrase in phrases], text.phrase_length or text.max_length)

    def _clip_shape(self) -> tuple[int, int, int, int]:
        video = self.config.model.video
        return video.num_frames, video.image_size, video.image_size, 3

    def _filled(self, batch: Sequence[np.ndarray]) -> np.ndarray:
        """Returns a full batch uint8 [B, T, H, W, 3], padded with black clips."""
        shape = self._clip_shape()
        for frames in batch:
            if frames.shape != shape or frames.dtype != np.uint8:
                raise ValueError(f"a clip is {frames.dtype} {frames.shape}: the model takes uint8 {shape}")
        video = np.zeros((self._padded(len(batch), self.batch_size), *shape), np.uint8)
        video[: len(batch)] = batch
        return video

    def _padded(self, count: int, most: int) -> int:
        """Returns the padded size of a batch of `count` rows."""
        return most if self._fill else min(most, self._rows << (-(-count // self._rows) - 1).bit_length())

    def _put(self, rows: np.ndarray) -> jax.Array:
        if self.mesh is None:
            return jnp.asarray(rows)
        return jax.make_array_from_callback(rows.shape, batch_sharding(self.mesh), lambda index: rows[index])

    def _on_mesh(self) -> contextlib.AbstractContextManager:
        return contextlib.nullcontext() if self.mesh is None else jax.set_mesh(self.mesh)


@functools.partial(jax.jit, static_argnames=("graphdef", "read", "mesh"))
def _read_videos(
    graphdef: nnx.GraphDef, state: Any, video: jax.Array, read: tuple[str, ...], mesh: Mesh | None
) -> dict[str, jax.Array]:
    model = nnx.merge(graphdef, state)
    outputs = model.encode_video(video, train=False)
    return {name: _everywhere(READINGS[name](model, outputs), mesh) for name in read}


@functools.partial(jax.jit, static_argnames=("graphdef",))
def _encode_videos(graphdef: nnx.GraphDef, state: Any, video: jax.Array) -> VideoOutputs:
    return nnx.merge(graphdef, state).encode_video(video, train=False)


@functools.partial(jax.jit, static_argnames=("graphdef", "mesh"))
def _read_answers(
    graphdef: nnx.GraphDef,
    state: Any,
    seen: VideoOutputs,
    rows: jax.Array,
    tokens: jax.Array,
    mask: jax.Array,
    mesh: Mesh | None,
) -> jax.Array:
    """Computes the answer logits of questions [Q, L], each about the clip of its row."""
    asked = jax.tree.map(lambda x: x[rows], seen)
    return _everywhere(nnx.merge(graphdef, state).encode_question(asked, tokens, mask), mesh)


@functools.partial(jax.jit, static_argnames=("graphdef", "function"))
def _call(graphdef: nnx.GraphDef, state: Any, function: Callable[..., Any], *arrays: jax.Array) -> Any:
    return function(nnx.merge(graphdef, state), *arrays)


@functools.partial(jax.jit, static_argnames=("graphdef", "mesh"))
def _read_texts(graphdef: nnx.GraphDef, state: Any, tokens: jax.Array, mask: jax.Array, mesh: Mesh | None) -> jax.Array:
    return _everywhere(nnx.merge(graphdef, state).encode_text(tokens, mask), mesh)


def _everywhere(x: jax.Array, mesh: Mesh | None) -> jax.Array:
    """Replicates x on every device, so that every process can read it."""
    return x if mesh is None else jax.lax.with_sharding_constraint(x, NamedSharding(mesh, PartitionSpec()))


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
