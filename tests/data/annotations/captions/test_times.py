"""Tests of the counts of times that exceed their video."""

from svilm_data.annotations.captions.times import OutOfRangeTimes

from svilm_jax.input.schema import Action, Caption, Record


def test_times_outside_the_video_are_counted_by_its_measured_length():
    outside = OutOfRangeTimes()
    captions = [Caption("a"), Caption("b", (), 0, 4.3), Caption("c", (), 1, 4.6), Caption("d", (), 4, 5)]
    outside.add(Record("x", b"", tuple(captions), actions=(Action("run", 7, 9), Action("sit"))), 4.0)
    assert outside.notes("train") == {
        "train: times after the end of the video": "2 of 4; kept, and represented by the last frame (first: "
        "caption 4 of x, 4 to 5 s of 4.0 s)",
        "train: times that end after the video": "1 of 4; kept, and sampled up to the end (first: caption 3 "
        "of x, 1 to 4.6 s of 4.0 s)",
    }
    outside.add(Record("y", b"", (Caption("e", (), 500, 1500),)), 4.0)
    assert "3 of 5; " in outside.notes("train")["train: times after the end of the video"]
    assert "milliseconds" in outside.notes("train")["train: times after the end of the video"]
    assert OutOfRangeTimes().notes("train") == {}
