"""Tests of the page in a real browser: no external requests, and no access to other files."""

import io
import json
import os
import re
import shutil
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from svilm_jax.cli import serve
from svilm_jax.inference.embedding import embed_files
from svilm_jax.inference.index import ClipIndex
from svilm_jax.serving.errors import BusyError
from svilm_jax.serving.service import Service
from tests.tiny import tiny_model
from tests.video.encoded_videos import encode, numbered_frames

gr = pytest.importorskip("gradio", reason="no Gradio: the extra `serve` is not installed")
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_PATIENCE = 600  # seconds that anything may take on a busy machine; what fails sooner is told sooner


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


pages = []  # the one of the running server


@pytest.fixture(scope="module")
def address(service, tmp_path_factory) -> Iterator[str]:
    """Of a running server."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "GRADIO_EXAMPLES_CACHE"):
            patch.setenv(name, "")  # so that what follows is undone
        uploads = serve.set_up_gradio(tmp_path_factory.mktemp("gradio"))
        import uvicorn

        from svilm_jax.serving import app, request_filter

        build_page = app.build_page
        patch.setattr(app, "build_page", lambda *args: pages.append(build_page(*args)) or pages[-1])
        pages.clear()
        with serve.listen("127.0.0.1", 0) as listener:
            hosts = request_filter.allowed_hosts("127.0.0.1", "127.0.0.1", [])
            built = app.build_app(service, 3, uploads, hosts)
            server = uvicorn.Server(uvicorn.Config(built, log_level="warning", timeout_graceful_shutdown=1))
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
        page.set_default_timeout(1000 * _PATIENCE)
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
    assert page.locator("#clip-1 .svilm-name").get_attribute("title") == page.inner_text("#clip-1 .svilm-name")
    assert str(Path(service.clip(0).path).parent) not in page.content()
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
        f"/gradio_api/file/{address}/clips/0",
        f"/gradio_api/proxy={address}/clips/0",
        "/docs",
        "/openapi.json",
    ):
        code, _, content = status(address, path)
        assert code in (403, 404, 422), f"{path}: {code}"
    assert "default-src 'self'" in status(address, "/")[1]["content-security-policy"]


def post(address, path, body, kind="application/json", **headers):
    request = urllib.request.Request(f"{address}{path}", body, {"Content-Type": kind, **headers})
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def upload_question(address, file, session):
    """What the page sends when a visitor's file is uploaded."""
    config = json.loads(status(address, "/config")[2])
    (call,) = [call for call in config["dependencies"] if "upload" in {name for _, name in call["targets"]}]
    return {"data": [file, "a red square", None], "fn_index": call["id"], "session_hash": session}


def ask(address, question):
    """Asks; what the page is told, where the question is taken."""
    code, answer = post(address, "/gradio_api/queue/join", json.dumps(question).encode())
    if code == 200:
        answer = status(address, f"/gradio_api/queue/data?session_hash={question['session_hash']}")[2].decode()
    return code, answer


FILE = {"_type": "gradio.FileData"}


def test_an_upload_by_hand(address, clips, service):
    """The requests below are what the server takes for an upload, but for the path."""
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.mp4"\r\n\r\n'
    body += (clips / "0.mp4").read_bytes() + b"\r\n--x--\r\n"
    code, answer = post(address, "/gradio_api/upload", body, "multipart/form-data; boundary=x")
    assert code == 200
    (path,) = json.loads(answer)
    question = upload_question(address, {"path": path, "url": "http://nowhere.invalid/", "meta": FILE}, "own")
    code, answer = ask(address, question)
    assert code == 200
    (key,) = set(re.findall(r"uploads/([\w-]+)", answer))
    assert status(address, f"/uploads/{key}")[2] == (clips / "0.mp4").read_bytes()


