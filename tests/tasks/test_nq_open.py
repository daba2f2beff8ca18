"""NQ-Open: the official files, read whole; the part that stands in for the training file; broken lines."""

from __future__ import annotations

import gzip
import hashlib
import json

import pytest

from pause_jax.errors import UserError
from pause_jax.tasks import nq_open, official
from pause_jax.tasks.official import Text


def test_the_official_files(data_dir):
    for file, name in ((nq_open.TEST, "nq_open"), (nq_open.EFFICIENTQA, "nq_open_efficientqa")):
        plain = gzip.decompress((data_dir / f"{file.path}.gz").read_bytes())
        assert hashlib.sha256(plain).hexdigest() == file.sha256
        examples = official.examples(name, "test", str(data_dir))
        assert len(examples) == file.records == plain.count(b"\n")
    test, efficientqa = (official.examples(name, "test", str(data_dir)) for name in ("nq_open", "nq_open_efficientqa"))
    assert len(test) == 3610 and len(efficientqa) == 1800
    assert test[0].id == "NQ-open.dev-1" and test[-1].id == "NQ-open.dev-3610"
    assert test[0].prompt == "Question: when was the last time anyone was on the moon\nAnswer:"
    assert test[0].answers == ("14 December 1972 UTC", "December 1972") and test[0].target == " 14 December 1972 UTC"
    assert efficientqa[0].id == "NQ-open.efficientqa.dev.1.1-1" and efficientqa[0].answers == ("1988",)


def test_a_part_of_the_training_file(data_dir):
    if any((data_dir / f"{nq_open.TRAIN.path}{suffix}").exists() for suffix in ("", ".gz")):
        pytest.skip("the whole training file is here")
    train, held_out = (official.examples("nq_open", split, str(data_dir)) for split in ("train", "validation"))
    assert len(train) + len(held_out) == 8757 and 350 < len(held_out) < 530
    questions = {example.prompt for example in train + held_out}
    assert len(questions) == 8757
    assert not questions & {example.prompt for example in official.examples("nq_open", "test", str(data_dir))}


def test_the_whole_training_file_goes_before_the_part(tmp_path):
    (tmp_path / "nq_open").mkdir()
    line = json.dumps({"question": "who", "answer": ["x"]}) + "\n"
    (tmp_path / nq_open.TRAIN.path).write_text(line)
    (tmp_path / nq_open.TRAIN.instead.path).write_text(line * 2)
    with pytest.raises(UserError, match=r"NQ-open.train.jsonl has 1 examples, but the published file has 87,925"):
        official.examples("nq_open", "train", str(tmp_path))


def test_lines_end_at_newlines_only(tmp_path):
    lines = [
        {"question": "one\u2028two\u0085three ", "answer": ["a\u2028b"]},
        {"question": "x", "answer": ["y", "z", "y"]},
    ]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    first, second = nq_open.read(Text(tmp_path / "dev.jsonl", text))
    assert first.prompt == "Question: one\u2028two\u0085three\nAnswer:" and first.answers == ("a\u2028b",)
    assert (second.id, second.target, second.answers) == ("dev-2", " y", ("y", "z"))


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('{"question": "q", "answer": ["a"]', "dev.jsonl, line 2, is not JSON"),
        ('{"question": "q"}', "dev.jsonl, line 2, is not as published: field 'answer' is missing"),
        ('{"question": "q", "answer": []}', "dev.jsonl, line 2, is not as published: there is no answer"),
        ('{"question": "q", "answer": "a"}', "line 2, is not as published: the answers are 'a', no list of texts"),
        ('{"question": null, "answer": ["a"]}', "dev.jsonl, line 2, is not as published: "),
    ],
)
def test_files_that_are_not_as_published(tmp_path, line, sentence):
    text = f'{{"question": "q", "answer": ["a"]}}\n{line}\n'
    with pytest.raises(UserError, match=sentence):
        list(nq_open.read(Text(tmp_path / "dev.jsonl", text)))
