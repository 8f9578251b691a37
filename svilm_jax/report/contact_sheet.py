"""Contact sheet of one spliced training batch, with masks, captions and phrases."""

from pathlib import Path

import jax
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from svilm_jax.config import InputConfig, SpliceConfig, TextConfig, VideoConfig
from svilm_jax.input.pipeline import Batch, TrainInput
from svilm_jax.input.splicing import check_splice, fitted_block, splice_batch
from svilm_jax.text.tokenizers import Tokenizer

# Also distinguishable by lightness, for readers who do not see the colors.
FOREGROUND, BACKGROUND, INVALID = (27, 120, 84), (244, 165, 66), (190, 190, 190)
_PAPER, _INK, _FAINT = (255, 255, 255), (25, 25, 25), (110, 110, 110)
_BAR, _GAP, _MARGIN = 8, 2, 14


def write_contact_sheet(
    path: str | Path,
    config: InputConfig,
    video: VideoConfig,
    text: TextConfig,
    splice_config: SpliceConfig,
    tokenizer: Tokenizer,
    *,
    rows: int = 8,
    seed: int = 0,
) -> None:
    """Draws the first training batch of `rows` clips after splicing and writes it as a PNG.

    Each row is a clip: above every frame a bar that is green where the frame is the clip's own (foreground, mask 1)
    and orange where it comes from the partner; then the caption as the text tower gets it, decoded from its tokens, and
    the prompted noun phrases.

    Raises:
      DatasetError, ConfigError: the dataset or the numbers do not fit.
    """
    tubelet = video.tubelet_size[0]
    splice_config = fitted_block(splice_config, rows, 1)
    check_splice(splice_config, video.num_frames // tubelet, rows, 1)
    with TrainInput(config, video, text, tokenizer, batch_size=rows, seed=seed) as data:
        batch = next(data)
    key = jax.random.key(seed)
    video_array, valid = jax.numpy.asarray(batch["video"]), jax.numpy.asarray(batch["valid"])
    spliced, mask, *_ = splice_batch(key, video_array, valid, splice_config, tubelet)
    picture = draw_batch(np.asarray(spliced), np.asarray(mask), batch, tokenizer, tubelet)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def draw_batch(
    video: np.ndarray, mask: np.ndarray, batch: Batch, tokenizer: Tokenizer, tubelet_frames: int
) -> Image.Image:
    """Draws a batch.

    Args:
      video: uint8 [B, T, H, W, 3], spliced.
      mask: bool [B, T / tubelet_frames], True where a clip's own frames are.
      batch: batch of the pipeline, for texts, `valid` and `index`.
      tokenizer: tokenizer of the texts.
      tubelet_frames: frames per entry of `mask`.
    """
    count, frames, height, width = video.shape[:4]
    font, small = ImageFont.load_default(14), ImageFont.load_default(12)
    label = 44  # two lines of text below the frames
    line = _BAR + _GAP + height + label
    wide = 2 * _MARGIN + frames * (width + _GAP)
    head = 34
    sheet = Image.new("RGB", (wide, head + count * (line + _MARGIN)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    _legend(draw, small)
    for row in range(count):
        top = head + row * (line + _MARGIN)
        own = np.repeat(mask[row], tubelet_frames)  # [T]
        valid = bool(batch["valid"][row])
        for frame in range(frames):
            left = _MARGIN + frame * (width + _GAP)
            color = INVALID if not valid else FOREGROUND if own[frame] else BACKGROUND
            right = left + width + (_GAP if _continues(own, frame) else 0) - 1
            draw.rectangle((left, top, right, top + _BAR - 1), fill=color)
            sheet.paste(Image.fromarray(video[row, frame]), (left, top + _BAR + _GAP))
        below = top + _BAR + _GAP + height + 4
        caption = tokenizer.decode(batch["text"][row])
        phrases = [tokenizer.decode(ids) for ids in batch["nouns"][row][batch["noun_mask"][row]]]
        number = f"record {int(batch['index'][row])}"
        draw.text((_MARGIN, below), _fitting(draw, caption, font, wide - 2 * _MARGIN), fill=_INK, font=font)
        summary = f"{number} · {' · '.join(phrases) or 'no phrase'}" if valid else f"{number} · not valid"
        draw.text((_MARGIN, below + 19), _fitting(draw, summary, small, wide - 2 * _MARGIN), fill=_FAINT, font=small)
    return sheet


def _continues(own: np.ndarray, frame: int) -> bool:
    """Returns whether the bar continues to the next frame, so that a span reads as one."""
    return frame + 1 < len(own) and bool(own[frame] == own[frame + 1])


def _legend(draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> None:
    left = float(_MARGIN)
    for color, words in ((FOREGROUND, "the clip itself (mask 1)"), (BACKGROUND, "the partner around it (mask 0)")):
        draw.rectangle((left, 13, left + 20, 13 + _BAR), fill=color)
        draw.text((left + 27, 9), words, fill=_FAINT, font=font)
        left += 27 + draw.textlength(words, font=font) + 24


def _fitting(
    draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float
) -> str:
    """Truncates `text` with an ellipsis if it is wider than `width` pixels."""
    if draw.textlength(text, font=font) <= width:
        return text
    while text and draw.textlength(text + "…", font=font) > width:
        text = text[:-1]
    return text + "…"
