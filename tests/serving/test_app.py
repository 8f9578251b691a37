"""Tests of the application in this process: what the page shows, and what the server does not give away."""

import base64
import html
import io
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image

from svilm_jax.serving.errors import BusyError
from tests.serving.indexed_clips import MAX_UPLOAD_BYTES, STRANGE_NAME, make_service, write_clips
from tests.video.encoded_videos import encode, numbered_frames

testclient = pytest.importorskip("starlette.testclient", reason="the extra `serve` is not installed")
pytest.importorskip("python_multipart", reason="the extra `serve` is not installed")

from svilm_jax.serving import app, uploads  # noqa: E402
from svilm_jax.serving.trusted_hosts import trusted_hosts  # noqa: E402

HOST = "127.0.0.1:7860"
QUERY = "a red square is sliding left"


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp("indexed"))


@pytest.fixture(scope="module")
def service(clips, tmp_path_factory):
    return make_service(clips, tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def client(service):
    built = app.build_app(service, 3, trusted_hosts("127.0.0.1", "127.0.0.1", []))
    return testclient.TestClient(built, base_url=f"http://{HOST}", follow_redirects=False)


def text_of(response, name: str) -> str:
    """Returns the text of an element, by its id; fails if it is not there."""
    found = re.search(rf'<(\w+)[^>]* id="{name}"[^>]*>(.*?)</\1>', response.text, re.DOTALL)
    assert found, f"no element {name} in {response.text}"
    return html.unescape(re.sub(r"<[^>]+>", "", found[2])).strip()


def upload(client, name: str, content: bytes, headers=None, **state):
    return client.post("/uploads", params=state, files={"file": (name, content)}, headers=headers)


def test_the_empty_page_asks_for_a_query(client):
    page = client.get("/")
    assert page.status_code == 200
    assert "<ol" not in page.text
    assert 'role="alert"' not in page.text


def test_results_are_ranked_and_show_no_path(client, service, clips):
    page = client.get("/", params={"q": QUERY})
    assert text_of(page, "count") == "3 of 4 clips, best first."
    found = service.search(QUERY, 3)
    assert re.findall(r"cosine <b>([-\d.]+)</b>", page.text) == [f"{clip.cosine:.3f}" for clip in found]
    assert [int(row) for row in re.findall(r'<video src="/clips/(\d+)', page.text)] == [clip.row for clip in found]
    assert [Path(clip.video).name for clip in found] == [
        html.unescape(name) for name in re.findall(r'class="name" title="[^"]*">([^<]+)<', page.text)
    ]
    assert str(clips.parent) not in page.text
    assert str(clips.parent.parent) not in page.text


def test_a_blank_query_is_answered_with_a_message(client):
    page = client.get("/", params={"q": " "})
    assert page.status_code == 400
    assert "Type a sentence" in text_of(page, "search-error")


def test_names_and_queries_are_text_and_no_markup(client):
    for query in ("square", "a", "star", "<script>alert(1)</script>"):
        page = client.get("/", params={"q": query})
        assert "<script" not in page.text
        assert "<b>old" not in page.text
        if html.escape(STRANGE_NAME) in page.text:
            return
    pytest.fail("no query finds the clip of the strange name")


def test_the_query_is_located_in_a_chosen_clip(client, service):
    link = html.unescape(re.findall(r'<a class="button" href="([^"]+)"', client.get("/", params={"q": QUERY}).text)[1])
    page = client.get(link)
    clip = service.search(QUERY, 2)[1]
    grounded = service.ground(service.clip(clip.row), QUERY)
    image = base64.b64decode(re.search(r'src="data:image/png;base64,([^"]+)"', page.text)[1])
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(image)).convert("RGB")), grounded.picture)
    assert f"cosine {grounded.similarity:.3f}" in text_of(page, "score")
    assert text_of(page, "grounding-title").startswith("Clip 2: ")
    assert page.text.count('aria-current="true"') == 1
    other = client.get("/", params={"q": QUERY, "row": clip.row, "phrase": "<b>a blue circle"})
    assert "“<b>a blue circle”: cosine" in text_of(other, "score")


