"""Tests of the linear probe: its unique optimum, and its accuracy on unseen views."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from svilm_jax.config import ConfigError
from svilm_jax.evaluation.action_recognition.linear_probe import PENALTIES, LinearProbeEvaluator, ProbeOptions, fit
from svilm_jax.evaluation.clips import EvaluationError
from svilm_jax.evaluation.metric import scalars
from svilm_jax.inference.encoder import Encoder
from svilm_jax.input.records import DatasetError
from svilm_jax.input.schema import Action
from tests.evaluation import colored_squares as world


def mixed(count=120, width=6, classes=4, seed=0):
    """Classes that overlap, of unequal scale and place, and labels from 0."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=count)
    means = rng.normal(size=(classes, width))
    return (means[labels] + rng.normal(size=(count, width))) * np.arange(1, width + 1) + 5, labels


def objective(weights, bias, x, labels, penalty):
    """As the docstring of `fit` writes it."""
    log_p = jax.nn.log_softmax(x @ weights + bias, axis=1)
    return -log_p[jnp.arange(len(labels)), labels].mean() + penalty / 2 * (weights**2).sum()


@pytest.mark.parametrize("penalty", [1e-3, 0.1])
def test_the_gradient_is_zero_and_the_optimum_that_of_scikit_learn(penalty):
    features, labels = mixed()
    probe = fit(features, labels, penalty)
    assert probe.penalty == penalty
    x = (features - features.mean(axis=0)) / features.std(axis=0)
    with jax.enable_x64(True):
        arrays = [jnp.asarray(array, jnp.float64) for array in (probe.weights, probe.bias, x)]
        slopes = jax.grad(objective, (0, 1))(*arrays, jnp.asarray(labels), penalty)
    assert max(np.abs(slope).max() for slope in slopes) < 1e-4
    reference = LogisticRegression(C=1 / (penalty * len(x)), tol=1e-10, max_iter=10_000).fit(x, labels)
    np.testing.assert_allclose(probe.probabilities(features), reference.predict_proba(x), atol=2e-3)
    assert np.abs(probe.weights).max() > 0.1


def test_separable_classes_are_told_apart_whatever_the_scale():
    rng = np.random.default_rng(1)
    labels = np.arange(60) % 3
    features = (10 * np.eye(3)[labels] + rng.normal(size=(60, 3))) * [1e-3, 1, 1e3]
    assert (fit(features, labels).probabilities(features).argmax(axis=1) == labels).all()


def test_a_feature_that_never_changes_is_no_trouble():
    features, labels = mixed()
    constant = np.concatenate([features, np.full((len(features), 1), 7.0)], axis=1)
    np.testing.assert_allclose(
        fit(constant, labels, 0.1).probabilities(constant),
        fit(features, labels, 0.1).probabilities(features),
        atol=1e-3,
    )


def test_a_label_that_training_lacks_gets_nothing():
    features, labels = mixed(classes=2)
    probabilities = fit(features, np.array([1, 4])[labels], 0.1).probabilities(features[:, None])
    assert probabilities.shape == (len(features), 1, 5)
    assert (probabilities[..., [0, 2, 3]] == 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1)
    np.testing.assert_allclose(probabilities[:, 0, [1, 4]], fit(features, labels, 0.1).probabilities(features))


def held_out_accuracies(features, labels):
    """Of every penalty, on each fifth item of a class."""
    held = np.zeros(len(labels), bool)
    for label in set(labels.tolist()):
        held[np.flatnonzero(labels == label)[4::5]] = True
    x = (features - features.mean(axis=0)) / features.std(axis=0)
    found = []
    for penalty in PENALTIES:
        model = LogisticRegression(C=1 / (penalty * (~held).sum()), tol=1e-8, max_iter=10_000)
        found.append(model.fit(x[~held], labels[~held]).score(x[held], labels[held]))
    return found


def test_the_penalty_is_the_strongest_of_the_best_on_held_out_items():
    features, labels = mixed(count=60, width=20, seed=5)
    accuracies = held_out_accuracies(features, labels)
    best = max(p for p, accuracy in zip(PENALTIES, accuracies, strict=True) if accuracy == max(accuracies))
    assert min(accuracies) < max(accuracies)
    assert best not in (PENALTIES[0], PENALTIES[-1])
    assert fit(features, labels).penalty == best


def test_with_too_few_items_to_hold_any_out_the_penalty_is_a_fixed_one():
    features, labels = mixed(count=12, classes=3)
    assert np.bincount(labels).max() < 10
    few = np.concatenate([np.flatnonzero(labels == label)[:4] for label in range(3)])
    assert fit(features[few], labels[few]).penalty == 1e-3


