"""Tests of the report: a self-contained page with every metric next to its baselines."""

import dataclasses
import html.parser
import io
import re

import numpy as np
import pytest
from PIL import Image

from svilm_jax.config import Config
from svilm_jax.evaluation import Metric, Section, Unit
from svilm_jax.evaluation.clips import failed_fraction
from svilm_jax.evaluation.registry import report_sections
from svilm_jax.report import ReportError, page, write_report
from svilm_jax.report.config_entries import entries

ENVIRONMENT = {"jax": "0.10.2", "command": "svilm train --config=<demo>", "device": "cpu"}


class Collector(html.parser.HTMLParser):
    """Every address that the page would load, and its text."""

    def __init__(self):
        super().__init__()
        self.addresses, self.text, self.open = [], [], []

    def handle_starttag(self, tag, attributes):
        self.addresses += [value for name, value in attributes if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def written(run_folder, random_encoder, report_config):
    path = write_report(run_folder, random_encoder, report_config, ENVIRONMENT)
    found = Collector()
    found.feed(path.read_text(encoding="utf-8"))
    return path, found


def test_the_page_is_well_formed_and_loads_nothing(written):
    path, found = written
    assert path.name == "report.html"
    assert found.open == []
    assert len(found.addresses) == 5
    assert all(address.startswith("data:image/png;base64,") for address in found.addresses)
    assert not re.search(r"url\(|@import|<script|https?://", path.read_text())


def test_metrics_stand_beside_their_baselines(written):
    text = " ".join(" ".join(written[1].text).split())
    assert "75.1 %" in text
    assert "43.2 %" in text
    assert "phrase blind 47.0 %" in text
    assert "text to video, median rank (lower is better)" in text
    assert "Spatial grounding" in text
    assert "svilm train --config=<demo>" in text, "escaped, and read back as it was"
    assert "config.model.video.num_frames" in text


def test_figures_are_saved_as_files_too(written):
    folder = written[0].parent / "figures"
    names = ["curves", "grounding", "retrieval", "similarity", "temporal_grouping"]
    assert sorted(path.stem for path in folder.iterdir()) == names
    for path in folder.iterdir():
        pixels = np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("L"))
        assert pixels.std() > 5, f"{path.name} is blank"


def test_an_unfinished_run_has_a_page_that_says_so(tmp_path, random_encoder, report_config, monkeypatch):
    monkeypatch.setattr(page, "collect", lambda *_: page.Examples([], [], [], (2, 12, 12), False, ["No twins."]))
    text = write_report(tmp_path, random_encoder, report_config, {}).read_text()
    assert "unfinished" in text
    assert "no training curves" in text
    assert "No twins." in text


def test_a_missing_folder_is_an_error(tmp_path, random_encoder, report_config):
    with pytest.raises(ReportError, match="no such folder"):
        write_report(tmp_path / "nowhere", random_encoder, report_config, {})


def test_fields_that_differ_from_the_default_are_marked(report_config):
    fields = {entry.key: (entry.value, entry.changed) for entry in entries(report_config)}
    assert fields["config.model.video.num_frames"] == (8, True)
    assert fields["config.model.temperature"] == (0.07, False)
    assert fields["config.evaluators.retrieval.limit"] == (0, False)
    assert fields["config.evaluators.grouping.split"] == ("twins_test", False)


SECTIONS = {
    "val": Section("Retrieval", headline="t2v_R1"),
    "grouping": Section("Grouping", "Pixels.", "tubelet_accuracy", ("raw_mean_color",)),
    "grounding": Section("Grounding", headline="pointing_game"),
}


def test_headlines_have_their_order_and_clips_left_out_are_shown_only_if_there_are_any():
    accuracy = Metric("grouping/tubelet_accuracy", 0.9, Unit.FRACTION, "accuracy")
    metrics = [
        dataclasses.replace(accuracy, baselines={"raw_pixels": 0.8, "raw_mean_color": 0.7}),
        Metric("val/t2v_R1", 0.5, Unit.FRACTION),
        failed_fraction("val", 0.0, "_untrimmed"),
        failed_fraction("grouping", 0.25),
    ]
    first, second = page.headlines(metrics, SECTIONS)
    assert (first.name, second.name) == ("val/t2v_R1", "grouping/tubelet_accuracy")
    assert second.baselines == [("raw pixels", "80.0 %", 0.8)]
    rows = [row for *_, rows in page.sections(metrics, SECTIONS) for row in rows]
    assert [row.name for row in rows] == ["val/t2v_R1", "grouping/tubelet_accuracy", "grouping/failed_fraction"]
    assert [name for name, *_ in rows[1].baselines] == ["raw pixels", "raw mean color"]
    assert [row.lower_is_better for row in rows] == [False, False, True]


def test_sections_come_in_order_and_unknown_ones_last():
    metrics = [
        Metric("new/thing", 0.5),
        Metric("bare", 2.0, Unit.STEPS),
        Metric("grouping/cut_exact", 1.5, Unit.FRACTION),
        Metric("val/t2v_R1", 0.1, Unit.FRACTION, baselines={"chance": 0.01}),
    ]
    found = page.sections(metrics, SECTIONS)
    assert [title for title, _, _ in found] == ["Retrieval", "Grouping", "new", "bare"]
    assert found[0][2][0].baselines == [("chance", "1.0 %", 0.01)]
    assert [rows[0].fraction for *_, rows in found] == [0.1, None, None, None]  # no bar beyond 1, or of a number


def test_sections_are_those_of_the_evaluators_at_their_own_prefixes():
    evaluators = {
        "cuts": {"kind": "scene_cuts"},
        "clips": {"kind": "grouping"},
        "val": {"kind": "retrieval", "prefix": "val"},
        "retrieval": {},
        "localization": {},  # has no report
    }
    found = report_sections(Config(evaluators=evaluators))
    assert list(found) == ["val", "retrieval", "grouping"]
    assert found["val"] is found["retrieval"]
    assert {section.headline for section in found.values()} == {"t2v_R1", "tubelet_accuracy"}
