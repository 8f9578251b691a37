"""Tests of preparing a folder of regular, unusual and broken videos, with every excluded file reported."""

import json
import subprocess
import sys

import pytest
from svilm_data.datasets.captioned_videos import prepare
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.input.records import open_records, splits
from svilm_jax.video.decoding import decode, probe
from tests.data.weird_videos import write_sound, write_video

GOOD = ("plain.mp4", "deep/er/film.mkv", "old.avi", "web.webm", "disc.mpg", "odd.mp4", "uneven.mkv")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Videos that work, videos that do not, and a captions file that names them all but one."""
    folder = tmp_path_factory.mktemp("videos")
    for name in GOOD:
        times = [0, 0.05, 0.9, 1.0, 2.5] if name == "uneven.mkv" else None
        write_video(folder / name, size=(47, 63) if name == "odd.mp4" else (48, 64), times=times)
    write_video(folder / "silent witness.mp4")  # no caption
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("no video")
    write_sound(folder / "sound.mp4")
    rows = [f"{name},a dog runs past tree {i}" for i, name in enumerate(GOOD)]
    rows += ["plain,a second sentence on the same dog", "empty,x", "text.mp4,x", "sound,x", "missing.mp4,x"]
    (folder / "captions.csv").write_bytes("\r\n".join(["video,caption", *rows, ""]).encode("utf-8-sig"))
    return folder


def test_what_works_goes_in_and_what_does_not_is_named(folder, tmp_path):
    made = prepare(folder, folder / "captions.csv", tmp_path, name="dogs", validation_fraction=0.4)
    assert made == tmp_path / "dogs"
    assert [p.name for p in tmp_path.iterdir()] == ["dogs"]
    records = {r.id: r for split in splits(made) for r in open_records(made, split)}
    assert set(splits(made)) == {"train", "validation"}
    assert set(records) == {"plain", "deep/er/film", "old", "web", "disc", "odd", "uneven"}
    assert records["plain"].video == (folder / "plain.mp4").read_bytes()
    assert [c.text for c in records["plain"].captions] == [
        "a dog runs past tree 0",
        "a second sentence on the same dog",
    ]
    assert records["old"].captions[0].phrases[0] == "a dog"
    assert all(len(decode(r.video, [0.0, 0.4]).images) == 2 for r in records.values())
    summary = json.loads((made / "preparation.json").read_text())
    reasons = {item["video"]: item["reason"] for item in summary["skipped"]}
    assert set(reasons) == {"empty", "text", "sound", "missing"}
    assert "no video stream" in reasons["sound"]
    assert reasons["missing"] == "no such file"
    assert summary["notes"]["videos without a caption"] == "1 (silent witness.mp4)"
    assert str(folder) not in json.dumps(summary)


def test_re_encoded(folder, tmp_path):
    made = prepare(folder, folder / "captions.csv", tmp_path, short_side=32, fps=4, workers=2)
    records = {r.id: r for r in open_records(made, "train")}
    assert len(records) == len(GOOD)
    for identity, record in records.items():
        info = probe(record.video)
        assert (info.codec, info.height, info.rotation) == ("h264", 32, 0)
        assert info.fps == pytest.approx(4, abs=0.1), identity
    levels = decode(records["uneven"].video, [0.0, 0.5, 2.0, 2.4]).images.mean(axis=(1, 2, 3))
    assert levels[1] < levels[2]
    again = prepare(folder, folder / "captions.csv", tmp_path / "again", short_side=32, fps=4, workers=1)
    different = [
        p.name for p in made.rglob("*") if p.is_file() and p.read_bytes() != (again / p.relative_to(made)).read_bytes()
    ]
    assert different == []


def test_mistakes(folder, tmp_path):
    captions = folder / "captions.csv"
    cases = [
        ({"videos": folder / "none"}, r"--videos .*none: no such folder"),
        ({"captions": folder / "none.csv"}, r"--captions .*none\.csv: no such file"),
        ({"name": "My Dogs"}, "lower-case letters"),
        ({"validation_fraction": 1.5}, "--validation-fraction 1.5: expected a fraction"),
        ({"short_side": 33}, "--short-side 33: expected an even number"),
        ({"fps": -1.0}, "--fps -1"),
        ({"max_skipped_fraction": 0.1}, r"4 of 11 videos are unusable(.|\n)*missing.*no such file"),
    ]
    for change, message in cases:
        options = {"videos": folder, "captions": captions, "out_dir": tmp_path} | change
        with pytest.raises(PreparationError, match=message):
            prepare(**options)
    assert not any(p.is_dir() and not p.name.startswith(".") for p in tmp_path.iterdir())
    (tmp_path / "hollow.csv").write_text("video,caption\nplain, \n")
    with pytest.raises(PreparationError, match="no video has a nonempty caption"):
        prepare(folder, tmp_path / "hollow.csv", tmp_path)


def test_the_command(folder, tmp_path):
    program = "import sys; from svilm_jax.main import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "prepare", "captioned_videos", "--videos", str(folder)]
    command += ["--captions", str(folder / "captions.csv"), "--workers", "1", "--out"]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "train: 7 clips, 8 captions" in done.stdout
    assert "skipped 4 unusable videos" in done.stdout
    assert "missing.mp4: no such file" in done.stdout
    assert "downloaded" not in done.stdout + done.stderr
    done = subprocess.run([*command, str(tmp_path), "--fps", "4"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "already prepared with fps=None, now 4.0" in done.stderr


def test_real_clips(realdata, tmp_path):
    videos = realdata / "videos"
    items = []
    for clip in json.loads((videos / "index.json").read_text()):
        captions = clip.get("captions") or clip.get("anet_captions", {}).get("train", {}).get("sentences")
        if clip["file"].endswith("corrupted.mp4"):
            captions = ["a clip that is broken"]
        if captions and clip["probe"].get("size", 0) < 400_000 or clip["file"].endswith("corrupted.mp4"):
            items.append({"video": clip["file"].removeprefix("videos/"), "captions": captions})
    (tmp_path / "captions.json").write_text(json.dumps(items))
    made = prepare(videos, tmp_path / "captions.json", tmp_path)
    skipped = json.loads((made / "preparation.json").read_text())["skipped"]
    assert [item["file"] for item in skipped] == ["corrupted.mp4"]
    assert "does not decode" in skipped[0]["reason"]
    records = open_records(made, "train")
    assert len(records) == len(items) - 1 >= 5
    assert all(record.captions[0].text for record in records)
