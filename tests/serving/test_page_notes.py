"""Tests of notes on the page about parts of a query that the model did not understand."""

import html
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from svilm_jax.inference.index import FoundClip
from svilm_jax.inference.model import TrainedModel
from svilm_jax.serving.service import GroundedImage, Service, ShownClip
from svilm_jax.text.tokenizers import load_tokenizer
from tests.tiny import tiny_config

testclient = pytest.importorskip("starlette.testclient", reason="the extra `serve` is not installed")


class OneRow:
    """An index of one clip."""

    videos, origin = ("a.mp4",), SimpleNamespace(model="tiny")

    def __len__(self):
        return 1

    def clip(self, row):
        return FoundClip(0, 0.5, "a.mp4", 0.0, 1.0)


class OneClip(Service):
    """A service of one clip that computes nothing: only the tokenizer of its model is asked."""

    def __init__(self):
        self.model = TrainedModel(None, tiny_config(), load_tokenizer("builtin:moving_shapes"), 0)
        self.max_upload_bytes, self._common = 1 << 20, 0
        self.index = OneRow()

    def search(self, sentence, top):
        return [self.index.clip(0)]

    def clip(self, row):
        return ShownClip(Path("a.mp4"))

    def ground(self, clip, phrase):
        return GroundedImage(np.zeros((4, 4, 3), np.uint8), 0.5)

    def fragment(self, row):
        return ""


@pytest.fixture
def page():
    """The text of the page for given parameters."""
    from svilm_jax.serving.app import build_app

    client = testclient.TestClient(build_app(OneClip(), 1, ["*"]))
    return lambda **parameters: html.unescape(client.get("/", params=parameters).text)


def test_unknown_and_cut_words_of_a_query_are_noted(page):
    assert "vocabulary" not in page(q="a red square")
    shown = page(q="a red <xyzzy>" + " red" * 40)
    assert "Not in the model's vocabulary: 'xyzzy'" in shown
    assert "the model reads the first 26." in shown


def test_unknown_words_of_a_phrase_are_noted(page):
    shown = page(q="a red square", row=0, phrase="a xyzzy")
    assert "Not in the model's vocabulary: 'xyzzy'" in shown
    assert "vocabulary" not in page(q="a red square", row=0, phrase="a square")
