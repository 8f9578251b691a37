"""Tests of the display names of metrics."""

from svilm_jax.report import wording


def test_known_metrics_have_plain_words():
    assert wording.label("retrieval/t2v_R10") == "text to video, recall at 10"
    assert wording.label("retrieval_hard/v2t_R1") == "video to text, recall at 1, look-alike sets"
    assert wording.label("retrieval/v2t_MedR") == "video to text, median rank"
    assert wording.label("retrieval/v2t_MeanR") == "video to text, mean rank"
    assert wording.label("grounding/pointing_game").startswith("pointing game")
    assert "cannot be decoded" in wording.label("grouping/failed_share_untrimmed")


def test_unknown_metrics_keep_their_name():
    assert wording.label("answering/top_1") == "top 1"
    assert wording.section("answering/top_1") == "answering"
