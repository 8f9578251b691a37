"""Tests of evaluators defined outside the package."""

import dataclasses

import pytest

from svilm_jax.config import ConfigError
from svilm_jax.evaluation import EVALUATORS, build_evaluators, evaluate, register_evaluator
from tests.tiny import tiny_config


@dataclasses.dataclass(frozen=True)
class WordOptions:
    """Options of `WordCount`."""

    text: str = "a b"
    prefix: str = "text"


class WordCount:
    """Counts the words of a text; asks nothing of the model."""

    def __init__(self, options, config):
        self.options = options

    def run(self, encoder):
        yield f"{self.options.prefix}/words", float(len(self.options.text.split()))


@pytest.fixture(autouse=True)
def _registry(monkeypatch):
    """Registration in one test does not reach another."""
    monkeypatch.setitem(EVALUATORS, "word_count", (WordOptions, WordCount))
    monkeypatch.delitem(EVALUATORS, "word_count")


def test_a_registered_evaluator_is_built_and_run():
    register_evaluator("word_count", WordOptions, WordCount)
    config = dataclasses.replace(tiny_config(), evaluators={"words": {"kind": "word_count", "text": "a b c"}})
    assert evaluate(None, build_evaluators(config)).scalars == {"text/words": 3.0}
    config = dataclasses.replace(config, evaluators={"word_count": {"txt": "a"}})
    with pytest.raises(ConfigError, match=r"config\.evaluators\.word_count.*txt"):
        build_evaluators(config)


def test_what_is_not_an_evaluator_is_rejected():
    with pytest.raises(ValueError, match=r"'retrieval' is registered already, by svilm_jax\.evaluation\.retrieval"):
        register_evaluator("retrieval", WordOptions, WordCount)
    with pytest.raises(TypeError, match="expected a dataclass of options"):
        register_evaluator("word_count", dict, WordCount)
