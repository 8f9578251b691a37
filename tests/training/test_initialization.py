"""Tests of a run that starts from a checkpoint: mapped, newly initialized and frozen parameters; rejected setups."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from svilm_jax.checkpoints import load
from svilm_jax.checkpoints.train_state import TrainState, with_params
from svilm_jax.config import ConfigError, HeadConfig, InitConfig, OptimizerConfig
from svilm_jax.input.features import FeatureIndex, write_index
from svilm_jax.models.parameters import abstract_model, bind, parameters
from svilm_jax.parallel import make_mesh
from svilm_jax.text.tokenizers import load_tokenizer
from svilm_jax.training import loop
from svilm_jax.training import loss as losses
from svilm_jax.training import step as steps
from svilm_jax.training.freezing import frozen, scale_by_group
from svilm_jax.training.initialization import initial_params, resolve_init
from svilm_jax.training.optimizer import make_optimizer
from tests.tiny import tiny_config

# Neither is what tests/tiny.py says: what a run takes from the checkpoint shows.
SMALL = {"model.video.num_layers": 1, "model.grouping.after_layers": (1,), "model.attention": "xla"}
PRETRAINING = {"train.steps": 2, "train.checkpoint_every": 1, "splice.enabled": False, "tokenizer.lowercase": False}
VOCABULARY = load_tokenizer("builtin:moving_shapes")
STILL = ("text_tower.", "video_tower.patch_embedding")


def with_objectives(config, **objectives):
    return dataclasses.replace(config, objectives=objectives)


def named(params):
    """name -> NumPy array."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in leaves}


def drawn(config, seed=7):
    """Fresh parameters of a config's model, random in every entry."""
    return random_like(abstract_model(config, VOCABULARY.vocab_size)[1], seed)


def random_like(abstract, seed):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), nnx.to_pure_dict(abstract))


@pytest.fixture(scope="module", autouse=True)
def compiled_once():
    """Runs of one config share their step, compiled in haste: that is nearly all the time a tiny run takes."""
    made = {}

    def make_step(config, *rest):
        key = json.dumps(dataclasses.asdict(config), sort_keys=True)
        if key not in made:
            made[key] = steps.make_step(config, *rest)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "make_step", make_step)
        jax.config.update("jax_disable_most_optimizations", True)
        yield
        jax.config.update("jax_disable_most_optimizations", False)


def run(start, workdir):
    return loop.train(start.config, workdir, start.tokenizer, make_mesh(start.config.mesh), loaded=start.loaded)


@pytest.fixture(scope="module")
def pretrained(moving_shapes, tmp_path_factory):
    """The workdir of two steps on captions."""
    workdir = tmp_path_factory.mktemp("pretrained")
    config = with_objectives(tiny_config(moving_shapes, **SMALL, **PRETRAINING), global_contrast={})
    run(resolve_init(config), workdir)
    return workdir


@pytest.fixture(scope="module")
def loaded(pretrained):
    return load(pretrained)


@pytest.fixture
def finetuning(moving_shapes, pretrained):
    """Changes -> a config that names actions, from the checkpoint."""

    def config(model=None, **changes):
        fields = {"task": "action_recognition", "splice.enabled": False, **changes}
        config = with_objectives(tiny_config(moving_shapes, **fields), classification={})
        init = dataclasses.replace(config.init, checkpoint=str(pretrained), model=model or {})
        return dataclasses.replace(config, init=init)

    return config


@pytest.fixture(scope="module")
def finetuned(moving_shapes, pretrained, tmp_path_factory):
    """(start, workdir) of four steps with two parts frozen, saved in the middle."""
    workdir = tmp_path_factory.mktemp("finetuned")
    changes = {
        "task": "action_recognition",
        "input.split": "actions_train",
        "splice.enabled": False,
        "init.checkpoint": str(pretrained),
        "init.freeze": STILL,
        "init.learning_rate_scale": 0.5,
        "optimizer.weight_decay": 0.5,
        "optimizer.learning_rate": 1e-2,
        "train.steps": 4,
        "train.checkpoint_every": 2,
    }
    start = resolve_init(with_objectives(tiny_config(moving_shapes, **changes), classification={}))
    run(start, workdir)
    return start, workdir


