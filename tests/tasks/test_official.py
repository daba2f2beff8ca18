"""Official files in general: lines, splits, what is read where, and the sentence for each mistake, on small files."""

from __future__ import annotations

import gzip
import json

import pytest
import seqio
from hypothesis import given
from hypothesis import strategies as st

from pause_jax import tasks
from pause_jax.errors import UserError
from pause_jax.tasks import official
from pause_jax.tasks.official import Example, File, Text
from pause_jax.tokenizers import vocabularies

PART = File("toy/part.jsonl", url="", records=2)
TRAIN = File("toy/train.jsonl", "https://example.org/train.jsonl", instead=PART)
TEST = File("toy/test.jsonl", "https://example.org/test.jsonl", records=3)


def read(records):
    for number, record in records.json_lines():
        with records.at(f"line {number}"):
            answers = official.gold_answers(record["answers"])
            yield Example(record["id"], record["q"], answers[0], answers, group=record.get("group", record["id"]))


@pytest.fixture
def toy(monkeypatch):
    """A task of the name "toy", as long as the test runs."""
    monkeypatch.setattr(official, "_SOURCES", dict(official.known()))
    official.register("toy", files={"train": (TRAIN,), "test": (TEST,)}, read=read, metric_fns=[])
    yield "toy"
    seqio.TaskRegistry.remove("toy")


def write(folder, name, records, *, packed=False):
    path = folder / "toy" / (f"{name}.gz" if packed else name)
    path.parent.mkdir(exist_ok=True)
    text = records if isinstance(records, str) else "".join(f"{json.dumps(record)}\n" for record in records)
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    return path


def records(count, **more):
    return [{"id": f"id{i}", "q": f"question {i}", "answers": [f"answer {i}"]} | more for i in range(count)]


def test_lines_end_at_newlines_only(tmp_path):
    text = Text(tmp_path, "a\u2028b\u0085c\x0bd\r\n\ne")
    assert list(text.lines()) == [(1, "a\u2028b\u0085c\x0bd\r"), (2, ""), (3, "e")]
    assert list(Text(tmp_path, '{"q": "a\u2028b"}\n').json_lines()) == [(1, {"q": "a\u2028b"})]


@given(st.lists(st.text().filter(lambda line: "\n" not in line), min_size=1))
def test_lines_put_together_are_the_text(lines):
    text = "\n".join(lines) + "\n"
    got = list(Text("x", text).lines())
    assert [line for _, line in got] == lines and [number for number, _ in got] == list(range(1, len(lines) + 1))


def test_plain_and_packed_files_read_alike_and_the_plain_one_first(tmp_path, toy):
    write(tmp_path, "test.jsonl", records(3), packed=True)
    packed = official.examples("toy", "test", str(tmp_path))
    assert [example.id for example in packed] == ["id0", "id1", "id2"]
    (other := tmp_path / "other").mkdir()
    write(other, "test.jsonl", records(3))
    write(other, "test.jsonl", "not read", packed=True)
    assert official.examples("toy", "test", str(other)) == packed


def test_what_belongs_together_is_held_out_together(tmp_path, toy):
    all_records = [record | {"group": f"group {i // 3}"} for i, record in enumerate(records(600))]
    write(tmp_path, "train.jsonl", all_records)
    train, held_out = (official.examples("toy", split, str(tmp_path)) for split in ("train", "validation"))
    assert len(train) + len(held_out) == 600 and 0 < len(held_out) < 75
    assert not {example.group for example in train} & {example.group for example in held_out}
    assert sorted(example.id for example in train + held_out) == sorted(record["id"] for record in all_records)


def test_the_part_is_read_where_the_whole_is_absent(tmp_path, toy):
    write(tmp_path, "part.jsonl", records(2), packed=True)
    both = [official.examples("toy", split, str(tmp_path)) for split in ("train", "validation")]
    assert sum(map(len, both)) == 2
    (other := tmp_path / "other").mkdir()
    write(other, "part.jsonl", records(1))
    with pytest.raises(UserError, match=r"part.jsonl has 1 examples, but the published file has 2: it is another ver"):
        official.examples("toy", "train", str(other))
    (whole := tmp_path / "whole").mkdir()
    write(whole, "part.jsonl", records(2))
    write(whole, "train.jsonl", records(7))
    assert sum(len(official.examples("toy", split, str(whole))) for split in ("train", "validation")) == 7