@pytest.mark.parametrize("row", ["4", "-1", "x", "1e9", "", "../0"])
def test_a_row_that_is_not_in_the_index_is_refused(client, row):
    page = client.get("/", params={"q": QUERY, "row": row})
    assert page.status_code == 400
    assert "no such clip" in text_of(page, "grounding-error")
    assert text_of(page, "count")  # the results are there all the same


def test_a_blank_phrase_is_answered_with_a_message(client):
    page = client.get("/", params={"row": "0", "phrase": " "})
    assert page.status_code == 400
    assert "Type a phrase" in text_of(page, "grounding-error")
    assert "Type a phrase to see" in client.get("/", params={"row": "0"}).text


def test_an_upload_is_grounded_and_played(client, service, clips):
    content = (clips / STRANGE_NAME).read_bytes()
    answer = upload(client, r"C:\fake\own.avi", content, q="a star", phrase="a blue circle", row="1")
    assert answer.status_code == 303
    state = parse_qs(urlsplit(answer.headers["location"]).query)
    (key,) = state.pop("upload")
    assert state == {"q": ["a star"], "phrase": ["a blue circle"]}
    page = client.get(answer.headers["location"])
    assert text_of(page, "grounding-title") == "Your clip: own.avi"
    expected = service.ground(service.upload(key), "a blue circle").similarity
    assert f"“a blue circle”: cosine {expected:.3f}" in text_of(page, "score")
    assert client.get(f"/uploads/{key}").headers["content-type"] == "video/mp4"
    assert service.upload(key).path.read_bytes() == content
    # Without a phrase, the query is located; without either, a phrase is asked for.
    query = client.get("/", params={"q": "a star", "upload": key})
    assert "“a star”: cosine" in text_of(query, "score")
    assert "Type a phrase to see" in client.get("/", params={"upload": key}).text


def test_an_upload_that_browsers_play_is_sent_as_it_is(client, clips):
    content = (clips / "0.mp4").read_bytes()
    answer = upload(client, "../../a.mp4", content)
    (key,) = parse_qs(urlsplit(answer.headers["location"]).query)["upload"]
    assert client.get(f"/uploads/{key}").content == content


def test_rejected_uploads_leave_no_file(client, service):
    folder = service._uploads._folder
    before = set(folder.iterdir())
    page = upload(client, "bad.mp4", b"no video", q=QUERY)
    assert page.status_code == 400
    assert "cannot be read as a video. bad.mp4: cannot be read" in text_of(page, "upload-error")
    assert text_of(page, "count")
    # What a browser sends if no file is chosen.
    empty = b'--x\r\nContent-Disposition: form-data; name="file"; filename=""\r\n\r\n\r\n--x--\r\n'
    page = client.post("/uploads", content=empty, headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert "Choose a video file" in text_of(page, "upload-error")
    assert client.post("/uploads", data={"file": "/etc/passwd"}).status_code == 400
    assert client.post("/uploads", content=b"--x", headers={"Content-Type": "multipart/form-data"}).status_code == 400
    assert set(folder.iterdir()) == before


def test_too_large_an_upload_is_refused_before_it_is_stored(client, service, monkeypatch):
    def store(*args):
        pytest.fail("the file was accepted")

    monkeypatch.setattr(service, "add_upload", store)
    page = upload(client, "a.mp4", bytes(2 * MAX_UPLOAD_BYTES), q=QUERY)
    assert page.status_code == 413
    assert "larger than 1 MB" in text_of(page, "upload-error")


def test_the_oldest_uploads_make_room(client, service, clips, monkeypatch):
    monkeypatch.setattr(uploads, "_MAX_FILES", 2)
    content = (clips / "0.mp4").read_bytes()
    answers = [upload(client, f"{i}.mp4", content) for i in range(3)]
    assert [client.get(answer.headers["location"]).status_code for answer in answers] == [400, 200, 200]
    assert "no longer on the server" in text_of(client.get(answers[0].headers["location"]), "grounding-error")
    assert len(list(service._uploads._folder.iterdir())) == 2
    monkeypatch.setattr(uploads, "_MAX_TOTAL_BYTES", 1)
    upload(client, "3.mp4", content)
    assert len(list(service._uploads._folder.iterdir())) == 1


def test_videos_are_sent_in_pieces(client, clips, monkeypatch):
    content = (clips / "0.mp4").read_bytes()
    answer = client.get("/clips/0")
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "video/mp4", content)
    answer = client.get("/clips/0", headers={"Range": "bytes=10-19"})
    assert (answer.status_code, answer.content) == (206, content[10:20])
    monkeypatch.setattr(app, "_PIECE_BYTES", 100)
    answer = client.get("/clips/0", headers={"Range": "bytes=10-"})
    assert (answer.status_code, answer.content) == (206, content[10:110])
    assert answer.headers["content-range"] == f"bytes 10-109/{len(content)}"
    assert client.get("/clips/0", headers={"Range": f"bytes={len(content) - 5}-"}).content == content[-5:]


