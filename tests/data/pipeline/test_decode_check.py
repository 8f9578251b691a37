"""Tests of the video check: unusable files are detected with a reason."""

import pytest
from svilm_data.pipeline.decode_check import check_video

from tests.data.weird_videos import CODECS, write_sound, write_video


@pytest.mark.parametrize("suffix", sorted(CODECS))
def test_every_container_is_usable(tmp_path, suffix):
    info, reason = check_video(write_video(tmp_path / f"clip{suffix}"))
    assert reason == ""
    assert (info.height, info.width) == (48, 64)


def test_reasons(tmp_path):
    whole = write_video(tmp_path / "whole.mp4", times=[i / 8 for i in range(80)]).read_bytes()
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("this is no video")
    write_sound(tmp_path / "sound.mp4")
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    reasons = {name: check_video(tmp_path / f"{name}.mp4") for name in ("empty", "text", "sound", "cut", "absent")}
    assert all(info is None for info, _ in reasons.values()), reasons
    assert "empty" in reasons["empty"][1]
    assert "no video stream" in reasons["sound"][1]
    assert reasons["absent"][1] == "no such file"
    assert not any(str(tmp_path) in reason for _, reason in reasons.values())  # reasons go into preparation.json


def test_a_damaged_packet_is_found(tmp_path):
    path = write_video(tmp_path / "clip.avi", colors=[(i * 15, 255 - i * 15, i * 7) for i in range(16)])
    data = bytearray(path.read_bytes())
    frame = data.rindex(b"00dc", 0, data.rindex(b"idx1")) + 8
    data[frame : frame + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    info, reason = check_video(path)
    assert info is None
    assert "does not decode" in reason
