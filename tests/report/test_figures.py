"""Tests of the report's figures."""

import io

import numpy as np
from PIL import Image

from svilm_jax.input.splicing import Splice
from svilm_jax.report import figures
from svilm_jax.report.examples import GroundingExample, PhraseMap, RetrievalExample, RetrievedClip, SpliceExample

FRAMES = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)


def size(figure):
    return Image.open(io.BytesIO(figures.png(figure))).size


def test_the_right_clip_is_framed():
    clips = [RetrievedClip(FRAMES, r"costs $5 or $\frac$ more", 0.9, False), RetrievedClip(FRAMES, "a cat", 0.8, True)]
    figure = figures.plot_retrieval([RetrievalExample(r"a cat & a $\frac$", 2, 9, clips, "worst")])
    wrong, right = figure.axes[:2]
    assert {s.get_linewidth() for s in right.spines.values()} == {3.0}
    assert {s.get_linewidth() for s in wrong.spines.values()} == {1.0}
    title = wrong.get_title(loc="left")
    assert "rank 2 of 9" in title
    assert "worst" in title
    assert size(figure)[0] == 1260


def test_the_cross_is_on_the_peak():
    heat = np.zeros((4, 4, 4))
    heat[:, 1, 2] = 1
    mask = np.zeros((8, 16, 16), bool)
    mask[:, 4:8, 8:12] = True
    phrase = PhraseMap("a red square", heat, heat, heat > 0, mask)
    flat = PhraseMap("nothing", np.zeros((4, 4, 4)), np.zeros((4, 4, 4)), heat > 0, None)
    figure = figures.plot_grounding([GroundingExample(FRAMES, r"$\frac$", [phrase, flat])], (2, 4, 4))
    columns = 5
    assert len(figure.axes) == 3 * columns
    (cross,) = figure.axes[columns + 1].lines
    assert (cross.get_xdata()[0], cross.get_ydata()[0]) == (10, 6)
    assert len(figure.axes[columns + 1].collections) == 1, "the outline of the mask"
    assert not figure.axes[2 * columns + 1].collections
    assert size(figure)[0] == 1260


def test_bars_show_truth_and_prediction():
    example = SpliceExample(Splice(FRAMES, (1, 4), 4), (0, 3), np.eye(4))
    figure = figures.plot_spans([example], 2)
    axes = figure.axes[0]
    colors = [patch.get_facecolor() for patch in axes.patches]
    inside = [color == colors[1] for color in colors]
    assert inside == [False, True, True, True] + [True, True, True, False]
    assert axes.get_title(loc="left") == "2 of 4 right"
    assert size(figures.plot_similarity([example]))[0] == 1260
