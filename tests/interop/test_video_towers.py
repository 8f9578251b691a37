"""Tests of video towers filled from public ones: patches, positions, stages, norms and class token."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from svilm_jax.checkpoints.model_directory import ModelDirectoryError
from svilm_jax.config import ConfigError, GroupingConfig
from svilm_jax.interop.importers.importing import import_towers
from svilm_jax.interop.importers.pixels import PIXEL_MEAN, PIXEL_STD, Pixels, convert_normalization
from svilm_jax.interop.importers.reading import read_text_source, read_video_source
from svilm_jax.interop.importers.source import mlp_ratio
from svilm_jax.models.parameters import named, parameters
from svilm_jax.models.positions import resample_positions
from tests.interop import imported, random_weights
from tests.interop.test_parity import _written as written
from tests.tiny import tiny_config

IMAGE = {"num_frames": 1, "image_size": 32, "tubelet_size": (1, 8, 8)}
CLIP = {"num_frames": 4, "image_size": 32, "tubelet_size": (2, 8, 8)}

pytestmark = pytest.mark.usefixtures("compiled_in_haste")


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Of every kind, by its name."""
    read = {}
    for kind in ("vit", "videomae", "vivit"):
        folder = tmp_path_factory.mktemp(kind)
        written(folder, f"{kind}_small")
        read[kind] = read_video_source(folder)
    return read


def _changed(folder, model, change):
    """A folder of a reference whose arrays were changed in place by a function."""
    written(folder, model)
    arrays = safetensors.numpy.load_file(folder / "model.safetensors")
    change(arrays)
    safetensors.numpy.save_file(arrays, folder / "model.safetensors")
    return folder


def _arrays(made):
    return {name: np.asarray(x) for name, x in named(parameters(made.trained.model)).items()}


def _still(images, frames):
    return np.repeat(images, frames, axis=1)


@pytest.mark.parametrize("inflate", ["center", "mean"])
def test_a_still_clip_gives_what_the_image_gives(sources, inflate):
    images = random_weights.video("still", (2, 1, 32, 32, 3))
    image = imported.encoded(imported.import_video(sources["vit"], IMAGE).trained, images)
    clip = {**CLIP, "num_frames": 2}
    made = imported.import_video(sources["vit"], clip, inflate=inflate)
    np.testing.assert_allclose(imported.encoded(made.trained, _still(images, 2)), image, atol=1e-5)

    # Over time attention sees every patch twice, which is the same to it, as long as no token is there only once.
    config = imported.with_clip(tiny_config(), IMAGE, GroupingConfig(1, (), in_layers=False))
    image = imported.encoded(import_towers(config, None, sources["vit"]).trained, images)
    config = imported.with_clip(tiny_config(), CLIP, GroupingConfig(1, (), in_layers=False))
    made = import_towers(config, None, sources["vit"], inflate=inflate)
    whole = imported.encoded(made.trained, _still(images, 4)).reshape(2, 2, 16, -1)
    np.testing.assert_allclose(whole, np.stack([image, image], axis=1), atol=1e-5)


def test_a_moving_clip_tells_the_inflations_apart(sources):
    clip = {**CLIP, "num_frames": 2}
    moving = random_weights.video("moving", (2, 2, 32, 32, 3))
    second = _still(moving[:, 1:], 2)
    center = imported.import_video(sources["vit"], clip, inflate="center").trained
    np.testing.assert_allclose(imported.encoded(center, moving), imported.encoded(center, second), atol=1e-6)
    mean = imported.import_video(sources["vit"], clip, inflate="mean").trained
    assert np.abs(imported.encoded(mean, moving) - imported.encoded(mean, second)).max() > 0.1
    backwards = moving[:, ::-1]
    np.testing.assert_allclose(imported.encoded(mean, moving), imported.encoded(mean, backwards), atol=1e-5)


def test_pixels_are_folded_into_the_patches():
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(2, 3, 3, 3, 5)), rng.normal(size=5)
    theirs = Pixels((0.1, 0.5, 0.9), (0.2, 0.5, 0.7), "a test")
    x = rng.uniform(size=(2, 3, 3, 3))
    before = np.einsum("tijc,tijcd->d", (x - theirs.mean) / theirs.std, kernel) + bias
    kernel, bias = convert_normalization(kernel, bias, theirs)
    after = np.einsum("tijc,tijcd->d", (x - np.array(PIXEL_MEAN)) / np.array(PIXEL_STD), kernel) + bias
    np.testing.assert_allclose(after, before, atol=1e-5)


def test_our_own_pixels_change_nothing():
    kernel, bias = np.ones((1, 2, 2, 3, 4), np.float32), np.ones(4, np.float32)
    same = convert_normalization(kernel, bias, Pixels(PIXEL_MEAN, PIXEL_STD, "a test"))
    np.testing.assert_array_equal(same[0], kernel)
    np.testing.assert_array_equal(same[1], bias)


