"""Tests of token ids against the tokenizers of public weights.

The reference ids were written by `experiments/token_parity.py`; this test only compares.
"""

import json
from pathlib import Path

import pytest

from svilm_jax.text.tokenizers import load_tokenizer
from tests.interop.imported import minilm_folder
from tests.scripts import script

SAID = json.loads((Path(__file__).parent / "reference" / "token_ids.json").read_text())


@pytest.fixture(scope="module")
def parity():
    return script("token_parity")


@pytest.mark.parametrize("name", SAID["of"])
def test_odd_sentences_and_ten_thousand_captions(parity, realdata, name):
    said = SAID["of"][name]
    tokenizer = load_tokenizer(realdata / "text" / said["file"], said["lowercase"])
    assert [tokenizer.pieces(text) for text in parity.ODD] == said["odd"]
    texts = parity.captions(realdata)
    assert len(texts) == SAID["captions"] == 10_000
    assert parity.digest([tokenizer.pieces(text) for text in texts]) == said["sha256"]


@pytest.mark.environment("minilm")
def test_a_tokenizer_json_as_its_vocabulary(parity, realdata):
    """MiniLM's tokenizer.json holds BERT's vocabulary, and rules of its own for padding and length."""
    tokenizer = load_tokenizer(minilm_folder() / "tokenizer.json")
    ids = [tokenizer.pieces(text) for text in parity.captions(realdata)]
    assert parity.digest(ids) == SAID["of"]["bert"]["sha256"]


def test_all_kinds_were_compared():
    assert sorted(SAID["of"]) == ["albert", "bert", "t5"]
