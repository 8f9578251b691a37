"""Tests of StableHLO programs outside this package, at every batch size and for three platforms."""

import json
import os
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
from flax import nnx
from jax import export

from svilm_jax.checkpoints.model_directory import ModelDirectoryError
from svilm_jax.interop.exporters import programs as programs_module
from svilm_jax.interop.exporters.stablehlo import export_stablehlo
from svilm_jax.models.parameters import parameters
from tests.tiny import tiny_model

# Runs the folder's own script several times in one process, then names what it should not have imported.
OUTSIDE = """
import runpy, sys
for line in sys.stdin.read().splitlines():
    sys.argv = line.split()
    runpy.run_path(sys.argv[0], run_name="__main__")
print("found:", sorted({name.split(".")[0] for name in sys.modules} & {"svilm_jax", "svilm_data", "flax", "tests"}))
"""


FIELDS = ("embedding", "group_embedding")

pytestmark = pytest.mark.usefixtures("compiled_in_haste")


@pytest.fixture(scope="module")
def trained():
    return tiny_model()


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("programs") / "new"
    files = export_stablehlo(trained, out)
    assert sorted(files) == sorted(out.iterdir())
    return out


def load(folder, name):
    return export.deserialize(bytearray((folder / f"{name}.stablehlo").read_bytes()))


def run(command, folder, stdin=""):
    """Compiled in haste: results are the same, and it is for one call each."""
    env = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    return subprocess.run(command, input=stdin, cwd=folder, env=env, capture_output=True, text=True)


def stated(given):
    return tuple(map(str, given["shape"])), given["dtype"]


def test_outside_of_the_package_programs_give_the_same_numbers(trained, folder, tmp_path):
    clips = np.random.default_rng(0).integers(0, 256, (5, 8, 16, 16, 3), np.uint8)
    tokens = trained.tokenizer.encode(["a red circle", "a small blue square moves left and", "up"], 28)
    mask = trained.tokenizer.mask(tokens)
    for name, array in {"video5": clips, "video1": clips[:1], "tokens": tokens, "mask": mask}.items():
        np.save(tmp_path / f"{name}.npy", array)
    text = f"--tokens {tmp_path}/tokens.npy --mask {tmp_path}/mask.npy"
    lines = [
        f"video_tower.stablehlo --video {tmp_path}/video1.npy --out {tmp_path}/tower1.npz",
        f"video_tower.stablehlo --video {tmp_path}/video5.npy --out {tmp_path}/tower5.npz",
        f"text_tower.stablehlo {text} --out {tmp_path}/text.npz",
        "text_tower.stablehlo --batch 2",
        f"both.stablehlo --video {tmp_path}/video5.npy {text} --out {tmp_path}/both.npz",
    ]
    stdin = "\n".join(f"run_stablehlo.py {line}" for line in lines)
    done = run([sys.executable, "-c", OUTSIDE], folder, stdin)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("found: []\n")
    assert "embedding: float32 (2, 16)" in done.stdout

    model = nnx.jit(lambda model, video, tokens, mask: model(video, tokens, mask))
    wanted = model(trained.model, clips, tokens, mask)
    seen, read = {name: np.asarray(getattr(wanted.video, name)) for name in FIELDS}, wanted.text_embedding
    both = np.load(tmp_path / "both.npz")
    for rows in (1, 5):
        tower = np.load(tmp_path / f"tower{rows}.npz")
        for name in FIELDS:
            np.testing.assert_allclose(tower[name], seen[name][:rows], atol=1e-5)
    np.testing.assert_allclose(both["video_embedding"], seen["embedding"], atol=1e-5)
    np.testing.assert_allclose(both["group_embedding"], seen["group_embedding"], atol=1e-5)
    np.testing.assert_allclose(both["text_embedding"], read, atol=1e-5)
    np.testing.assert_allclose(np.load(tmp_path / "text.npz")["embedding"], read, atol=1e-5)
    np.testing.assert_allclose(both["similarity"], seen["embedding"] @ read.T, atol=1e-5)
    np.testing.assert_allclose(both["logit_scale"], trained.model.logit_scale, rtol=1e-6)


