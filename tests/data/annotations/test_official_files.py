"""Tests of official files in every packaging: read identically, and damaged ones named."""

import gzip
import io
import json
import tarfile
import zipfile

import pytest
from svilm_data.annotations.official_files import OfficialFile, OfficialFiles
from svilm_data.annotations.official_rows import json_lines
from svilm_data.pipeline.errors import PreparationError

from tests.data.official_cases import write

TEXT = "first\nsecond ü\n"
LINES = ["first", "second ü"]


def tarred(path, members, mode="w"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def zipped(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def pack(folder, form, data=b""):
    """list.txt in one of the forms in which it goes round."""
    data = data or TEXT.encode()
    if form == "plain":
        write(folder, "deep/list.txt", data)
    elif form == "gz":
        write(folder, "list.txt.gz", gzip.compress(data))
    elif form == "zip":
        zipped(folder / "all.ZIP", {"deep/list.txt": data})
    elif form == "gz in zip":
        zipped(folder / "all.zip", {"deep/list.txt.gz": gzip.compress(data)})
    elif form == "tar .":
        tarred(folder / "all.tar", {"./deep/list.txt": data})
    else:
        suffix, mode = {"tar.gz": (".tar.gz", "w:gz"), "tgz": (".tgz", "w:gz"), "xz": (".tar.xz", "w:xz")}[form]
        tarred(folder / f"all{suffix}", {"deep/list.txt": data}, mode)
    return folder


FORMS = ("plain", "gz", "zip", "gz in zip", "tar .", "tar.gz", "tgz", "xz")


def lines(file):
    return [text for _, text in file.lines()]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.filterwarnings("error::ResourceWarning")
@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_the_same_however_it_is_packed(tmp_path, form):
    files = OfficialFiles(pack(tmp_path, form))
    for pattern in ("list.txt", "LIST.txt", "l*.txt"):
        file = files.find_one(pattern, description="list")
        assert (file.name, lines(file), lines(file)) == ("list.txt", LINES, LINES)
    assert files.find_optional("other.txt") is None
    with file.open() as content:
        assert content.read(3) == b"fir"  # need not be read to its end


@pytest.mark.parametrize("form", ["plain", "gz", "zip"])
def test_a_single_file_or_archive_will_do(tmp_path, form):
    (path,) = (p for p in pack(tmp_path, form).rglob("*") if p.is_file())
    assert lines(OfficialFiles(path).find_one("list.txt", description="list")) == LINES


@pytest.mark.parametrize("form", ["plain", "tar.gz"])
@pytest.mark.parametrize("data", [TEXT.replace("\n", "\r\n"), "\ufeff" + TEXT, TEXT.rstrip()])
def test_line_ends_and_a_byte_order_mark_make_no_difference(tmp_path, form, data):
    file = OfficialFiles(pack(tmp_path, form, data.encode())).find_one("list.txt", description="list")
    assert lines(file) == LINES
    assert [where.rsplit(": ", 1)[1] for where, _ in file.lines()] == ["line 1", "line 2"]


def test_a_byte_order_mark_before_json(tmp_path):
    path = write(tmp_path, "a.json", b"\xef\xbb\xbf" + b'{"a": [1]}')
    assert OfficialFile(path).json() == {"a": [1]}


@pytest.mark.parametrize("form", ["plain", "gz", "zip", "tar.gz"])
def test_text_that_is_not_utf_8_is_named_with_its_line(tmp_path, form):
    file = OfficialFiles(pack(tmp_path, form, b"first\ncaf\xe9\n")).find_one("list.txt", description="list")
    with pytest.raises(PreparationError, match=r"list\.txt.*: line 2: expected UTF-8"):
        lines(file)
    with pytest.raises(PreparationError, match=r"list\.txt.*: line 2: expected UTF-8"):
        file.json()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1, "a": 2}', r"expected JSON \(the name 'a' occurs twice in one object\)"),
        ('{"b": {"c": 1, "d": 2, "c": 3}}', "the name 'c' occurs twice"),
        ('{"a": ', "expected JSON"),
        ("", "expected JSON"),
    ],
)
def test_json_that_does_not_say_one_thing_is_refused(tmp_path, content, message):
    with pytest.raises(PreparationError, match=rf"a\.json: .*{message}|a\.json: {message}"):
        OfficialFile(write(tmp_path, "a.json", content)).json()


def test_the_least_packed_and_then_the_shallowest_is_read(tmp_path):
    def one():
        return lines(OfficialFiles(tmp_path).find_one("list.txt", description="list"))

    zipped(tmp_path / "all.zip", {"deep/list.txt.gz": gzip.compress(b"packed twice")})
    assert one() == ["packed twice"]
    zipped(tmp_path / "all.zip", {"a/deep/list.txt": b"deep in zip", "zz/list.txt": b"zip"})
    assert one() == ["zip"]
    write(tmp_path, "a/list.txt.gz", gzip.compress(b"gz"))
    assert one() == ["gz"]
    write(tmp_path, "a/b/c/list.txt", "deep")
    assert one() == ["deep"]
    write(tmp_path, "z/list.txt", "shallow")
    assert one() == ["shallow"]
    assert len(OfficialFiles(tmp_path).find("list.txt", "*.txt")) == 1


