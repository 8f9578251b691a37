"""Tests of the schema: every field declares its constraints, and every value is accepted deliberately or rejected."""

import dataclasses
import typing

import pytest

from svilm_jax.cli.config_file import _check_open_tables
from svilm_jax.config import ConfigError, resolve
from svilm_jax.config.constraints import Local, NonEmpty, Range
from svilm_jax.config.grades import Grade
from svilm_jax.config.resolution import fields_of, grade_of, unwrapped
from svilm_jax.config.schema import Config, GroupingConfig, MeshConfig, ModelConfig, VideoConfig
from svilm_jax.evaluation.registry import EVALUATORS
from svilm_jax.inference.encoder import FEATURES
from svilm_jax.models.attention import _KERNELS
from svilm_jax.models.parameters import abstract_model
from svilm_jax.models.transformer import ACTIVATIONS, REMAT_POLICIES
from svilm_jax.models.variants import VARIANTS
from svilm_jax.parallel.mesh import PRESETS
from tests.config.every_field import VALUES, every_kind, fields, fields_of_tables, replaced
from tests.test_configs import CONFIGS, read

FILES = [name for name in CONFIGS if ":" not in name]
# Text without a constraint: names of classes, a second split, and a metric, names of a run and of its group.
FREE_TEXT = {
    *("config.model.head.classes", "config.evaluators.grounding.block_split"),
    *("config.train.tracking.name", "config.train.tracking.group", "config.train.best.metric"),
}
# Numbers for which 0 is valid, often with a meaning that the schema documents.
ZERO_IS_VALID = {
    *(f"model.{tower}.{size}" for tower in ("video", "text") for size in ("num_layers", "hidden_size", "num_heads")),
    *("model.text.phrase_length", "model.scan_unroll", "model.head.max_classes", "model.localization.feature_dim"),
    *("model.localization.num_context_samples", "init.learning_rate_scale", "input.num_sentences", "input.workers"),
    *("input.cache_bytes", "input.max_failure_fraction", "mesh.num_slices", "mesh.max_replicated_fraction"),
    *(f"optimizer.{name}" for name in ("momentum", "beta1", "beta2", "weight_decay", "clip_norm", "warmup_fraction")),
    *(f"optimizer.{name}" for name in ("final_lr_fraction", "muon_start_fraction", "ema_decay")),
    *(f"train.{name}" for name in ("steps", "seed", "eval_every", "checkpoint_seconds", "watchdog_minutes")),
    *("train.best.patience", "splice.block", "splice.min_whole_fraction", "model.video.position_scale"),
    *("objectives.*.weight", "objectives.global_contrast.bias", "objectives.classification.label_smoothing"),
    *(f"objectives.localization.{name}" for name in ("regression", "classes", "boundary", "fits", "low")),
    *(f"objectives.multilevel_alignment.{name}_weight" for name in ("global", "segment", "hard_negative")),
    *("evaluators.*.limit", "evaluators.*.common_clips", "evaluators.grounding.block", "evaluators.*.seed"),
    *("evaluators.retrieval.dual_softmax", "evaluators.linear_probe.penalty"),
    *(f"evaluators.scene_cuts.{name}" for name in ("threshold_limit", "tolerance", "min_gap")),
}
EMPTY_IS_VALID = {
    *("model.video.stem", "model.head.classes", "init.checkpoint", "init.freeze"),
    *("train.evaluators", "train.best.metric"),
    *("model.localization.features", "tokenizer.path", "input.dataset", "train.compilation_cache"),
    *(
        "evaluators.*.dataset",
        "evaluators.*.features",
        "evaluators.*.predictions",
        "evaluators.localization.classifier",
    ),
    "evaluators.grounding.block_split",
    *("train.writers", "train.profile", "train.tracking.name", "train.tracking.group"),
}


def test_every_field_declares_its_constraints():
    """A number has a range; text is a choice, a path, or not empty."""
    undeclared = []
    for name, kind in every_kind():
        for path, hint in fields(kind):
            key = ".".join((name, *path))
            plain, constraints = unwrapped(hint)
            members = typing.get_args(plain) if typing.get_origin(plain) is tuple else ()
            for one, own in [unwrapped(m) for m in members if m is not Ellipsis] or [(plain, constraints)]:
                wanted = {int: Range, float: Range, str: (NonEmpty, Local)}.get(one)
                if wanted and not any(isinstance(constraint, wanted) for constraint in own):
                    undeclared.append(key)
    assert set(undeclared) == FREE_TEXT


def test_choices_are_those_of_the_code():
    def choices(kind, name):
        return set(typing.get_args(unwrapped(fields_of(kind)[name])[0]))

    assert choices(ModelConfig, "variant") == set(VARIANTS)
    assert choices(ModelConfig, "remat") == set(REMAT_POLICIES)
    assert choices(ModelConfig, "attention") == {"auto", *_KERNELS}
    assert choices(VideoConfig, "activation") == set(ACTIVATIONS)
    assert choices(MeshConfig, "preset") == set(PRESETS)
    assert choices(EVALUATORS["linear_probe"][0], "pool") == set(FEATURES)


