"""Tests of text-to-video search, and of rejecting files of another model."""

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from svilm_jax.cli import index_file, search
from svilm_jax.config import ConfigError
from svilm_jax.inference import feature_file
from svilm_jax.inference.feature_file import IndexFileError, IndexOrigin, VideoRows
from svilm_jax.inference.index import ClipIndex
from svilm_jax.models.parameters import fingerprint, parameters
from svilm_jax.text.tokenizers import load_tokenizer
from tests.tiny import tiny_model

ROWS, WIDTH = 20_000, 16  # more than are read at once


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def unit(rows: int, seed: int = 0) -> np.ndarray:
    """float32 [rows, WIDTH] of length 1."""
    vectors = np.random.default_rng(seed).normal(size=(rows, WIDTH)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def write(path: Path, vectors: np.ndarray, origin: IndexOrigin) -> Path:
    """Two rows a video, of a second each."""
    videos = [
        VideoRows(f"/videos/{i}.mp4", 10, 20, ((0.0, 1.0), (1.0, 2.0)), vectors[2 * i : 2 * i + 2])
        for i in range(len(vectors) // 2)
    ]
    feature_file.write(path, [feature_file.batch(videos, origin)], origin)
    return path


@pytest.fixture
def origin(model, tmp_path):
    (tmp_path / "model").mkdir()
    return IndexOrigin(str(tmp_path / "model"), fingerprint(parameters(model.model)), WIDTH, 1.0, 1.0)


def test_search_is_exact(tmp_path, origin):
    vectors = unit(ROWS)
    index = ClipIndex.read(write(tmp_path / "features.parquet", vectors, origin))
    assert (len(index), len(index.videos), index.origin) == (ROWS, ROWS // 2, origin)
    query = unit(1, 1)[0]
    found = index.search(query, 7)
    cosines = vectors @ query
    best = np.argsort(-cosines)[:7]
    assert [clip.row for clip in found] == best.tolist()
    np.testing.assert_allclose([clip.cosine for clip in found], cosines[best], atol=1e-6)
    for clip in found:
        second = clip.row % 2
        assert (clip.video, clip.start, clip.end) == (f"/videos/{clip.row // 2}.mp4", second, second + 1)
    assert index.search(vectors[123], 1)[0].row == 123


def test_few_rows_are_all_found(tmp_path, origin):
    index = ClipIndex.read(write(tmp_path / "features.parquet", unit(4), origin))
    assert len(index.search(unit(1, 1)[0], 10)) == 4
    with pytest.raises(ValueError, match="top=0"):
        index.search(unit(1)[0], 0)
    with pytest.raises(ValueError, match=r"query \(3,\)"):
        index.search(np.ones(3))
    with pytest.raises(ValueError, match="finite"):
        index.search(np.full(WIDTH, np.nan))
    with pytest.raises(IndexError):
        index.clip(4)


def test_the_columns_are_the_documented_ones(tmp_path, origin):
    found = pq.read_schema(write(tmp_path / "features.parquet", unit(2), origin))
    assert found.field("embedding").type == pa.list_(pa.float32(), WIDTH)
    assert [found.field(name).type for name in ("video", "start", "end")] == [pa.string(), pa.float64(), pa.float64()]
    said = json.loads(found.metadata[b"svilm"])
    assert said == {
        "format_version": 1,
        "model": origin.model,
        "fingerprint": origin.fingerprint,
        "model_fingerprint": "",
        "width": WIDTH,
        "windows": {"window": 1.0, "stride": 1.0},
    }


def test_another_model_is_refused_and_both_are_named(tmp_path, model, origin):
    index = ClipIndex.read(write(tmp_path / "features.parquet", unit(2), origin))
    index.check_model(model, "runs/tiny")
    other = tiny_model(1)
    both = f"{origin.model}.*{origin.fingerprint}.*runs/other.*{fingerprint(parameters(other.model))}"
    with pytest.raises(IndexFileError, match=both):
        index.check_model(other, "runs/other")


def test_the_same_parameters_with_another_config_or_tokenizer_are_refused(tmp_path, model, origin):
    whole = dataclasses.replace(origin, model_fingerprint=str(model.fingerprint))
    index = ClipIndex.read(write(tmp_path / "features.parquet", unit(2), whole))
    assert index.origin == whole
    index.check_model(model, "runs/tiny")
    video = dataclasses.replace(model.config.model.video, activation="gelu")
    config = dataclasses.replace(model.config, model=dataclasses.replace(model.config.model, video=video))
    cased = load_tokenizer("builtin:moving_shapes", lowercase=False)
    for other in (dataclasses.replace(model, config=config), dataclasses.replace(model, tokenizer=cased)):
        with pytest.raises(IndexFileError, match=f"{model.fingerprint}.*runs/other.*another model config or tokenizer"):
            index.check_model(other, "runs/other")
        # An index of an earlier version knows parameters alone.
        ClipIndex.read(write(tmp_path / "old.parquet", unit(2), origin)).check_model(other, "runs/other")


def test_how_a_model_is_computed_does_not_change_its_fingerprint(model):
    fast = dataclasses.replace(model.config.model, attention="splash", compute_dtype="bfloat16", remat="full")
    same = dataclasses.replace(model, config=dataclasses.replace(model.config, model=fast))
    assert same.fingerprint == model.fingerprint


def test_files_that_are_no_index_are_refused(tmp_path, origin):
    good = write(tmp_path / "good.parquet", unit(2000), origin)
    bad = tmp_path / "bad.parquet"
    with pytest.raises(IndexFileError, match="bad.parquet: no such file; `svilm embed"):
        ClipIndex.read(bad)
    bad.write_text("no parquet")
    with pytest.raises(IndexFileError, match="bad.parquet: cannot be read as Parquet"):
        ClipIndex.read(bad)
    bad.write_bytes(good.read_bytes()[:-100])
    with pytest.raises(IndexFileError, match="bad.parquet: cannot be read as Parquet"):
        ClipIndex.read(bad)
    table = pq.read_table(good)
    said = json.loads(table.schema.metadata[b"svilm"])
    for told, changed in (
        ("not of `svilm embed`", table.replace_schema_metadata({})),
        ("metadata that cannot be read", table.replace_schema_metadata({"svilm": "{"})),
        ("metadata that cannot be read", table.replace_schema_metadata({"svilm": "{}"})),
        (
            "format 2, this version reads 1",
            table.replace_schema_metadata({"svilm": json.dumps(said | {"format_version": 2})}),
        ),
        ("column 'embedding' is fixed", table.replace_schema_metadata({"svilm": json.dumps(said | {"width": 3})})),
        ("column 'end' is nothing", table.drop_columns(["end"])),
        ("holds no clips", table.slice(0, 0)),
    ):
        pq.write_table(changed, bad)
        with pytest.raises(IndexFileError, match=f"bad.parquet: .*{told}"):
            ClipIndex.read(bad)
    for vectors in (unit(2) * 2, np.full((2, WIDTH), np.nan, np.float32)):
        with pytest.raises(IndexFileError, match="not of length 1"):
            ClipIndex.read(write(bad, vectors, origin))


def command(*argv: str) -> argparse.Namespace:
    """Arguments of `svilm search`."""
    parser = argparse.ArgumentParser()
    search.add_arguments(parser)
    return parser.parse_args(argv)


def test_the_command_prints_ranks(tmp_path, model, origin, capsys, monkeypatch):
    file = str(write(tmp_path / "features.parquet", unit(50), origin))
    asked = []

    def load(path):
        asked.append(str(path))
        return model

    monkeypatch.setattr(index_file, "load", load)
    search.run(command("a red square", "--index", file, "--top", "3"))
    lines = capsys.readouterr().out.splitlines()
    best = ClipIndex.read(file).search(model.embed_text("a red square")[0], 3)
    assert [line.split()[0] for line in lines] == ["1", "2", "3"]
    assert lines[0].split() == [
        "1",
        f"{best[0].cosine:.3f}",
        f"{best[0].start:.2f}–{best[0].end:.2f}",
        "s",
        best[0].video,
    ]
    search.run(command("a red square", "--index", file, "--model", "elsewhere", "--json"))
    answer = json.loads(capsys.readouterr().out)
    assert (answer["text"], answer["model"], len(answer["found"])) == ("a red square", "elsewhere", 10)
    assert answer["found"][0]["video"] == best[0].video
    assert asked == [origin.model, "elsewhere"]
    assert (answer["unknown_words"], answer["pieces"], answer["pieces_read"]) == ([], 3, 3)
    search.run(command("a red xyzzy \ud83d" + " red" * 40, "--index", file, "--json"))
    answer, told = capsys.readouterr()
    assert json.loads(answer)["unknown_words"] == ["xyzzy"]
    assert told.splitlines() == [
        "svilm search: broken characters left out: 1",
        "svilm search: not in the model's vocabulary: 'xyzzy'",
        "svilm search: the text has 47 word pieces, of which the model reads the first 26",
    ]
    del asked[-1]
    for argv, told in (((" ",), "TEXT is empty"), (("a", "--top", "0"), "--top=0")):
        with pytest.raises(ConfigError, match=told):
            search.run(command(*argv, "--index", file))
    Path(origin.model).rmdir()
    with pytest.raises(IndexFileError, match="which is not there: give --model"):
        search.run(command("a", "--index", file))