def test_model_and_tokenizer_are_those_of_the_checkpoint(finetuning, loaded):
    start = resolve_init(finetuning())
    assert dataclasses.replace(start.config.model, head=HeadConfig()) == loaded.config.model
    assert start.config.model.attention == "xla"
    assert start.tokenizer.files() == loaded.tokenizer.files()
    # How its vocabulary is read is told to the checkpoints of this run, too.
    assert start.tokenizer.lowercase is start.config.tokenizer.lowercase is False


def test_every_parameter_is_taken_over_and_the_head_is_fresh(finetuning, loaded):
    start = resolve_init(finetuning())
    fresh = drawn(start.config)
    got, before = named(initial_params(fresh, start.loaded, start.config)), named(parameters(loaded.model))
    expected = {name: value for name, value in named(fresh).items() if name.startswith("head.")}
    assert expected
    assert got.keys() - expected.keys() == before.keys()
    for name, value in (before | expected).items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


def test_a_run_moves_what_is_not_frozen_and_nothing_else(finetuned, loaded):
    _, workdir = finetuned
    before, after = named(parameters(loaded.model)), named(parameters(load(workdir).model))
    still = {name for name in before if name.startswith(STILL)}
    assert len(still) > 10
    for name in still:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)
    # Weight decay moves every other matrix, and gradients what else leads to the scores.
    moving = {name for name in before if name.endswith(".kernel")} - still
    for name in moving | {"video_tower.time_position", "video_tower.token_norm.scale"}:
        assert np.any(after[name] != before[name]), name


def test_the_checkpoint_in_memory_outlives_the_run(finetuned, loaded):
    start, _ = finetuned
    before = named(parameters(loaded.model))
    for name, value in named(parameters(start.loaded.model)).items():
        np.testing.assert_array_equal(value, before[name])


def test_a_checkpoint_of_the_run_says_how_its_tokenizer_reads(finetuned):
    after = load(finetuned[1])
    assert after.tokenizer.lowercase is after.config.tokenizer.lowercase is False
    assert after.config.model.head.classes


def test_a_resumed_run_ends_in_the_same_bits(finetuned, tmp_path):
    start, workdir = finetuned
    again = tmp_path / "again"
    shutil.copytree(workdir / "checkpoints" / "2", again / "checkpoints" / "2")
    result = run(start, again)
    assert result.step == 4
    halfway, got = named(parameters(load(again / "checkpoints" / "2").model)), named(result.params)
    for name, value in named(parameters(load(workdir).model)).items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)
    assert np.any(halfway["head.out.kernel"] != got["head.out.kernel"])


@pytest.fixture
def old(pretrained, tmp_path):
    """The pre-training's first checkpoint, as a version wrote it that knew no heads, tasks or starts."""
    shutil.copytree(pretrained / "checkpoints" / "1", tmp_path / "old" / "checkpoints" / "1")
    file = tmp_path / "old" / "checkpoints" / "1" / "meta" / "metadata"
    meta = json.loads(file.read_text())
    del meta["fingerprint"]
    config = meta["config"]
    for table, keys in ((config, ("task", "init")), (config["model"], ("head", "localization"))):
        for key in keys:
            del table[key]
    for key in ("text", "num_sentences"):
        del config["input"][key]
    file.write_text(json.dumps(meta))
    return tmp_path / "old"


def test_a_checkpoint_from_before_these_keys_loads_and_goes_on(old, loaded):
    assert load(old).config == loaded.config
    result = loop.train(loaded.config, old, loaded.tokenizer, make_mesh(loaded.config.mesh))
    assert result.step == 2
    got = named(result.params)
    for name, value in named(parameters(loaded.model)).items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


def test_averages_start_from_the_checkpoint_in_memory_of_their_own():
    zeros, taken = {"a": jnp.zeros(3)}, {"a": jnp.arange(3.0)}
    state = with_params(TrainState(jnp.zeros((), jnp.int32), zeros, (), zeros), taken)
    np.testing.assert_array_equal(state.params["a"], [0, 1, 2])
    np.testing.assert_array_equal(state.ema["a"], [0, 1, 2])
    assert state.params["a"].unsafe_buffer_pointer() != state.ema["a"].unsafe_buffer_pointer()
    assert with_params(TrainState(state.step, zeros, (), None), taken).ema is None


