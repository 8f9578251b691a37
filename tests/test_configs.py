"""Tests of every config in the project: it resolves and builds, and changes show in a golden file.

After an intended change: SVILM_UPDATE_GOLDEN=1 python -m pytest tests/test_configs.py
"""

import dataclasses
import importlib.util
import json
import os
import types
from pathlib import Path

import pytest
from svilm_data.datasets.msrvtt.dataset import PUBLISHED as msrvtt
from svilm_data.datasets.msrvtt_qa.dataset import PUBLISHED as msrvtt_qa
from svilm_data.datasets.msvd.dataset import PUBLISHED as msvd
from svilm_data.datasets.msvd.dataset import PUBLISHED_CAPTIONS as msvd_captions
from svilm_data.datasets.msvd_qa.dataset import PUBLISHED as msvd_qa

from svilm_jax.cli.sweep import resolve_trials
from svilm_jax.config import ConfigError, default_config, parse_arg, resolve, resolve_options
from svilm_jax.evaluation import EVALUATORS
from svilm_jax.input.text_counts import drawn_texts
from svilm_jax.models.parameters import abstract_model
from svilm_jax.objectives import build_objectives
from svilm_jax.training.task_input import total_steps

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden"
CONFIGS = [
    "pretrain/demo.py",
    "pretrain/demo.py:objectives=contrast",
    "pretrain/demo.py:text=frozen",
    "pretrain/demo.py:text=tuned,seed=1",
    "pretrain/captioned_videos.py",
    "pretrain/svilm_b.py",
    "pretrain/svilm_b.py:variant=L,optimizer=adamw",
    "finetune/retrieval.py",
    "finetune/retrieval.py:data=msvd",
    "finetune/retrieval.py:data=activitynet_captions,align=multilevel",
    "finetune/retrieval.py:data=moving_shapes,steps=7,seed=3",
    "finetune/retrieval.py:data=untrimmed,align=multilevel",
    "finetune/question_answering.py",
    "finetune/question_answering.py:data=activitynet_qa,align=global",
    "finetune/question_answering.py:data=untrimmed,align=multilevel",
    "finetune/action_recognition.py",
    "finetune/action_recognition.py:data=hmdb51,fold=2",
    "finetune/action_recognition.py:data=ucf101,mode=probe",
    "finetune/action_recognition.py:data=moving_shapes,mode=probe",
    "finetune/localization.py",
    "finetune/localization.py:data=moving_shapes",
    "finetune/localization.py:recipe=ours",
    "sweeps/ablation.py",
    "sweeps/frames_groups.py",
    "sweeps/lr_weight_decay.py",
    "sweeps/multilevel.py",
    "sweeps/multilevel.py:task=question_answering,align=multilevel",
    "sweeps/tasks.py:task=localization,tower=random",
    "sweeps/temporal_forms.py",
    "sweeps/text_towers.py:text=frozen",
]
# (config, sweeps whose product is taken, number of trials)
SWEEPS = [
    ("sweeps/ablation", ("arms", "seeds"), 12),
    ("sweeps/frames_groups", ("frames", "groups"), 9),
    ("sweeps/frames_groups", ("blocks",), 3),
    ("sweeps/lr_weight_decay", (), 15),
    ("sweeps/multilevel", ("arms", "seeds"), 18),
    ("sweeps/multilevel:task=question_answering", ("arms", "seeds"), 18),
    ("sweeps/tasks", ("tasks", "seeds"), 12),
    ("sweeps/temporal_forms", ("forms", "positions", "seeds"), 24),
    ("sweeps/temporal_forms", ("reads", "depths"), 4),
    ("sweeps/text_towers", ("towers", "seeds"), 9),
]


