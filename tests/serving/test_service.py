"""Tests of the serving logic: the model's own results, or a message."""

import argparse
import dataclasses
import io
import socket
import tempfile
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from svilm_jax.cli import serve
from svilm_jax.config import ConfigError
from svilm_jax.inference.clip_input import read_clip
from svilm_jax.inference.embedding import embed_files
from svilm_jax.inference.index import ClipIndex, FoundClip
from svilm_jax.serving.errors import BusyError, ServingError
from svilm_jax.serving.overlay import overlay
from svilm_jax.serving.service import Service, ShownClip
from svilm_jax.video import VideoError
from svilm_jax.video.info import Limits
from tests.tiny import tiny_model
from tests.video.encoded_videos import encode, numbered_frames, numbers


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for i, name in enumerate(("a.mp4", "b.mp4", "c.avi")):
        codec, container = ("mpeg4", "avi") if name.endswith("avi") else ("libx264", "mp4")
        (folder / name).write_bytes(encode(numbered_frames(12 + 4 * i), codec=codec, container=container))
    return folder


def make(model, folder, out: Path, *windows: float) -> Service:
    """A service of the folder's videos."""
    embed_files(model, "runs/tiny", [folder], out / "features.parquet", *windows)
    served = Path(tempfile.mkdtemp(dir=out))
    return Service(model, ClipIndex.read(out / "features.parquet"), served, 1 << 20)


def add(service: Service, path: Path) -> str:
    with path.open("rb") as file:
        return service.add_upload(file, path.name)


def test_clips_are_ranked_as_the_index_ranks_them(model, folder, tmp_path):
    service = make(model, folder, tmp_path)
    found = service.search("  a red\nsquare ", 2)
    assert found == service.index.search(model.embed_text("a red square")[0], 2)
    for text in ("", " \n", "a" * 3000):
        with pytest.raises(ServingError, match="Type|type"):
            service.search(text, 2)


def test_notes_name_what_was_not_understood(model, folder, tmp_path):
    service = make(model, folder, tmp_path)
    assert service.notes("a red square") == ""
    assert service.notes(" a red xyzzy") == "Not in the model's vocabulary: 'xyzzy'."
    assert "the model reads the first 26" in service.notes("a red square " * 20)
    assert "the model reads the first 9" in service.notes("a red square " * 20, phrase=True)
    assert service.search("a red \ud83d square", 2) == service.search("a red square", 2)


def test_a_phrase_is_grounded_in_the_clip_of_the_row(model, folder, tmp_path):
    service = make(model, folder, tmp_path, 1.0, 0.5)
    row = next(row for row in range(len(service.index)) if service.index.clip(row).start == 0.5)
    clip = service.clip(row)
    seen = read_clip(clip.path, model.config.model.video, 0.5, 1.5)
    assert (clip.start, clip.end) == (0.5, 1.5)
    answer = service.ground(clip, "a red square")
    grounded = model.ground(seen, "a red square")
    assert answer.similarity == pytest.approx(grounded.similarity, abs=1e-6)
    large = dataclasses.replace(model.config.model.video, image_size=288)
    frames = read_clip(clip.path, large, 0.5, 1.5)[[1, 3, 5, 7]]  # of eight, one for each tubelet
    expected = overlay(frames, grounded.heat, np.array([0.6875, 0.9375, 1.1875, 1.4375]))
    np.testing.assert_array_equal(answer.picture, expected)
    with pytest.raises(ServingError, match="Type a phrase"):
        service.ground(clip, " ")
    with pytest.raises(ServingError, match=r"cannot be read: gone.mp4: no such file$"):
        service.ground(ShownClip(folder / "gone.mp4"), "a red square")


def test_windows_play_their_seconds(model, folder, tmp_path):
    service = make(model, folder, tmp_path, 1.0, 0.5)
    rows = {
        (Path(clip.video).name, clip.start): clip.row for clip in map(service.index.clip, range(len(service.index)))
    }
    assert service.fragment(rows["a.mp4", 0.5]) == "#t=0.500,1.500"
    assert service.fragment(rows["c.avi", 0.5]) is None
    with Image.open(io.BytesIO(service.poster(service.clip(rows["c.avi", 0.5])))) as poster:
        assert numbers(np.asarray(poster)[None]) == [8]  # on screen at 1.0 s
    path, kind = service.playable(service.clip(rows["c.avi", 0.5]))
    assert (path.suffix, kind) == (".mp4", "video/mp4")
    assert service.playable(service.clip(rows["a.mp4", 0.5]))[0] == folder / "a.mp4"


