"""Tests of the contact sheet: it shows the batch, with bars that mark the splice."""

import numpy as np
import pytest
from PIL import Image

from svilm_jax.config import ConfigError, InputConfig, SpliceConfig, TextConfig, VideoConfig
from svilm_jax.report import contact_sheet
from svilm_jax.text.tokenizers import load_tokenizer

VIDEO = VideoConfig(num_frames=8, image_size=40, tubelet_size=(2, 8, 8))


def test_bars_follow_the_mask():
    tokenizer = load_tokenizer("builtin:moving_shapes")
    video = np.full((2, 4, 40, 40, 3), 90, np.uint8)
    batch = {
        "text": tokenizer.encode(["a red square", "a ring"], 12),
        "nouns": np.stack([tokenizer.encode(["a red square"], 12)] * 2),
        "noun_mask": np.array([[True], [False]]),
        "valid": np.array([True, False]),
        "index": np.array([3, 4]),
    }
    mask = np.array([[True, False], [True, True]])
    sheet = np.asarray(contact_sheet.draw_batch(video, mask, batch, tokenizer, 2))
    row = sheet[36]  # through the first bar
    middles = [14 + frame * 42 + 20 for frame in range(4)]
    foreground, background = contact_sheet.FOREGROUND, contact_sheet.BACKGROUND
    assert [tuple(row[x]) for x in middles] == [foreground, foreground, background, background]
    assert (sheet == contact_sheet.INVALID).all(-1).sum() > 4 * 40 * 8 - 100
    assert (sheet[44 + 5, middles[0]] == 90).all()


def test_sheet_of_a_dataset(moving_shapes, tmp_path):
    path = tmp_path / "deep" / "sheet.png"
    tokenizer = load_tokenizer("dataset", dataset=moving_shapes)
    config = InputConfig(dataset=str(moving_shapes))
    contact_sheet.write_contact_sheet(
        path, config, VIDEO, TextConfig(), SpliceConfig(block=4), tokenizer, rows=4, seed=1
    )
    sheet = np.asarray(Image.open(path))
    assert sheet.shape[1] == 2 * 14 + 8 * 42
    foreground, background = (
        (sheet == color).all(-1).sum() for color in (contact_sheet.FOREGROUND, contact_sheet.BACKGROUND)
    )
    assert foreground > background > 0
    with pytest.raises(ConfigError, match=r"splice\.block"):
        contact_sheet.write_contact_sheet(path, config, VIDEO, TextConfig(), SpliceConfig(block=3), tokenizer, rows=4)
