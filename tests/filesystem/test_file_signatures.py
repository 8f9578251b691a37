"""Recognition of placeholder files by their first bytes."""

import gzip
import io
import json
import pickle
import struct
import zipfile

import pytest

from svilm_jax.filesystem.file_signatures import SIGNATURE_BYTES, describe_placeholder
from tests.video.encoded_videos import encode, encode_sound, numbered_frames

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.mp4", b"x" * 99)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"<!DOCTYPE html>\n<html><head><title>404</title>", "an HTML page"),
        (b"\xef\xbb\xbf\r\n  <HTML lang='en'>", "an HTML page"),
        (b"<!-- saved from url -->\n<!doctype HTML>", "an HTML page"),
        (b'<?xml version="1.0"?><!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0//EN">', "an HTML page"),
        ("<!DOCTYPE html><p>größer".encode("utf-16"), "an HTML page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "an XML document"),
        (b'{"message": "Not Found"}', "a JSON document"),
        (b'\n[{"error": 403}]', "a JSON document"),
        (json.dumps({"a": "é" * 999}, ensure_ascii=False).encode()[:SIGNATURE_BYTES], "a JSON document"),
        (LFS, "a Git LFS pointer"),
        (b"/annex/objects/SHA256E-s123--abc.mp4\n", "a git-annex pointer"),
        (_zip(), "a ZIP archive"),
        (gzip.compress(b"x" * 99, mtime=0), "gzip-compressed data"),
        (b"Rar!\x1a\x07\x01\x00", "a RAR archive"),
        (b"%PDF-1.7\n%\xe2\xe3", "a PDF document"),
        (b"Salted__" + bytes(range(64)), "an encrypted file"),
        (b"age-encryption.org/v1\n-> X25519", "an encrypted file"),
        (b"-----BEGIN PGP MESSAGE-----\n", "an encrypted file"),
        (bytes(4096), "zero bytes"),
        (b"Too many requests, try again later", "a text file that begins with 'Too many requests"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x02\x00\x00\x00", "an animated WebP image"),
    ],
)
def test_what_stands_where_a_video_or_weights_should(content, expected):
    assert expected in describe_placeholder(content)


def test_videos_weights_and_noise_are_not_placeholders():
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    safetensors = struct.pack("<Q", len(header)) + header + bytes(4)
    frames = numbered_frames(3)
    contents = {
        "safetensors": safetensors,
        "pickle": pickle.dumps({"a": 1}),
        "sound": encode_sound(),
        "playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n",
        "empty": b"",
        "noise": bytes(range(256)) * 2,
        "one byte": b"x",
    }
    for container, codec in (
        ("mp4", "libx264"),
        ("matroska", "libx264"),
        ("mpegts", "mpeg2video"),
        ("avi", "mpeg4"),
        ("flv", "libx264"),
        ("h264", "libx264"),
        ("mpeg", "mpeg1video"),
    ):
        contents[container] = encode(frames, container=container, codec=codec, fps=25)
    contents["gif"] = encode(frames, container="gif", codec="gif", pix_fmt="rgb8")
    contents["y4m"] = encode(frames, container="yuv4mpegpipe", codec="wrapped_avframe")
    assert {name: describe_placeholder(content) for name, content in contents.items()} == dict.fromkeys(contents)