def test_the_seqio_task(tmp_path, toy):
    three = records(3)
    three[1] |= {"answers": [" é ", "b", " é "], "q": " q  "}
    write(tmp_path, "test.jsonl", three)
    task = tasks.get("toy", vocabularies.load("byte"), str(tmp_path))
    examples = list(task.get_dataset(sequence_length=None, split="test", shuffle=False).as_numpy_iterator())
    assert [example["id"].decode() for example in examples] == ["id0", "id1", "id2"]
    assert examples[1]["inputs"].tolist() == [byte + 3 for byte in b" q  "]  # every space, no EOS
    assert examples[1]["targets"].tolist() == [*(byte + 3 for byte in " é ".encode()), 1]
    target = task.postprocess_fn(" é ", example=examples[1], is_target=True)
    assert target == {"answers": [" é ", "b"]}
    assert task.postprocess_fn(" x", example=examples[1], is_target=False) == " x"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"id": "a"}\n{"id": \n', r"toy/test.jsonl, line 1, is not as published: field 'answers' is missing; get the"),
        ('{"id": "a", "q": "x", "answers": ["y"]}\n{"id": \n', r"toy/test.jsonl, line 2, is not JSON \(Expecting val"),
        ('{"id": "a", "q": "x", "answers": ["y"]}\n\n', "toy/test.jsonl, line 2, is not JSON"),
        ('["a"]\n', "toy/test.jsonl, line 1, is no JSON object: get the file again"),
        ('{"id": "a", "q": "x", "answers": []}\n', "line 1, is not as published: there is no answer; get the file"),
        ('{"id": "a", "q": "x", "answers": [" "]}\n', "line 1, is not as published: there is no answer"),
        (
            '{"id": "a", "q": "x", "answers": "y"}\n',
            "line 1, is not as published: the answers are 'y', no list of text",
        ),
        ('{"id": "a", "q": "x", "answers": [1]}\n', r"the answers are \[1\], no list of texts"),
        ("", "toy/test.jsonl has 0 examples, but the published file has 3"),
    ],
)
def test_files_that_are_not_as_published(tmp_path, toy, text, sentence):
    write(tmp_path, "test.jsonl", text)
    with pytest.raises(UserError, match=sentence) as caught:
        official.examples("toy", "test", str(tmp_path))
    assert str(tmp_path) in str(caught.value)


def test_an_id_twice(tmp_path, toy):
    write(tmp_path, "test.jsonl", [*records(2), records(1)[0]])
    with pytest.raises(UserError, match=r"toy/test.jsonl has the id 'id0' twice: it is not as published"):
        official.examples("toy", "test", str(tmp_path))


def test_files_that_cannot_be_read(tmp_path, toy):
    path = write(tmp_path, "test.jsonl", records(3), packed=True)
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(UserError, match=r"toy/test.jsonl.gz cannot be read .*: get it again"):
        official.examples("toy", "test", str(tmp_path))
    (tmp_path / "toy" / "test.jsonl").write_bytes(b'{"q": "\xff"}\n')
    with pytest.raises(UserError, match=r"toy/test.jsonl is not UTF-8 at byte 7: get it again"):
        official.examples("toy", "test", str(tmp_path))


def test_missing_files_name_the_command_that_gets_them(tmp_path, toy):
    command = f"`python -m pause_jax prepare --download=toy --data_dir={tmp_path}`"
    for split, what, file in (("train", "finetuning on", TRAIN), ("test", "evaluating", TEST)):
        with pytest.raises(UserError) as caught:
            official.examples("toy", split, str(tmp_path))
        assert str(caught.value) == (
            f"task 'toy': {what} it needs {tmp_path}/{file.path} (or .gz), which is not there; {command} fetches it "
            f"from {file.url}"
        )
    with pytest.raises(
        UserError, match=r"no data directory is given: set --config.data.data_dir .*toy/test.jsonl; `pyt"
    ):
        official.examples("toy", "test", "")


def test_a_file_of_another_version(tmp_path):
    text = Text(tmp_path / "f.json", '{"version": "v2.0", "data": [1]}')
    assert text.data("v2.0") == [1]
    with pytest.raises(UserError, match=r"f.json is of version 'v2.0': get the file of version '1.1'"):
        text.data("1.1")
    for broken, sentence in (
        ('{"data": []}', "f.json, at the top, is not as published: field 'version' is missing"),
        ('{"version": "1.1", "data": null}', "f.json, at the top, is not as published"),
        ("[]", "f.json, at the top, is not as published"),
        ("{", "f.json is not JSON"),
    ):
        with pytest.raises(UserError, match=sentence):
            Text(tmp_path / "f.json", broken).data("1.1")


def test_a_sentence_is_not_wrapped_in_another(tmp_path):
    text = Text(tmp_path / "f", "")
    with pytest.raises(UserError, match=r"^mine$"), text.at("line 1"), text.at("within it"):
        raise UserError("mine")
    sentence = r"^\S+/f, within it, is not as published: bad; get"
    with pytest.raises(UserError, match=sentence), text.at("line 1"), text.at("within it"):
        raise ValueError("bad")


def test_gold_answers_keep_order_and_spaces():
    assert official.gold_answers(["b ", "a", "b ", "b", "a"]) == ("b ", "a", "b")
