"""HellaSwag: which of four endings follows (Zellers et al., 2019); scored by likelihood.

    Roof shingle removal: A man is sitting on a roof. He starts pulling up roofing on a roof.

The prompt is the activity, a colon, and the context, whose second part (the beginning of the last sentence; WikiHow's
have none) begins with a capital. WikiHow's texts are cleaned of `[header]`, `[title]`, `[step]` and `[substeps]` the
usual way: a title ends the sentence before it with a full stop, even where it has one, and the marks are removed.
Other text in brackets stays, where lm-evaluation-harness drops it: that makes 13 of the 50,210 texts of the test split
differ.

The test split is the published validation file, as the published test file has no labels. An ending is scored after
the prompt, without an end of text. Reported: the percentage of contexts whose right ending has the highest log p, in
all, a token and a character.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pause_jax.tasks import metrics
from pause_jax.tasks.official import Example, File, Text, register

_URL = "https://raw.githubusercontent.com/rowanz/hellaswag/master/data/"
TRAIN = File("hellaswag/hellaswag_train.jsonl", _URL + "hellaswag_train.jsonl", records=39905)
VALID = File(
    "hellaswag/hellaswag_val.jsonl",
    _URL + "hellaswag_val.jsonl",
    "0aa3b88843990f3f10a97b9575c94d7b71fb2205240ba04ae4884d9e9c992588",
    records=10042,
)


def read(contexts: Text) -> Iterator[Example]:
    for number, record in contexts.json_lines():
        with contexts.at(f"line {number}"):
            begun = record["ctx_b"]
            context = without_marks(f"{record['ctx_a']} {begun[:1].upper()}{begun[1:]}")
            options = tuple(f" {without_marks(ending)}" for ending in record["endings"])
            right = int(record["label"])
            if len(options) != 4 or " " in options or not 0 <= right < 4:
                raise ValueError(
                    f"four endings with text and a label of 0 to 3 are wanted, not label {right} and "
                    f"{len(options)} endings"
                )
            yield Example(
                id=contexts.id_of(number),  # "ind" is not unique
                prompt=f"{record['activity_label'].strip()}: {context}",
                target=options[right],
                answers=(options[right].strip(),),
                group=record["source_id"],  # a video or an article
                options=options,
                label=right,
            )


def without_marks(text: str) -> str:
    """WikiHow's text without marks, a full stop before each title, white space at the ends off.

    >>> without_marks("[header] How to skip [title] Take a rope. [step] Jump.")
    'How to skip. Take a rope. Jump.'
    """
    return re.sub(r"\[(header|title|step|substeps)\] ?", "", text.replace(" [title]", ".")).strip()


register(
    "hellaswag",
    files={"train": (TRAIN,), "test": (VALID,)},
    read=read,
    metric_fns=[metrics.option_accuracy, metrics.option_accuracy_per_character],
)