def test_several_files_that_fit_one_pattern_are_an_error(tmp_path):
    write(tmp_path, "train_a.json", "{}")
    zipped(tmp_path / "all.zip", {"train_b.json": b"{}"})
    files = OfficialFiles(tmp_path)
    with pytest.raises(
        PreparationError, match=r"train_\*\.json matches several files \(.*_a\.json, .*_b\.json\): keep one"
    ):
        files.find_one("train_*.json", description="list")
    assert (
        files.find_one("train_b.json", "train_*.json", description="list").name == "train_b.json"
    )  # the first that fits decides
    assert [file.name for file in files.find("*")] == ["train_a.json", "train_b.json"]


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(PreparationError, match=r"--annotations .*gone: no such file or folder"):
        OfficialFiles(tmp_path / "gone")
    with pytest.raises(PreparationError, match=r"no list of clips: expected a\.txt or b\*\.txt, plain, \.gz or in an"):
        OfficialFiles(tmp_path).find_one("a.txt", "b*.txt", description="list of clips")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_hidden_files_and_names_that_lead_out_of_an_archive_are_left_alone(tmp_path, kind):
    names = ("__MACOSX/x/._a.txt", "x/__MACOSX/a.txt", ".b.txt", "x/.c.txt", ".git/d.txt", "../e.txt", "x/../../f.txt")
    members = dict.fromkeys(names, b"no") | {"./x/good.txt": b"yes"}
    path = tmp_path / f"all.{kind}"
    (zipped if kind == "zip" else tarred)(path, members)
    write(tmp_path, ".hidden.txt", "no")
    files = OfficialFiles(tmp_path)
    assert [file.name for file in files.find("*")] == ["good.txt"]
    assert sorted(p.name for p in tmp_path.rglob("*")) == [".hidden.txt", path.name]  # nothing was unpacked


def test_only_files_of_an_archive_are_files(tmp_path):
    with tarfile.open(tmp_path / "all.tar", "w") as archive:
        for name, kind in (("folder.txt", tarfile.DIRTYPE), ("link.txt", tarfile.SYMTYPE), ("pipe", tarfile.FIFOTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/hostname"
            archive.addfile(info)
    assert OfficialFiles(tmp_path).find("*") == []


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz", "a.tar.bz2", "a.tar.xz"])
@pytest.mark.parametrize("content", [b"no archive", b"", b"\x1f\x8b\x08\x00damaged", b"PK\x03\x04damaged"])
def test_a_file_that_is_no_archive_is_named(tmp_path, name, content):
    write(tmp_path, name, content)
    with pytest.raises(PreparationError, match=rf"(?s){name}: not a readable archive .*; download it again"):
        OfficialFiles(tmp_path)


NOISE = "".join(f"{i * i * 7919 % 10007}\n" for i in range(4000)).encode()


@pytest.mark.parametrize("form", ["gz", "zip", "gz in zip", "tar.gz", "xz"])
@pytest.mark.parametrize("how", ["cut", "changed"])
def test_a_damaged_file_is_named(tmp_path, form, how):
    (path,) = (p for p in pack(tmp_path, form, NOISE).iterdir() if p.is_file())
    content = path.read_bytes()
    middle = len(content) // 2
    if how == "cut":
        path.write_bytes(content[:middle])
    else:
        path.write_bytes(content[:middle] + bytes(reversed(range(200))) + content[middle + 200 :])
    with pytest.raises(PreparationError, match=rf"(?s){path.name}.*: .*; download it again"):
        lines(OfficialFiles(tmp_path).find_one("list.txt", description="list"))


def test_lone_surrogates_are_replaced_and_counted(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"\ud83d": ["x \ude00"], "b": "\U0001f600"}))
    (tmp_path / "b.jsonl").write_text('{"desc": "a \\ud83d dog"}\n{"desc": "a\u2028b"}\n', encoding="utf-8")
    files = OfficialFiles(tmp_path)
    assert files.notes() == {}
    assert files.find_one("a.json", description="a").json() == {"\ufffd": ["x \ufffd"], "b": "\U0001f600"}
    assert [row["desc"] for _, row in json_lines(files.find_one("b.jsonl", description="b"))] == [
        "a \ufffd dog",
        "a\u2028b",
    ]
    assert files.notes()["text with lone surrogates"].startswith(
        "3 texts, the broken part replaced by U+FFFD (first: a"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "nested deeper than 100 levels"),
        (b'{"a": ' + b"9" * 5000 + b"", "expected JSON"),
        (json.dumps([1]).encode("utf-16"), "UTF-16"),
        (b"<html></html>", "found an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "found a Git LFS pointer"),
    ],
)
def test_invalid_documents_are_one_error_naming_the_file(tmp_path, content, message):
    for name, data in (("a.json", content), ("b.json.gz", gzip.compress(content))):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(PreparationError, match=f"{name}: .*{message}") as caught:
            OfficialFiles(tmp_path / name).find("*")[0].json()
        assert "\n" not in str(caught.value)


def test_encrypted_archives_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.json", "[1]")
    data = bytearray((tmp_path / "a.zip").read_bytes())
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(header) + flags] |= 1  # as encryption sets it
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(PreparationError, match=r"a\.zip:a\.json: cannot be unpacked \(.*password.*unpack it by hand"):
        OfficialFiles(tmp_path).find_one("a.json", description="a").json()