def test_twice_the_same():
    features, labels = mixed()
    one, two = fit(features, labels), fit(features, labels)
    np.testing.assert_array_equal(one.weights, two.weights)
    np.testing.assert_array_equal(one.bias, two.bias)


LABELS = ["spins", "rests", "hides"]


def acted(name, color, label, broken=False):
    return dataclasses.replace(world.record(name, (color, 0, 0), broken=broken), actions=(Action(label),))


def many(*rows):
    """Two clips of each row, the square in two places, since one place alone has no spread."""
    return [
        dataclasses.replace(world.record(f"{color}{i}{top}", (color, top, 0)), actions=(Action(label),))
        for i, (color, label) in enumerate(rows)
        for top in (0, 16)
    ]


SPLITS = {
    # In one fold red spins and blue rests, in the other the other way round.
    "train1": [*many(("red", "spins"), ("blue", "rests")), acted("lost", "red", "rests", broken=True)],
    "test1": [
        acted("a", "red", "spins"),
        acted("b", "blue", "rests"),
        acted("c", "blue", "rests"),
        acted("d", "red", "hides"),  # training has none of these
        acted("e", "red", "spins", broken=True),
    ],
    "train2": many(("red", "rests"), ("blue", "spins")),
    "test2": [acted("a", "red", "spins"), acted("b", "blue", "spins")],
    "broken": [acted("e", "red", "spins", broken=True)],
}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return world.make_config(world.write_dataset(tmp_path_factory.mktemp("acted"), SPLITS, labels=LABELS))


@pytest.fixture(scope="module")
def reader(config, squares_tokenizer):
    return Encoder(world.ColorReader(), config, squares_tokenizer, batch_size=3)


def run(config, reader, **options):
    views = {"clips": 2, "crops": 1, "random_baseline": False}
    return scalars(LinearProbeEvaluator(ProbeOptions(**{**views, **options}), config).run(reader))


def test_folds_are_fitted_alone_and_their_mean_is_the_metric(config, reader):
    metrics = run(config, reader, train=("train1", "train2"), test=("test1", "test2"), penalty=1e-3)
    assert metrics == {
        "probe/top1_test1": pytest.approx(3 / 5),  # `hides` and the video that does not decode are wrong
        "probe/top1_test2": pytest.approx(1 / 2),
        "probe/top1": pytest.approx((3 / 5 + 1 / 2) / 2),
        "probe/top1_majority": pytest.approx((2 / 5 + 2 / 2) / 2),
        "probe/penalty": 1e-3,
        "probe/failed_fraction": pytest.approx((1 / 5 + 0) / 2),
    }


def test_one_pair_has_one_row(config, reader):
    metrics = run(config, reader, train=("train2",), test=("test2",), train_clips=3, prefix="p", penalty=0.1)
    assert metrics == {"p/top1": 0.5, "p/top1_majority": 1.0, "p/penalty": 0.1, "p/failed_fraction": 0.0}


def test_features_by_time_are_the_means_over_places_side_by_side(config, reader):
    class Recording(Encoder):
        def videos(self, clips, read):
            for reading in super().videos(clips, (*read, "time_tokens")):
                assert reading["features_by_time"].shape == (reading["time_tokens"].size,)
                np.testing.assert_allclose(reading["features_by_time"], reading["time_tokens"].reshape(-1))
                seen.append(reading)
                yield reading

    seen: list = []
    recording = Recording(world.ColorReader(), config, reader.tokenizer, batch_size=3)
    metrics = run(config, recording, train=("train2",), test=("test2",), pool="time", penalty=0.1)
    assert metrics["probe/top1"] == 0.5
    assert len(seen) == 8  # four to fit, two views of each of two


def test_mistakes_are_told_before_anything_runs(config, squares):
    with pytest.raises(ConfigError, match="equal numbers of train and test splits"):
        LinearProbeEvaluator(ProbeOptions(train=("train1", "train2"), test=("test1",)), config)
    with pytest.raises(DatasetError, match="no split 'train3'"):
        LinearProbeEvaluator(ProbeOptions(train=("train3",), test=("test1",)), config)
    with pytest.raises(DatasetError, match="lists no action labels"):
        LinearProbeEvaluator(ProbeOptions(), world.make_config(squares))


def test_a_split_of_which_nothing_decodes_is_an_error(config, reader):
    with pytest.raises(EvaluationError, match="'broken': no labeled video that can be decoded"):
        run(config, reader, train=("broken",), test=("test1",))