def test_a_clip_that_is_transcoded_waits_behind_a_poster(client, service):
    (row,) = (row for row in range(4) if service.clip(row).path.name == STRANGE_NAME)
    assert client.get(f"/posters/{row}").headers["content-type"] == "image/jpeg"
    assert client.get(f"/clips/{row}").headers["content-type"] == "video/mp4"
    pages = [client.get("/", params={"q": query}).text for query in ("square", "a", "star")]
    tags = {tag for page in pages for tag in re.findall(r'<video src="/clips/[^>]+>', page)}
    posters = {tag for tag in tags if f'poster="/posters/{row}' in tag and 'preload="none"' in tag}
    assert posters
    assert all("autoplay" in tag for tag in tags - posters)


@pytest.mark.parametrize(
    "path",
    ["/clips/4", "/clips/-1", "/posters/4", "/clips/..%2fsecret.mp4", "/clips/%2e%2e/secret.mp4", "/uploads/guessed"]
    + ["/uploads/..%2f..%2ffeatures.parquet", "/static/style.css", "/page.html.j2", "/docs", "/uploads", "/uploads/"],
)
def test_nothing_else_is_served(client, path):
    assert client.get(path).status_code in (404, 405)


def test_every_response_has_the_security_headers(client):
    answers = [client.get(path) for path in ("/", f"/?q={QUERY}", "/style.css", "/clips/0", "/posters/0", "/none")]
    answers += [client.get("/", headers={"Host": "evil.example"}), upload(client, "a.mp4", b"no video")]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none';")
        assert "script-src" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "set-cookie" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers
    page = answers[1].text
    assert "<script" not in page
    assert not re.search(r'(?:src|href|action)="(?:[a-z]+:)?//', page)


def test_only_names_of_this_machine_are_answered(client):
    for host in (HOST, "localhost:7860", "[::1]:7860", "LOCALHOST"):
        assert client.get("/clips/0", headers={"Host": host}).status_code == 200, host
    for host in ("evil.example", "evil.example:7860", "127.0.0.1.evil.example", "[::2]", ""):
        for path in ("/", "/clips/0", "/style.css"):
            assert client.get(path, headers={"Host": host}).status_code == 400, host
        assert upload(client, "a.mp4", b"a", {"Host": host}).status_code == 400


def test_pages_of_other_sites_cannot_upload(client):
    for origin in ("http://evil.example", "null", "http://127.0.0.1:7861", "https://127.0.0.1.evil.example:7860"):
        assert upload(client, "a.mp4", b"no video", {"Origin": origin}).status_code == 403, origin
    assert "cannot be read" in upload(client, "a.mp4", b"no video", {"Origin": f"http://{HOST}"}).text


def test_a_busy_server_says_so(client, service, monkeypatch):
    def busy(*args):
        raise BusyError("too many videos are being transcoded: try again in a moment")

    monkeypatch.setattr(service._playable, "find", busy)
    answer = client.get("/clips/0")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    taken = 0
    while service._waiting.acquire(blocking=False):
        taken += 1
    try:
        page = client.get("/", params={"q": QUERY, "row": 0})
        own = upload(client, "a.mp4", encode(numbered_frames(9)))
    finally:
        service._waiting.release(taken)
    assert (page.status_code, page.headers["retry-after"]) == (503, "5")
    assert "busy" in text_of(page, "search-error")
    assert (own.status_code, text_of(own, "upload-error")[:18]) == (503, "The server is busy")
    assert client.get("/", params={"q": QUERY}).status_code == 200