def test_images_have_no_time(sources):
    made = imported.import_video(sources["vit"], {**CLIP, "image_size": 48})
    arrays = _arrays(made)
    assert "joint_position" not in " ".join(arrays)
    np.testing.assert_array_equal(arrays["video_tower.time_position"], np.zeros((2, 32)))
    table = jnp.asarray(sources["vit"].converted.arrays["positions"])
    expected = resample_positions(table, (4, 4), (6, 6))
    np.testing.assert_array_equal(arrays["video_tower.space_position"], expected)
    assert (
        made.invented["video_tower.time_position"] == "zeros: the source is an image model without temporal positions"
    )
    assert made.invented["video_tower.space_position"] == "resampled from 4x4 to 6x6"


def test_positions_of_images_are_repeated_in_a_joint_table(sources):
    made = imported.import_video(sources["vit"], {**CLIP, "position_table": "joint"})
    table = _arrays(made)["video_tower.joint_position"].reshape(2, 16, 32)
    np.testing.assert_array_equal(table[0], sources["vit"].converted.arrays["positions"])
    np.testing.assert_array_equal(table[1], table[0])
    assert "every temporal index" in made.invented["video_tower.joint_position"]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_positions_of_clips_are_resampled_over_time_rows_and_columns(sources, axis):
    grid = np.indices((2, 4, 4))[axis].reshape(-1, 1)  # what a token is the number of
    converted = sources["vivit"].converted
    changed = dataclasses.replace(
        converted, arrays={**converted.arrays, "positions": np.tile(grid, (1, 32)).astype(np.float32)}
    )
    source = dataclasses.replace(sources["vivit"], converted=changed)
    made = imported.import_video(source, {**CLIP, "num_frames": 8, "image_size": 64})
    assert made.trained.config.model.video.position_table == "joint"
    table = _arrays(made)["video_tower.joint_position"].reshape(4, 8, 8, 32)
    several = np.moveaxis(table, axis, 0)
    np.testing.assert_allclose(several, np.broadcast_to(several[:, :1, :1, :1], several.shape), atol=1e-6)
    line = several[:, 0, 0, 0]
    assert (np.diff(line) >= 0).all()
    np.testing.assert_allclose(line[[0, -1]], [0, (2, 4, 4)[axis] - 1])
    assert made.invented["video_tower.joint_position"] == "resampled from 2x4x4 to 4x8x8"


def test_stages_take_the_layers_in_order_and_groups_stay_fresh(sources):
    config = imported.with_clip(tiny_config(), CLIP, GroupingConfig(4, (1,)))
    made = import_towers(config, None, sources["vit"])
    arrays, source = _arrays(made), sources["vit"].converted.arrays
    for number in (0, 1):
        for part in ("attention.query.kernel", "mlp.down.bias", "mlp_norm.scale"):
            stacked = arrays[f"video_tower.stages.stage{number + 1}.layers.stacked.{part}"]
            np.testing.assert_array_equal(stacked[0], source[f"layers.{number}.{part}"])
    for name in ("token_norm", "group_norm"):
        np.testing.assert_array_equal(arrays[f"video_tower.{name}.scale"], source["norm.scale"])
    assert {n for n in made.fresh if n.startswith("video_tower.") and ".grouping." not in n} == {
        "video_tower.group_tokens"
    }
    assert any(".stage1.grouping." in name for name in made.fresh)
    assert sorted([*made.filled, *made.fresh]) == sorted(arrays)
    assert made.dropped["embeddings.cls_token"].startswith("group tokens take its place")
    assert made.pixels == "mean (0.5, 0.5, 0.5), std (0.5, 0.5, 0.5), as stated by the default of vit"
    assert "config.model.video.hidden_size: 16 -> 32" in made.changed
    assert "config.model.video.activation: 'relu' -> 'gelu'" in made.changed


def test_the_class_token_can_be_the_first_group(sources):
    config = imported.with_clip(tiny_config(), CLIP, GroupingConfig(4, (1,)))
    made, plain = (import_towers(config, None, sources["vivit"], class_token=c) for c in ("group", "drop"))
    groups, fresh = (_arrays(m)["video_tower.group_tokens"] for m in (made, plain))
    np.testing.assert_array_equal(groups[0], sources["vivit"].converted.arrays["class_token"])
    np.testing.assert_array_equal(groups[1:], fresh[1:])
    assert "video_tower.group_tokens" in made.fresh  # three rows of it
    assert "3 randomly initialized rows" in made.invented["video_tower.group_tokens"]
    assert "embeddings.cls_token" not in made.dropped


