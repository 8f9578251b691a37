"""Tests of `svilm import`, `export`, `embed` and `search`, run in sequence as a user would."""

import json
import os
import shutil

import numpy as np
import pytest
import safetensors.numpy

import svilm_jax
from svilm_jax.checkpoints.metadata import write_selection
from svilm_jax.checkpoints.model_directory import ModelOrigin, read_origin, write_model_directory
from svilm_jax.evaluation import Metric, Unit
from svilm_jax.evaluation.metrics_file import from_document, write_metrics
from svilm_jax.filesystem.locks import locked_output
from svilm_jax.input.records import open_records
from svilm_jax.main import main
from svilm_jax.text.tokenizers import load_tokenizer
from tests.tiny import tiny_model

TINY = "tests/tiny.py"
pytestmark = pytest.mark.usefixtures("compiled_in_haste")
WIDTH = 24


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A BERT of two layers in Hugging Face's form, with random weights."""
    folder = tmp_path_factory.mktemp("bert")
    load_tokenizer("builtin:moving_shapes").save(folder)
    words = load_tokenizer(folder).vocab_size
    shapes = {
        "embeddings.word_embeddings.weight": (words, WIDTH),
        "embeddings.position_embeddings.weight": (40, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        "embeddings.LayerNorm.weight": (WIDTH,),
        "embeddings.LayerNorm.bias": (WIDTH,),
        "pooler.dense.weight": (WIDTH, WIDTH),
    }
    for i in range(2):
        layer = f"encoder.layer.{i}"
        for name, rows, columns in (
            ("attention.self.query", WIDTH, WIDTH),
            ("attention.self.key", WIDTH, WIDTH),
            ("attention.self.value", WIDTH, WIDTH),
            ("attention.output.dense", WIDTH, WIDTH),
            ("intermediate.dense", 48, WIDTH),
            ("output.dense", WIDTH, 48),
        ):
            shapes |= {f"{layer}.{name}.weight": (rows, columns), f"{layer}.{name}.bias": (rows,)}
        for norm in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes |= {f"{layer}.{norm}.weight": (WIDTH,), f"{layer}.{norm}.bias": (WIDTH,)}
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    safetensors.numpy.save_file(arrays, folder / "model.safetensors")
    document = {"model_type": "bert", "hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4}
    (folder / "config.json").write_text(json.dumps({**document, "intermediate_size": 48, "hidden_act": "gelu"}))
    return folder


@pytest.fixture(scope="module")
def imported(bert, tmp_path_factory):
    out = tmp_path_factory.mktemp("imported") / "start"
    assert main(["import", "--text", str(bert), f"--config={TINY}", "--out", str(out), "--license=apache-2.0"]) == 0
    return out


def test_an_import_says_what_became_of_everything(bert, imported, tmp_path, capsys):
    assert main(["import", "--text", str(bert), f"--config={TINY}", "--out", str(tmp_path / "again")]) == 0
    told = capsys.readouterr().out
    assert "config.model.text.hidden_size: 16 -> 24" in told
    assert "skipped pooler.dense.weight" in told
    assert "mapped text_tower.layers.stacked.attention.query.kernel" in told
    assert "newly initialized video_tower.group_tokens" in told
    card = (imported / "README.md").read_text()
    assert "license: apache-2.0" in card
    assert "Train it before you use it" in card
    assert "reflects its training data" not in card


def test_an_export_of_a_folder_keeps_what_its_card_says(imported, tmp_path, capsys):
    assert main(["export", str(imported), "--out", str(tmp_path / "again")]) == 0
    assert "are untrained" in capsys.readouterr().err
    assert "not trained yet" in (tmp_path / "again" / "README.md").read_text()
    before, after = (json.loads((f / "config.json").read_text()) for f in (imported, tmp_path / "again"))
    assert (after["origin"], after["fresh"]) == (before["origin"], before["fresh"])
    assert main(["export", str(imported), "--out", str(tmp_path / "other"), "--license=mit", "--data=words"]) == 0
    origin = json.loads((tmp_path / "other" / "config.json").read_text())["origin"]
    assert (origin["license"], origin["data"], origin["source"]) == ("mit", "words", before["origin"]["source"])


def test_an_index_of_an_untrained_model_is_warned_of(imported, moving_shapes, tmp_path, capsys):
    (tmp_path / "a.mp4").write_bytes(open_records(moving_shapes, "test")[0].video)
    index = tmp_path / "features.parquet"
    assert main(["embed", str(tmp_path / "a.mp4"), "--model", str(imported), "--out", str(index)]) == 0
    assert main(["search", "a red square", "--index", str(index)]) == 0
    assert capsys.readouterr().err.count("results are meaningless") == 2


def test_training_starts_from_an_import_with_its_tower_frozen(imported, moving_shapes, tmp_path):
    before = svilm_jax.load(imported)
    command = ["train", f"--config={TINY}", f"--workdir={tmp_path}", f"--config.input.dataset={moving_shapes}"]
    changes = {"init.checkpoint": imported, "init.freeze": "('text_tower',)", "train.steps": 1}
    assert main([*command, *(f"--config.{key}={value}" for key, value in changes.items())]) == 0
    after = svilm_jax.load(tmp_path)
    assert after.config.model.text.hidden_size == WIDTH
    texts = ["a red square", "a blue ring"]
    tokens = after.tokenizer.encode(texts, 28)
    ours, theirs = (np.asarray(one.model.text_tower(tokens, one.tokenizer.mask(tokens))) for one in (after, before))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert not np.allclose(after.embed_text(texts), before.embed_text(texts), atol=1e-4)  # the projection moved


def test_a_checkpoint_goes_out_and_is_found_in(moving_shapes, tmp_path, capsys):
    """Export of a workdir, features of files, and a search in them."""
    work, out = tmp_path / "run", tmp_path / "model"
    command = ["train", f"--config={TINY}", f"--workdir={work}", f"--config.input.dataset={moving_shapes}"]
    assert main([*command, "--config.train.steps=1"]) == 0
    metric = Metric("retrieval/t2v_R1", 0.5, Unit.FRACTION, baselines={"chance": 0.005})
    write_metrics(work / "metrics.json", [metric])
    write_selection(work / "checkpoints" / "1", 1)
    assert main(["export", str(work), "--out", str(out), "--dtype=bfloat16", "--data=moving shapes"]) == 0
    assert "Rounded to bfloat16" in capsys.readouterr().out
    card = (out / "README.md").read_text()
    assert "50.0 %  (chance 0.5 %)" in card
    assert from_document(read_origin(out).metrics) == [metric]
    assert "trained on | moving shapes" in card
    assert "license: unknown" in card
    assert "trained with global_contrast" in card
    assert svilm_jax.load(out).grounding_block == svilm_jax.load(work).grounding_block == 1
    videos, index = tmp_path / "videos", tmp_path / "features.parquet"
    videos.mkdir()
    records = open_records(moving_shapes, "test")
    for number in range(4):
        (videos / f"{number}.mp4").write_bytes(records[number].video)
    assert main(["embed", str(videos), "--model", str(out), "--out", str(index)]) == 0
    capsys.readouterr()
    assert main(["search", "a red square", "--index", str(index), "--top=3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["found"]
    model = svilm_jax.load(out)
    cosines = (model.embed_video(sorted(videos.iterdir())) @ model.embed_text("a red square").T)[:, 0]
    assert [one["video"].split("/")[-1] for one in found] == [f"{i}.mp4" for i in np.argsort(-cosines)[:3]]
    np.testing.assert_allclose([one["cosine"] for one in found], np.sort(cosines)[::-1][:3], atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["import", f"--config={TINY}", "--out=out"], "nothing to import: give --text"),
        (["import", f"--config={TINY}", "--out=out", "--text=nowhere"], "nowhere: no such file or folder"),
        (["export", "nowhere", "--out=out"], "no checkpoint here"),
        (["export", "nowhere", "--out=out", "--onnx", "--dtype=bfloat16"], "float32 only; export twice"),
        (["search", "x", "--index=nowhere.parquet"], "nowhere.parquet"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, message, capsys):
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("config.json", "[1]", "expected an object of JSON"),
        ("config.json", '{"model_type": "roberta"}', "'roberta'"),
        ("tokenizer_config.json", "{", "cannot be read as JSON"),
        (
            "1_Pooling/config.json",
            '{"pooling_mode_max_tokens": true}',
            "expected mean_tokens or cls_token",
        ),
        (
            "1_Pooling/config.json",
            '{"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true}',
            "cls_token, pool",
        ),
    ],
)
def test_a_source_that_is_slightly_off_is_told_in_one_line(bert, tmp_path, file, text, message, capsys):
    folder = tmp_path / "bert"
    shutil.copytree(bert, folder)
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text(text)
    assert main(["import", "--text", str(folder), f"--config={TINY}", "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_how_a_sentence_is_pooled_comes_along(bert, tmp_path, capsys):
    folder = tmp_path / "bert"
    shutil.copytree(bert, folder)
    for part in ("1_Pooling", "2_Dense"):
        (folder / part).mkdir()
    (folder / "1_Pooling" / "config.json").write_text(
        '{"pooling_mode_mean_tokens": true, "word_embedding_dimension": 24}'
    )
    assert main(["import", "--text", str(folder), f"--config={TINY}", "--out", str(tmp_path / "out")]) == 0
    assert "skipped 2_Dense/" in capsys.readouterr().out
    assert svilm_jax.load(tmp_path / "out").config.model.text.pool == "mean"


def test_an_export_needs_a_place_of_its_own(tmp_path, capsys):
    model = tiny_model()
    write_model_directory(tmp_path / "model", model, ModelOrigin("a test"), "")
    assert main(["export", str(tmp_path / "model"), "--out", str(tmp_path / "model")]) == 2
    assert "give another --out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        (["export", "nowhere"], "folder"),
        (["import", "--text=nowhere", f"--config={TINY}"], "folder"),
        (["extract-features", "--split=test", "--window=1", "--model=nowhere"], "folder"),
        (["embed", "nowhere.mp4", "--model=nowhere"], "file"),
        (["eval", "nowhere"], "file"),
        (["compile", f"--config={TINY}", "--topology=v5e:2x2"], "file"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_before_all_else(command, kind, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    outs = {tmp_path / "file" / "below": f"{tmp_path / 'file'} is a file, expected a folder"}
    if kind == "file":
        outs[tmp_path / "folder"] = "is a folder, expected the name of a file"
    else:
        outs[tmp_path / "file"] = "is a file, expected a folder"
    for out, message in outs.items():
        assert main([*command, "--out", str(out)]) == 2
        told = capsys.readouterr().err
        assert message in told
        assert told.count("\n") == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


@pytest.mark.parametrize("command", [["export", "nowhere"], ["import", "--text=nowhere", f"--config={TINY}"]])
def test_the_current_folder_is_not_replaced(command, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*command, "--out", "."]) == 2
    assert "expected the name of a new folder" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", [["export", "nowhere"], ["import", "--text=nowhere", f"--config={TINY}"]])
def test_a_folder_that_is_being_written_is_refused(command, tmp_path, capsys):
    with locked_output(tmp_path / "out"):
        assert main([*command, "--out", str(tmp_path / "out")]) == 2
        assert f"out: in use by process {os.getpid()} on " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
