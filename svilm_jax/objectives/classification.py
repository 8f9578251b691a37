"""Classification objective: cross-entropy of a task head's logits of answers or labels (docs/method.md, 1.7)."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32

from svilm_jax.config.constraints import Decay, PositiveOrZero
from svilm_jax.config.grades import Chosen
from svilm_jax.models.outputs import Outputs
from svilm_jax.objectives.contrast import masked_mean
from svilm_jax.objectives.requirements import CLASS_SCORES, CLIPS


@dataclasses.dataclass(frozen=True)
class Classification:
    """-log softmax(logits)[target], the mean over rows with a valid target.

    Attributes:
      weight: weight of the loss in the sum.
      label_smoothing: fraction of the target distributed evenly over all classes [C].
    """

    weight: Chosen[PositiveOrZero] = 1.0
    label_smoothing: Chosen[Decay] = 0.0

    NEEDS = (CLIPS, CLASS_SCORES)
    READS = ("scores",)
    SPANS_BATCH = False

    def __call__(
        self, outputs: Outputs, batch: dict[str, jax.Array], rng: jax.Array
    ) -> tuple[Float32[Array, ""], dict[str, Float32[Array, ""]]]:
        """Rows that are not valid, or whose target is below 0, do not count; metric `accuracy`."""
        assert outputs.scores is not None  # the registry requires a head
        log_p = jax.nn.log_softmax(outputs.scores.astype(jnp.float32), axis=-1)  # [B, classes]
        target = jnp.maximum(batch["target"], 0)
        right = jnp.take_along_axis(log_p, target[:, None], axis=1)[:, 0]  # [B]
        loss = -(1 - self.label_smoothing) * right - self.label_smoothing * log_p.mean(axis=-1)
        counts = batch["valid"] & (batch["target"] >= 0)
        hit = jnp.argmax(log_p, axis=-1) == batch["target"]
        return masked_mean(loss, counts), {"accuracy": masked_mean(hit.astype(jnp.float32), counts)}
