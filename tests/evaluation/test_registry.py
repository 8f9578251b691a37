"""Tests of building evaluators from a config, and of errors that name the mistake."""

import pytest

from svilm_jax.config import ConfigError
from svilm_jax.evaluation import build_evaluators, evaluate
from svilm_jax.input.records import DatasetError
from tests.evaluation import colored_squares as world

ALL = {
    "retrieval": {},
    "retrieval_hard": {"kind": "retrieval_hard"},
    "grounding": {"kind": "grounding", "readout": "assignments"},
    "grouping": {"kind": "grouping", "split": "twins_test"},
    "cuts": {"kind": "scene_cuts", "tolerance": 0},
}
PUBLISHED_DATASETS = [
    *(f"retrieval/{way}_{name}" for way in ("t2v", "v2t") for name in ("R1", "R5", "R10", "MedR")),
    *("retrieval_hard/t2v_R1", "retrieval_hard/t2v_R1_oracle", "retrieval_hard/t2v_R1_chance"),
    *("grounding/pointing_game", "grounding/pointing_game_phrase_blind", "grounding/mean_iou"),
    *("grouping/tubelet_accuracy", "grouping/tubelet_accuracy_raw_pixels"),
    *("grouping/tubelet_accuracy_all_foreground", "grouping/scene_cut_f1"),
]


def test_all_kinds_together_give_the_official_names(squares, encoder):
    evaluators = build_evaluators(world.make_config(squares, **ALL))
    assert list(evaluators) == list(ALL)
    evaluation = evaluate(encoder, evaluators)
    assert evaluation.failed == {}
    assert not set(PUBLISHED_DATASETS) - evaluation.scalars.keys()
    assert all(isinstance(value, float) for value in evaluation.scalars.values())


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"kind": "retreival"}, r"config\.evaluators\.x\.kind='retreival'.*did you mean 'retrieval'"),
        ({"kind": "retrieval", "splt": "test"}, r"config\.evaluators\.x\.splt: no such key; did you mean 'split'"),
        ({"kind": "retrieval", "limit": "all"}, r"config\.evaluators\.x\.limit='all': expected a whole number"),
        ("retrieval", r"config\.evaluators\.x='retrieval': expected a table"),
        (
            {"kind": "retrieval", "paragraph": "sentence"},
            r"paragraph='sentence': expected one of .*; did you mean 'sentences'",
        ),
        ({"kind": "linear_probe", "pool": "tme"}, r"pool='tme': expected one of .*did you mean 'time'"),
        ({"kind": "grouping", "spans": "al"}, r"spans='al': expected one of .*did you mean 'all'"),
        ({"kind": "grouping", "partners": "twins"}, "did you mean 'twin'"),
        ({"kind": "grounding", "readout": "logit"}, "did you mean 'logits'"),
        ({"kind": "scene_cuts", "window_seconds": 0.0}, r"window_seconds=0\.0: expected .* more than 0"),
        ({"kind": "action_recognition", "clips": 0}, "clips=0: expected .* at least 1"),
    ],
)
def test_mistakes_are_named(squares, entry, message):
    with pytest.raises(ConfigError, match=message):
        build_evaluators(world.make_config(squares, x=entry))


def test_a_missing_split_is_named_at_start(squares):
    with pytest.raises(DatasetError, match="hard_validation"):
        build_evaluators(world.make_config(squares, retrieval_hard={"split": "hard_validation"}))
