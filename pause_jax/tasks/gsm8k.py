"""GSM8K: grade school mathematics (Cobbe et al., 2021; openai/grade-school-math).

The target is the whole worked solution without its calculator marks (`<<48/2=24>>`), ending in `#### 72`. What is
scored is the number behind `####`; Rouge-1 compares the whole text with the reference solution.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pause_jax.tasks import answer_metrics
from pause_jax.tasks.official import Example, File, Text, register

_URL = "https://raw.githubusercontent.com/openai/grade-school-math/3101c7d5072418e28b9008a6636bde82a006892c/"
TRAIN = File(
    "gsm8k/train.jsonl",
    _URL + "grade_school_math/data/train.jsonl",
    "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465",
    records=7473,
)
TEST = File(
    "gsm8k/test.jsonl",
    _URL + "grade_school_math/data/test.jsonl",
    "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
    records=1319,
)


def read(problems: Text) -> Iterator[Example]:
    for number, record in problems.json_lines():
        with problems.at(f"line {number}"):
            solution = re.sub(r"<<[^>]*>>", "", record["answer"])
            final = re.search(r"#### (-?[0-9.,]+)$", solution)
            if final is None:
                raise ValueError("the answer has no number behind ####")
            yield Example(
                id=problems.id_of(number),
                prompt=f"Question: {record['question'].strip()}\nAnswer:",
                target=f" {solution}",
                answers=(final[1],),
                group=record["question"],
            )


def postprocess(text: str, example: Mapping[str, Any], is_target: bool = False) -> Any:
    """{"answers": [the number], "solution": text} of a target; a prediction as it is."""
    if not is_target:
        return text
    return {"answers": [example["answers"][0].decode()], "solution": text.strip()}


register(
    "gsm8k",
    files={"train": (TRAIN,), "test": (TEST,)},
    read=read,
    postprocess_fn=postprocess,
    metric_fns=[answer_metrics.final_number, answer_metrics.rouge1],
)
