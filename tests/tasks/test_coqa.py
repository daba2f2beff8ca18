"""CoQA: the official development file, read whole; prompts turn by turn; files that are not as published."""

from __future__ import annotations

import doctest
import itertools
import json

import pytest

from pause_jax.errors import UserError
from pause_jax.tasks import coqa, official
from pause_jax.tasks.official import Text


def turns(*texts):
    return [{"input_text": text, "turn_id": i} for i, text in enumerate(texts, start=1)]


STORY = {
    "source": "cnn",
    "id": "s1",
    "story": " Ann ran.\nShe fell. ",
    "questions": turns("Who ran?", " Did\nshe fall? ", "Why?"),
    "answers": turns("Ann", "yes", "unknown"),
    "additional_answers": {"0": turns("Ann", "Yes", "unknown"), "1": turns("she", "she did", "no idea")},
}


def file(tmp_path, *, version="1.0", **change):
    """A file of one story; fields set to None are left out."""
    story = {key: value for key, value in (STORY | change).items() if value is not None}
    return Text(tmp_path / "coqa.json", json.dumps({"version": version, "data": [story]}))


def test_the_prompt_of_the_docstring():
    assert doctest.testmod(coqa) == doctest.TestResults(failed=0, attempted=1)


def test_the_official_test_file(data_dir):
    examples = official.examples("coqa", "test", str(data_dir))
    assert len(examples) == 7983 and len({example.id.split("/")[0] for example in examples}) == 500
    assert len({example.group for example in examples}) == 499  # one text has two conversations
    assert {len(example.answers) for example in examples} == {4}  # repeated ones are kept: each is left out in turn
    assert sum(example.answers[0].lower() == "unknown" for example in examples) == 66
    fourth = examples[3]
    assert fourth.id == "3dr23u6we5exclen4th8uq9rb42tel/4" and fourth.target == " with her mommy and 5 sisters"
    assert fourth.answers == ("with her mommy and 5 sisters", *["her mommy and 5 other sisters"] * 3)
    assert fourth.prompt.startswith("Once upon a time, in a barn near a farm house,")
    assert fourth.prompt.endswith(
        'I like being special".\n\nQ: What color was Cotton?\nA: white\nQ: Where did she live?\nA: in a barn\n'
        "Q: Did she live alone?\nA: no\nQ: Who did she live with?\nA:"
    )
    for earlier, later in itertools.pairwise(examples):
        if earlier.id.split("/")[0] == later.id.split("/")[0]:  # the next turn goes on from the gold answer
            assert later.prompt.startswith(f"{earlier.prompt} {official.clean(earlier.target)}\nQ: ")


def test_conversations_of_the_official_file(data_dir):
    """With the main answers as history, their prompts are those of the examples, in the same order."""
    talks = list(coqa.conversations(*official.texts("coqa", "test", str(data_dir))))
    assert len(talks) == 500
    prompts = {
        f"{talk.id}/{turn}": coqa.prompt(talk.story, talk.questions[: i + 1], [r[0] for r in talk.references[:i]])
        for talk in talks
        for i, turn in enumerate(talk.turn_ids)
    }
    examples = official.examples("coqa", "test", str(data_dir))
    assert list(prompts.items()) == [(example.id, example.prompt) for example in examples]


def test_a_turn_each(tmp_path):
    one, two, three = coqa.read(file(tmp_path))
    assert one.prompt == "Ann ran.\nShe fell.\n\nQ: Who ran?\nA:" and one.id == "s1/1"
    assert two.prompt == "Ann ran.\nShe fell.\n\nQ: Who ran?\nA: Ann\nQ: Did she fall?\nA:"
    assert two.answers == ("yes", "Yes", "she did") and two.target == " yes"
    assert three.prompt.endswith("Q: Did she fall?\nA: yes\nQ: Why?\nA:") and three.answers[0] == "unknown"
    assert {example.group for example in (one, two, three)} == {"Ann ran.\nShe fell."}


def test_the_training_file_has_one_answer_a_turn(tmp_path):
    assert [example.answers for example in coqa.read(file(tmp_path, additional_answers=None))] == [
        ("Ann",),
        ("yes",),
        ("unknown",),
    ]


def test_predicted_history(tmp_path):
    """What an evaluation does that puts its own answers where the gold ones were."""
    (talk,) = coqa.conversations(file(tmp_path))
    prompts = [coqa.prompt(talk.story, talk.questions[:2], [own]) for own in (" Bob\nQ: who? ", "Ann")]
    assert prompts[0] == "Ann ran.\nShe fell.\n\nQ: Who ran?\nA: Bob Q: who?\nQ: Did she fall?\nA:"
    assert prompts[1] == list(coqa.read(file(tmp_path)))[1].prompt
    with pytest.raises(ValueError):
        coqa.prompt(talk.story, talk.questions, ["Ann"])


def test_finetuning_wants_the_training_file(data_dir):
    if (data_dir / coqa.TRAIN.path).exists():
        pytest.skip("the training file is here")
    with pytest.raises(UserError) as caught:
        official.examples("coqa", "train", str(data_dir))
    assert str(caught.value) == (
        f"task 'coqa': finetuning on it needs {data_dir}/coqa/coqa-train-v1.0.json (or .gz), which is not there; "
        f"`python -m pause_jax prepare --download=coqa --data_dir={data_dir}` fetches it from "
        "https://nlp.stanford.edu/data/coqa/coqa-train-v1.0.json"
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"version": "2.0"}, "coqa.json is of version '2.0': get the file of version '1.0'"),
        ({"questions": None}, "coqa.json, story 1, is not as published: field 'questions' is missing"),
        ({"answers": turns("Ann", "yes")}, "story 1, is not as published: the turns of its answers are not those of"),
        ({"additional_answers": {"0": turns("Ann")}}, "story 1, is not as published: the turns of its answers are no"),
        ({"answers": [{"turn_id": i} for i in (1, 2, 3)]}, "story 1, is not as published: field 'input_text' is missi"),
        ({"story": 7}, "story 1, is not as published: "),
    ],
)
def test_files_that_are_not_as_published(tmp_path, change, sentence):
    with pytest.raises(UserError, match=sentence):
        list(coqa.read(file(tmp_path, **change)))


def test_a_part_of_the_file(tmp_path):
    (tmp_path / "coqa").mkdir()
    (tmp_path / coqa.TEST.path).write_text(file(tmp_path).text)
    with pytest.raises(UserError, match=r"coqa-dev-v1.0.json has 3 examples, but the published file has 7,983"):
        official.examples("coqa", "test", str(tmp_path))