# Heads.


def headed(config, task, classes):
    model = dataclasses.replace(config.model, head=HeadConfig(classes))
    return dataclasses.replace(config, task=task, model=model)


def with_head(loaded, task, classes):
    """The checkpoint as if its run had had this head, random in every entry."""
    config = headed(loaded.config, task, classes)
    graphdef, abstract = abstract_model(config, VOCABULARY.vocab_size)
    return dataclasses.replace(loaded, config=config, model=bind(graphdef, abstract, random_like(abstract, 3)))


@pytest.mark.parametrize(
    ("task", "classes", "fresh_parts"),
    [
        ("question_answering", ("a", "b", "c"), ()),  # the same task goes on
        ("question_answering", ("c", "b", "a"), ("head.out.",)),  # as many answers, others
        ("question_answering", ("a", "b"), ("head.out.",)),
        ("action_recognition", ("a", "b", "c"), ("head.",)),  # its norm and scores would fit by shape
    ],
)
def test_a_head_goes_on_only_where_it_means_the_same(loaded, task, classes, fresh_parts):
    before = with_head(loaded, "question_answering", ("a", "b", "c"))
    after = headed(loaded.config, task, classes)
    fresh = drawn(after)
    got, new, known = named(initial_params(fresh, before, after)), named(fresh), named(parameters(before.model))
    for name in new:
        expected = new if name.startswith(fresh_parts) else known
        np.testing.assert_array_equal(got[name], expected[name], err_msg=name)
    assert any(name.startswith("head.") for name in got)


def test_a_head_that_the_run_does_not_have_is_left_behind(loaded):
    before = with_head(loaded, "question_answering", ("a", "b"))
    got = initial_params(drawn(loaded.config), before, loaded.config)
    assert "head" not in got


@pytest.mark.parametrize(
    ("task", "file"), [("action_recognition", "labels.json"), ("question_answering", "answers.json")]
)
def test_classes_are_those_that_the_dataset_lists(moving_shapes, task, file):
    rows = json.loads((moving_shapes / file).read_text())
    listed = tuple(row if task == "action_recognition" else row[0] for row in rows)
    fields = {"task": task}
    assert resolve_init(tiny_config(moving_shapes, **fields)).config.model.head.classes == listed
    few = resolve_init(tiny_config(moving_shapes, **fields, **{"model.head.max_classes": 2}))
    assert few.config.model.head.classes == listed[:2]
    own = resolve_init(tiny_config(moving_shapes, **fields, **{"model.head.classes": ("x", "y")}))
    assert own.config.model.head.classes == ("x", "y")
    assert resolve_init(tiny_config(moving_shapes)).config.model.head.classes == ()


def test_the_width_and_the_classes_of_a_localizer_are_those_of_its_features(tmp_path):
    write_index(tmp_path, FeatureIndex(2.0, 1.0, 0.0, 12, ("jump", "run"), (), {}))
    fields = {"task": "localization", "model.localization.features": str(tmp_path)}
    start = resolve_init(tiny_config(**fields))
    assert start.config.model.localization.feature_dim == 12
    assert start.config.model.head.classes == ("jump", "run")
    own = resolve_init(tiny_config(**fields, **{"model.head.classes": ("run",)}))
    assert own.config.model.head.classes == ("run",)


# Positions.


def with_positions(loaded, time, space):
    params = parameters(loaded.model)
    tower = {**params["video_tower"], "time_position": jnp.asarray(time), "space_position": jnp.asarray(space)}
    graphdef, state = nnx.split(loaded.model, nnx.Param)
    return dataclasses.replace(loaded, model=bind(graphdef, state, {**params, "video_tower": tower}))


def positions(finetuning, loaded, time, space, **video):
    """Both tables of a run whose video tower is changed: [Nt, D] and [rows, columns, D]."""
    start = resolve_init(finetuning({"video": video} if video else None))
    assert dataclasses.replace(start.config.model.video, num_frames=8, image_size=16) == loaded.config.model.video
    params = initial_params(drawn(start.config), with_positions(loaded, time, space), start.config)
    tower, side = params["video_tower"], start.config.model.video.image_size // 8
    return np.asarray(tower["time_position"]), np.asarray(tower["space_position"]).reshape(side, side, -1)