def test_the_class_token_carries_its_position(sources, tmp_path):
    def without_position(arrays):
        positions = arrays["embeddings.position_embeddings"]
        arrays["embeddings.cls_token"] += positions[:, :1]
        positions[:, 0] = 0

    moved = read_video_source(_changed(tmp_path, "vivit_small", without_position)).converted.arrays
    np.testing.assert_allclose(moved["class_token"], sources["vivit"].converted.arrays["class_token"], atol=1e-6)


def test_keys_never_get_the_bias_of_the_values(sources):
    made = imported.import_video(sources["videomae"], CLIP)
    arrays = _arrays(made)
    layers = "video_tower.stages.stage1.layers.stacked.attention"
    np.testing.assert_array_equal(arrays[f"{layers}.key.bias"], np.zeros((2, 32)))
    assert np.abs(arrays[f"{layers}.value.bias"]).min() > 0
    assert made.invented[f"{layers}.key.bias"] == "zeros: the source has no bias of its key"
    assert made.invented["video_tower.joint_position"].startswith("sines and cosines")


def test_projections_without_biases_get_zeros(tmp_path):
    def drop(arrays):
        for name in [name for name in arrays if name.endswith(("query.bias", "key.bias", "value.bias"))]:
            del arrays[name]

    folder = _changed(tmp_path, "vit_small", drop)
    with pytest.raises(ModelDirectoryError, match=r"missing encoder\.layer\.0\.attention\.attention\.query\.bias"):
        read_video_source(folder)
    document = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**document, "qkv_bias": False}))
    converted = read_video_source(folder).converted
    assert not converted.arrays["layers.1.attention.query.bias"].any()
    assert len(converted.invented) == 6


def test_a_classifier_of_means_leaves_the_norm_fresh(tmp_path):
    def as_classifier(arrays):
        for part in ("weight", "bias"):
            arrays[f"fc_norm.{part}"] = arrays.pop(f"layernorm.{part}")
            arrays[f"classifier.{part}"] = np.ones(3, np.float32)

    folder = _changed(tmp_path, "videomae_small", as_classifier)
    with pytest.raises(ModelDirectoryError, match=r"missing layernorm\.weight, layernorm\.bias"):
        read_video_source(folder)
    document = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**document, "use_mean_pooling": True}))
    made = imported.import_video(read_video_source(folder), CLIP)
    assert "newly initialized" in made.dropped["fc_norm.weight"]
    assert {"classifier.weight", "classifier.bias", "fc_norm.bias"} < made.dropped.keys()
    norms = {f"video_tower.{name}.{part}" for name in ("token_norm", "group_norm") for part in ("scale", "bias")}
    assert norms < set(made.fresh)
    np.testing.assert_array_equal(_arrays(made)["video_tower.token_norm.scale"], np.ones(32))


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("videomae", ("mask_token", "encoder_to_decoder.weight", "decoder.norm.weight")),
        ("vit", ("embeddings.mask_token", "decoder.0.weight", "pooler.dense.bias", "classifier.weight")),
        ("vivit", ("pooler.dense.bias", "classifier.weight")),
    ],
)
def test_what_only_its_own_training_needs_is_dropped_by_name(tmp_path, kind, names):
    def with_more(arrays):
        for name in names:
            arrays[name] = np.ones(2, np.float32)

    dropped = read_video_source(_changed(tmp_path, f"{kind}_small", with_more)).converted.dropped
    assert set(dropped) == set(names)
    assert all("training" in why for why in dropped.values())


@pytest.mark.parametrize("kind", ["vit", "videomae", "vivit"])
def test_unknown_arrays_are_refused(tmp_path, kind):
    def change(arrays):
        arrays["encoder.layer.0.gate"] = np.ones(2, np.float32)

    with pytest.raises(ModelDirectoryError, match=r"No rule for encoder\.layer\.0\.gate \(2,\); missing nothing"):
        read_video_source(_changed(tmp_path, f"{kind}_small", change))


@pytest.mark.parametrize("kind", ["vit", "videomae", "vivit"])
def test_missing_arrays_are_refused(tmp_path, kind):
    def change(arrays):
        del arrays["encoder.layer.1.layernorm_after.bias"]

    expected = r"No rule for nothing; missing encoder\.layer\.1\.layernorm_after\.bias"
    with pytest.raises(ModelDirectoryError, match=expected):
        read_video_source(_changed(tmp_path, f"{kind}_small", change))


def test_another_shape_is_refused_with_both_sides(tmp_path):
    def change(arrays):
        arrays["encoder.layer.0.intermediate.dense.bias"] = np.ones(7, np.float32)
        arrays["encoder.layer.1.intermediate.dense.bias"] = np.ones(7, np.float32)

    source = read_video_source(_changed(tmp_path, "vit_small", change))
    with pytest.raises(ModelDirectoryError, match=r"mlp\.up\.bias: \(2, 7\) in the source, \(2, 48\) in the model"):
        imported.import_video(source, IMAGE)