def test_a_visitor_names_no_file_of_this_machine(address, clips, service, tmp_path, monkeypatch):
    from svilm_jax.serving import request_filter

    secret, uploads = clips.parent / "secret.mp4", Path(os.environ["GRADIO_TEMP_DIR"])
    before = dict(service._uploads)
    (uploads / "link.mp4").symlink_to(secret)
    climbing = str(uploads / os.path.relpath(secret, uploads))
    for i, path in enumerate((str(secret), climbing, f"{uploads}/link.mp4", "a\0", "", None, [], 7)):
        code, _ = ask(address, upload_question(address, {"path": path, "meta": FILE}, f"outside{i}"))
        assert code == 400, path
    # Behind this lock there is Gradio's own, ...
    monkeypatch.setattr(request_filter, "_harmless", lambda *_: True)
    code, answer = ask(address, upload_question(address, {"path": str(secret), "meta": FILE}, "second"))
    assert code == 200
    assert '"success":false' in answer.replace(" ", "")
    assert "uploads/" not in answer
    # ... and behind that the page's.
    monkeypatch.setattr(pages[0], "has_launched", False)
    monkeypatch.setattr(gr.UploadButton, "async_move_resource_to_block_cache", _as_it_is)
    code, answer = ask(address, upload_question(address, {"path": str(secret), "meta": FILE}, "third"))
    assert code == 200
    assert "That file was not uploaded here" in answer
    assert service._uploads == before


async def _as_it_is(self, path):
    return path


def test_a_visitor_has_no_address_fetched(address, service, monkeypatch):
    from gradio import processing_utils

    async def fetch(url, *args, **kwargs):  # Gradio's own asks no address of this machine, but all others
        urllib.request.urlopen(url, timeout=1)

    monkeypatch.setattr(processing_utils, "async_ssrf_protected_download", fetch)
    with socket.socket() as elsewhere:
        elsewhere.bind(("127.0.0.1", 0))
        elsewhere.listen()
        url = f"http://127.0.0.1:{elsewhere.getsockname()[1]}/a.mp4"
        for i, file in enumerate(({"path": url}, {"path": url, "url": url}, {"path": "", "url": url})):
            question = upload_question(address, {**file, "meta": FILE}, f"address{i}")
            assert ask(address, question)[0] == 400
            nested = {**question, "data": [None, [{"value": question["data"][0]}], None]}
            assert ask(address, nested)[0] == 400
            for path in ("run/predict", "api/predict", "call/predict", "queue/join/", "component_server", "stream/x"):
                assert post(address, f"/gradio_api/{path}", json.dumps(question).encode())[0] == 404, path
        for path in (f"file={url}", f"file/{url}", f"proxy={url}"):
            assert status(address, f"/gradio_api/{path}")[0] == 404, path
        elsewhere.settimeout(0.5)
        with pytest.raises(TimeoutError):
            elsewhere.accept()


def test_what_is_no_question_is_refused(address):
    for body, expected in ((b"[" * 100_000, 400), (b"{", 400), (b'"' + b"a" * (2 << 20) + b'"', 413)):
        assert post(address, "/gradio_api/queue/join", body)[0] == expected


def test_only_names_of_this_machine_are_answered(address):
    port = address.rpartition(":")[2]
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}", "LOCALHOST"):
        assert status(address, "/clips/0", Host=host)[0] == 200, host
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "[::2]", ""):
        for path in ("/", "/clips/0", "/config"):
            assert status(address, path, Host=host)[0] == 400, host
        assert post(address, "/gradio_api/queue/join", b"{}", Host=host)[0] == 400


def test_pages_of_other_sites_cannot_send_anything(address):
    for path in ("/gradio_api/upload", "/gradio_api/queue/join"):
        headers = {"Sec-Fetch-Site": "cross-site"}
        assert post(address, path, b"{}", **headers)[0] == 403
        assert post(address, path, b"{}")[0] != 403


def test_a_server_with_too_much_to_do_says_so(address, service, monkeypatch):
    def busy(*args):
        raise BusyError("too many videos are being transcoded: try again in a moment")

    monkeypatch.setattr(service._playable, "find", busy)
    code, headers, _ = status(address, "/clips/0")
    assert (code, headers["retry-after"]) == (503, "5")


def test_too_large_an_upload_is_refused_on_the_way(address):
    boundary = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.mp4"\r\n\r\n'
    body = boundary + bytes(2 << 20) + b"\r\n--x--\r\n"
    request = urllib.request.Request(
        f"{address}/gradio_api/upload", body, {"Content-Type": "multipart/form-data; boundary=x"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == 413
