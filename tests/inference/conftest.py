"""Fixtures of the colored squares, shared with the tests of evaluation."""

from tests.evaluation.conftest import encoder, squares, squares_tokenizer

__all__ = ["encoder", "squares", "squares_tokenizer"]
