"""Tests of the task head of a run from a checkpoint, and of the classes that its dataset lists."""

import dataclasses
import json

import numpy as np
import pytest

from svilm_jax.config import HeadConfig
from svilm_jax.input.features import FeatureIndex, write_index
from svilm_jax.models.parameters import abstract_model, bind, parameters
from svilm_jax.training.initialization import initial_params, resolve_init
from tests.tiny import tiny_config
from tests.training.initialization.runs import VOCABULARY, drawn, named, random_like


def headed(config, task, classes):
    model = dataclasses.replace(config.model, head=HeadConfig(classes))
    return dataclasses.replace(config, task=task, model=model)


def with_head(loaded, task, classes):
    """The checkpoint as if its run had had this head, random in every entry."""
    config = headed(loaded.config, task, classes)
    graphdef, abstract = abstract_model(config, VOCABULARY.vocab_size)
    return dataclasses.replace(loaded, config=config, model=bind(graphdef, abstract, random_like(abstract, 3)))


@pytest.mark.parametrize(
    ("task", "classes", "fresh_parts"),
    [
        ("question_answering", ("a", "b", "c"), ()),  # the same task goes on
        ("question_answering", ("c", "b", "a"), ("head.out.",)),  # as many answers, others
        ("question_answering", ("a", "b"), ("head.out.",)),
        ("action_recognition", ("a", "b", "c"), ("head.",)),  # its norm and scores would fit by shape
    ],
)
def test_a_head_goes_on_only_where_it_means_the_same(loaded, task, classes, fresh_parts):
    before = with_head(loaded, "question_answering", ("a", "b", "c"))
    after = headed(loaded.config, task, classes)
    fresh = drawn(after)
    got, new, known = named(initial_params(fresh, before, after)), named(fresh), named(parameters(before.model))
    for name in new:
        expected = new if name.startswith(fresh_parts) else known
        np.testing.assert_array_equal(got[name], expected[name], err_msg=name)
    assert any(name.startswith("head.") for name in got)


def test_a_head_that_the_run_does_not_have_is_left_behind(loaded):
    before = with_head(loaded, "question_answering", ("a", "b"))
    got = initial_params(drawn(loaded.config), before, loaded.config)
    assert "head" not in got


@pytest.mark.parametrize(
    ("task", "file"), [("action_recognition", "labels.json"), ("question_answering", "answers.json")]
)
def test_classes_are_those_that_the_dataset_lists(moving_shapes, task, file):
    rows = json.loads((moving_shapes / file).read_text())
    listed = tuple(row if task == "action_recognition" else row[0] for row in rows)
    fields = {"task": task}
    assert resolve_init(tiny_config(moving_shapes, **fields)).config.model.head.classes == listed
    few = resolve_init(tiny_config(moving_shapes, **fields, **{"model.head.max_classes": 2}))
    assert few.config.model.head.classes == listed[:2]
    own = resolve_init(tiny_config(moving_shapes, **fields, **{"model.head.classes": ("x", "y")}))
    assert own.config.model.head.classes == ("x", "y")
    assert resolve_init(tiny_config(moving_shapes)).config.model.head.classes == ()


def test_the_width_and_the_classes_of_a_localizer_are_those_of_its_features(tmp_path):
    write_index(tmp_path, FeatureIndex(2.0, 1.0, 0.0, 12, ("jump", "run"), (), {}))
    fields = {"task": "localization", "model.localization.features": str(tmp_path)}
    start = resolve_init(tiny_config(**fields))
    assert start.config.model.localization.feature_dim == 12
    assert start.config.model.head.classes == ("jump", "run")
    own = resolve_init(tiny_config(**fields, **{"model.head.classes": ("run",)}))
    assert own.config.model.head.classes == ("run",)