TIME, SIDE, WIDTH = 4, 2, 16  # of the checkpoint
VIDEOS = [
    {"num_frames": 16},
    {"image_size": 32},
    {"num_frames": 4, "image_size": 8},
    {"num_frames": 24, "image_size": 24},
]


def test_positions_of_the_same_grid_stay_to_the_bit(finetuning, loaded):
    rng = np.random.default_rng(0)
    tables = [np.float32(rng.normal(size=(TIME, WIDTH))), np.float32(rng.normal(size=(SIDE * SIDE, WIDTH)))]
    for video in ({}, {"num_frames": 8, "image_size": 16}):
        time, space = positions(finetuning, loaded, *tables, **video)
        np.testing.assert_array_equal(time, tables[0])
        np.testing.assert_array_equal(space.reshape(-1, WIDTH), tables[1])


@pytest.mark.parametrize("video", VIDEOS)
def test_equal_positions_stay_equal(finetuning, loaded, video):
    one = np.linspace(-1, 1, WIDTH, dtype=np.float32)
    time, space = positions(finetuning, loaded, np.tile(one, (TIME, 1)), np.tile(one, (SIDE * SIDE, 1)), **video)
    assert len(time) == video.get("num_frames", 8) // 2
    assert len(space) == video.get("image_size", 16) // 8
    np.testing.assert_allclose(time, np.broadcast_to(one, time.shape), atol=1e-6)
    np.testing.assert_allclose(space, np.broadcast_to(one, space.shape), atol=1e-6)


@pytest.mark.parametrize("video", VIDEOS)
def test_a_ramp_stays_a_ramp_between_the_outer_middles(finetuning, loaded, video):
    """Vectors stand at the middles of their cells; beyond the outermost middles nothing is made up."""

    def places(new, old):
        return np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)

    slopes = np.linspace(1, 2, WIDTH, dtype=np.float32)
    rows, columns = np.divmod(np.arange(SIDE * SIDE), SIDE)
    time, space = positions(
        finetuning, loaded, np.outer(np.arange(TIME), slopes), np.outer(rows + 10 * columns, slopes), **video
    )
    np.testing.assert_allclose(time, np.outer(places(len(time), TIME), slopes), atol=1e-5)
    side = places(len(space), SIDE)
    expected = side[:, None, None] * slopes + 10 * side[None, :, None] * slopes
    np.testing.assert_allclose(space, expected, atol=1e-4)


# What moves, and how far.

PARAMS = {
    "head": {"out": {"kernel": jnp.full((4, 3), 0.5), "bias": jnp.full(3, 0.5)}},
    "text_tower": {"kernel": jnp.full((4, 4), 0.7), "token_embedding": jnp.full((5, 4), 0.3)},
    "video_tower": {"kernel": jnp.full((2, 4, 4), 0.6), "norm": {"scale": jnp.ones(4)}},
}


def stepped(init, gradients, name):
    """[(updates, parameters)] of a run from a checkpoint on these gradients."""
    config = OptimizerConfig(name=name, learning_rate=0.1, weight_decay=0.3, warmup_fraction=0.0)
    optimizer = make_optimizer(config, 4, scale_by_group(init, ()))
    update = jax.jit(optimizer.update)
    params, state, seen = PARAMS, optimizer.init(PARAMS), []
    for gradient in gradients:
        updates, state = update(gradient, state, params)
        params = jax.tree.map(jnp.add, params, updates)
        seen.append((named(updates), named(params)))
    return seen


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_no_optimizer_moves_what_is_frozen_and_all_heed_the_scale(name):
    still, rng = ("text_tower",), np.random.default_rng(0)
    trees = [jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), PARAMS) for _ in range(3)]
    # Zero where frozen: so the loss gives them.
    gradients = [jax.tree.map(lambda g, f: g * (not f), tree, frozen(PARAMS, still)) for tree in trees]
    (plain, _), *_ = stepped(InitConfig(), gradients[:1], name)
    (first, _), *_, (_, last) = stepped(InitConfig(learning_rate_scale=0.1, freeze=still), gradients, name)
    for key, before in named(PARAMS).items():
        if key.startswith(still):
            np.testing.assert_array_equal(last[key], before, err_msg=key)
        else:
            factor = 1.0 if key.startswith("head.") else 0.1
            np.testing.assert_allclose(first[key], factor * plain[key], rtol=1e-5, err_msg=key)
            assert np.isfinite(last[key]).all()
            assert np.all(last[key] != before), key


