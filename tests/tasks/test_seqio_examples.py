"""Examples of real SeqIO tasks, as the evaluator gets them."""

from __future__ import annotations

import pytest

from pause_jax.errors import UserError
from pause_jax.tasks import official, seqio_examples


def test_a_task_with_options():
    got = seqio_examples.read_examples("count_parity_6", vocabulary="byte", split="test", limit=50)
    assert len(got.prompts) == 50 and len(got.texts[0]) == 8
    for text, prompt, target, label, options in zip(
        got.texts, got.prompts, got.targets, got.labels, got.options, strict=True
    ):
        assert prompt == [byte + 3 for byte in text.encode()]
        assert target == str(text.count("1") % 2) == str(label)
        assert options == [[ord("0") + 3], [ord("1") + 3]]
    assert got.predict_metrics[0](got.targets, got.targets) == {"accuracy": 100.0}
    assert len(got.score_metrics) == 1
    assert got.postprocess("x", 0) == "x"
    assert got.ids == list(range(50)) and got.label == "count_parity_6.test.first50"
    again = seqio_examples.read_examples("count_parity_6", vocabulary="byte", split="test", limit=50)
    fewer = seqio_examples.read_examples("count_parity_6", vocabulary="byte", split="test", limit=49)
    assert got.fingerprint() == again.fingerprint() != fewer.fingerprint()


def test_a_task_without_options():
    got = seqio_examples.read_examples("addition_2", vocabulary="byte", split="validation")
    assert len(got.prompts) == 2048 and not got.options and not got.labels and not got.score_metrics


@pytest.mark.parametrize(
    ("name", "split", "sentence"),
    [
        ("none", "test", "there is no task 'none'"),
        ("recall_2", "dev", "task 'recall_2' has no split 'dev'; it has train"),
    ],
)
def test_mistakes(name, split, sentence):
    with pytest.raises(UserError, match=sentence):
        seqio_examples.read_examples(name, vocabulary="byte", split=split)


def test_an_official_task_has_its_own_ids(data_dir):
    got = seqio_examples.read_examples("gsm8k", vocabulary="byte", split="test", data_dir=str(data_dir), limit=3)
    assert got.ids == ["test-1", "test-2", "test-3"] and got.label == "gsm8k.test.first3"
    assert got.targets[0]["answers"] == ["18"]
    with pytest.raises(UserError, match="'gsm8k' has no conversations"):
        seqio_examples.read_examples(
            "gsm8k", vocabulary="byte", split="test", data_dir=str(data_dir), limit=3, history="predicted"
        )


def test_ids():
    assert seqio_examples._ids([{"id": b"a"}, {"id": b"b/1"}], "split") == ["a", "b/1"]
    with pytest.raises(UserError, match=r"^split 'x' has the id 'a' twice"):
        seqio_examples._ids([{"id": b"a"}, {"id": b"b"}, {"id": b"a"}], "split 'x'")


def test_which_official_tasks_are_at_hand(tmp_path, monkeypatch):
    """Unzipped, zipped, another file in its place, one of two files, none, and a task without such a split."""

    def file(name, instead=None):
        return official.File(name, "https://example.org", instead=instead)

    sources = {
        "plain": {"test": (file("a"),), "train": (file("none"),)},
        "zipped": {"test": (file("b"),)},
        "instead": {"test": (file("none", file("a")),)},
        "half": {"test": (file("a"), file("none"))},
        "absent": {"test": (file("none"),)},
        "no_test": {"train": (file("a"),)},
    }
    known = {name: official.Source(name, files, lambda text: iter(())) for name, files in sources.items()}
    monkeypatch.setattr(official, "_SOURCES", known)
    (tmp_path / "a").touch()
    (tmp_path / "b.gz").touch()
    there, missing = seqio_examples.at_hand("test", str(tmp_path))
    assert there == ["plain", "zipped", "instead"] and missing == ["half", "absent", "no_test"]
    assert seqio_examples.at_hand("validation", str(tmp_path))[0] == ["no_test"]
    assert seqio_examples.at_hand("test", "")[0] == []


TURNS = {
    "a/1": "Snow.\n\nQ: Cold?\nA:",
    "b/7": "Rain.\n\nQ: Wet?\nA:",
    "a/2": "Snow.\n\nQ: Cold?\nA: very\nQ: White?\nA:",
    "a/3": "Snow.\n\nQ: Cold?\nA: very\nQ: White?\nA: yes, it is\nQ: Why?\nA:",
}


def test_conversations_with_predicted_answers():
    made = seqio_examples._conversations("talk", list(TURNS), list(TURNS.values()))
    assert made["rounds"] == [[0, 1], [2], [3]]
    assert [made["render"](i, {0: "very", 2: " yes, it is "}) for i in range(4)] == list(TURNS.values())
    assert made["render"](3, {0: " no\nnot at all", 2: ""}) == (
        "Snow.\n\nQ: Cold?\nA: no not at all\nQ: White?\nA: \nQ: Why?\nA:"
    )


@pytest.mark.parametrize("texts", [["Q: 1?", "Q: 2?"], ["Q: 1?", "Q: 1? no"], ["Q: 1?", "Q: 1?no\nQ"]])
def test_no_conversation(texts):
    with pytest.raises(UserError, match="task 'plain' has no conversations"):
        seqio_examples._conversations("plain", ["a/1", "a/2"], texts)