def test_uploads_are_checked(model, folder, tmp_path):
    service = make(model, folder, tmp_path)
    key = add(service, folder / "c.avi")
    clip = service.upload(key)
    assert clip.path.read_bytes() == (folder / "c.avi").read_bytes()
    assert (clip.path.suffix, clip.name) == (".avi", "c.avi")
    assert clip.path.parent.stat().st_mode & 0o777 == 0o700
    assert service.ground(clip, "a red square").picture.std() > 10
    bad, large = tmp_path / "bad.mp4", tmp_path / "large.mp4"
    bad.write_text("no video")
    large.write_bytes((folder / "a.mp4").read_bytes() + bytes(2 << 20))
    with pytest.raises(ServingError, match=r"cannot be read as a video. bad.mp4: cannot be read"):
        add(service, bad)
    with pytest.raises(ServingError, match="large.mp4: larger than 1 MB"):
        add(service, large)
    with pytest.raises(ServingError, match="Choose a video file"):
        service.add_upload(io.BytesIO(), "empty.mp4")
    with pytest.raises(KeyError):
        service.upload("guessed")
    assert list(clip.path.parent.iterdir()) == [clip.path]


def test_names_of_uploads_are_for_display_only(model, folder, tmp_path):
    service = make(model, folder, tmp_path)
    content = (folder / "a.mp4").read_bytes()
    for name, shown in (("../../x.mp4", "x.mp4"), ("C:\\v\\y.sh", "y.sh"), ("\0\n", "upload"), ("", "upload")):
        clip = service.upload(service.add_upload(io.BytesIO(content), name))
        assert clip.name == shown
        assert clip.path.parent == service._uploads._folder
        assert clip.path.suffix in ("", ".mp4")


def test_a_deleted_upload_is_an_unreadable_video(model, folder, tmp_path):
    service = make(model, folder, tmp_path)
    clip = service.upload(add(service, folder / "a.mp4"))
    clip.path.unlink()
    with pytest.raises(ServingError, match=r"cannot be read: a.mp4: no such file$"):
        service.ground(clip, "a star")
    with pytest.raises(VideoError, match="no such file"):
        service.playable(clip)


def test_a_request_beyond_the_queue_is_rejected(model, folder, tmp_path):
    service = make(model, folder, tmp_path)
    while service._waiting.acquire(blocking=False):
        pass
    calls = (
        lambda: service.search("a star", 1),
        lambda: service.ground(service.clip(0), "a star"),
        lambda: add(service, folder / "a.mp4"),
    )
    for call in calls:
        with pytest.raises(BusyError, match="try again"):
            call()
    assert list(service._uploads._folder.iterdir()) == []
    service._waiting.release()
    assert service.search("a star", 1)


def test_uploads_have_smaller_limits_everywhere(model, folder, tmp_path):
    service, short = make(model, folder, tmp_path), Limits(max_frames=2)
    clip = service.upload(add(service, folder / "c.avi"))
    assert (clip.limits.max_bytes, clip.limits.max_frames) == (1 << 20, 50_000)
    few = dataclasses.replace(clip, limits=short)
    assert service.ground(dataclasses.replace(clip, limits=service.clip(0).limits), "a star").picture.std() > 10
    with pytest.raises(ServingError, match="more than 2 frames"):
        service.ground(few, "a star")
    with pytest.raises(VideoError, match="more than 2 frames"):
        service.playable(few)
    with pytest.raises(VideoError, match="exceed the limit of 9"):
        service.playable(dataclasses.replace(clip, limits=Limits(max_bytes=9)))
    service._limits = short
    with pytest.raises(ServingError, match="more than 2 frames"):
        add(service, folder / "c.avi")


def test_messages_contain_no_path(model, folder, tmp_path, monkeypatch):
    service = make(model, folder, tmp_path)

    def refused(source, *args, **kwargs):
        raise VideoError(f"cannot be read ([Errno 13] Permission denied: 'file:{source}')", Path(source).name)

    monkeypatch.setattr("svilm_jax.serving.service.read_clip", refused)
    for call in (lambda: service.ground(service.clip(0), "a star"), lambda: add(service, folder / "a.mp4")):
        with pytest.raises(ServingError, match="Permission denied: 'file:a.mp4'") as raised:
            call()
        assert str(tmp_path) not in str(raised.value)
        assert str(folder) not in str(raised.value)


