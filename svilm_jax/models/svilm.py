"""S-ViLM: video and text towers with projections into a joint embedding space (docs/method.md, 1)."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float32, Int, Shaped

from svilm_jax.config import Config, ConfigError, ModelConfig, Task
from svilm_jax.models.heads.classification import ClassificationHead
from svilm_jax.models.heads.gtad import GTAD
from svilm_jax.models.heads.question_answering import QuestionAnsweringHead
from svilm_jax.models.linear import Linear
from svilm_jax.models.normalization import normalize
from svilm_jax.models.outputs import Outputs, VideoOutputs
from svilm_jax.models.text_tower import TextTower
from svilm_jax.models.variants import Size, tower_sizes
from svilm_jax.models.video_tower import VideoTower
from svilm_jax.parallel import platform


def compute_dtype(config: ModelConfig) -> jnp.dtype:
    """Returns float32 on CPU and bfloat16 elsewhere, unless the config specifies a dtype."""
    choices = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
    choices["auto"] = choices["float32" if platform() == "cpu" else "bfloat16"]
    return jnp.dtype(choices[config.compute_dtype])


class SVILM(nnx.Module):
    """Video tower, text tower, three projections, the temperature of the contrast, and an optional task head."""

    def __init__(self, config: ModelConfig, vocab_size: int, *, task: Task = "video_text", rngs: nnx.Rngs):
        if task != "video_text" and not config.head.classes:
            raise ConfigError(f"config.model.head.classes=(): config.task={task!r} needs those of the dataset")
        video_size, text_size = tower_sizes(config)
        shared: dict[str, Any] = {
            "attention": config.attention,
            "remat": config.remat,
            "unroll": config.scan_unroll,
            "dtype": compute_dtype(config),
            "rngs": rngs,
        }
        self.clip_pool = config.clip_pool
        self.video_tower = VideoTower(config.video, config.grouping, video_size, **shared)
        self.text_tower = TextTower(config.text, text_size, vocab_size, **shared)

        def projection(width: int) -> Linear:
            # float32: three small products, whose results are compared at a temperature of 0.07
            axes = ("embed", "joint")
            return Linear(width, config.embed_dim, axes, use_bias=False, dtype=jnp.dtype(jnp.float32), rngs=rngs)

        self.video_projection = projection(video_size.hidden_size * (2 if config.clip_pool == "both" else 1))
        self.group_projection = projection(video_size.hidden_size)
        self.text_projection = projection(text_size.hidden_size)
        self.task = task
        if task != "video_text":
            self.head = _make_head(config, task, video_size, text_size, compute_dtype(config), rngs)
        # The step clamps the parameter, as CLIP does: above a limit in the forward pass it would have no gradient.
        bounds = (-math.inf, math.log(config.max_logit_scale))
        initial = jnp.asarray(math.log(1 / config.temperature), jnp.float32)
        self.log_scale = nnx.Param(initial, axes=(), bounds=bounds)

    @property
    def logit_scale(self) -> Float32[Array, ""]:
        """1/τ of the global contrast."""
        return jnp.exp(self.log_scale[...])

    def encode_video(
        self, video: Shaped[Array, "B T H W 3"], *, train: bool = False, rng: jax.Array | None = None
    ) -> VideoOutputs:
        """uint8 [B, T, H, W, 3] (or float in [0, 1]) -> `VideoOutputs`."""
        tokens, groups, logits = self.video_tower(video, train=train, rng=rng)
        pools = {"tokens": tokens.mean(axis=(1, 2)), "groups": groups.mean(axis=1)}  # [B, D] each
        pooled = jnp.concatenate(list(pools.values()), -1) if self.clip_pool == "both" else pools[self.clip_pool]
        return VideoOutputs(
            tokens=tokens,
            group_tokens=groups,
            logits=logits,
            assignments=tuple(jax.nn.softmax(a, axis=1) for a in logits),
            embedding=normalize(self.video_projection(pooled)),
            group_embedding=normalize(self.group_projection(groups)),
            time_embedding=self.video_projection(tokens.mean(axis=2)) if self.clip_pool == "tokens" else None,
        )

    def encode_text(self, tokens: Int[Array, "N L"], mask: Bool[Array, "N L"]) -> Float32[Array, "N C"]:
        """tokens int32 [N, L], mask bool [N, L] -> float32 [N, C], normalized."""
        return normalize(self.text_projection(self.text_tower(tokens, mask)))

    def encode_question(
        self, video: VideoOutputs, tokens: Int[Array, "B L"], mask: Bool[Array, "B L"]
    ) -> Float32[Array, "B classes"]:
        """Computes the answer logits, float32 [B, classes], of questions int32 [B, L] about encoded clips."""
        assert isinstance(self.head, QuestionAnsweringHead)
        return self.head(video.tokens, video.group_tokens, self.text_tower.tokens(tokens, mask), mask)

    def __call__(
        self,
        video: Shaped[Array, "B T H W 3"],
        text: Int[Array, "texts L"] | None = None,
        text_mask: Bool[Array, "texts L"] | None = None,
        nouns: Int[Array, "texts K l"] | None = None,
        nouns_mask: Bool[Array, "texts K l"] | None = None,
        sentences: Int[Array, "texts S L2"] | None = None,
        sentences_mask: Bool[Array, "texts S L2"] | None = None,
        *,
        train: bool = False,
        rng: jax.Array | None = None,
    ) -> Outputs:
        """Encodes a whole batch; inputs that are None are left out of the outputs.

        Args:
          video: uint8 [B, T, H, W, 3].
          text: int32 [B, L], captions, or the questions of `question_answering`.
          text_mask: bool [B, L], True for real tokens.
          nouns: int32 [B, K, L'], the prompted phrases.
          nouns_mask: bool [B, K, L'], True for real tokens.
          sentences: int32 [B, S, L], the sentences of a video. Without text, the mean of the sentence embeddings
            takes its place; a sentence that consists only of padding does not count.
          sentences_mask: bool [B, S, L], True for real tokens.
          train: see `VideoTower`.
          rng: see `VideoTower`.
        """
        seen = self.encode_video(video, train=train, rng=rng)
        scores = None
        if self.task == "action_recognition":
            assert isinstance(self.head, ClassificationHead)
            scores = self.head(seen.tokens)
        text_embedding = noun_embedding = sentence_embedding = None
        if nouns is not None and nouns_mask is not None:
            noun_embedding = self._encode_rows(nouns, nouns_mask)
        if sentences is not None and sentences_mask is not None:
            sentence_embedding = self._encode_rows(sentences, sentences_mask)
            exists = sentences_mask.any(axis=-1, keepdims=True)  # [B, S, 1]
            text_embedding = normalize(jnp.where(exists, sentence_embedding, 0).sum(axis=1))
        if text is not None and text_mask is not None:
            if self.task == "question_answering":
                scores = self.encode_question(seen, text, text_mask)
            else:
                text_embedding = self.encode_text(text, text_mask)
        return Outputs(
            video=seen,
            logit_scale=self.logit_scale,
            text_embedding=text_embedding,
            noun_embedding=noun_embedding,
            sentence_embedding=sentence_embedding,
            scores=scores,
        )

    def _encode_rows(self, tokens: Int[Array, "B S L"], mask: Bool[Array, "B S L"]) -> Float32[Array, "B S C"]:
        """int32 and bool [B, S, L] -> float32 [B, S, C]."""
        texts, real = (rearrange(x, "b s l -> (b s) l") for x in (tokens, mask))
        return rearrange(self.encode_text(texts, real), "(b s) c -> b s c", b=tokens.shape[0])


def _make_head(
    config: ModelConfig, task: Task, video: Size, text: Size, dtype: DTypeLike, rngs: nnx.Rngs
) -> ClassificationHead | QuestionAnsweringHead:
    """Builds the head of a task."""
    head = config.head
    if task == "action_recognition":
        return ClassificationHead(video.hidden_size, len(head.classes), rngs=rngs)
    return QuestionAnsweringHead(
        video.hidden_size,
        text.hidden_size,
        text.num_heads,
        head.num_layers,
        len(head.classes),
        activation=config.text.activation,
        attention=config.attention,
        dtype=dtype,
        rngs=rngs,
    )


Model = SVILM | GTAD


def build_model(config: Config, vocab_size: int, seed: int | jax.Array = 0) -> Model:
    """Builds a randomly initialized model of a config: `SVILM`, or `GTAD` if the task is localization."""
    rngs = nnx.Rngs(params=seed)
    if config.task == "localization":
        return _make_localizer(config.model, rngs)
    return SVILM(config.model, vocab_size, task=config.task, rngs=rngs)


def _make_localizer(config: ModelConfig, rngs: nnx.Rngs) -> GTAD:
    sizes = config.localization
    if not sizes.feature_dim:
        raise ConfigError("config.model.localization.feature_dim=0: name the folder of features, which says it")
    return GTAD(
        sizes.feature_dim,
        steps=sizes.num_steps,
        width=sizes.hidden_size,
        neighbors=sizes.num_neighbors,
        inner=sizes.num_samples,
        context=sizes.num_context_samples,
        classes=len(config.head.classes) if sizes.classify else 0,
        dtype=compute_dtype(config),
        rngs=rngs,
    )
