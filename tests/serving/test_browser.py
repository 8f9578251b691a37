"""Tests of the page in a real browser, against a real server: no request leaves this machine, and videos play."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from svilm_jax.cli import serve
from tests.serving.indexed_clips import MAX_UPLOAD_BYTES, make_service, write_clips
from tests.tiny import tiny_model
from tests.video.encoded_videos import encode, numbered_frames

uvicorn = pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")
pytestmark = pytest.mark.services

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_PATIENCE = 600  # seconds for anything on a busy machine; a failure is noticed sooner
QUERY = "a red square is sliding left"


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    return write_clips(tmp_path_factory.mktemp("indexed"))


@pytest.fixture(scope="module")
def address(clips, tmp_path_factory) -> Iterator[str]:
    """The address of a running server."""
    from svilm_jax.serving.app import build_app
    from svilm_jax.serving.trusted_hosts import trusted_hosts

    app = build_app(
        make_service(clips, tmp_path_factory.mktemp("served")), 3, trusted_hosts("127.0.0.1", "127.0.0.1", [])
    )
    with serve.listen("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=1))
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
    """The page in a browser; a request to another host, or an error on its console, fails the test."""
    driver = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    browser_path = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser_path is None:
        pytest.skip(f"no browser: none of {', '.join(_BROWSERS)} is installed")
    problems = []
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        page = context.new_page()
        page.set_default_timeout(1000 * _PATIENCE)
        page.on("request", lambda r: None if r.url.startswith((address, "data:")) else problems.append(r.url))
        page.on("console", lambda m: problems.append(m.text) if "Content Security Policy" in m.text else None)
        page.goto(address)
        yield page
        assert context.cookies() == []
        browser.close()
    assert problems == []


def plays(page, selector: str) -> None:
    """Waits until a video has its pictures; one that is transcoded waits for the visitor to start it."""
    page.evaluate("selector => { document.querySelector(selector).play() }", selector)
    page.wait_for_function("selector => document.querySelector(selector).videoWidth == 64", arg=selector)


def submit(page, form: str) -> None:
    with page.expect_navigation():
        page.click(f"#{form} button")


def test_search_then_ground_then_upload(page, clips, tmp_path):
    assert page.evaluate("document.activeElement.id") == "q"  # a visitor can type at once
    page.keyboard.type(QUERY)
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert "3 of 4 clips" in page.inner_text("#count")
    for rank in (1, 2, 3):
        plays(page, f"#clip-{rank} video")
    assert page.locator("#heat-map").count() == 0

    page.focus("#clip-2 a")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#heat-map').naturalWidth > 300")
    assert page.locator("#clip-2").get_attribute("class") == "card selected"
    assert page.input_value("#phrase") == QUERY

    page.fill("#phrase", "<b>a blue circle")
    submit(page, "ground")
    assert "“<b>a blue circle”: cosine" in page.inner_text("#score")
    assert page.input_value("#q") == QUERY
    page.go_back()
    assert page.input_value("#phrase") == QUERY
    page.go_forward()

    bad, large, own = tmp_path / "bad.mp4", tmp_path / "large.mp4", tmp_path / "own.avi"
    bad.write_text("no video")
    large.write_bytes(bytes(9 * MAX_UPLOAD_BYTES))
    own.write_bytes(encode(numbered_frames(11), container="avi", codec="mpeg4"))
    for file, message in ((bad, "cannot be read as a video"), (large, "larger than 1 MB")):
        page.set_input_files("#file", file)
        submit(page, "upload")
        assert message in page.inner_text("#upload-error")
        assert page.input_value("#q") == QUERY
    page.set_input_files("#file", own)
    submit(page, "upload")
    plays(page, "#own")
    assert "own.avi" in page.inner_text("#grounding-title")
    assert "“<b>a blue circle”: cosine" in page.inner_text("#score")


def test_everything_has_a_name_for_screen_readers(page, address):
    page.goto(f"{address}/?q=a+square&row=0")
    page.wait_for_selector("#heat-map")
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("input:not([type=hidden]), button, a, video, img, section")].filter(
            (e) => !e.labels?.length && !e.ariaLabel && !e.alt && !e.innerText?.trim()
        ).map((e) => e.outerHTML)"""
    )
    assert unnamed == []
    assert page.locator("h1").count() == 1
    assert page.locator("html").get_attribute("lang") == "en"


def test_a_narrow_window_needs_no_horizontal_scrolling(page, address):
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(f"{address}/?q=a+square&row=0")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_command_serves_until_it_is_stopped(clips, tmp_path):
    from svilm_jax.checkpoints.model_directory import ModelOrigin, write_model_directory
    from svilm_jax.inference.embedding import embed_files

    model, folder, index = tiny_model(), tmp_path / "model", tmp_path / "features.parquet"
    write_model_directory(folder, model, ModelOrigin("a test"), "card")
    embed_files(model, folder, [clips], index)
    (tmp_path / "temporary").mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "svilm_jax.main", "serve", "--index", index, "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path / "temporary")},
    ) as process:
        try:
            address = process.stdout.readline().split()[0]
            with urllib.request.urlopen(f"{address}/?q=a+square", timeout=_PATIENCE) as answer:
                assert b"clips, best first" in answer.read()
            assert list((tmp_path / "temporary").glob("svilm_serve_*"))
            process.send_signal(signal.SIGTERM)
            assert process.wait(_PATIENCE) == 0
        finally:
            process.kill()
    assert list((tmp_path / "temporary").glob("svilm_serve_*")) == []  # with all uploads
