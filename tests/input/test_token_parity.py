"""Does a sentence get the numbers that the tokenizers of public weights give it?

What the originals say was written by `experiments/token_parity.py`; here it is only compared.
"""

import json
from pathlib import Path

import pytest

from svilm_jax.input.tokenization import load_tokenizer
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


def test_all_kinds_were_compared():
    assert sorted(SAID["of"]) == ["albert", "bert", "t5"]
