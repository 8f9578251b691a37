"""Tests of imported Flax towers against flax.linen: *.npz as written by big_vision, and msgpack as by scenic."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import serialization

from svilm_jax.checkpoints.model_directory import ModelDirectoryError
from svilm_jax.interop.importers.flax_vit import plane_sinusoids
from svilm_jax.interop.importers.reading import read_video_source
from svilm_jax.interop.importers.source import Architecture
from tests.interop import imported, random_weights
from tests.interop.linen_vit import HEADS, HIDDEN, LAYERS, WIDTH, ViT, flat, made

LIMIT = 1e-4
IMAGE = {"num_frames": 1, "image_size": 16, "tubelet_size": (1, 4, 4)}
CLIP = {"num_frames": 4, "image_size": 16, "tubelet_size": (2, 8, 8)}
OLD_NUMBERS = {
    "MultiHeadDotProductAttention_0": "MultiHeadDotProductAttention_1",
    "LayerNorm_1": "LayerNorm_2",
    "MlpBlock_0": "MlpBlock_3",
}

pytestmark = pytest.mark.usefixtures("compiled_in_haste")


@pytest.fixture(scope="module")
def images():
    return random_weights.video("images", (2, 1, 16, 16, 3))


@pytest.fixture(scope="module")
def clips():
    return random_weights.video("clips", (2, 4, 16, 16, 3))


@pytest.fixture(scope="module")
def vivit(clips):
    return made(ViT(patch=(2, 8, 8)), clips)


def _difference(path, clip, video, theirs):
    ours = imported.encoded(imported.import_video(read_video_source(path), clip).trained, video)
    assert ours.shape == theirs.shape
    return np.abs(ours - theirs).max()


@pytest.mark.parametrize("class_token", [True, False])
@pytest.mark.parametrize("positions", ["input", "learn", "sincos2d"])
def test_images_of_npz(tmp_path, images, positions, class_token):
    params, theirs = made(ViT((4, 4), class_token, positions), images)
    np.savez(tmp_path / "vit.npz", **flat(params))
    source = read_video_source(tmp_path / "vit.npz")
    assert source.architecture == Architecture(LAYERS, WIDTH, HEADS, HIDDEN / WIDTH, "gelu_tanh", 1e-6)
    assert source.converted.dropped.keys() == {"head/kernel", "head/bias"}
    assert _difference(tmp_path / "vit.npz", IMAGE, images, theirs) <= LIMIT


def test_layers_that_a_scan_held_as_one(tmp_path, images):
    params, theirs = made(ViT((4, 4)), images)
    arrays = flat(params)
    layers = [
        {name.removeprefix(f"Transformer/encoderblock_{i}/"): x for name, x in arrays.items() if f"block_{i}/" in name}
        for i in range(LAYERS)
    ]
    rest = {name: x for name, x in arrays.items() if "encoderblock_" not in name}
    stacked = {f"Transformer/encoderblock/{name}": np.stack([one[name] for one in layers]) for name in layers[0]}
    np.savez(tmp_path / "vit.npz", **rest, **stacked)
    assert _difference(tmp_path / "vit.npz", IMAGE, images, theirs) <= LIMIT


def test_numbers_of_older_files(tmp_path, images):
    params, theirs = made(ViT((4, 4)), images)
    arrays = flat(params)
    for new, old in OLD_NUMBERS.items():
        arrays = {name.replace(f"/{new}/", f"/{old}/"): x for name, x in arrays.items()}
    assert "Transformer/encoderblock_0/MlpBlock_3/Dense_0/kernel" in arrays
    np.savez(tmp_path / "vit.npz", **arrays)
    assert _difference(tmp_path / "vit.npz", IMAGE, images, theirs) <= LIMIT


def test_one_of_two_towers(tmp_path, images):
    params, theirs = made(ViT((4, 4), False, "learn"), images)
    beside = {"params/t": np.ones(1), "params/b": np.ones(1), "params/txt/Embed_0/embedding": np.ones((3, 2))}
    arrays = {**flat(params, "params/img/"), **beside, "params/img/MAPHead_0/probe": np.ones((1, 1, WIDTH))}
    arrays["opt/0/mu/img/embedding/kernel"] = np.ones((4, 4, 3, WIDTH))
    np.savez(tmp_path / "two.npz", **arrays)
    dropped = read_video_source(tmp_path / "two.npz").converted.dropped
    assert dropped["params/txt/Embed_0/embedding"] == "the text tower of the source"
    assert dropped["opt/0/mu/img/embedding/kernel"] == "the state of the optimizer"
    assert {*beside, "MAPHead_0/probe", "head/kernel", "head/bias"} < dropped.keys()
    assert _difference(tmp_path / "two.npz", IMAGE, images, theirs) <= LIMIT


def test_bfloat16_of_npz(tmp_path, images):
    params, _ = made(ViT((4, 4)), images)
    halves = {name: x.astype(jnp.bfloat16) for name, x in flat(params).items()}
    np.savez(tmp_path / "vit.npz", **halves)
    read = read_video_source(tmp_path / "vit.npz").converted.arrays["patch.bias"]
    np.testing.assert_array_equal(read, halves["embedding/bias"].astype(np.float32))


@pytest.mark.parametrize("way", ["", "params", "optimizer/target", "optimizer/target/params", "model_params"])
def test_clips_of_msgpack(tmp_path, clips, vivit, way):
    params, theirs = vivit
    tree = params
    for part in reversed(way.split("/") if way else []):
        tree = {part: tree}
    if way.startswith("optimizer"):
        tree["optimizer"]["state"] = {"step": np.int32(3), "param_states": {"cls": {"momentum": np.ones(2)}}}
        tree["global_step"] = 7
    (tmp_path / "checkpoint").write_bytes(serialization.msgpack_serialize(tree))
    source = read_video_source(tmp_path / "checkpoint")
    assert ("optimizer/state/param_states/cls/momentum" in source.converted.dropped) == way.startswith("optimizer")
    assert _difference(tmp_path / "checkpoint", CLIP, clips, theirs) <= LIMIT


def test_the_grid_is_told_by_the_config_or_is_that_of_224_pixels(tmp_path, vivit):
    params, _ = vivit
    (tmp_path / "small").write_bytes(serialization.msgpack_serialize(params))
    with pytest.raises(
        ModelDirectoryError, match=r"8 positions, which are neither the 2x4x4 .* config\.model\.video\.image_size"
    ):
        imported.import_video(read_video_source(tmp_path / "small"), {**CLIP, "image_size": 32})

    large = {**params, "Transformer": dict(params["Transformer"])}
    rng = np.random.default_rng(0)
    table = rng.normal(size=(1, 1 + 2 * 28 * 28, WIDTH)).astype(np.float32)
    large["Transformer"]["posembed_input"] = {"pos_embedding": table}
    (tmp_path / "large").write_bytes(serialization.msgpack_serialize(large))
    made_of = imported.import_video(read_video_source(tmp_path / "large"), CLIP)
    assert "assumed to be 2x28x28; resampled from 2x28x28 to 2x2x2" in made_of.invented["video_tower.joint_position"]


@pytest.mark.parametrize(
    "name",
    [
        "SpatialTransformer/encoderblock_0/LayerNorm_0/scale",
        "Transformer/encoderblock_0/LayerNorm_time/scale",
        "Transformer/encoderblock_0/MultiHeadDotProductAttention_time/query/kernel",
    ],
)
def test_factorized_attention_is_refused(tmp_path, vivit, name):
    tree = {**flat(vivit[0]), name: np.ones(WIDTH)}
    (tmp_path / "checkpoint").write_bytes(serialization.msgpack_serialize(tree))
    with pytest.raises(ModelDirectoryError, match=f"factorized space-time attention .{name}"):
        read_video_source(tmp_path / "checkpoint")


def test_names_that_no_rule_knows_are_refused(tmp_path, images):
    arrays = flat(made(ViT((4, 4)), images)[0])
    np.savez(tmp_path / "more.npz", **arrays, **{"Transformer/encoderblock_0/gate": np.ones(2)})
    with pytest.raises(
        ModelDirectoryError, match=r"No rule for Transformer/encoderblock_0/gate \(2,\); missing nothing"
    ):
        read_video_source(tmp_path / "more.npz")
    np.savez(tmp_path / "beside.npz", **flat(made(ViT((4, 4)), images)[0], "params/"), other=np.ones(2))
    with pytest.raises(ModelDirectoryError, match="other: not part of the tower 'params/', and unknown"):
        read_video_source(tmp_path / "beside.npz")
    del arrays["Transformer/encoderblock_1/LayerNorm_1/bias"]
    np.savez(tmp_path / "less.npz", **arrays)
    with pytest.raises(ModelDirectoryError, match="missing Transformer/encoderblock_1/LayerNorm_1/bias"):
        read_video_source(tmp_path / "less.npz")
    both = {**arrays, "Transformer/encoderblock_0/LayerNorm_2/bias": np.ones(WIDTH)}
    np.savez(tmp_path / "both.npz", **both)
    with pytest.raises(ModelDirectoryError, match="two arrays are Transformer/encoderblock_0/LayerNorm_1/bias"):
        read_video_source(tmp_path / "both.npz")


def test_a_file_without_a_vit_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", **{"conv/kernel": np.ones((3, 3))})
    with pytest.raises(
        ModelDirectoryError, match="expected one embedding/kernel of a ViT, found 0; there are conv/kernel"
    ):
        read_video_source(tmp_path / "other.npz")


def test_sinusoids_of_a_plane_need_quarters_of_the_width():
    with pytest.raises(ModelDirectoryError, match="width 30"):
        plane_sinusoids(2, 2, 30)
