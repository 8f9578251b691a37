"""Tests of vocabulary training: deterministic, and containing the most frequent words."""

import subprocess
import sys

import pytest

from svilm_jax.text.tokenizers import TokenizerError, load_tokenizer
from svilm_jax.text.vocabulary_training import train_wordpiece

TEXTS = ["a red square slides left", "a red ring slides right", "two red squares spin"] * 3


def test_frequent_words_become_one_token(tmp_path):
    count = train_wordpiece(TEXTS, 400, tmp_path / "v.txt")
    lines = (tmp_path / "v.txt").read_text().split("\n")[:-1]
    assert count == len(lines) == len(set(lines)) <= 400
    tokenizer = load_tokenizer(tmp_path / "v.txt")
    for word in ("red", "square", "slides", "spin", "video"):
        assert len(tokenizer.pieces(word)) == 1, word
    assert tokenizer.unk_id not in tokenizer.pieces("Quite other words, 42!")


def test_the_same_texts_give_the_same_file_in_any_process(tmp_path):
    train_wordpiece(TEXTS, 300, tmp_path / "here.txt")
    code = (
        "import sys; from svilm_jax.text.vocabulary_training import train_wordpiece as t; "
        "t(sys.argv[2:], 300, sys.argv[1])"
    )
    for seed in ("1", "2"):
        there = tmp_path / f"there{seed}.txt"
        subprocess.run([sys.executable, "-c", code, str(there), *TEXTS], check=True, env={"PYTHONHASHSEED": seed})
        assert there.read_bytes() == (tmp_path / "here.txt").read_bytes()
    train_wordpiece(TEXTS[::-1], 300, tmp_path / "turned.txt")
    assert (tmp_path / "turned.txt").read_bytes() == (tmp_path / "here.txt").read_bytes()


def test_size_is_kept(tmp_path):
    small = train_wordpiece(TEXTS, 120, tmp_path / "small.txt")
    assert small == 120
    with pytest.raises(TokenizerError, match="below the"):
        train_wordpiece(TEXTS, 50, tmp_path / "tiny.txt")


def test_most_frequent_pairs_come_first(tmp_path):
    train_wordpiece(["ab"] * 9 + ["cd"] * 5 + ["cdef"] * 3 + ["xy"], 500, tmp_path / "v.txt")
    lines = (tmp_path / "v.txt").read_text().split("\n")
    assert lines.index("ab") < lines.index("cd") < lines.index("cdef")
    assert "xy" not in lines  # seen once
