"""Does the clip fit the sentence? Symmetric contrast over the global batch (METHOD 1.5)."""

import dataclasses

import jax
import jax.numpy as jnp

from svilm_jax.models.outputs import Outputs
from svilm_jax.objectives.contrast import info_nce, masked_mean, sigmoid_contrast
from svilm_jax.parallel import constrain


@dataclasses.dataclass(frozen=True)
class GlobalContrast:
    """Clip embeddings against caption embeddings.

    Attributes:
      weight: of the loss in the sum, ω3 [P: 1].
      kind: `infonce`, or `sigmoid` (SigLIP) for the same pairs.
      bias: of the sigmoid form [C]; about -log of the batch size keeps the first step from being all negatives.
    """

    weight: float = 1.0
    kind: str = "infonce"
    bias: float = -10.0

    CHOICES = {"kind": ("infonce", "sigmoid")}

    def __call__(
        self, outputs: Outputs, batch: dict[str, jax.Array], rng: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The mean of both directions; metric `accuracy`: clips that find their caption first within the batch."""
        # Captions are small and every clip meets all of them: gathered whole, while clips stay where they are.
        assert outputs.text_embedding is not None  # the registry asks for captions
        text = constrain(outputs.text_embedding, None, None)
        similarity = jnp.einsum("ic,jc->ij", outputs.video.embedding, text)  # [B, B]
        scores = outputs.logit_scale * similarity
        valid = batch["valid"]
        if self.kind == "sigmoid":
            loss = sigmoid_contrast(scores, self.bias, valid, valid)
        else:
            across, down = info_nce(scores, valid, valid)
            loss = (across + down) / 2
        best = jnp.argmax(jnp.where(valid[None, :], similarity, -2.0), axis=1)
        hit = best == jnp.arange(len(best))
        return loss, {"accuracy": masked_mean(hit.astype(jnp.float32), valid)}
