"""Tests of the video lookup: a file is found under each of its names, and an ambiguous one is never guessed."""

import os

import pytest
from svilm_data.pipeline.errors import PreparationError
from svilm_data.pipeline.video_folder import VideoFolder, list_files, path_inside, without_ending

from tests.data.official_cases import write


def folder(tmp_path, *names):
    for name in names:
        write(tmp_path, name, "")
    tmp_path.mkdir(exist_ok=True)
    return VideoFolder(tmp_path)


@pytest.mark.parametrize(
    ("held", "names"),
    [
        ("v_abc.mp4", ["v_abc.mp4"]),
        ("v_abc.mp4", ["v_abc"]),
        ("v_abc.WEBM", ["v_abc"]),
        ("train/v_abc.mkv", ["train/v_abc.mkv"]),
        ("train/v_abc.mkv", ["train/v_abc"]),
        ("train/v_abc.mkv", ["v_abc"]),
        ("deep/train/v_abc.mkv", ["v_abc.mkv"]),
        ("V_ABC.mp4", ["v_abc"]),
        ("v_abc.mp4", ["V_ABC.MP4"]),
        ("train/v_abc.avi", ["nothing", "test/v_abc", "v_abc", "other"]),
        ("panda.18.mp4", ["panda.18"]),
        ("a b#ü.mp4", ["a b#ü"]),
    ],
)
def test_a_file_goes_by_several_names(tmp_path, held, names):
    videos = folder(tmp_path, held, "other.mp4")
    assert videos.find(names, "x") == tmp_path / held
    assert videos.contains(names[-1])


@pytest.mark.parametrize("name", ["train", "mp4", "v_ab", "abc", "est/v_abc", "", "v_abc.webm"])
def test_parts_of_names_are_no_names(tmp_path, name):
    assert not folder(tmp_path, "train/v_abc.mp4").contains(name)


def test_a_missing_file_has_the_path_of_its_first_name(tmp_path):
    videos = folder(tmp_path, "a.mp4")
    assert videos.find(["train/v_abc.mp4", "v_abc"], "x") == tmp_path / "train/v_abc.mp4"
    assert not videos.contains("v_abc")


def test_the_first_name_that_any_file_fits_decides(tmp_path):
    videos = folder(tmp_path, "first.mp4", "second.mp4")
    assert videos.find(["second", "first"], "x").name == "second.mp4"
    assert videos.find(["third", "first", "second"], "x").name == "first.mp4"


def test_one_clip_in_several_containers_is_one_clip(tmp_path):
    videos = folder(tmp_path, "train/v_abc.webm", "train/v_abc.mp4", "train/v_abc.mkv")
    assert videos.find(["v_abc"], "x").name == "v_abc.mkv"  # the first by name, on every machine
    assert videos.find(["v_abc.webm"], "x").name == "v_abc.webm"


def test_one_name_in_several_folders_may_be_several_clips(tmp_path):
    videos = folder(tmp_path, "train/v_abc.mp4", "test/v_abc.mp4")
    with pytest.raises(
        PreparationError, match=r"clip 3: 'v_abc' matches 'test/v_abc\.mp4' and 'train/v_abc\.mp4': keep"
    ):
        videos.find(["v_abc"], "clip 3")
    assert videos.find(["test/v_abc"], "clip 3") == tmp_path / "test/v_abc.mp4"


def test_case_is_ignored_only_where_no_name_is_exactly_so(tmp_path):
    videos = folder(tmp_path, "abcdef.mp4", "ABCdef.mp4", "One.mp4", "ONE.mp4")
    for name in ("abcdef", "ABCdef", "ABCdef.mp4", "One", "ONE"):
        assert videos.find([name], "x").name == name.removesuffix(".mp4") + ".mp4"
    for name in ("AbcDef", "one"):
        with pytest.raises(PreparationError, match="matches"):
            videos.find([name], "x")


def test_what_is_no_video_and_what_is_hidden_is_not_found(tmp_path):
    videos = folder(tmp_path, "v_abc.json", "v_abc.jpg", ".v_abc.mp4", ".cache/v_abc.mp4", "v_abc", "._v_abc.mp4")
    for name in ("v_abc", ".v_abc", "._v_abc.mp4"):
        assert not videos.contains(name)
    write(tmp_path, "v_abc.mp4", "")
    assert VideoFolder(tmp_path).find(["v_abc"], "x").name == "v_abc.mp4"


