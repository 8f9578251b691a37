"""Tests that annotated shapes and dtypes are checked, and hold for the outputs of the models."""

import dataclasses
import typing

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jaxtyping import TypeCheckError, jaxtyped

from svilm_jax.models.grouping import assign
from svilm_jax.models.outputs import LocalizationOutputs, Outputs, VideoOutputs
from svilm_jax.models.parameters import abstract_model, bind
from svilm_jax.objectives.contrast import info_nce
from svilm_jax.parallel import reduce_pairs
from svilm_jax.parallel.chunked_contrastive import Streaming
from tests.tiny import tiny_config


def test_wrong_shapes_and_dtypes_are_rejected():
    exists = jnp.ones(3, bool)
    with pytest.raises(TypeCheckError, match="info_nce"):
        info_nce(jnp.zeros((3, 4)), exists, exists)  # not square
    with pytest.raises(TypeCheckError, match="info_nce"):
        info_nce(jnp.zeros((3, 3)), exists, jnp.ones(4, bool))
    with pytest.raises(TypeCheckError, match="assign"):
        assign(jnp.zeros((2, 3, 4), jnp.int32), "soft", train=False)
    with pytest.raises(TypeCheckError, match="reduce_pairs"):
        reduce_pairs(jnp.matmul, jnp.zeros((3, 2)), jnp.zeros((3, 2)), exists, exists.astype(jnp.int32), Streaming(2))


def check_fields(outputs: VideoOutputs | Outputs | LocalizationOutputs) -> None:
    """Compares every field of a model's outputs with its annotation; dimensions of one name have to agree."""

    @jaxtyped(typechecker=None)
    def check() -> None:
        hints = typing.get_type_hints(type(outputs))
        for field in dataclasses.fields(outputs):
            value, hint = getattr(outputs, field.name), hints[field.name]
            if dataclasses.is_dataclass(value):
                check_fields(value)
                continue
            kinds = [kind for kind in typing.get_args(hint) if kind not in (type(None), Ellipsis)] or [hint]
            for array in value if isinstance(value, tuple) else () if value is None else (value,):
                assert isinstance(array, kinds[0]), f"{field.name}: {array.shape} {array.dtype} is not {kinds[0]}"

    check()


def traced(config, *arguments: jax.ShapeDtypeStruct) -> None:
    """Traces a model, without compiling it, and checks its outputs."""
    graphdef, abstract = abstract_model(config, 50)

    def forward(params, *arrays):
        check_fields(bind(graphdef, abstract, params)(*arrays))
        return 0

    jax.eval_shape(forward, nnx.to_pure_dict(abstract), *arguments)


def test_the_outputs_of_the_models_have_the_annotated_shapes():
    video = tiny_config().model.video
    clips = jax.ShapeDtypeStruct((3, video.num_frames, video.image_size, video.image_size, 3), jnp.uint8)
    text, mask = jax.ShapeDtypeStruct((3, 7), jnp.int32), jax.ShapeDtypeStruct((3, 7), bool)
    nouns, nouns_mask = jax.ShapeDtypeStruct((3, 2, 7), jnp.int32), jax.ShapeDtypeStruct((3, 2, 7), bool)
    traced(tiny_config(), clips, text, mask, nouns, nouns_mask)


def test_a_wrong_field_is_noticed():
    wrong = LocalizationOutputs(
        jnp.zeros((2, 5)), jnp.zeros((2, 4)), jnp.zeros((2, 2, 5, 5)), jnp.ones((2, 5, 5), bool), None
    )
    with pytest.raises(AssertionError, match="end"):
        check_fields(wrong)
