"""Metrics of written answers: the official scripts' rules by hand, and their algorithms written a second time."""

from __future__ import annotations

import collections
import doctest
import gzip
import itertools
import json
import re
import string
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pause_jax.tasks import answer_metrics
from pause_jax.tasks.answer_metrics import (
    coqa_f1,
    coqa_token_f1,
    exact_match_and_f1,
    final_number,
    leave_one_out,
    normalize,
    nq_exact_match_and_f1,
    rouge1,
    token_f1,
)

WORDS = st.sampled_from(["the", "a", "An", "cat", "Cat's", "hat", "24–10", "...", "é", "", "no"])
TEXTS = st.one_of(st.lists(WORDS, max_size=5).map(" ".join), st.text(max_size=8))


def target(*answers):
    return [{"answers": list(answers)}]


def squad_by_its_script(dataset, predictions):
    """evaluate-v1.1.py's algorithm: for each question the best over its answers, repeated ones too; the mean of all."""
    punctuation = set(string.punctuation)

    def normalized(text):
        text = "".join(character for character in text.lower() if character not in punctuation)
        return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())

    def f1(prediction, answer):
        left, common = prediction.split(), 0
        for word in answer.split():
            if word in left:
                left.remove(word)
                common += 1
        if common == 0:
            return 0
        precision, recall = common / len(prediction.split()), common / len(answer.split())
        return 2 * precision * recall / (precision + recall)

    questions = [q for article in dataset for paragraph in article["paragraphs"] for q in paragraph["qas"]]
    em_total = f1_total = 0
    for question in questions:
        prediction = normalized(predictions[question["id"]])
        answers = [normalized(answer["text"]) for answer in question["answers"]]
        em_total += max(prediction == answer for answer in answers)
        f1_total += max(f1(prediction, answer) for answer in answers)
    return {"em": 100.0 * em_total / len(questions), "f1": 100.0 * f1_total / len(questions)}


def coqa_by_its_script(references, prediction):
    """evaluate-v1.0.py's score of a turn: F1 against all references but one, the best of them, mean over the one."""

    def tokens(text):
        text = "".join(c for c in text.lower() if c not in set(string.punctuation))
        return re.sub(r"\b(a|an|the)\b", " ", text).split()

    def f1(reference):
        common = sum((collections.Counter(tokens(reference)) & collections.Counter(tokens(prediction))).values())
        if not tokens(reference) or not tokens(prediction):
            return int(tokens(reference) == tokens(prediction))
        if not common:
            return 0
        precision, recall = common / len(tokens(prediction)), common / len(tokens(reference))
        return 2 * precision * recall / (precision + recall)

    if len(references) == 1:
        return f1(references[0])
    without = [references[:i] + references[i + 1 :] for i in range(len(references))]
    return sum(max(f1(reference) for reference in others) for others in without) / len(references)


def test_examples_of_the_docstrings():
    result = doctest.testmod(answer_metrics)
    assert result.attempted >= 6 and result.failed == 0


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The U.S.A.", "usa"),
        ("an apple a day", "apple day"),
        ("theatre", "theatre"),  # an article within a word is none
        ("The", ""),
        ("rock-and-roll", "rockandroll"),  # punctuation leaves no space
        ("the-cat", "thecat"),  # and goes before the articles
        ("24–10", "24–10"),  # an en dash is not ASCII punctuation
        ("“Hope”", "“hope”"),
        ("Beyoncé’s  \u00a0 hat\n", "beyoncé’s hat"),
        ("$1,050.50", "105050"),
        ("", ""),
    ],
)
def test_normalization_by_hand(text, normal):
    assert normalize(text) == normal


@pytest.mark.parametrize(
    ("answer", "prediction", "f1"),
    [
        ("cat sat down", "the cat sat", 0.8),  # 2 of 2, 2 of 3
        ("no", "No, no!", 2 / 3),  # a word counts as often as both have it
        ("Denver Broncos", "Carolina Panthers", 0),
        ("Denver Broncos", "", 0),
        ("the", "a", 0),  # both empty: equal, and yet SQuAD's F1 is 0
    ],
)
def test_f1_by_hand(answer, prediction, f1):
    assert token_f1(answer, prediction) == pytest.approx(f1)


def test_exact_match_of_texts_that_are_empty_when_normalized():
    assert exact_match_and_f1(target("The"), [""]) == {"em": 100.0, "f1": 0.0}


