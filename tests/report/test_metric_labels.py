"""Tests of the display names of metrics."""

from svilm_jax.report import metric_labels


def test_known_metrics_have_plain_words():
    assert metric_labels.label("retrieval/t2v_R10") == "text to video, recall at 10"
    assert metric_labels.label("retrieval_hard/v2t_R1") == "video to text, recall at 1, look-alike sets"
    assert metric_labels.label("retrieval/v2t_MedR") == "video to text, median rank"
    assert metric_labels.label("retrieval/v2t_MeanR") == "video to text, mean rank"
    assert metric_labels.label("grounding/pointing_game").startswith("pointing game")
    assert "cannot be decoded" in metric_labels.label("grouping/failed_fraction_untrimmed")


def test_unknown_metrics_keep_their_name():
    assert metric_labels.label("answering/top_1") == "top 1"
    assert metric_labels.section("answering/top_1") == "answering"
