"""Recognition, by first bytes, of files that replace an expected video or weight file.

Failed downloads leave the server's error page, an unfetched Git LFS checkout leaves pointers, and archives or encrypted
files keep the name of their content. The parser of the expected format can only report a syntax error; the first bytes
identify the file.
"""

import codecs
import re

# This many bytes of a file are enough for `describe_placeholder`.
SIGNATURE_BYTES = 1024

_BINARY = (
    (b"PK\x03\x04", "a ZIP archive"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"\x1f\x8b", "gzip-compressed data"),
    (b"BZh", "bzip2-compressed data"),
    (b"\xfd7zXZ\x00", "xz-compressed data"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed data"),
    (b"%PDF-", "a PDF document"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"\x7fELF", "a program (ELF)"),
    (b"d8:announce", "a BitTorrent file"),
    (b"bplist00", "an Apple property list (a Safari download or web archive)"),
    (b"Salted__", "an encrypted file (OpenSSL)"),
    (b"age-encryption.org/", "an encrypted file (age)"),
    (b"-----BEGIN AGE ENCRYPTED FILE", "an encrypted file (age)"),
    (b"-----BEGIN PGP MESSAGE", "an encrypted file (PGP)"),
    (b"\x85\x01\x0c\x03", "an encrypted file (PGP)"),
    (b"\x85\x02\x0c\x03", "an encrypted file (PGP)"),
    (b"\x8c\x0d\x04", "an encrypted file (PGP)"),
    (b"$ANSIBLE_VAULT", "an encrypted file (Ansible Vault)"),
    (b"AES\x02", "an encrypted file (AES Crypt)"),
    (b"AES\x03", "an encrypted file (AES Crypt)"),
    (b"LUKS\xba\xbe", "an encrypted file (LUKS)"),
)
# Media that start with readable text: raw video with a text header, and playlists, which have an error of their own.
_MEDIA_TEXT = ("YUV4MPEG2", "#EXTM3U", "ffconcat", "v=0", "[playlist]", "<MPD", "<smil", "<AssetMap")
_BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_HTML = re.compile(
    r"(?:<!--.*?-->\s*|<\?xml[^>]*>\s*)*<(?:!doctype\s+html|html|head|body|title|script|meta)\b", re.I | re.S
)
_XML = re.compile(r"<\?xml|<[A-Za-z][\w:.-]*[\s>/]|<!DOCTYPE\b", re.I)
_JSON = re.compile(r"\{\s*(?:\"|\}|$)|\[\s*(?:[\[{\]\"\d-]|true|false|null|$)")
_SHOWN = 40  # characters of an unknown text


def describe_placeholder(first_bytes: bytes) -> str | None:
    """Describes a file that is neither a video nor a weight file, as a noun phrase such as "an HTML page".

    Args:
      first_bytes: start of the file; `SIGNATURE_BYTES` are enough.

    Returns:
      The description, for "expected a video, found ..."; None if the bytes are inconclusive, which includes every
      format of videos and weights, and an empty file.
    """
    head = first_bytes[:SIGNATURE_BYTES]
    if not head:
        return None
    for signature, description in _BINARY:
        if head.startswith(signature):
            return description
    if len(head) >= 21 and head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and head[20] & 2:
        return "an animated WebP image"
    if not any(head):
        return "a file of zero bytes, as an interrupted download leaves it"
    text = _text(head)
    return None if text is None else _describe_text(text)


def _describe_text(text: str) -> str | None:
    text = text.lstrip()
    if text.startswith("version https://git-lfs.github.com/spec/"):
        return "a Git LFS pointer (`git lfs pull` fetches the file itself)"
    if text.startswith("/annex/objects/") or ".git/annex/objects/" in text.partition("\n")[0]:
        return "a git-annex pointer (`git annex get` fetches the file itself)"
    if text.startswith(_MEDIA_TEXT):
        return None
    if _HTML.match(text):
        return "an HTML page"
    if _XML.match(text):
        return None if any(f"<{kind}" in text for kind in ("MPD", "smil", "AssetMap")) else "an XML document"
    if _JSON.match(text):
        return "a JSON document"
    if not text:
        return "a file of whitespace"
    start = " ".join(text[:_SHOWN].split())
    return f"a text file that begins with {start!r}"


def _text(head: bytes) -> str | None:
    """Decodes the bytes, which may end inside a character, as text; None if they are not text."""
    encoding = "utf-8"
    for mark, name in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            head, encoding = head[len(mark) :], name
    if encoding == "utf-8" and b"\0" in head:
        return None
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
        return None
    # Four characters may be text by chance; control characters never are.
    if len(text) < 4 or any(character < " " and character not in "\t\n\r\f\x1b" for character in text):
        return None
    return text
