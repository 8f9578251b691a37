"""Tests of notes on the page about parts of a query that the model did not understand."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from svilm_jax.cli import serve
from svilm_jax.inference.index import FoundClip
from svilm_jax.inference.model import TrainedModel
from svilm_jax.serving.service import PointedPhrase, Service
from svilm_jax.text.tokenizers import load_tokenizer
from tests.tiny import tiny_config

pytest.importorskip("gradio", reason="no Gradio: the extra `serve` is not installed")


class OneRow:
    """An index of one clip."""

    videos, origin = ("a.mp4",), SimpleNamespace(model="tiny")

    def __len__(self):
        return 1


class OneClip(Service):
    """A service of one clip that computes nothing: only the tokenizer of its model is asked."""

    def __init__(self):
        self.model = TrainedModel(None, tiny_config(), load_tokenizer("builtin:moving_shapes"), 0)
        self.max_upload_bytes, self._common = 1 << 20, 0
        self.index = OneRow()

    def search(self, sentence, top):
        return [FoundClip(0, 0.5, "a.mp4", 0.0, 1.0)]

    def clip(self, row):
        return None

    def point(self, clip, phrase):
        return PointedPhrase(np.zeros((4, 4, 3), np.uint8), 0.5)

    def fragment(self, row):
        return ""


@pytest.fixture
def handlers(tmp_path, monkeypatch):
    """Functions of the page by their name."""
    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "GRADIO_EXAMPLES_CACHE"):
        monkeypatch.setenv(name, "")
    uploads = serve.set_up_gradio(tmp_path)
    from svilm_jax.serving.page import build_page

    return {function.fn.__name__: function.fn for function in build_page(OneClip(), 1, uploads).fns.values()}


def test_unknown_and_cut_words_are_noted(handlers):
    _, held, said, *_ = handlers["on_search"]("a red square")
    assert "vocabulary" not in said
    _, held, said, *_ = handlers["on_search"]("a red <xyzzy> \ud83d" + " red" * 40)
    assert "Not in the model&#x27;s vocabulary: &#x27;xyzzy&#x27;" in said
    assert "the model reads the first 26." in said
    assert json.dumps(held.sentence, ensure_ascii=False).encode("utf-8")
    chosen, *_ = handlers["choose"](held)
    *_, told = handlers["on_phrase"](chosen, "a xyzzy \ud83d")
    assert "Not in the model&#x27;s vocabulary: &#x27;xyzzy&#x27;" in told
    assert told.encode("utf-8")