def factors(config, fresh):
    """The factor of every parameter's update."""
    stage, ones = scale_by_group(config, fresh), jax.tree.map(jnp.ones_like, PARAMS)
    updates, _ = stage.update(ones, stage.init(PARAMS), PARAMS)
    return {name: float(value.mean()) for name, value in named(updates).items()}


def test_factors_are_one_without_a_checkpoint():
    assert set(factors(InitConfig(), ()).values()) == {1.0}
    assert set(factors(InitConfig(learning_rate_scale=0.1), None).values()) == {1.0}  # everything is fresh
    assert factors(InitConfig(learning_rate_scale=0.1, freeze=("video_tower.norm",)), None) == {
        name: 0.0 if name == "video_tower.norm.scale" else 1.0 for name in named(PARAMS)
    }


def test_what_is_fresh_in_an_import_moves_at_the_full_rate():
    found = factors(InitConfig(learning_rate_scale=0.1), ("video_tower.norm.scale",))
    full = {name for name, value in found.items() if value == 1.0}
    assert full == {"head.out.kernel", "head.out.bias", "video_tower.norm.scale"}


def test_a_loss_has_no_gradient_for_what_is_frozen(monkeypatch):
    config = dataclasses.replace(tiny_config(task="localization"), init=InitConfig(freeze=("video_tower.kernel",)))
    monkeypatch.setattr(losses, "encode", lambda config, structure, params, batch, key: params)
    monkeypatch.setattr(
        losses, "total_loss", lambda objectives, params, *_: (sum((p**2).sum() for p in jax.tree.leaves(params)), {})
    )
    loss = losses.make_loss(config, None, {})
    gradients = jax.grad(loss, has_aux=True)(PARAMS, {"valid": jnp.ones(2, bool)}, jax.random.key(0))[0]
    before = named(PARAMS)
    for name, value in named(gradients).items():
        np.testing.assert_array_equal(value, 2 * before[name] * (name != "video_tower.kernel"), err_msg=name)


# What is refused.


def test_a_prefix_that_nothing_starts_with_is_named():
    with pytest.raises(ConfigError, match=r"starts with 'text_towr'; the first parts are \['head', 'text_tower'"):
        frozen(PARAMS, ("video_tower", "text_towr"))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            {"video": {"tubelet_size": (4, 8, 8)}},
            r"linear.kernel: \(384, 16\) in the checkpoint, \(768, 16\)",
        ),
        ({"video": {"stem": (2, 4)}}, r"patch_embedding.stem.layer1.bias \(32,\): not in the checkpoint"),
        ({"grouping": {"after_layers": ()}}, r"grouping.\S+ \(16,\): not in the model; .* and \d+ more"),
    ],
)
def test_parameters_that_do_not_fit_are_named(finetuning, model, message):
    start = resolve_init(finetuning(model))
    with pytest.raises(ConfigError, match=message):
        initial_params(drawn(start.config), start.loaded, start.config)


def test_a_mistake_in_what_changes_is_named(finetuning, moving_shapes):
    with pytest.raises(ConfigError, match="config.init.model.vidio: no such key; did you mean 'video'"):
        resolve_init(finetuning({"vidio": {"frames": 16}}))
    with pytest.raises(ConfigError, match="config.init.model.video.num_frame: no such key; did you mean 'num_frames'"):
        resolve_init(finetuning({"video": {"num_frame": 16}}))
    config = tiny_config(moving_shapes)
    config = dataclasses.replace(config, init=InitConfig(model={"video": {"num_frames": 16}}))
    with pytest.raises(ConfigError, match="changes the model of a checkpoint: name one"):
        resolve_init(config)


def test_a_localizer_does_not_start_from_a_checkpoint(tmp_path):
    config = dataclasses.replace(tiny_config(), task="localization", init=InitConfig(checkpoint=str(tmp_path)))
    with pytest.raises(ConfigError, match="not used with config.task='localization'"):
        resolve_init(config)