def read(name):
    path, _, arg = name.partition(":")
    spec = importlib.util.spec_from_file_location("config", ROOT / "configs" / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.__doc__, resolve(module.get_config(arg or None))


def filled(config):
    """Returns a config with the fields that come from a dataset or a folder of features."""
    head = dataclasses.replace(config.model.head, classes=("one", "another"))
    localization = dataclasses.replace(config.model.localization, feature_dim=64)
    return dataclasses.replace(config, model=dataclasses.replace(config.model, head=head, localization=localization))


def test_no_config_is_missing_here():
    files = {str(path.relative_to(ROOT / "configs")) for path in (ROOT / "configs").glob("*/*.py")}
    assert files == {name.partition(":")[0] for name in CONFIGS}


@pytest.mark.parametrize("name", CONFIGS)
def test_config(name):
    doc, config = read(name)
    assert {"Command:", "Hardware:", "Metric:"} <= set(doc.split())
    abstract_model(filled(config), 1000)
    build_objectives(config.objectives, config)
    for key, entry in config.evaluators.items():
        options = {option: value for option, value in entry.items() if option != "kind"}
        resolve_options(EVALUATORS[entry.get("kind", key)][0], options, key)
    text = json.dumps(dataclasses.asdict(config), indent=1, sort_keys=True) + "\n"
    file = GOLDEN / (name.replace(":", "__").replace(".py", "").replace(",", "_") + ".json")
    if os.environ.get("SVILM_UPDATE_GOLDEN"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert file.is_file(), "no golden file: see the head of this test"
    assert file.read_text() == text


def splits_of(config, names):
    """Splits that evaluators read, by the options whose names end in `split`."""
    entries = [config.evaluators[name] for name in names]
    return {value for entry in entries for key, value in entry.items() if key.endswith("split") and value}


@pytest.mark.parametrize("name", CONFIGS)
def test_no_test_split_is_looked_at_while_something_is_chosen(name):
    _, config = read(name)
    chooses = config.train.best.metric or name in ("sweeps/frames_groups.py", "sweeps/lr_weight_decay.py")
    if chooses:
        during = config.train.evaluators or config.evaluators
        assert not [split for split in splits_of(config, during) if "test" in split or split.startswith("val_")]
    if config.train.best.metric:
        prefixes = {config.evaluators[name].get("prefix", name.removesuffix("_loss")) for name in during}
        assert config.train.best.metric.split("/")[0] in prefixes
    chosen = {key: value for entry in config.evaluators.values() for key, value in entry.items() if "_split" in key}
    assert not [split for split in chosen.values() if "test" in split]  # of a block, or of a threshold


# (config, published clips and captions or questions of its training split, steps)
BUDGETS = [
    ("finetune/retrieval.py:data=msrvtt", 9_000, 20 * 9_000, 7_032),
    ("finetune/retrieval.py:data=msrvtt_full", *(msrvtt[f"train {kind}"] for kind in ("videos", "captions")), 5_089),
    ("finetune/retrieval.py:data=msvd", msvd["train videos"], msvd_captions["train captions"], 1_906),
    ("finetune/retrieval.py:data=activitynet_captions", 10_009, 37_421, 391),  # one paragraph per video
    ("finetune/question_answering.py", *(msrvtt_qa[f"train {kind}"] for kind in ("videos", "questions")), 6_195),
    ("finetune/question_answering.py:data=msvd_qa", 1_161, msvd_qa["train questions"], 1_209),
    ("finetune/action_recognition.py:data=ucf101", 9_537, 0, 4_471),
]


@pytest.mark.parametrize(("name", "clips", "texts", "steps"), BUDGETS)
def test_budgets_count_captions_and_questions(name, clips, texts, steps):
    _, config = read(name)
    shown = texts / clips if drawn_texts(config.input, config.task) else 1.0
    data = types.SimpleNamespace(steps_per_epoch=clips / config.train.batch_size, texts_per_clip=shown)
    assert total_steps(config.train, data) == steps
    assert total_steps(dataclasses.replace(config.train, steps=7), data) == 7


@pytest.mark.parametrize(("name", "sweeps", "count"), SWEEPS)
def test_every_trial_of_a_sweep_resolves_and_builds(name, sweeps, count):
    trials = resolve_trials(name, sweeps, [])
    assert len(trials) == count
    models = {json.dumps(trial.config["model"]): trial for trial in trials}
    for trial in models.values():
        abstract_model(filled(resolve(trial.config)), 1000)


def test_no_sweep_is_missing_here():
    defined = {f"sweeps/{path.stem}" for path in (ROOT / "configs" / "sweeps").glob("*.py")}
    assert defined == {name.partition(":")[0] for name, _, _ in SWEEPS}


def test_cut_and_paste_is_on_in_every_arm_of_the_ablation():
    trials = resolve_trials("sweeps/ablation", ["arms"], [])
    built = [set(build_objectives(trial.config["objectives"], resolve(trial.config))) for trial in trials]
    contrast, spatial, temporal = "global_contrast", "spatial_grounding", "temporal_grouping"
    assert built == [{contrast}, {contrast, spatial}, {contrast, temporal}, {contrast, spatial, temporal}]
    assert all(trial.config["splice"]["enabled"] for trial in trials)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pretrain/demo.py:text=cold", "config argument text=cold: expected one of fresh, frozen, tuned"),
        ("pretrain/demo.py:objectives=contrats", "objectives=contrats: expected one of .*did you mean 'contrast'"),
        ("finetune/retrieval.py:data=msr_vtt", "data=msr_vtt: expected one of .*did you mean 'msrvtt'"),
        ("finetune/question_answering.py:align=both", "align=both: expected one of none, global, segment, multilevel"),
        ("finetune/action_recognition.py:fold=4", "fold=4: expected one of 1, 2, 3"),
        ("finetune/localization.py:data=thumos14", "data=thumos14: expected one of activitynet, moving_shapes"),
    ],
)
def test_a_wrong_choice_lists_the_right_ones(name, message):
    with pytest.raises(ConfigError, match=message):
        read(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": {"vidio": {}}}, "config.model.vidio: no such key; did you mean 'video'"),
        ({"train": {"steps": 1.5}}, "config.train.steps=1.5: expected a whole number"),
        ({"train": {"steps": True}}, "config.train.steps=True: expected a whole number"),
        ({"input": {"crop_scale": (1.0,)}}, "expected 2 values"),
        ({"input": {"prompts": "a video of {}"}}, "expected a sequence"),
        ({"objectives": []}, "expected a table"),
    ],
)
def test_mistakes_name_the_key(change, message):
    tree = default_config().to_dict()
    for key, value in change.items():
        tree[key] = {**tree[key], **value} if isinstance(value, dict) else value
    with pytest.raises(ConfigError, match=message):
        resolve(tree)


def test_arguments_of_a_config_file():
    assert parse_arg("a=3,b=false", a=1, b=True, c="x").__dict__ == {"a": 3, "b": False, "c": "x"}
    with pytest.raises(ConfigError, match="did you mean 'steps'"):
        parse_arg("step=3", steps=1)
    assert parse_arg("fold=2", fold=(1, 2), mode=("a", "b")).__dict__ == {"fold": 2, "mode": "a"}
    with pytest.raises(ConfigError, match="expected a whole number"):
        parse_arg("steps=many", steps=1)
