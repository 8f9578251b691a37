"""Tests of the scene-cut evaluator: windows cover the whole video, and true cuts are found."""

import jax.numpy as jnp
import pytest

from svilm_jax.config import ConfigError
from svilm_jax.evaluation.clips import EvaluationError
from svilm_jax.evaluation.metric import scalars
from svilm_jax.evaluation.temporal_grouping.scene_cuts import SceneCutEvaluator, SceneCutOptions, window_starts
from svilm_jax.inference.encoder import Encoder
from tests.evaluation import colored_squares as world


def run(encoder, **options):
    return scalars(SceneCutEvaluator(SceneCutOptions(**options), encoder.config).run(encoder))


def test_cuts_between_colors_are_found_exactly(encoder):
    metrics = run(encoder)
    assert metrics["grouping/scene_cut_f1"] == 1.0
    assert metrics["grouping/scene_cut_f1_raw_pixels"] == 1.0
    assert 0.0 < metrics["grouping/scene_cut_f1_chance"] < 0.5
    assert metrics["grouping/failed_fraction_untrimmed"] == 0.0


class Blurred(world.ColorReader):
    """Sees the mean of the whole window in every pixel."""

    def encode_video(self, video, *, train=False, rng=None):
        mean = video.astype(jnp.float32).mean(axis=(1, 2, 3, 4), keepdims=True)
        return super().encode_video(jnp.broadcast_to(mean, video.shape))


def test_a_model_that_sees_no_change_finds_no_cut(encoder):
    metrics = run(Encoder(Blurred(), encoder.config, encoder.tokenizer, batch_size=3))
    assert metrics["grouping/scene_cut_f1"] < 0.7 < metrics["grouping/scene_cut_f1_raw_pixels"]


@pytest.mark.parametrize("tubelets", [4, 7, 8])
@pytest.mark.parametrize("seconds", [0.5, 2.0, 2.1, 3.3, 7.0, 9.99])
def test_windows_cover_the_video_without_leaving_it(seconds, tubelets):
    step = 2.0 / tubelets
    starts = window_starts(seconds, 2.0, tubelets)
    assert starts[0] == 0
    assert all(b - a <= tubelets // 2 for a, b in zip(starts, starts[1:], strict=False)), "windows overlap"
    if seconds >= 2.0:
        end = starts[-1] * step + 2.0
        assert end <= seconds + 1e-6
        assert seconds - end < step


def test_the_threshold_may_not_come_from_the_split_that_is_reported(encoder):
    with pytest.raises(ConfigError, match="threshold_split"):
        run(encoder, split="untrimmed_train")


def test_videos_without_cuts_say_so(encoder):
    with pytest.raises(EvaluationError, match="no decodable video with annotated cuts"):
        run(encoder, split="plain")
