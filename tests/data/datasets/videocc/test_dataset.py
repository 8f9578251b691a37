"""Tests of the VideoCC reader: every line becomes a caption or an error, for any order and number of lines."""

import argparse
import gzip
import json
import tracemalloc

import numpy as np
import pytest
from svilm_data.annotations.official_files import OfficialFiles
from svilm_data.datasets.videocc import DATASET
from svilm_data.datasets.videocc.dataset import youtube_id
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.cli.prepare import add_arguments, run
from svilm_jax.input.records import open_records
from svilm_jax.video.decoding import decode
from tests.data.weird_videos import write_video

A, B, C = "aaaaaaaaaa1", "-bbbbbbbbb_", "ccccccccccc"
ROWS = f"""https://www.youtube.com/watch?v={A},1000000,2000000,"a dog, running"
https://youtu.be/{B}?t=3,500000,1250000,a cat
https://www.youtube.com/embed/{A},0,1000000,a house
http://youtube.com/watch?list=x&v={A},1000000,2000000,"a ""brown"" dog"
https://www.youtube.com/watch?v={C},1000000,2000000,nowhere to be found
https://www.youtube.com/watch?v={A},9000000,9500000,after the end
https://www.youtube.com/watch?v={A},9000000,9000000,nothing
https://www.youtube.com/watch?v={A},1,2,
"""


def read(path, text):
    (path / "video_cc_public.csv").write_text(text)
    return DATASET.read(OfficialFiles(path), None)


def test_lines_of_one_part_are_one_record_and_parts_of_one_video_stand_together(tmp_path):
    annotated = read(tmp_path, ROWS)
    wanted = list(annotated.splits["train"])
    assert [(w.record.id, w.record.group, w.window) for w in wanted] == [
        (f"{A}_0_1000000", A, (0, 1)),
        (f"{A}_1000000_2000000", A, (1, 2)),
        (f"{A}_9000000_9500000", A, (9, 9.5)),
        (f"{B}_500000_1250000", B, (0.5, 1.25)),
        (f"{C}_1000000_2000000", C, (1, 2)),
    ]
    assert [c.text for c in wanted[1].record.captions] == ["a dog, running", 'a "brown" dog']
    assert (wanted[1].record.captions[0].start, wanted[1].names) == (-1, (A,))
    assert len(annotated.splits["train"]) == 5
    assert {what: fact.count for what, fact in annotated.counts.items()} == {"captions": 6, "clips": 5, "videos": 3}
    assert {what: note.split(",")[0] for what, note in annotated.notes.items()} == {
        "empty captions": "1",
        "segments that end before they start": "1",
    }
    assert "line 7" in annotated.notes["segments that end before they start"]


def test_from_the_command_line_cut_and_packed(tmp_path):
    # The picture tells the time: 16 frames at 8 a second, each 15 levels brighter.
    colors = [(15 * i, 15 * i, 15 * i) for i in range(16)]
    write_video(tmp_path / "videos" / "some" / f"{A}.webm", colors=colors)
    write_video(
        tmp_path / "videos" / f"{B}_500_1250.mp4", colors=[(200, 200, 200)] * 6, times=[i / 8 for i in range(6)]
    )
    packed = tmp_path / "downloads" / "video_cc_public.csv.gz"
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress(ROWS.encode()))

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    where = ["--annotations", str(packed.parent), "--videos", str(tmp_path / "videos"), "--out", str(tmp_path / "out")]
    run(parser.parse_args(["videocc", *where, "--max-skipped-fraction", "0.5"]))
    folder = tmp_path / "out" / "videocc"
    source = open_records(folder, "train")
    assert [source[i].id for i in range(len(source))] == [
        f"{A}_0_1000000",
        f"{A}_1000000_2000000",
        f"{B}_500000_1250000",
    ]
    for number, first in ((0, 0), (1, 8)):
        frames = decode(source[number].video, None)
        assert frames.info.codec == "h264"
        np.testing.assert_allclose(frames.times, np.arange(8) / 8, atol=1e-3)
        levels = frames.images.mean(axis=(1, 2, 3))
        np.testing.assert_allclose(levels, [15 * i for i in range(first, first + 8)], atol=7)
    assert decode(source[2].video, [0.0]).images.mean() == pytest.approx(200, abs=5)
    assert source[2].video == (tmp_path / "videos" / f"{B}_500_1250.mp4").read_bytes()  # already cut, and kept
    skipped = json.loads((folder / "preparation.json").read_text())["skipped"]
    assert [item["video"].partition("_")[0] for item in skipped] == [A, C]
    assert skipped[0]["reason"].startswith("its segment from 9.00 to 9.50 s is after its end at 2.0")
    assert skipped[1]["reason"] == "no such file"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"https://youtu.be/{A},0,1", r"csv: line 2: 3 columns; expected 4: URL, start, end, caption"),
        (f"https://youtu.be/{A},0,1,a,b", "line 2: 5 columns"),
        ("https://vimeo.com/123,0,1,x", "line 2, field 'URL': expected the address of a YouTube video"),
        ("https://notyoutube.com/watch?v=aaaaaaaaaaa,0,1,x", "field 'URL'"),
        ("https://[,0,1,x", "field 'URL'"),
        (f"https://youtu.be/{A},1.5,2,x", r"line 2, field 'start': expected whole microseconds, got '1\.5'"),
        (f"https://youtu.be/{A},1,-2,x", "line 2, field 'end'"),
        (f'https://youtu.be/{A},1,2,"x', "line 2: expected CSV"),
    ],
)
def test_mistakes(tmp_path, line, message):
    with pytest.raises(PreparationError, match=message):
        read(tmp_path, f"https://youtu.be/{A},0,1,a\n{line}\n")


def test_a_list_without_captions(tmp_path):
    with pytest.raises(PreparationError, match="no caption in video_cc_public.csv"):
        read(tmp_path, "url,start,end,caption\n")


def test_addresses():
    for url in (
        f"https://www.youtube.com/watch?v={B}",
        f"youtube.com/watch?v={B}&t=3s",
        f"https://m.youtube.com/watch?feature=x&v={B}#t=3",
        f"https://youtu.be/{B}",
        f"https://www.youtube-nocookie.com/embed/{B}?rel=0",
        f"https://www.youtube.com/shorts/{B}",
    ):
        assert youtube_id(url) == B, url
    for url in ("", "https://www.youtube.com/watch", "https://youtu.be/short", f"https://example.org/watch?v={B}"):
        assert youtube_id(url) is None, url


def test_memory_does_not_grow_with_the_file(tmp_path):
    def used(count):
        text = "".join(f"https://youtu.be/{i % 977:011d},{i}000,{i}999,caption number {i}\n" for i in range(count))
        (tmp_path / "video_cc_public.csv").write_text(text)
        tracemalloc.start()
        try:
            table = DATASET.read(OfficialFiles(tmp_path), None).splits["train"]
            assert len(table) == count
            assert sum(1 for _ in table) == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert used(6_000) < used(600) + 100_000  # bytes
