"""Files of the user's own that register tasks: found by name afterwards, and told in one sentence where they fail."""

from __future__ import annotations

import os
import sys

import pytest
import seqio

from pause_jax import tasks
from pause_jax.config import DataConfig
from pause_jax.data import corpora, included
from pause_jax.errors import UserError
from pause_jax.tokenizers import vocabularies

TASK = """
from pause_jax.tasks.official import Example, File, register

FILE = File("own/train.jsonl", "https://example.com/train.jsonl", records=2)

def read(questions):
    for number, record in questions.json_lines():
        yield Example(id=questions.id_of(number), prompt=record["q"], target=record["a"], answers=(record["a"],),
                      group=record["q"])

register("own_task", files={"train": (FILE,), "test": (FILE,)}, read=read, metric_fns=[])
"""
CORPUS = """
import seqio
from pause_jax.data import corpora
from pause_jax.data.documents import Document

seqio.TaskRegistry.add(
    "own_corpus",
    source=corpora.DocumentSource(lambda: (Document(f"{i}", b"some words " * 9) for i in range(60)), corpus="own"),
    preprocessors=corpora.PREPROCESSORS,
    output_features=corpora.features(seqio.ByteVocabulary(extra_ids=0)),
    shuffle_buffer_size=None,
)
"""


@pytest.fixture
def include(tmp_path, monkeypatch):
    paths = []

    def write(name, code):
        (tmp_path / name).write_text(code)
        paths.append(str(tmp_path / name))
        monkeypatch.setenv(included.VARIABLE, os.pathsep.join(paths))

    yield write
    for path in paths:
        sys.modules.pop(f"pause_jax_included_{path}", None)
    for name in {"own_task", "own_corpus"} & set(seqio.TaskRegistry.names()):
        seqio.TaskRegistry.remove(name)
    tasks.official._SOURCES.pop("own_task", None)


def test_a_task_and_a_corpus_of_ones_own(include):
    bytes_ = vocabularies.load("byte")
    with pytest.raises(UserError, match=r"no task 'own_task'; known are .*--include=FILE\.py"):
        tasks.get("own_task", bytes_)
    include("task.py", TASK)
    include("corpus.py", CORPUS)
    assert "own_task" in tasks.known() and tasks.get("own_task", bytes_).name == "own_task"
    task = corpora.text_task(DataConfig(task="own_corpus"), bytes_)
    assert len(list(task.get_dataset(None, "train", shuffle=False))) > 40
    assert tasks.get("own_task", bytes_)  # and it is not run twice, which would register it twice


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("x = 1\nraise KeyError('y')\n", r"^--include=\S*bad\.py, line 2, raised KeyError: 'y'$"),
        ("x = (\n", r"^--include=\S*bad\.py, line 1, raised SyntaxError: '\(' was never closed"),
        ("import nothing_of_this_name\n", r"line 1, raised ModuleNotFoundError: No module named"),
    ],
)
def test_a_file_that_fails_is_told_with_its_line(include, code, sentence):
    include("bad.py", code)
    for _ in range(2):  # also the second time
        with pytest.raises(UserError, match=sentence):
            tasks.known()


def test_a_file_that_is_not_there(monkeypatch):
    monkeypatch.setenv(included.VARIABLE, "/nowhere/own.py")
    with pytest.raises(UserError, match=r"^--include=/nowhere/own\.py is no Python file"):
        tasks.known()
