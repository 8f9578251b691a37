"""Figures of the report's examples: retrieved clips, phrase heat maps, similarity over time, spans of spliced clips."""

import io
import textwrap
from collections.abc import Sequence

import matplotlib.figure
import matplotlib.patches
import numpy as np
from matplotlib.axes import Axes

from svilm_jax.evaluation.grounding.pointing import centers_of_mass, middle_frames
from svilm_jax.input.splicing import span_mask
from svilm_jax.report.examples import GroundingExample, PhraseMap, RetrievalExample, SpliceExample

RIGHT, WRONG = "#1a8f3c", "#b9b9b9"
FOREGROUND, BACKGROUND = "#e0862b", "#3d6fb4"
OUTLINE = "#ffffff"
_INCHES = 12.6  # width of every figure


def png(figure: matplotlib.figure.Figure, dpi: int = 100) -> bytes:
    """Renders a figure as PNG bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor="white")
    return buffer.getvalue()


def plot_retrieval(examples: Sequence[RetrievalExample], columns: int = 5) -> matplotlib.figure.Figure:
    """Plots one row per query: its caption, then the most similar clips as three frames; the correct one framed."""
    pitch, title, strip = 1.68, 0.3, 0.83  # inches: row, space for the caption above it, frames
    height = pitch * len(examples)
    figure = matplotlib.figure.Figure(figsize=(_INCHES, height))
    # Manual layout: an automatic one widens columns for long sentences.
    room = {"left": 0.006, "right": 0.994, "top": 1 - title / height, "bottom": (pitch - title - strip) / height}
    grid = figure.subplots(
        len(examples), columns, squeeze=False, gridspec_kw={**room, "wspace": 0.05, "hspace": pitch / strip - 1}
    )
    for line, example in zip(grid, examples, strict=True):
        for axes in line:
            axes.axis("off")
        for axes, clip in zip(line, example.clips, strict=False):
            axes.axis("on")
            axes.imshow(_strip(clip.frames, 3))
            _frame(axes, RIGHT if clip.right else WRONG, 3.0 if clip.right else 1.0)
            lines = textwrap.wrap(f"{clip.similarity:.2f}  {clip.caption}", 40)[:3]
            color = RIGHT if clip.right else "#444444"
            text = "\n".join([*lines, *[""] * (3 - len(lines))])
            axes.set_xlabel(text, fontsize=6.5, color=color, parse_math=False)
        kind = {"ordinary": "", "worst": "  [one of the worst]", "hard": "  [among look-alikes]"}[example.kind]
        query = textwrap.shorten(example.caption, 120)
        text = f"“{query}”   correct clip at rank {example.rank} of {example.gallery}{kind}"
        line[0].set_title(text, fontsize=9, loc="left", fontweight="bold", parse_math=False)
    return figure


def plot_grounding(
    examples: Sequence[GroundingExample], tubelet: tuple[int, int, int], columns: int = 8
) -> matplotlib.figure.Figure:
    """Plots one block per clip: its frames over time, then one row per phrase with its heat map (paper, figure 4).

    The cross marks the point of the pointing game, the white line the object's true outline.
    """
    rows = sum(1 + len(example.phrases) for example in examples)
    times = len(examples[0].frames) // tubelet[0]
    shown = np.unique(np.linspace(0, times - 1, min(columns, times)).round().astype(int))
    width = _INCHES / (len(shown) + 1.6)
    figure = matplotlib.figure.Figure(figsize=(_INCHES, 1.03 * width * rows), layout="constrained")
    grid = figure.subplots(
        rows, len(shown) + 1, squeeze=False, gridspec_kw={"width_ratios": [1.6, *([1] * len(shown))]}
    )
    row = iter(grid)
    for example in examples:
        frames = example.frames[middle_frames(len(example.frames), tubelet[0])]  # [Nt, H, W, 3]
        _label(line := next(row), example.caption, bold=True)
        for axes, j in zip(line[1:], shown, strict=True):
            axes.imshow(frames[j])
        for phrase in example.phrases:
            _label(line := next(row), phrase.phrase)
            for axes, j in zip(line[1:], shown, strict=True):
                _overlay(axes, frames[j], phrase, int(j), tubelet)
    for axes in grid.flat:
        axes.set_xticks([])
        axes.set_yticks([])
    return figure


def plot_similarity(examples: Sequence[SpliceExample]) -> matplotlib.figure.Figure:
    """Plots the cosines between the temporal indices of spliced clips, and those of the true mask (paper, figure 2)."""
    figure = matplotlib.figure.Figure(figsize=(_INCHES, 2.6 * -(-len(examples) // 2)), layout="constrained")
    grid = figure.subplots(-(-len(examples) // 2), 4, squeeze=False).reshape(-1, 2)
    for axes in grid.flat:
        axes.axis("off")
    for (model, truth), example in zip(grid, examples, strict=False):
        mask = span_mask(example.splice.span, example.splice.tubelets)
        image = model.imshow(example.similarity, cmap="viridis")
        figure.colorbar(image, ax=model, shrink=0.8).ax.tick_params(labelsize=7)
        truth.imshow(mask[:, None] == mask[None, :], cmap="Grays_r", vmin=-0.3, vmax=1.2)
        for axes, title in ((model, "cosine of z_i and z_j"), (truth, "same side, true mask")):
            axes.axis("on")
            axes.set_title(title, fontsize=8)
            axes.tick_params(labelsize=7)
            axes.set_xlabel("time index", fontsize=7)
    return figure


def plot_spans(examples: Sequence[SpliceExample], per_tubelet: int) -> matplotlib.figure.Figure:
    """Plots frames of spliced clips with the true (upper bar) and the predicted span (lower bar; paper, figure 5)."""
    row = 0.3 + 1.42 * _INCHES / 2 / max(example.splice.tubelets for example in examples)  # inches
    figure = matplotlib.figure.Figure(figsize=(_INCHES, row * -(-len(examples) // 2)), layout="constrained")
    grid = figure.subplots(-(-len(examples) // 2), 2, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, example in zip(grid.flat, examples, strict=False):
        frames = example.splice.frames[middle_frames(len(example.splice.frames), per_tubelet)]
        height, width = frames.shape[1:3]
        axes.imshow(_strip(frames, len(frames)), extent=(0, width * len(frames), 0, height))
        bar = 0.16 * height
        for level, span in ((1, example.splice.span), (2, example.predicted)):
            for j, inside in enumerate(span_mask(span, len(frames))):
                corner = (j * width + 1, -level * 1.25 * bar)
                color = FOREGROUND if inside else BACKGROUND
                axes.add_patch(matplotlib.patches.Rectangle(corner, width - 2, bar, color=color, linewidth=0))
        right = int(np.sum(span_mask(example.splice.span, len(frames)) == span_mask(example.predicted, len(frames))))
        axes.set_xlim(0, width * len(frames))
        axes.set_ylim(-2.8 * bar, height)
        axes.set_title(f"{right} of {len(frames)} right", fontsize=8, loc="left")
    return figure


def _overlay(axes: Axes, frame: np.ndarray, phrase: PhraseMap, j: int, tubelet: tuple[int, int, int]) -> None:
    height, width = frame.shape[:2]
    axes.imshow(frame.mean(axis=-1), cmap="gray", vmin=0, vmax=255)
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    low, high = np.percentile(phrase.heat, (2, 99.5))  # over the whole clip: times are comparable
    axes.imshow(phrase.heat[j], cmap="inferno", alpha=0.55, extent=extent, vmin=low, vmax=max(high, low + 1e-6))
    if phrase.mask is not None:
        mask = phrase.mask[j * tubelet[0] + tubelet[0] // 2]
        if mask.any():
            axes.contour(mask, levels=[0.5], colors=OUTLINE, linewidths=1.2)
    y, x = np.unravel_index(phrase.heat[j].argmax(), phrase.heat[j].shape)
    down, right = centers_of_mass(phrase.mass[j])
    axes.plot(
        right[y, x] * tubelet[2],
        down[y, x] * tubelet[1],
        marker="x",
        color="#39ff5a",
        markersize=6,
        markeredgewidth=1.8,
    )


def _strip(frames: np.ndarray, count: int) -> np.ndarray:
    """uint8 [T, H, W, 3] -> `count` evenly spaced frames in a row, with a white line between."""
    chosen = frames[np.linspace(0, len(frames) - 1, count).round().astype(int)]
    padded = np.pad(chosen, ((0, 0), (0, 0), (0, 1), (0, 0)), constant_values=255)
    return np.concatenate(list(padded), axis=1)


def _label(line: Sequence[Axes], text: str, *, bold: bool = False) -> None:
    line[0].axis("off")
    line[0].text(
        *(0, 0.5, "\n".join(textwrap.wrap(text, 24))),
        transform=line[0].transAxes,
        va="center",
        fontsize=7.5,
        fontweight="bold" if bold else "normal",
        parse_math=False,  # captions may contain dollar signs
    )


def _frame(axes: Axes, color: str, width: float) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(color)
        spine.set_linewidth(width)