def test_layers_of_different_shapes_are_refused(tmp_path):
    def change(arrays):
        arrays["encoder.layer.1.intermediate.dense.bias"] = np.ones(7, np.float32)

    source = read_video_source(_changed(tmp_path, "vit_small", change))
    with pytest.raises(ModelDirectoryError, match=r"mlp\.up\.bias: \(7,\), \(48,\), which differ between its layers"):
        imported.import_video(source, IMAGE)


def test_positions_that_do_not_fill_the_grid_are_refused(tmp_path):
    written(tmp_path, "vit_small")
    document = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**document, "image_size": 64}))
    with pytest.raises(ModelDirectoryError, match="16 positions, but a grid of 1x8x8 tokens"):
        imported.import_video(read_video_source(tmp_path), IMAGE)


@pytest.mark.parametrize(
    ("kind", "clip", "message"),
    [
        (
            "vit",
            {"tubelet_size": (2, 16, 16)},
            r"tubelet_size=\(2, 16, 16\): the patches .* 8x8; set .*tubelet_size to \(2, 8, 8\)",
        ),
        (
            "vivit",
            {"tubelet_size": (4, 8, 8)},
            r"tubelet_size=\(4, 8, 8\): the tubelets .* 2x8x8 .*tubelet_size to \(2, 8, 8\)",
        ),
        ("videomae", {"tubelet_size": (2, 16, 16)}, r"tubelets .* 2x8x8 .*tubelet_size to \(2, 8, 8\)"),
        ("vit", {"stem": (4, 2)}, r"config\.model\.video\.stem=\(4, 2\): .* set config\.model\.video\.stem to \(\)"),
    ],
)
def test_other_patches_are_refused_with_what_to_set(sources, kind, clip, message):
    with pytest.raises(ModelDirectoryError, match=message):
        imported.import_video(sources[kind], {**CLIP, **clip})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inflate": "centr"}, r"inflate='centr': expected one of .*did you mean 'center'"),
        ({"class_token": "groups"}, "class_token='groups': .*did you mean 'group'"),
    ],
)
def test_unknown_options_are_refused(sources, options, message):
    with pytest.raises(ModelDirectoryError, match=message):
        imported.import_video(sources["vit"], CLIP, **options)


def test_sentences_longer_than_the_source_knows_are_refused(tmp_path):
    written(tmp_path, "bert_small")
    with pytest.raises(
        ModelDirectoryError, match=r"text\.max_length=40: .* has 32 positions; set config\.model\.text\.max_length"
    ):
        import_towers(
            tiny_config(**{"model.text.max_length": 40, "model.text.max_positions": 64}), read_text_source(tmp_path)
        )


def test_a_class_token_needs_a_place_and_a_source(sources):
    with pytest.raises(ModelDirectoryError, match="has no class token"):
        imported.import_video(sources["videomae"], CLIP, class_token="group")
    config = imported.with_clip(tiny_config(), CLIP, GroupingConfig(1, (), in_layers=False))
    with pytest.raises(ModelDirectoryError, match=r"grouping\.in_layers=False"):
        import_towers(config, None, sources["vit"], class_token="group")


def test_groupings_after_layers_that_the_source_lacks_are_refused(sources):
    config = imported.with_clip(tiny_config(), CLIP, GroupingConfig(1, (1, 3)))
    with pytest.raises(ConfigError, match="after_layers"):
        import_towers(config, None, sources["vit"])


def test_both_towers_come_together(sources, tmp_path):
    written(tmp_path, "bert_small")
    source, text = sources["vit"], read_text_source(tmp_path)
    for one in (source, text):
        one.converted.dropped["pooler.dense.weight"] = f"of {one.origin}"
    config = imported.with_clip(tiny_config(), CLIP, GroupingConfig(4, (1,)))
    made = import_towers(config, text, source)
    del source.converted.dropped["pooler.dense.weight"]
    assert made.dropped["pooler.dense.weight"] == f"of {text.origin}"
    assert made.dropped["pooler.dense.weight (video)"] == f"of {source.origin}"
    for tower in ("video_tower.", "text_tower."):
        assert any(name.startswith(tower) for name in made.filled)
    assert not any(name.startswith("text_tower.") for name in made.fresh)
    vectors = made.trained.embed_video(np.zeros((4, 32, 32, 3), np.uint8))
    assert np.isfinite(vectors).all()
    assert np.isfinite(made.trained.embed_text("w1 w2")).all()


@pytest.mark.parametrize("hidden", [4304, 3072, 48, 4095, 1])
@pytest.mark.parametrize("width", [1152, 768, 32, 49, 93])
def test_the_ratio_of_the_mlp_gives_its_width_back(hidden, width):
    assert int(width * mlp_ratio(hidden, width)) == hidden
