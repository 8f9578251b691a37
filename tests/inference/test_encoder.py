"""Tests of the encoder: the model's outputs for any batch size, padding and order."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from svilm_jax.inference import encoder as encoder_module
from svilm_jax.inference.encoder import READINGS, Encoder
from tests.evaluation import colored_squares as world


def clips(count):
    return np.random.default_rng(0).integers(0, 256, (count, world.FRAMES, world.SIZE, world.SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize("count", [1, 3, 7])
def test_readings_are_the_models_own(encoder, count):
    video = clips(count)
    outputs = world.ColorReader().encode_video(video)
    readings = list(encoder.videos(iter(video), tuple(READINGS.keys() - {"scores"})))  # this model has no head
    assert len(readings) == count
    for i, reading in enumerate(readings):
        for name, expected in {
            "embedding": outputs.embedding[i],
            "group_embedding": outputs.group_embedding[i],
            "logits": np.stack([block[i] for block in outputs.logits]),
            "assignments": np.stack([block[i] for block in outputs.assignments]),
            "time_tokens": outputs.tokens[i].mean(axis=1),
            "features": outputs.tokens[i].mean(axis=(0, 1)),
        }.items():
            np.testing.assert_allclose(reading[name], expected, rtol=1e-4, atol=1e-5)
            assert reading[name].dtype == np.float32


def test_only_what_is_asked_for_is_read(encoder):
    (reading,) = encoder.videos(clips(1), ("embedding",))
    assert list(reading) == ["embedding"]


def test_no_clips_and_no_texts(encoder):
    assert list(encoder.videos([], ("embedding",))) == []
    assert encoder.texts([]).shape == (0, len(world.PALETTE))


def test_texts_keep_their_order_and_repetitions(encoder):
    texts = ["a red square", "a blue square", "a red square", "a red and blue square", "left"] * 3
    embedded = encoder.texts(texts)
    tokens = encoder.tokenizer.encode(texts, 12)
    expected = world.ColorReader().encode_text(tokens, encoder.tokenizer.mask(tokens))
    np.testing.assert_allclose(embedded, expected, rtol=1e-4, atol=1e-6)


def test_padding_is_masked(encoder):
    np.testing.assert_allclose(encoder.texts(["a red square"]), [[1, 0, 0, 0, 0]], atol=1e-5)


def test_phrases_are_put_into_the_training_prompt(encoder):
    np.testing.assert_array_equal(encoder.phrases(["a red square"]), encoder.texts(["a video of a red square"]))


def test_a_clip_of_another_size_is_refused(encoder):
    with pytest.raises(ValueError, match=r"the model takes uint8 \(16, 32, 32, 3\)"):
        list(encoder.videos([np.zeros((16, 32, 30, 3), np.uint8)], ("embedding",)))
    with pytest.raises(ValueError, match="float32"):
        list(encoder.videos([np.zeros((16, 32, 32, 3), np.float32)], ("embedding",)))


def test_clips_are_taken_batch_by_batch(encoder):
    taken = []

    def frames():
        for clip in clips(9):
            taken.append(1)
            yield clip

    readings = encoder.videos(frames(), ("embedding",))
    next(readings)
    assert len(taken) == encoder.batch_size


def test_a_second_encoder_of_the_same_architecture_compiles_nothing(encoder):
    list(encoder.videos(clips(1), ("embedding",)))
    compiled = encoder_module._read_videos._cache_size()
    list(Encoder(world.ColorReader(), encoder.config, encoder.tokenizer, batch_size=3).videos(clips(1), ("embedding",)))
    assert encoder_module._read_videos._cache_size() == compiled


SHARDED = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.evaluation import colored_squares as world
import jax, numpy as np
from pathlib import Path
from svilm_jax.config import MeshConfig
from svilm_jax.inference.encoder import Encoder
from svilm_jax.text.tokenizers import load_tokenizer
from svilm_jax.parallel import make_mesh
assert len(jax.devices()) == 4
tokenizer = load_tokenizer(world.write_vocabulary(Path(sys.argv[2]) / "vocab.txt"))
config = world.make_config("unused")
video = np.random.default_rng(0).integers(0, 256, (5, 16, 32, 32, 3), dtype=np.uint8)
one, four = (
    Encoder(world.ColorReader(), config, tokenizer, mesh, batch_size=3)
    for mesh in (None, make_mesh(MeshConfig(preset="fsdp")))
)
assert four.batch_size == 4
for a, b in zip(one.videos(video, ("embedding",)), four.videos(video, ("embedding",)), strict=True):
    np.testing.assert_allclose(a["embedding"], b["embedding"], rtol=1e-5)
np.testing.assert_allclose(one.texts(["a red square", "left"]), four.texts(["a red square", "left"]), rtol=1e-5)
"""


def test_a_mesh_changes_nothing(tmp_path):
    here = Path(__file__).parent
    finished = subprocess.run(
        [sys.executable, "-c", SHARDED, str(here), str(tmp_path)],
        env={"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=4"},
        capture_output=True,
        text=True,
        cwd=here.parents[1],
    )
    assert finished.returncode == 0, finished.stderr