def test_the_script_says_what_a_program_takes(folder, tmp_path):
    np.save(tmp_path / "video.npy", np.zeros((2, 8, 16, 16, 3), np.float32))
    command = [sys.executable, "run_stablehlo.py", "video_tower.stablehlo", "--video", str(tmp_path / "video.npy")]
    done = run(command, folder)
    assert done.returncode == 1
    assert "float32 (2, 8, 16, 16, 3); video is uint8 (b, 8, 16, 16, 3)" in done.stderr


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_one_file_serves_every_platform(folder, platform):
    for name in ("video_tower", "text_tower", "both"):
        program = load(folder, name)
        assert program.platforms == ("cpu", "cuda", "tpu")
        shapes = [
            jax.ShapeDtypeStruct([size if isinstance(size, int) else 3 for size in aval.shape], aval.dtype)
            for aval in program.in_avals
        ]
        code = jax.jit(program.call).trace(*shapes).lower(lowering_platforms=(platform,)).as_text()
        assert "stablehlo.dot_general" in code
        # Some machine's own kernel would be one; those of `jax.export` check the sizes that are given.
        assert set(re.findall(r"custom_call @(\w+)", code)) <= {"shape_assertion"}


def test_parameters_are_in_a_file_once_and_bfloat16_halves_them(trained, folder, tmp_path):
    export_stablehlo(trained, tmp_path, "bfloat16")
    params = parameters(trained.model)
    numbers = {name: sum(x.size for x in jax.tree.leaves(part)) for name, part in params.items()}
    text = numbers["text_tower"] + numbers["text_projection"]
    expected = {"text_tower": text, "both": sum(numbers.values())}
    expected["video_tower"] = expected["both"] - text - numbers["log_scale"]
    size = {name: [(out / f"{name}.stablehlo").stat().st_size for out in (folder, tmp_path)] for name in expected}
    for name, count in expected.items():
        whole, half = size[name]
        assert whole - half > 1.6 * count  # whose code is a little longer
    for name in ("video_tower", "text_tower"):  # code, to which another copy of the smaller tower would add 38 kB
        assert 4 * expected[name] < size[name][0] < 4 * expected[name] + 45_000
    assert size["both"][0] < size["video_tower"][0] + size["text_tower"][0]
    video = np.random.default_rng(0).integers(0, 256, (2, 8, 16, 16, 3), np.uint8)
    one, other = (load(out, "video_tower").call(video)["embedding"] for out in (folder, tmp_path))
    assert other.dtype == np.float32
    np.testing.assert_allclose(one, other, atol=0.03)
    assert np.abs(one - other).max() > 0


def test_the_document_says_what_the_programs_are(trained, folder):
    document = json.loads((folder / "programs.json").read_text())
    for name, described in document["programs"].items():
        program, file = load(folder, name), folder / described["file"]
        assert described["bytes"] == file.stat().st_size
        for given, aval in zip(described["inputs"], program.in_avals, strict=True):
            assert stated(given) == (tuple(map(str, aval.shape)), aval.dtype)
        outputs = jax.tree.unflatten(program.out_tree, program.out_avals)
        assert [x["name"] for x in described["outputs"]] == list(outputs)
        for given, aval in zip(described["outputs"], outputs.values(), strict=True):
            assert stated(given) == (tuple(map(str, aval.shape)), aval.dtype)
        assert program.calling_convention_version == document["calling_convention_version"]
    assert document["platforms"] == ["cpu", "cuda", "tpu"]
    assert document["jax_version"] == jax.__version__
    assert document["programs"]["both"]["outputs"][2] == {"name": "similarity", "shape": ["b", "n"], "dtype": "float32"}
    ids = document["tokenizer"]
    assert [ids["first_id"], ids["end_id"], ids["pad_id"]] == trained.tokenizer.encode([""], 5)[0, :3].tolist()
    assert all((folder / name).read_bytes() == content for name, content in trained.tokenizer.files().items())


def test_what_is_refused(trained, folder, tmp_path, monkeypatch):
    with pytest.raises(ModelDirectoryError, match=r"both.stablehlo.* already exist"):
        export_stablehlo(trained, folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelDirectoryError, match="cannot be written"):
        export_stablehlo(trained, tmp_path / "file" / "below")
    monkeypatch.setattr(programs_module, "LIMIT", 100_000)
    with pytest.raises(ModelDirectoryError, match="export in bfloat16, which halves them"):
        export_stablehlo(trained, tmp_path / "large")
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    with pytest.raises(ModelDirectoryError, match="pip install flatbuffers"):
        export_stablehlo(trained, tmp_path / "large")
    assert not (tmp_path / "large").exists()