def valid(key, value, hint):
    """Returns whether the schema is meant to accept a value."""
    table, _, rest = key.partition(".")
    names = {key, f"{table}.*.{rest.rpartition('.')[2]}"}
    if value == 0 and not isinstance(value, bool):
        return bool(names & ZERO_IS_VALID)
    if value in ("", ()):
        is_text = unwrapped(hint)[0] is str or "" in typing.get_args(unwrapped(hint)[0])
        return bool(names & EMPTY_IS_VALID) and is_text == (value == "")
    if value == "nonsense":  # a path, or a name that cannot be checked without the dataset
        plain, constraints = unwrapped(hint)
        return plain is str and (bool(constraints) or f"config.{key}" in FREE_TEXT)
    return value == -1 and key == "objectives.global_contrast.bias"


@pytest.mark.parametrize("name", FILES)
def test_an_unusual_value_is_valid_or_rejected_in_one_line(name):
    """Assigns 0, -1, NaN, infinity, empty values and values of other types to each field in turn."""
    _, config = read(name)
    tree = dataclasses.asdict(config)
    wrong = []
    for path, hint in [*fields(), *fields_of_tables(config)]:
        key = ".".join(path)
        for label, value in VALUES.items():
            try:
                _check_open_tables(resolve(replaced(tree, path, value)))
            except ConfigError as error:
                fine = key in str(error) and "\n" not in str(error) and len(str(error)) < 600
                fine = fine and not valid(key, value, hint)
            else:
                fine = valid(key, value, hint)
            if not fine:
                wrong.append(f"{key}={label}")
    assert not wrong


def test_a_model_with_every_valid_zero_can_be_built():
    tree = dataclasses.asdict(read("pretrain/demo.py")[1])
    tree["model"]["variant"], tree["model"]["grouping"]["after_layers"] = "Ti", (1, 2)
    for path, _ in fields(ModelConfig, ("model",)):
        if ".".join(path) in ZERO_IS_VALID:
            tree = replaced(tree, path, 0)
    abstract_model(resolve(tree), 100)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input": {"crop_scale": (0.9, 0.5)}}, r"config\.input\.crop_scale=\(0\.9, 0\.5\): expected the smaller"),
        ({"input": {"crop_ratio": (2.0, 1.0)}}, r"config\.input\.crop_ratio"),
        (
            {"model": {"text": {"max_length": 20, "max_positions": 10}}},
            r"text\.max_length=20: expected at most .*max_positions=10",
        ),
        ({"model": {"text": {"phrase_length": 2}}}, r"phrase_length=2: expected at least 3 tokens"),
        ({"model": {"text": {"phrase_length": 600}}}, r"phrase_length=600: expected at most .*max_positions=512"),
        ({"model": {"temperature": 0.001}}, r"temperature=0\.001 starts with a logit scale of 1000, above"),
        ({"model": {"grouping": {"after_layers": (2, 2)}}}, "expected ascending numbers"),
        ({"init": {"model": {"video": {"num_frames": 0}}}}, r"config\.init\.model\.video\.num_frames=0: expected"),
        ({"init": {"model": {"video": {"frame": 4}}}}, "did you mean 'num_frames'"),
        ({"init": {"model": {"head": {"classes": ()}}}}, r"config\.init\.model\.head: no such key"),
        ({"train": {"epochs": 10**400}}, r"config\.train\.epochs: an integer of 1329 bits"),
        ({"input": {"dataset": "s3://bucket/data"}}, "s3:// is not supported"),
        (
            {"input": {"dataset": "x" * 500, "split": "a\nb" * 400 + "\x00", "num_phrases": "y" * 999}},
            "num_phrases='yyy.*y\\.\\.\\.: ",
        ),
    ],
)
def test_inconsistent_values_are_named(changes, message):
    with pytest.raises(ConfigError, match=message) as refused:
        resolve(changes)
    assert "\n" not in str(refused.value)


def nested(kind):
    """Yields a config dataclass and all dataclasses of its fields."""
    yield kind
    for hint in fields_of(kind).values():
        if dataclasses.is_dataclass(plain := unwrapped(hint)[0]):
            yield from nested(plain)


def test_every_field_declares_the_grade_of_its_default():
    missing = [
        f"{kind.__name__}.{field}"
        for kind in {*nested(Config), *(kind for _, kind in every_kind())}
        for field, hint in fields_of(kind).items()
        if not dataclasses.is_dataclass(unwrapped(hint)[0]) and grade_of(hint) is None
    ]
    assert not missing


def test_grades_follow_the_method():
    """A sample of each grade, as the specification of the method gives it."""
    assert grade_of(fields_of(GroupingConfig)["num_groups"]) is Grade.STATED
    assert grade_of(fields_of(VideoConfig)["image_size"]) is Grade.ATTRIBUTED
    assert grade_of(fields_of(ModelConfig)["clip_pool"]) is Grade.CHOSEN
