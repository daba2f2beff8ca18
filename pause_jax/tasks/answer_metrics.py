"""Metrics of generated answers, as the official scripts of the data sets compute them; percentages are 0 to 100.

In SeqIO's form: (targets, predictions) → {name: value}, where a target is {"answers": [str, …], …} and a prediction
a string.
"""

from __future__ import annotations

import collections
import re
import string
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

Target = Mapping[str, Any]


def exact_match_and_f1(targets: Sequence[Target], predictions: Sequence[str]) -> dict[str, float]:
    """Exact match and token F1 of SQuAD v1.1's official script: the best over an example's answers, the mean of all.

    >>> exact_match_and_f1([{"answers": ["the Broncos", "Denver Broncos"]}], ["Broncos!"])
    {'em': 100.0, 'f1': 100.0}
    """
    pairs = list(zip(targets, predictions, strict=True))
    em = sum(max(normalize(a) == normalize(p) for a in t["answers"]) for t, p in pairs)
    f1 = sum(max(token_f1(a, p) for a in t["answers"]) for t, p in pairs)
    return {"em": 100.0 * em / len(pairs), "f1": 100.0 * f1 / len(pairs)}


def normalize(answer: str) -> str:
    """Lower case, without punctuation, articles and runs of white space, in the order of SQuAD's script.

    >>> normalize("The  cat's  (big) hat")
    'cats big hat'
    """
    lower = "".join(c for c in answer.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", lower).split())


def token_f1(answer: str, prediction: str) -> float:
    """F1 of the two normalized texts' words as multisets; 0 where they share none."""
    ours, theirs = normalize(prediction).split(), normalize(answer).split()
    same = sum((collections.Counter(ours) & collections.Counter(theirs)).values())
    if not same:
        return 0.0
    precision, recall = same / len(ours), same / len(theirs)
    return 2 * precision * recall / (precision + recall)


def nq_exact_match_and_f1(targets: Sequence[Target], predictions: Sequence[str]) -> dict[str, float]:
    """Exact match of NQ-Open's official script: SQuAD's, on decomposed text (NFD). Its F1 is SQuAD's on the same."""
    decomposed = [{"answers": [unicodedata.normalize("NFD", a) for a in t["answers"]]} for t in targets]
    return exact_match_and_f1(decomposed, [unicodedata.normalize("NFD", p) for p in predictions])


def coqa_f1(targets: Sequence[Target], predictions: Sequence[str]) -> dict[str, float]:
    """Exact match and F1 of CoQA's official script: each reference left out in turn, means over turns.

    >>> coqa_f1([{"answers": ["on a hill", "hill", "the hill"]}], ["a hill"])  # exact; F1 of the first is 2/3
    {'em': 100.0, 'f1': 100.0}
    >>> coqa_f1([{"answers": ["hill", "up"]}], ["a hill"])  # without the first, none is like it
    {'em': 50.0, 'f1': 50.0}
    """
    pairs = list(zip(targets, predictions, strict=True))
    em = sum(leave_one_out([float(normalize(a) == normalize(p)) for a in t["answers"]]) for t, p in pairs)
    f1 = sum(leave_one_out([coqa_token_f1(a, p) for a in t["answers"]]) for t, p in pairs)
    return {"em": 100.0 * em / len(pairs), "f1": 100.0 * f1 / len(pairs)}


def leave_one_out(scores: Sequence[float]) -> float:
    """The best score with one score left out, averaged over which one is left out; a single score is itself.

    >>> leave_one_out([0.0, 1.0, 0.25, 0.5])  # (1 + 0.5 + 1 + 1) / 4
    0.875
    """
    if len(scores) == 1:
        return scores[0]
    *_, second, best = sorted(scores)
    return ((len(scores) - 1) * best + second) / len(scores)


def coqa_token_f1(answer: str, prediction: str) -> float:
    """As `token_f1`; but where either has no word after normalization, 1 if neither has, else 0."""
    if not normalize(answer) or not normalize(prediction):
        return float(normalize(answer) == normalize(prediction))
    return token_f1(answer, prediction)


def final_number(targets: Sequence[Target], predictions: Sequence[str]) -> dict[str, float]:
    """Percentage whose number behind the first `####` is the target's (GSM8K's `is_correct`), commas aside.

    A prediction without `####` and a number behind it is wrong.

    >>> final_number([{"answers": ["1,050"]}, {"answers": ["-3"]}], ["5 * 210 = 1050\\n#### 1050", "#### 3"])
    {'accuracy': 50.0}
    """
    right = sum(
        _number(f"#### {target['answers'][0]}") == (_number(text) or "none")
        for target, text in zip(targets, predictions, strict=True)
    )
    return {"accuracy": 100.0 * right / len(targets)}


def _number(text: str) -> str | None:
    match = re.search(r"#### (\-?[0-9\.\,]+)", text)
    return match[1].strip().replace(",", "") if match else None


def rouge1(targets: Sequence[Target], predictions: Sequence[str]) -> dict[str, float]:
    """Rouge-1 F-measure (package rouge-score, no stemming) between the prediction and the target's `solution`, mean."""
    from rouge_score import rouge_scorer  # imports nltk: a second

    scorer = rouge_scorer.RougeScorer(["rouge1"])
    scores = [
        scorer.score(target["solution"], text)["rouge1"].fmeasure
        for target, text in zip(targets, predictions, strict=True)
    ]
    return {"rouge1": 100.0 * sum(scores) / len(scores)}
