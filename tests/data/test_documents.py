"""The user's files: what is read, and the sentence for everything that can be wrong with them."""

from __future__ import annotations

import gzip
import json
import os
import re

import pytest

from pause_jax.data import splits
from pause_jax.data.documents import read_files, read_python_stdlib
from pause_jax.errors import UserError


def read(pattern, text_field="text") -> dict[str, str]:
    return {document.name: document.text.decode() for document in read_files(str(pattern), text_field)}


def json_lines(*texts: str) -> bytes:
    return b"".join(json.dumps({"text": text}, ensure_ascii=False).encode() + b"\n" for text in texts)


def test_text_files_are_documents(tmp_path):
    (tmp_path / "b.txt").write_text("second\nfile")
    (tmp_path / "a.txt").write_bytes("\ufeffnée\r\n".encode())
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(b"zipped"))
    (tmp_path / "blank.txt").write_text(" \n")
    (tmp_path / "other.md").write_text("not asked for")
    assert read(tmp_path / "*.txt*") == {"a.txt": "née\r\n", "b.txt": "second\nfile", "c.txt.gz": "zipped"}


def test_lines_are_documents_and_only_newline_ends_a_line(tmp_path):
    texts = ("one\u2028still one\u0085and still", "two\nlines", "three")
    (tmp_path / "a.jsonl").write_bytes(json_lines(*texts))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(json_lines("four", " ", "six") + b"\n"))
    assert read(tmp_path / "*") == {
        "a.jsonl:1": texts[0],
        "a.jsonl:2": texts[1],
        "a.jsonl:3": texts[2],
        "b.jsonl.gz:1": "four",
        "b.jsonl.gz:3": "six",
    }


def test_another_field_and_windows_lines(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"body": "x", "text": 1}\r\n{"body": "y"}')
    assert read(tmp_path / "a.jsonl", "body") == {"a.jsonl:1": "x", "a.jsonl:2": "y"}


def test_names_do_not_depend_on_where_the_corpus_lies(tmp_path):
    names = []
    for home in ("here", "there/and"):
        for folder in ("1", "2"):
            (tmp_path / home / folder).mkdir(parents=True)
            (tmp_path / home / folder / "a.txt").write_text("text")
        names.append(list(read(tmp_path / home / "**" / "*.txt")))
    assert names == [["1/a.txt", "2/a.txt"]] * 2


BAD_FILES = {
    "broken JSON": (b'{"text": "x"}\n{"text": \n', r"a\.jsonl, line 2: broken JSON \(Expecting value at column 1\d*\)"),
    "not an object": (b'["x"]\n', r"a\.jsonl, line 1: not a JSON object but of type list"),
    "missing field": (
        b'{"text": "x"}\n\n{"body": "y", "id": 3}\n',
        r"a\.jsonl, line 3: no field 'text', only 'body', 'id': set --config\.data\.text_field",
    ),
    "not a string": (b'{"text": 5}\n', r"a\.jsonl, line 1: field 'text' is not a string but of type int"),
    "null": (b'{"text": null}\n', r"a\.jsonl, line 1: field 'text' is not a string but null: .* --on_bad_text=skip"),
    "a list over lines": (b'[\n{"text": "x"},\n{"text": "y"}\n]\n', r"line 1: .* not a list over several lines \(jq"),
    "half a surrogate": (
        b'{"text": "ab\\ud800"}',
        r"a\.jsonl, line 1: field 'text' has half a surrogate .* character 2",
    ),
    "not UTF-8": (b'{"text": "x"}\n{"text": "\xe9"}\n', r"a\.jsonl is not UTF-8 at byte 24: convert it"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_json_lines(tmp_path, case):
    content, sentence = BAD_FILES[case]
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(UserError, match=sentence) as error:
        read(tmp_path / "a.jsonl")
    assert "\n" not in str(error.value)


def test_text_that_is_not_utf8(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"first\nna\xefve\n")
    with pytest.raises(UserError, match=r"a\.txt is not UTF-8 at byte 8: convert it"):
        read(tmp_path / "a.txt")


def test_no_file_matches(tmp_path):
    with pytest.raises(UserError, match=re.escape(f"config.data.files = '{tmp_path}/*.txt' matches no file")):
        read(tmp_path / "*.txt")


def test_a_folder_is_told_from_a_path_that_is_not_there(tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.jsonl").write_text('{"text": "x"}')
    with pytest.raises(UserError, match=r"is a folder, and files are wanted: give \S*/texts/\*\.jsonl, or \S*/\*\*/"):
        read(tmp_path / "texts")


@pytest.mark.parametrize("pattern", ["run [v2]/*.txt", "run [v2]/a[1].txt", "run [[]v2]/*.txt", "run ?v2?/*.txt"])
def test_brackets_of_names_that_are_there(tmp_path, pattern):
    (tmp_path / "run [v2]").mkdir()
    (tmp_path / "run [v2]" / "a[1].txt").write_text("text")
    assert list(read(tmp_path / pattern)) == ["run [v2]/a[1].txt" if "?" in pattern else "a[1].txt"]


def test_brackets_that_could_mean_either(tmp_path):
    for name in ("a1.txt", "a[12].txt"):
        (tmp_path / name).write_text("text")
    with pytest.raises(UserError, match=r"matches \S*a\[12\]\.txt as it stands, and \S*a1\.txt with \[ \] as a choice"):
        read(tmp_path / "a[12].txt")
    assert list(read(tmp_path / "a[[]12].txt")) == ["a[12].txt"]
    with pytest.raises(UserError, match=r"matches no file .*: check the path; \[ \] stand for one of the characters"):
        read(tmp_path / "b[12].txt")


def test_a_name_that_is_not_utf8(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("text")
    (name,) = read(tmp_path / "*.txt")
    assert os.fsencode(name) == b"caf\xe9.txt"
    assert splits.is_validation(name) in (True, False)  # and no UnicodeEncodeError


def test_home(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("text")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert list(read("~/*.txt")) == ["a.txt"]
    with pytest.raises(UserError, match=r"begins with ~nobody-of-this-name, but no such home directory is known"):
        read("~nobody-of-this-name/*.txt")


def test_unknown_suffix(tmp_path):
    (tmp_path / "a.csv").write_text("x")
    with pytest.raises(
        UserError, match=r"matches .*a\.csv, whose suffix is none of \.txt \.txt\.gz \.jsonl \.jsonl\.gz"
    ):
        read(tmp_path / "*")


@pytest.mark.parametrize("content", [b"not gzip", gzip.compress(b"x" * 10_000)[:-20]])
def test_broken_gzip(tmp_path, content):
    (tmp_path / "a.txt.gz").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.txt\.gz cannot be read \(.*\): is it whole\?"):
        read(tmp_path / "a.txt.gz")


def test_python_stdlib_is_the_library_without_its_tests():
    names = [document.name for document in read_python_stdlib()]
    assert len(names) > 300 and names == sorted(names)
    assert {"os.py", "json/decoder.py"} <= set(names)
    assert not [name for name in names if "site-packages" in name or "/test/" in f"/{name}" or "/tests/" in name]


def test_real_json_lines(real_data):
    documents = list(read_files(str(real_data / "pretrain" / "c4_en_sample.jsonl.gz"), "text"))
    assert len(documents) == 1000
    assert documents[0].name == "c4_en_sample.jsonl.gz:1"
    assert documents[0].text.startswith(b"Beginners BBQ Class")
