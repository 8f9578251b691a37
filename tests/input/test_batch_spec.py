"""Tests that the batch spec matches the batches of the input pipeline, for every task."""

import jax
import pytest

from svilm_jax.input.batch_spec import batch_spec
from svilm_jax.parallel import make_mesh
from svilm_jax.text.tokenizers import load_tokenizer
from svilm_jax.training.task_input import open_input
from tests.tiny import tiny_config

ACTIONS = {"task": "action_recognition", "input.split": "actions_train"}
TASKS = {
    "captions": {},
    "sentences": {"input.num_sentences": 2, "input.text": "sentences", "input.split": "untrimmed_train"},
    "questions": {"task": "question_answering", "model.head.classes": ("red",)},
    "actions": {**ACTIONS, "model.head.classes": ("bouncing",)},
}


@pytest.mark.parametrize("task", TASKS)
def test_batches_are_as_specified(moving_shapes, task):
    config = tiny_config(moving_shapes, **TASKS[task], **{"train.batch_size": 2, "input.max_failure_fraction": 1.0})
    mesh = make_mesh(config.mesh, jax.devices()[:1])
    data = open_input(config, load_tokenizer(config.tokenizer.path), 0, mesh)
    try:
        batch = next(data)
    finally:
        data.close()
    assert {name: (array.shape, array.dtype) for name, array in batch.items()} == batch_spec(config)