@pytest.mark.parametrize("name", ["../v_abc.mp4", "/etc/v_abc.mp4", "a/../../v_abc.mp4", "..\\v_abc.mp4", "", " "])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path, name):
    write(tmp_path, "v_abc.mp4", "")
    videos = folder(tmp_path / "videos", "other.mp4")
    for names in ([name], ["nothing", name]):
        with pytest.raises(PreparationError, match=r"clip 3: .*(is outside the folder of videos|is not a file name)"):
            videos.find(names, "clip 3")


def test_links_to_files_outside_are_refused_and_linked_folders_not_followed(tmp_path):
    write(tmp_path, "outside/v_abc.mp4", "")
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / "v_abc.mp4").symlink_to(tmp_path / "outside" / "v_abc.mp4")
    (videos / "linked").symlink_to(tmp_path / "outside")
    (videos / "loop").symlink_to(videos)
    assert [row[0] for row in list_files(videos)] == ["v_abc.mp4"]
    with pytest.raises(PreparationError, match="'v_abc.mp4' is outside the folder of videos, through a link"):
        VideoFolder(videos).find(["v_abc"], "x")


def test_a_name_that_is_no_text_is_passed_over(tmp_path):
    folder(tmp_path, "a.mp4")
    with open(os.fsencode(tmp_path) + b"/caf\xe9.mp4", "w"):  # noqa: PTH123 (a path of bytes)
        pass
    assert [row[0] for row in list_files(tmp_path)] == ["a.mp4"]


def test_what_cannot_be_used_is_counted(tmp_path):
    folder(tmp_path, "a.mp4", "sub/b.mp4")
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nothing.mp4")
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nothing.txt")
    (tmp_path / "sub" / "there.mp4").symlink_to(tmp_path / "a.mp4")
    for name in (b"/caf\xe9.mp4", b"/sub/\xff.mkv", b"/\xfe.txt"):
        with open(os.fsencode(tmp_path) + name, "w"):  # noqa: PTH123 (a path of bytes)
            pass
    videos = VideoFolder(tmp_path)
    assert [videos.contains(name) for name in ("a", "b", "there", "gone")] == [True, True, True, False]
    assert videos.left_out.notes() == {
        "video files left out, a name that is not UTF-8: rename the file": (
            f"2 ({tmp_path}/caf\\xe9.mp4, {tmp_path}/sub/\\xff.mkv)"
        ),
        "video files left out, a link to a file that is not there": f"1 ({tmp_path}/gone.mp4)",
    }


def test_no_folder(tmp_path):
    for path in (tmp_path / "gone", write(tmp_path, "file.mp4", "")):
        with pytest.raises(PreparationError, match=rf"--videos .*{path.name}: no such folder"):
            VideoFolder(path)


def test_dots_inside_names_are_no_endings():
    for path, expected in (
        ("a.mp4", "a"),
        ("a.MOV", "a"),
        ("panda.18", "panda.18"),
        ("panda.18.avi", "panda.18"),
        ("x.y/a", "x.y/a"),
        ("a.264", "a"),
        ("a", "a"),
    ):
        assert without_ending(path) == expected


def test_paths_stay_inside(tmp_path):
    folder = tmp_path / "videos"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret.mp4").touch()
    (folder / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    (folder / "linked").symlink_to(tmp_path)
    assert path_inside(folder, "sub/a.mp4", "f: line 1") == folder / "sub" / "a.mp4"
    for name in (
        "../secret.mp4",
        "sub/../../secret.mp4",
        "/etc/passwd",
        "..\\secret.mp4",
        "link.mp4",
        "linked/secret.mp4",
    ):
        with pytest.raises(PreparationError, match=r"f: line 1: .* is outside the folder"):
            path_inside(folder, name, "f: line 1")
    with pytest.raises(PreparationError, match="not a file name"):
        path_inside(folder, "a\0.mp4", "f: line 1")
