"""Global contrastive objective: symmetric video-text contrast over the global batch (docs/method.md, 1.5)."""

import dataclasses
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32

from svilm_jax.config.constraints import Count, PositiveOrZero, Range
from svilm_jax.config.grades import Chosen, Stated
from svilm_jax.models.outputs import Outputs
from svilm_jax.objectives.contrast import Pairing, streamed_info_nce, streamed_sigmoid_contrast
from svilm_jax.objectives.requirements import CAPTIONS, CLIPS
from svilm_jax.parallel import Exchange


@dataclasses.dataclass(frozen=True)
class GlobalContrast:
    """Contrast of clip embeddings and caption embeddings.

    Attributes:
      weight: weight of the loss in the sum, ω3 [P: 1].
      kind: `infonce`, or `sigmoid` (SigLIP) for the same pairs.
      bias: bias of the sigmoid form [C]; about -log of the batch size balances positives and negatives at the start.
      chunk: number of captions that a device compares its clips with at a time.
      exchange: how captions reach the clips on other devices, see `svilm_jax/parallel/chunked_contrastive.py`.
    """

    weight: Stated[PositiveOrZero] = 1.0
    kind: Chosen[Literal["infonce", "sigmoid"]] = "infonce"
    bias: Chosen[Annotated[float, Range(-1e4, 1e4)]] = -10.0
    chunk: Chosen[Count] = 1024
    exchange: Chosen[Exchange] = "gather"

    NEEDS = (CLIPS, CAPTIONS)
    READS = ("video.embedding", "text_embedding")
    SPANS_BATCH = True

    def __call__(
        self, outputs: Outputs, batch: dict[str, jax.Array], rng: jax.Array
    ) -> tuple[Float32[Array, ""], dict[str, Float32[Array, ""]]]:
        """The mean of both directions; metric `accuracy`: clips whose own caption ranks first in the batch."""
        assert outputs.text_embedding is not None  # the registry requires captions
        clips = outputs.logit_scale * outputs.video.embedding
        bias = self.bias if self.kind == "sigmoid" else 0.0

        def score(rows: Any, columns: Any) -> jax.Array:
            return jnp.einsum("ic,jc->ij", rows, columns, precision="highest") + bias

        pairing = Pairing(score, clips, outputs.text_embedding, batch["valid"], batch["valid"])
        if self.kind == "sigmoid":
            loss, accuracy = streamed_sigmoid_contrast(pairing, self.chunk, self.exchange)
        else:
            across, down, accuracy = streamed_info_nce(pairing, self.chunk, self.exchange)
            loss = (across + down) / 2
        return loss, {"accuracy": accuracy}