def test_the_best_answer_counts_for_each_metric_by_itself():
    both = target("the big red cat", "dog")
    assert exact_match_and_f1(both, ["red cat"])["f1"] == pytest.approx(80)
    assert exact_match_and_f1(both, ["dog"]) == {"em": 100.0, "f1": 100.0}
    assert exact_match_and_f1(both * 3, ["red cat", "dog", "x"]) == pytest.approx({"em": 100 / 3, "f1": 180 / 3})


@given(TEXTS, TEXTS)
def test_properties_of_normalization_and_f1(a, b):
    assert normalize(normalize(a)) == normalize(a)
    assert token_f1(a, b) == pytest.approx(token_f1(b, a)) and 0 <= token_f1(a, b) <= 1
    same_words = sorted(normalize(a).split()) == sorted(normalize(b).split())
    assert (token_f1(a, b) == 1) == (same_words and normalize(a) != "")


@given(st.lists(TEXTS, min_size=1, max_size=4), TEXTS, TEXTS)
def test_further_answers_never_hurt_and_repeated_ones_change_nothing(answers, more, prediction):
    before, after = (
        exact_match_and_f1(target(*answers), [prediction]),
        exact_match_and_f1(target(*answers, more), [prediction]),
    )
    assert after["em"] >= before["em"] and after["f1"] >= before["f1"]
    assert exact_match_and_f1(target(*answers, *answers), [prediction]) == before


