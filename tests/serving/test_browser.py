"""Does the page work in a real browser, with nothing from elsewhere, and give away no file that is not its own?"""

import io
import shutil
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from svilm_jax.inference.embedding import embed_files
from svilm_jax.inference.index import ClipIndex
from svilm_jax.serving import command
from svilm_jax.serving.service import Service
from tests.input.encoded_videos import encode, numbered_frames
from tests.tiny import tiny_model

pytest.importorskip("gradio", reason="no Gradio: the extra `serve` is not installed")
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_PATIENCE = 20_000  # milliseconds


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for i in range(3):
        (folder / f"{i}.mp4").write_bytes(encode(numbered_frames(12 + 4 * i)))
    (folder / "<b>old & strange.avi").write_bytes(encode(numbered_frames(9), container="avi", codec="mpeg4"))
    (folder.parent / "secret.mp4").write_bytes(encode(numbered_frames(9)))
    return folder


@pytest.fixture(scope="module")
def service(clips, tmp_path_factory) -> Service:
    folder, model = tmp_path_factory.mktemp("served"), tiny_model()
    embed_files(model, "runs/tiny", [clips], folder / "features.parquet")
    return Service(model, ClipIndex.read(folder / "features.parquet"), folder, 1 << 20)


@pytest.fixture(scope="module")
def address(service, tmp_path_factory) -> Iterator[str]:
    """Of a running server."""
    folder = tmp_path_factory.mktemp("gradio")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED"):
            patch.setenv(name, "")  # so that what follows is undone
        command.set_up_gradio(folder)
        import uvicorn

        from svilm_jax.serving.app import build_app

        server = uvicorn.Server(uvicorn.Config(build_app(service, 3), log_level="warning", timeout_graceful_shutdown=1))
        with command.listen("127.0.0.1", 0) as listener:
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()
            while not server.started:
                assert thread.is_alive(), "the server does not start"
                time.sleep(0.05)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            server.should_exit = True
            thread.join()


@pytest.fixture
def page(address):
    """The page in a browser; every request that leaves this machine fails the test."""
    driver = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    browser_path = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser_path is None:
        pytest.skip(f"no browser: none of {', '.join(_BROWSERS)} is installed")
    elsewhere = []
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(_PATIENCE)
        page.on("request", lambda r: None if r.url.startswith((address, "data:", "blob:")) else elsewhere.append(r.url))
        page.goto(address)
        yield page
        browser.close()
    assert elsewhere == []


def box(page, name):
    return page.locator(f"#{name} textarea, #{name} input")


def test_a_visit(page, service, tmp_path):
    box(page, "sentence").fill(" ")
    page.click("#search")
    assert "Type a sentence" in page.wait_for_selector("#message [role=alert]").inner_text()

    box(page, "sentence").fill("a red square is sliding left")
    page.click("#search")
    page.wait_for_selector("#clip-3 video")
    page.wait_for_selector("#message [role=alert]", state="detached")
    assert "3 of 4 clips" in page.inner_text("#count")
    cosines = [float(page.locator(f"#clip-{rank} b").inner_text()) for rank in (1, 2, 3)]
    assert cosines == sorted(cosines, reverse=True)
    for rank in (1, 2, 3):  # they play
        page.evaluate(f"document.querySelector('#clip-{rank} video').play()")  # what is made first waits for that
        page.wait_for_function(f"document.querySelector('#clip-{rank} video').videoWidth == 64")
    assert page.locator("#overlay img").count() == 0

    page.click("#choose-2")
    page.wait_for_function("document.querySelector('#overlay img')?.naturalWidth > 300")
    assert box(page, "phrase").input_value() == "a red square is sliding left"
    image = page.request.get(page.locator("#overlay img").evaluate("image => image.src")).body()
    row = service.search("a red square is sliding left", 2)[1].row
    expected = service.point(service.clip(row), "a red square is sliding left").picture
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(image)).convert("RGB")), expected)
    assert "cosine" in page.inner_text("#score")

    box(page, "phrase").fill("<b>a blue circle")
    page.click("#show")
    page.locator("#score", has_text="“<b>a blue circle”: cosine").wait_for()

    bad = tmp_path / "bad.mp4"
    bad.write_text("no video")
    upload(page, bad)
    assert "no video that can be read here" in page.wait_for_selector("#trouble [role=alert]").inner_text()

    own = tmp_path / "own.avi"
    own.write_bytes(encode(numbered_frames(11), container="avi", codec="mpeg4"))
    upload(page, own)
    page.wait_for_function("document.querySelector('.svilm-own video')?.videoWidth == 64")
    page.wait_for_selector("#trouble [role=alert]", state="detached")
    assert "a blue circle" in page.inner_text("#score")


def upload(page, path):
    with page.expect_file_chooser() as chooser:
        page.click("#upload")
    chooser.value.set_files(path)


def test_a_strange_name_is_shown_as_it_is(page):
    for word in ("square", "a", "star"):  # until it is among the first three of four
        box(page, "sentence").fill(word)
        page.click("#search")
        page.wait_for_selector("#clip-3 video")
        if "old" in page.inner_text(".svilm-cards"):
            break
    else:
        pytest.fail("no sentence finds it")
    assert "<b>old & strange.avi" in page.inner_text(".svilm-cards")


def status(address, path, **headers):
    request = urllib.request.Request(f"{address}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, b""


def test_only_clips_of_the_index_are_served(address, clips, monkeypatch):
    from svilm_jax.serving import app

    code, headers, content = status(address, "/clips/0")
    assert (code, headers["content-type"]) == (200, "video/mp4")
    assert content == (clips / "0.mp4").read_bytes()
    code, _, part = status(address, "/clips/0", Range="bytes=10-19")
    assert (code, part) == (206, content[10:20])
    monkeypatch.setattr(app, "_PIECE_BYTES", 100)
    code, headers, part = status(address, "/clips/0", Range="bytes=10-")
    assert (code, part, headers["content-range"]) == (206, content[10:110], f"bytes 10-109/{len(content)}")
    assert status(address, "/clips/0", Range=f"bytes={len(content) - 5}-")[2] == content[-5:]
    assert status(address, "/posters/3")[1]["content-type"] == "image/jpeg"
    secret = clips.parent / "secret.mp4"
    for path in (
        "/clips/4",
        "/clips/-1",
        "/posters/4",
        "/clips/../secret.mp4",
        "/clips/..%2fsecret.mp4",
        "/clips/%2e%2e/secret.mp4",
        "/uploads/guessed",
        f"/gradio_api/file={secret}",
        f"/gradio_api/file={clips / '0.mp4'}",
        "/gradio_api/file=/etc/passwd",
        f"/gradio_api/file={Path(__file__)}",
        "/gradio_api/file=../../../../../../etc/passwd",
        f"/gradio_api/file={address}/clips/0",
        "/docs",
        "/openapi.json",
    ):
        code, _, content = status(address, path)
        assert code in (403, 404, 422), f"{path}: {code}"
    assert "default-src 'self'" in status(address, "/")[1]["content-security-policy"]


def test_too_large_an_upload_is_refused_on_the_way(address):
    boundary = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.mp4"\r\n\r\n'
    body = boundary + bytes(2 << 20) + b"\r\n--x--\r\n"
    request = urllib.request.Request(
        f"{address}/gradio_api/upload", body, {"Content-Type": "multipart/form-data; boundary=x"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == 413
