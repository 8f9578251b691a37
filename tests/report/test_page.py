"""Tests of the report: a self-contained page with every metric next to its baselines."""

import dataclasses
import html.parser
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from svilm_jax.evaluation.metrics_file import MetricsFileError, read_metrics
from svilm_jax.report import ReportError, page, write_report

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
    assert "phrase-blind 47.0 %" in text
    assert "Spatial grounding" in text
    assert "svilm train --config=<demo>" in text, "escaped, and read back as it was"
    assert "model.video.num_frames" in text


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


@pytest.mark.parametrize("content", ["{", "[1]", '{"a": "b"}', '{"a": {"b": 1}}'])
def test_metrics_that_are_not_numbers_are_an_error(tmp_path, content):
    (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(MetricsFileError, match=r"metrics\.json.*svilm eval"):
        read_metrics(tmp_path / "metrics.json")


def test_a_missing_folder_is_an_error(tmp_path, random_encoder, report_config):
    with pytest.raises(ReportError, match="no such folder"):
        write_report(tmp_path / "nowhere", random_encoder, report_config, {})


def test_fields_that_differ_from_the_default_are_marked(report_config):
    fields = {key: (value, changed) for key, value, changed in page.flat_config(report_config)}
    assert fields["model.video.num_frames"] == ("8", True)
    assert fields["model.temperature"] == ("0.07", False)
    assert fields["evaluators.retrieval.split"] == ("'test'", True)


def test_headlines_have_their_order_and_clips_left_out_are_shown_only_if_there_are_any():
    metrics = {
        "grouping/tubelet_accuracy": 0.9,
        "grouping/tubelet_accuracy_raw_pixels": 0.8,
        "grouping/tubelet_accuracy_raw_mean_color": 0.7,
        "retrieval/t2v_R1": 0.5,
        "retrieval/failed_fraction": 0.0,
        "grouping/failed_fraction": 0.25,
    }
    first, second = page.headlines(metrics)
    assert (first.name, second.name) == ("retrieval/t2v_R1", "grouping/tubelet_accuracy")
    assert second.baselines == [("raw pixels", "80.0 %", 0.8)]
    names = [row.name for *_, rows in page.sections(metrics) for row in rows]
    assert names == ["retrieval/t2v_R1", "grouping/tubelet_accuracy", "grouping/failed_fraction"]


def test_sections_come_in_order_and_unknown_ones_last():
    metrics = {"new/thing": 0.5, "grouping/cut_exact": 0.5, "retrieval/t2v_R1": 0.1, "retrieval/t2v_R1_chance": 0.01}
    found = page.sections(metrics)
    assert [title for title, _, _ in found] == ["Text-video retrieval, full gallery", "Temporal grouping", "new"]
    assert found[0][2][0].baselines == [("chance", "1.0 %", 0.01)]
    assert json.dumps([dataclasses.asdict(row) for *_, rows in found for row in rows])
