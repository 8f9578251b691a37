"""Fixtures of the colored squares: dataset, tokenizer and an encoder around the model that reads colors."""

import pytest

from svilm_jax.inference.encoder import Encoder
from svilm_jax.text.tokenizers import load_tokenizer
from tests.evaluation import colored_squares


@pytest.fixture(scope="session")
def squares(tmp_path_factory):
    """Folder of the prepared dataset."""
    return colored_squares.write_dataset(tmp_path_factory.mktemp("squares"))


@pytest.fixture(scope="session")
def squares_tokenizer(tmp_path_factory):
    return load_tokenizer(colored_squares.write_vocabulary(tmp_path_factory.mktemp("vocabulary") / "vocab.txt"))


@pytest.fixture(scope="session")
def encoder(squares, squares_tokenizer):
    config = colored_squares.make_config(squares)
    return Encoder(colored_squares.ColorReader(), config, squares_tokenizer, batch_size=3)
