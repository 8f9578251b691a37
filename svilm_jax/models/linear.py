"""Linear layer: one matrix product over flattened leading axes."""

from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float


class Linear(nnx.Linear):
    """y = x W + b over the last axis; W has logical axis names and an initial variance of `gain` / rows.

    Leading axes are flattened first: the gradient of W is then a single matrix product, where a product that
    contracts two axes makes XLA on CPU transpose both operands (2.5 times slower for 64 x 296 rows of 128).
    """

    def __init__(
        self,
        rows: int,
        columns: int,
        axes: tuple[str | None, str | None],
        *,
        use_bias: bool = True,
        gain: float = 1.0,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        super().__init__(
            rows,
            columns,
            use_bias=use_bias,
            kernel_init=nnx.initializers.variance_scaling(gain, "fan_in", "truncated_normal"),
            dtype=dtype,
            rngs=rngs,
            kernel_metadata={"axes": axes},
            # A bias along a sharded axis is sharded with it; one along the model's width is replicated.
            bias_metadata={"axes": (axes[1] if axes[1] in ("heads", "mlp") else "norm",)},
        )

    def __call__(
        self, inputs: Float[Array, "*batch rows"], out_sharding: object = None
    ) -> Float[Array, "*batch columns"]:
        """[..., rows] -> [..., columns]."""
        flat = super().__call__(inputs.reshape(-1, inputs.shape[-1]))
        return flat.reshape(*inputs.shape[:-1], -1)
