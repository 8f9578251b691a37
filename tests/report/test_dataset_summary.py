"""Tests of the summary of a prepared dataset."""

import re

from svilm_jax.input.records import open_records
from svilm_jax.report.dataset_summary import summarize_dataset
from svilm_jax.text.tokenizers import SPECIAL_TOKENS, WordPieceTokenizer


def test_unknown_words_and_truncated_captions_are_counted(moving_shapes):
    records = open_records(moving_shapes, "test")
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = [*SPECIAL_TOKENS, *letters, *(f"##{letter}" for letter in letters), "a", "is", "over"]
    tokenizer = WordPieceTokenizer("vocab.txt", "\n".join(dict.fromkeys(vocabulary)).encode())
    summary = "\n".join(summarize_dataset(records, {"test": len(records)}, tokenizer, 8))
    count = sum(len(record.captions) for record in records)
    assert f"captions with a word unknown to the vocabulary: {count} of {count} (100.00%): " in summary
    assert re.search(
        rf"captions truncated at the default model\.text\.max_length of 32 tokens: [1-9] of {count} ", summary
    )
