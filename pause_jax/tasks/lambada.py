"""LAMBADA: the last word of a passage of a novel (Paperno et al., 2016), in two texts.

`lambada` is the original: lower case, words and punctuation apart as the Penn Treebank has them. `lambada_openai` is
tested on OpenAI's text of the same passages, as they were printed. Both are trained on the original development
passages (there is no other text of them), so a run finetuned for `lambada_openai` has seen lower case only.

The prompt is the passage without its last word, the target is that word, after a space. Words are what white space
separates: in OpenAI's text 7 passages have a line break before the last word, which then is no part of the prompt, and
36 last words have an opening quote, which belongs to the word. `accuracy` is the percentage of answers whose first
word, closing punctuation aside, is the target, letter for letter: what comes behind it does not count, since a run that
was not finetuned writes on. No target ends in punctuation.

The published names are those of the authors' archive and of OpenAI's server; the names in `instead` tell the two texts
apart.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping
from typing import Any

from pause_jax.tasks import metrics
from pause_jax.tasks.official import Example, File, Text, register

_ARCHIVE = "https://zenodo.org/records/2630551/files/lambada-dataset.tar.gz"
_OPENAI_URL = "https://openaipublic.blob.core.windows.net/gpt-2/data/lambada_test.jsonl"
_OPENAI_SHA256 = "4aa8d02cd17c719165fc8a7887fddd641f43fcafa4b1c806ca8abc31fabdb226"


def _member(part: str, records: int) -> File:
    """A text of the authors' archive, under its published name or with `original` in it."""
    name = f"lambada_{part}_plain_text"
    return File(
        f"lambada/{name}.txt",
        _ARCHIVE,
        records=records,
        member=f"{name}.txt",
        instead=File(f"lambada/{name}.original.txt", url="", records=records),
    )


TRAIN = _member("development", 4869)
TEST = _member("test", 5153)
OPENAI_TEST = File(
    "lambada/lambada_test.jsonl",
    _OPENAI_URL,
    _OPENAI_SHA256,
    records=5153,
    instead=File("lambada/lambada_test_plain_text.jsonl", _OPENAI_URL, _OPENAI_SHA256, records=5153),
)
_CLOSING = string.punctuation + "”’…–—"


def read(passages: Text) -> Iterator[Example]:
    """Examples of a file with one passage a line, or one JSON object with the field "text" a line."""
    as_json = ".jsonl" in passages.path.suffixes
    for number, line in passages.json_lines() if as_json else passages.lines():
        with passages.at(f"line {number}"):
            passage = line["text"] if isinstance(line, dict) else line
            words = passage.rsplit(maxsplit=1)
            if len(words) < 2:
                raise ValueError("the passage has fewer than two words")
            yield Example(
                id=passages.id_of(number).replace(".original", ""),
                prompt=words[0],
                target=f" {words[1]}",
                answers=(words[1],),
                group=passage,
            )


def postprocess(text: str, example: Mapping[str, Any], is_target: bool = False) -> str:
    """The word of a target; the first one of a prediction, closing punctuation aside."""
    return text.strip() if is_target else "".join(text.split()[:1]).rstrip(_CLOSING)


for _name, _test in (("lambada", TEST), ("lambada_openai", OPENAI_TEST)):
    register(
        _name,
        files={"train": (TRAIN,), "test": (_test,)},
        read=read,
        postprocess_fn=postprocess,
        metric_fns=[metrics.accuracy],
    )