def test_squad_dev_as_its_official_script_has_it(data_dir):
    """The file's answers as they are, against the task's; predictions right, wrong, nearly right and empty."""
    from pause_jax.tasks import official

    dataset = json.loads(gzip.decompress((data_dir / "squad/dev-v1.1.json.gz").read_bytes()))["data"]
    examples = official.examples("squad_v1", "test", str(data_dir))
    targets = [{"answers": list(example.answers)} for example in examples]
    ways = itertools.cycle(
        [
            lambda e: e.target,
            lambda e: f"The {e.answers[-1]}!",
            lambda e: " ".join(e.prompt.split()[-12:-1]),
            lambda e: e.target[: len(e.target) // 2],
            lambda e: "",
        ]
    )
    mixed = [way(example) for way, example in zip(ways, examples, strict=False)]
    by_id = {example.id: text for example, text in zip(examples, mixed, strict=True)}
    assert exact_match_and_f1(targets, mixed) == pytest.approx(squad_by_its_script(dataset, by_id))
    assert 30 < exact_match_and_f1(targets, mixed)["em"] < 60
    assert exact_match_and_f1(targets, [example.target for example in examples]) == {"em": 100.0, "f1": 100.0}


def test_nq_compares_decomposed_text():
    composed, decomposed = "Beyonc\u00e9", "Beyonce\u0301"
    assert exact_match_and_f1(target(composed), [decomposed])["em"] == 0
    for answer, prediction in ((composed, decomposed), (decomposed, composed)):
        assert nq_exact_match_and_f1(target("x", answer), [prediction]) == {"em": 100.0, "f1": 100.0}
    assert nq_exact_match_and_f1(target("14 December 1972 UTC", "December 1972"), ["december, 1972"])["em"] == 100.0


@given(st.lists(TEXTS, min_size=1, max_size=3), TEXTS)
def test_nq_is_squad_on_decomposed_text(answers, prediction):
    decomposed = [unicodedata.normalize("NFD", answer) for answer in answers]
    assert nq_exact_match_and_f1(target(*answers), [prediction]) == exact_match_and_f1(
        target(*decomposed), [unicodedata.normalize("NFD", prediction)]
    )


@pytest.mark.parametrize(
    ("references", "prediction", "em", "f1"),
    [
        (["white", "white", "white", "white"], "White.", 100, 100),
        (["in a barn", "in a barn", "a barn", "barn"], "barn", 100, 100),
        (["in the barn", "barn", "house", "hut"], "barn", 75, 75 + 25 * 2 / 3),  # without "barn", "in barn" is best
        (["yes", "no", "no", "maybe"], "yes", 75, 75),  # without "yes" nothing is right
        (["unknown", "unknown", "unknown", "no"], "unknown", 100, 100),  # a turn without an answer in the story
        (["unknown", "unknown", "unknown", "unknown"], "", 0, 0),
        (["a", "the", "an", "the"], "", 100, 100),  # all empty when normalized: they agree
        (["a", "white", "white", "white"], "", 75, 75),
        (["white", "white"], "the", 0, 0),
        (["white cat"], "cat", 0, 200 / 3),  # a single reference, as in the training file
    ],
)
def test_coqa_by_hand(references, prediction, em, f1):
    assert coqa_f1(target(*references), [prediction]) == pytest.approx({"em": em, "f1": f1})


def test_coqa_is_the_mean_over_turns():
    targets = [*target("yes", "yes"), *target("no"), *target("hill", "up")]
    assert coqa_f1(targets, ["yes", "yes", "hill"]) == pytest.approx({"em": 50.0, "f1": 50.0})


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_leaving_one_out(scores):
    direct = sum(max(scores[:i] + scores[i + 1 :]) for i in range(len(scores))) / len(scores)
    assert leave_one_out(scores) == pytest.approx(direct)


@given(st.lists(TEXTS, min_size=1, max_size=4), TEXTS)
def test_coqa_as_its_official_script_has_it(references, prediction):
    assert coqa_f1(target(*references), [prediction])["f1"] == pytest.approx(
        100 * coqa_by_its_script(references, prediction)
    )


def test_people_on_coqa_dev(data_dir):
    """Each annotator against the others gives the F1 that Reddy et al. (2019) report for people, on the same file."""
    stories = json.loads(gzip.decompress((data_dir / "coqa/coqa-dev-v1.0.json.gz").read_bytes()))["data"]
    scores = collections.defaultdict(list)
    for story in stories:
        for answers in zip(story["answers"], *story["additional_answers"].values(), strict=True):
            texts = [answer["input_text"] for answer in answers]
            best = [max(coqa_token_f1(a, b) for a in texts[:i] + texts[i + 1 :]) for i, b in enumerate(texts)]
            for name in (story["source"], "all"):
                scores[name].append(sum(best) / len(best))
    got = {name: round(100 * sum(values) / len(values), 1) for name, values in scores.items()}
    published = {"mctest": 90.7, "gutenberg": 88.3, "race": 89.1, "cnn": 89.9, "wikipedia": 90.9, "all": 89.8}
    assert got == published


GSM8K = re.compile(r"#### (\-?[0-9\.\,]+)")  # the official expression


def gsm8k_by_its_script(answer, completion):
    def extracted(text):
        match = GSM8K.search(text)
        return match.group(1).strip().replace(",", "") if match else "[invalid]"

    return extracted(completion) == extracted(f"#### {answer}")


@pytest.mark.parametrize(
    ("answer", "completion", "right"),
    [
        ("72", "48 + 24 = 72\n#### 72", True),
        ("72", "#### 72 clips", True),
        ("1,050", "#### 1050", True),
        ("1050", "#### 1,0,50", True),
        ("-3", "#### -3", True),
        ("-3", "#### 3", False),
        ("3", "#### - 3", False),
        ("72", "#### 72.", False),  # compared as text
        ("72", "#### 72.0", False),
        ("72", "####72", False),  # the space is wanted
        ("72", "#### $72", False),
        ("72", "The answer is 72", False),
        ("72", "", False),
        ("72", "#### 72\n#### 73", True),  # the first counts
        ("72", "#### 73\n#### 72", False),
        ("72", "#### , 72", False),
    ],
)
def test_final_number_by_hand(answer, completion, right):
    assert final_number(target(answer), [completion]) == {"accuracy": 100.0 * right}
    assert gsm8k_by_its_script(answer, completion) == right


@given(
    st.integers(-5000, 5000).flatmap(lambda n: st.sampled_from([str(n), f"{n:,}"])),
    st.lists(st.sampled_from(["#### ", "####", "-", "7", "12", ",", ".", " ", "\n", "x"]), max_size=8).map("".join),
)
def test_final_number_as_the_official_script_has_it(answer, text):
    for completion in (text, f"#### {answer}", f"{text}\n#### {answer}"):
        assert final_number(target(answer), [completion])["accuracy"] == 100.0 * gsm8k_by_its_script(answer, completion)


def test_rouge1_by_hand():
    targets = [{"solution": "She sold 24 clips."}, {"solution": "one two"}, {"solution": "a"}]
    got = rouge1(targets, ["she sold 48", "two one one one", ""])["rouge1"]
    assert got == pytest.approx(100 * (4 / 7 + 4 / 6 + 0) / 3)  # 2 of 3 and 4; 2 of 4 and 2; none


@pytest.mark.parametrize("metric", [exact_match_and_f1, nq_exact_match_and_f1, coqa_f1, final_number])
def test_as_many_predictions_as_targets(metric):
    with pytest.raises(ValueError):
        metric(target("1", "2") * 2, ["1"])