@pytest.mark.parametrize(
    ("videos", "titles"),
    [
        (("/data/set/x/a.mp4", "/data/set/xy/b.mp4"), ["x/a.mp4", "xy/b.mp4"]),
        (("/data/set/a.mp4", "/data/set/y/b.mp4"), ["a.mp4", "y/b.mp4"]),
        (("/data/a.mp4",), ["a.mp4"]),
        (("/data/a.mp4", "/home/me/b.mp4"), ["a.mp4", "b.mp4"]),  # nothing in common
    ],
)
def test_titles_begin_below_the_common_folder(model, tmp_path, videos, titles):
    service = Service(model, types.SimpleNamespace(videos=videos), tmp_path, 1 << 20)
    assert [service.title(FoundClip(0, 0.0, video, 0.0, 1.0)) for video in videos] == titles


def test_the_picture_is_brightest_where_the_heat_is():
    frames, heat = np.full((3, 64, 64, 3), 90, np.uint8), np.zeros((3, 4, 4), np.float32)
    heat[1, 3, 0] = 5.0
    picture = overlay(frames, heat, np.arange(3.0)).astype(int)
    side = picture.shape[1] // 3
    first, middle = (picture[-side + 8 : -8, left + 8 : left + side - 8].sum(-1) for left in (0, side))
    y, x = np.unravel_index(middle.argmax(), middle.shape)
    assert y > 0.7 * side
    assert x < 0.3 * side
    assert first.max() < middle.max()
    assert picture.shape[0] > 2 * side


def arguments(*argv: str) -> argparse.Namespace:
    """Arguments of `svilm serve`."""
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    return parser.parse_args(["--index", "features.parquet", *argv])


def test_a_port_that_another_server_has_is_refused():
    with serve.listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ServingError, match=f"--port={port}: cannot be listened on .*in use.*another --port"):
            serve.listen("127.0.0.1", port)


def test_the_command_says_what_is_missing(monkeypatch):
    def load(path):
        pytest.fail("the model was loaded before the arguments were checked")

    monkeypatch.setattr("svilm_jax.cli.index_file.load", load)
    with pytest.raises(ConfigError, match="--top=0: expected 1 to 60"):
        serve.run(arguments("--top", "0"))
    with pytest.raises(ConfigError, match="--allow-host=a:80: expected a name without a port"):
        serve.run(arguments("--allow-host", "a:80", "--port", "0"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with pytest.raises(ServingError, match=f"--host=127.0.0.1 --port={port}: cannot be listened on"):
            serve.run(arguments("--port", port))
    assert arguments().host == "127.0.0.1"
    monkeypatch.setattr(serve.importlib.util, "find_spec", lambda name: None if name == "python_multipart" else name)
    with pytest.raises(ServingError, match=r"needs python-multipart, .* pip install -e .\[serve\]"):
        serve.run(arguments())


@pytest.fixture
def started(model, folder, tmp_path, monkeypatch):
    """Runs the command up to the server, which does not start; returns the accepted hosts."""
    uvicorn, app = pytest.importorskip("uvicorn"), pytest.importorskip("svilm_jax.serving.app")
    make(model, folder, tmp_path)
    monkeypatch.setattr(uvicorn, "Config", lambda app, **options: None)  # else it sets up logging, pytest's too
    monkeypatch.setattr(uvicorn, "Server", lambda config: argparse.Namespace(run=lambda sockets: None))
    monkeypatch.setattr(serve.signal, "signal", lambda *_: None)
    given = []
    monkeypatch.setattr(app, "build_app", lambda service, top, hosts: given.append(hosts))

    def start(loaded, *argv: str) -> list[str]:
        monkeypatch.setattr("svilm_jax.cli.index_file.load", lambda path: loaded)
        serve.run(arguments("--index", str(tmp_path / "features.parquet"), "--model", "m", "--port", "0", *argv))
        return given.pop()

    return start


def test_a_model_with_untrained_parameters_is_reported(model, started, capsys):
    started(model)
    assert capsys.readouterr().err == ""
    started(dataclasses.replace(model, fresh=("video_tower.group_tokens", "logit_scale")))
    said = capsys.readouterr().err
    assert said.startswith("m: 2 of its parameters are untrained: results are meaningless")
    assert said.count("\n") == 1


def test_accepted_host_names(model, started, capsys):
    loopback = ["localhost", "127.0.0.1", "[::1]"]
    assert started(model) == loopback
    assert started(model, "--allow-host", "a.example", "--allow-host", "::2") == [*loopback, "a.example", "[::2]"]
    assert capsys.readouterr().err == ""
    assert started(model, "--host", "0.0.0.0") == ["*"]
    assert "any Host header" in capsys.readouterr().err
    assert started(model, "--host", "0.0.0.0", "--allow-host", "a.example") == [*loopback, "0.0.0.0", "a.example"]
    said = capsys.readouterr().err
    assert "no password" in said
    assert "any Host header" not in said
