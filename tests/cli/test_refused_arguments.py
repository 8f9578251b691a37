"""Tests of arguments that a command does not use: refused in one line, before anything is written."""

import json
import re
import shutil

import pytest

from svilm_jax.checkpoints.model_directory import ModelOrigin, write_model_directory
from svilm_jax.cli.config_file import USED_BY_EVAL, apply_overrides, check_overrides_hold, check_overrides_used
from svilm_jax.config import ConfigError
from svilm_jax.main import main
from tests.tiny import tiny_config, tiny_model

TINY = "tests/tiny.py"
pytestmark = pytest.mark.usefixtures("compiled_in_haste")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An exported model of 8 frames, which nobody trained."""
    folder = tmp_path_factory.mktemp("refused") / "model"
    write_model_directory(folder, tiny_model(), ModelOrigin("a test"), "")
    return folder


def told(arguments, capsys):
    """The one line with which a command ends."""
    assert main([str(argument) for argument in arguments]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1, message
    return message


# Overrides that the checkpoint decides, or that evaluation does not read.
OF_NO_USE_TO_EVAL = {
    "model.video.num_frames": 20,
    "model.video.image_size": 32,
    "model.embed_dim": 8,
    "model.attention": "xla",
    "model.grouping.num_groups": 2,
    "init.checkpoint": "runs/x",
    "tokenizer.lowercase": "false",
    "tokenizer.path": "vocab.txt",
    "optimizer.learning_rate": 1,
    "train.batch_size": 2,
    "input.workers": 1,
    "input.flip": "false",
    "objectives.global_contrast.weight": 2,
    "mesh.preset": "fsdp",
    "task": "localization",
}


@pytest.mark.parametrize("key", OF_NO_USE_TO_EVAL)
def test_eval_has_no_use_for_what_the_checkpoint_decides(key):
    kept, override = tiny_config(), [f"--config.{key}={OF_NO_USE_TO_EVAL[key]}"]
    with pytest.raises(ConfigError, match=rf"^config\.{key}: not used by `svilm eval`.*determined by the checkpoint"):
        check_overrides_used(override, apply_overrides(kept, override), USED_BY_EVAL, "eval", kept)


@pytest.mark.parametrize("file", [(), (f"--config={TINY}",)], ids=["checkpoint", "file"])
def test_eval_refuses_it_by_name(file, model, tmp_path, capsys):
    out = tmp_path / "metrics.json"
    overrides = [
        "--config.model.video.num_frames=20",
        "--config.model.video.image_size=16",
        "--config.model.embed_dim=8",
    ]
    message = told(["eval", model, *file, f"--out={out}", *overrides], capsys)
    assert "config.model.video.num_frames, config.model.embed_dim: not used by `svilm eval`" in message
    assert not out.exists()


def test_eval_takes_what_the_checkpoint_says_itself():
    kept = tiny_config()
    same = [
        "--config.model.video.num_frames=8",
        "--config.optimizer.name=adamw",
        "--config.evaluators.retrieval.limit=2",
    ]
    check_overrides_used(same, kept, USED_BY_EVAL, "eval", kept)
    with pytest.raises(ConfigError, match=r"^config\.model\.video\.num_frames: not used"):
        check_overrides_used(same[:1], kept, USED_BY_EVAL, "eval", tiny_config(**{"model.video.num_frames": 10}))


@pytest.mark.parametrize(
    "key", ["evaluators.retrieval.split", "input.workers", "input.flip", "train.log_every", "train.seed"]
)
def test_compile_refuses_what_no_step_reads(key, capsys):
    values = {"evaluators.retrieval.split": "test", "input.flip": "false"}
    arguments = ["compile", f"--config={TINY}", "--topology=v5e:2x2", f"--config.{key}={values.get(key, 3)}"]
    assert f"config.{key}: not used by `svilm compile`" in told(arguments, capsys)


def test_compile_takes_one_mesh(capsys):
    arguments = ["compile", f"--config={TINY}", "--topology=v5e:2x2", "--mesh=fsdp", "--config.mesh.preset=dp"]
    assert "config.mesh.preset='dp', it is 'fsdp': --mesh=fsdp overrides it" in told(arguments, capsys)


@pytest.mark.parametrize("key", ["optimizer.learning_rate", "train.batch_size", "evaluators.retrieval.limit"])
def test_import_refuses_what_no_model_reads(key, tmp_path, capsys):
    arguments = ["import", f"--config={TINY}", "--text=nowhere", f"--out={tmp_path / 'out'}", f"--config.{key}=3"]
    assert f"config.{key}: not used by `svilm import`" in told(arguments, capsys)


@pytest.mark.parametrize("option", ["--inflate=mean", "--class-token=group"])
def test_import_refuses_options_of_a_video_tower_without_one(option, tmp_path, capsys):
    message = told(["import", f"--config={TINY}", "--text=nowhere", f"--out={tmp_path / 'out'}", option], capsys)
    assert f"{option.partition('=')[0]} applies to a video tower: give --video" in message


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.video.num_frames=16", r"config.model.video.num_frames=16, it is 8"),
        ("model.text.pool=mean", r"config.model.text.pool='mean', it is 'cls'"),
        ("tokenizer.lowercase=false", r"config.tokenizer.lowercase=False, it is True"),
    ],
)
def test_an_override_that_something_else_decides_is_refused(override, message):
    given = apply_overrides(tiny_config(), [f"--config.{override}"])
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}.*: the reason$"):
        check_overrides_hold([f"--config.{override}"], given, tiny_config(), "the reason")
    check_overrides_hold(["--config.model.video.image_size=16"], given, tiny_config(), "the reason")


def test_train_refuses_what_the_checkpoint_that_it_starts_from_decides(model, tmp_path, capsys):
    work = tmp_path / "run"
    start = ["train", f"--config={TINY}", f"--workdir={work}", f"--config.init.checkpoint={model}"]
    line = told([*start, "--config.model.video.num_frames=16"], capsys)
    assert "config.model.video.num_frames=16, it is 8" in line
    assert "set the same key below config.init.model" in line
    assert not work.exists()


@pytest.mark.parametrize("command", ["report", "export", "search", "embed", "inspect", "score", "serve", "prepare"])
def test_commands_without_a_config_take_no_override(command, model, tmp_path, capsys):
    arguments = {
        "report": [model],
        "export": [model, "--out", tmp_path / "out"],
        "search": ["a red square", "--index", tmp_path / "x.parquet"],
        "embed": [tmp_path, "--model", model, "--out", tmp_path / "x.parquet"],
        "inspect": [tmp_path],
        "score": ["qa", "--ground-truth", tmp_path, "--predictions", tmp_path],
        "serve": ["--index", tmp_path / "x.parquet"],
        "prepare": ["moving_shapes", "--out", tmp_path / "out"],
    }[command]
    with pytest.raises(SystemExit) as ended:
        main([command, *map(str, arguments), "--config.train.steps=3"])
    assert ended.value.code == 2
    assert "--config.train.steps=3" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


NUMBERS = [
    *(("inspect", "data", f"--{name}={value}") for name in ("sample", "rows", "frames", "size") for value in (0, -1)),
    ("inspect", "data", "--seed=-1"),
    *(("embed", "a.mp4", "--model=m", "--out=x", f"--window={value}") for value in ("0", "-1", "nan", "inf")),
    ("embed", "a.mp4", "--model=m", "--out=x", "--window=1", "--stride=nan"),
    ("extract-features", "--split=test", "--model=m", "--out=x", "--window=1", "--offset=-1"),
    ("compile", f"--config={TINY}", "--topology=v5e:2x2", "--slices=0"),
    ("search", "a red square", "--index=x.parquet", "--top=0"),
    *(
        ("prepare", "captioned_videos", "--videos=v", "--captions=c.csv", "--out=data", f"--{name}={value}")
        for name in ("validation-fraction", "max-skipped-fraction", "fps", "workers", "short-side")
        for value in (["-1"] if name in ("workers", "short-side") else ["-1", "nan"])
    ),
]


@pytest.mark.parametrize("arguments", NUMBERS, ids=" ".join)
def test_numbers_out_of_range_are_refused(arguments, tmp_path, monkeypatch, capsys):
    (tmp_path / "tests").mkdir()
    shutil.copy(TINY, tmp_path / TINY)
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "a.mp4").write_bytes(b"no video")
    (tmp_path / "c.csv").write_text("video,caption\na.mp4,a red square\n")
    monkeypatch.chdir(tmp_path)
    name = arguments[-1].partition("=")[0]
    assert f"{name}" in told(arguments, capsys)


# Every argument that is a path, by its command.
PATHS = [
    ("train", f"--config={TINY}", "--workdir=gs://b/run"),
    ("train", "--config=gs://b/config.py", "--workdir=run"),
    *(
        ("train", f"--config={TINY}", "--workdir=run", f"--config.{key}=gs://b/x")
        for key in ("input.dataset", "init.checkpoint", "tokenizer.path")
    ),
    ("train", f"--config={TINY}", "--workdir=run", "--config.evaluators.retrieval.dataset=gs://b/x"),
    ("train", f"--config={TINY}", "--workdir=run", "--config.evaluators.localization.features=gs://b/x"),
    ("train", f"--config={TINY}", "--workdir=run", "--config.evaluators.localization.predictions=gs://b/x"),
    ("eval", "gs://b/run"),
    ("eval", "run", "--out=gs://b/metrics.json"),
    ("eval", "run", "--config=gs://b/config.py"),
    ("compile", f"--config={TINY}", "--topology=v5e:2x2", "--out=gs://b/plan.json"),
    ("import", f"--config={TINY}", "--text=gs://b/bert", "--out=out"),
    ("import", f"--config={TINY}", "--video=gs://b/vit", "--out=out"),
    ("import", f"--config={TINY}", "--text=bert", "--out=gs://b/out"),
    ("export", "gs://b/run", "--out=out"),
    ("export", "run", "--out", "gs://b/out"),
    ("embed", "gs://b/a.mp4", "--model=m", "--out=x.parquet"),
    ("embed", "a.mp4", "--model=gs://b/m", "--out=x.parquet"),
    ("embed", "a.mp4", "--model=m", "--out=gs://b/x.parquet"),
    ("extract-features", "--model=m", "--dataset=gs://b/d", "--split=test", "--window=1", "--out=x"),
    ("search", "a red square", "--index=gs://b/x.parquet"),
    ("search", "a red square", "--index=x.parquet", "--model=gs://b/m"),
    ("serve", "--index=gs://b/x.parquet"),
    ("serve", "--index=x.parquet", "--model=gs://b/m"),
    ("inspect", "gs://b/data"),
    ("inspect", "data", "--sheet=gs://b/sheet.png"),
    ("inspect", "data", "--tokenizer=gs://b/vocab.txt"),
    ("report", "gs://b/run"),
    ("score", "qa", "--ground-truth=gs://b/g.json", "--predictions=p.json"),
    ("score", "qa", "--ground-truth=g.json", "--predictions=gs://b/p.json"),
    ("prepare", "moving_shapes", "--out=gs://b/data"),
    ("prepare", "moving_shapes", "--out=data", "--vocab=gs://b/vocab.txt"),
    ("prepare", "captioned_videos", "--videos=gs://b/v", "--captions=c.csv", "--out=data"),
    ("prepare", "captioned_videos", "--videos=v", "--captions=gs://b/c.csv", "--out=data"),
    ("prepare", "msrvtt", "--annotations=gs://b/a", "--videos=v", "--out=data"),
]


@pytest.mark.parametrize("arguments", PATHS, ids=" ".join)
def test_paths_with_a_scheme_are_refused(arguments, tmp_path, monkeypatch, capsys):
    (tmp_path / "tests").mkdir()
    shutil.copy(TINY, tmp_path / TINY)
    monkeypatch.chdir(tmp_path)
    message = told(arguments, capsys)
    assert "gs:// is not supported" in message
    assert sorted(path.name for path in tmp_path.rglob("*") if path.name not in ("tests", "tiny.py")) == []


def test_a_model_with_a_scheme_is_refused_by_the_library():
    import svilm_jax

    with pytest.raises(ConfigError, match="model=s3://b/m: s3:// is not supported"):
        svilm_jax.load("s3://b/m")


def test_another_version_of_the_record_schema_is_refused(moving_shapes, tmp_path, capsys):
    (made,) = moving_shapes.glob("*/dataset_info.json")
    other = tmp_path / "moving_shapes" / "2.0.0"
    shutil.copytree(made.parent, other)
    document = json.loads(made.read_text())
    (other / "dataset_info.json").write_text(json.dumps({**document, "version": "2.0.0"}))
    message = told(["inspect", tmp_path / "moving_shapes"], capsys)
    assert "version 2.0.0 of the record schema" in message
    assert "reads 1.0.0" in message
