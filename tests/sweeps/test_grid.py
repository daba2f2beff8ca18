"""Axes and filters by small examples, and filters against their definition."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pause_jax.errors import UserError
from pause_jax.sweeps import grid

SIZES = {"small": {"num_layers": 2}, "large": {"num_layers": 4, "d_model": 256}}
BEFORE = {"pretrain.pauses.rate": [0.0, 0.1], "pretrain.size": ["small", "large"]}


def parse(stage, before=None):
    return grid.parse(stage, "config.finetune", SIZES, before or {}, follows=bool(before))


def kept(stage, **before):
    """The values of the points behind a run, without their fields."""
    known = {f"pretrain.{name.replace('__', '.')}": value for name, value in before.items()}
    made = parse(stage, BEFORE if before else None).after(known)
    return [tuple(value for axis in point for field, value in axis if not grid.is_condition(field)) for point in made]


GRID = (("seed", (0, 1)), ("pauses.rate", (0.0, 0.1, 0.2)))


def test_only_and_skip():
    assert kept({"axes": GRID}) == list(itertools.product((0, 1), (0.0, 0.1, 0.2)))
    only = ({"seed": 0, "pauses.rate": (0.0, 0.1)}, {"seed": 1, "pauses.rate": 0.2})
    assert kept({"axes": GRID, "filters": {"only": only}}) == [(0, 0.0), (0, 0.1), (1, 0.2)]
    skip = ({"pauses.rate": 0.0}, {"seed": 1, "pauses.rate": 0.1})
    assert kept({"axes": GRID, "filters": {"skip": skip}}) == [(0, 0.1), (0, 0.2), (1, 0.2)]
    assert kept({"axes": GRID, "filters": {"only": only, "skip": skip}}) == [(0, 0.1), (1, 0.2)]


def test_a_value_that_is_a_tuple_is_one_value():
    axes = (("finetune.m_ft", ((0,), (10,), (0, 10))),)
    assert kept({"axes": axes, "filters": {"skip": ({"finetune.m_ft": (0,)},)}}) == [((10,),), ((0, 10),)]
    assert kept({"axes": axes, "filters": {"skip": ({"finetune.m_ft": [0, 10]},)}}) == [((0,),), ((10,),)]
    assert kept({"axes": axes, "filters": {"only": ({"finetune.m_ft": ((0,), (0, 10))},)}}) == [((0,),), ((0, 10),)]


def test_filters_of_the_stage_before():
    stage = {
        "axes": (("finetune.placement", ("append", "filler")),),
        "filters": {"skip": ({"finetune.placement": "filler", "pretrain.pauses.rate": 0.1},)},
    }
    assert kept(stage, pauses__rate=0.0) == [("append",), ("filler",)]
    assert kept(stage, pauses__rate=0.1) == [("append",)]


def test_a_row_for_the_runs_of_one_size():
    rows = (("small", 1e-3), ("large", 1e-4), ("large", 1e-5))
    stage = {"axes": ((("pretrain.size", "optimizer.learning_rate"), rows), ("seed", (0,)))}
    assert kept(stage, size="small") == [(1e-3, 0)]
    assert kept(stage, size="large") == [(1e-4, 0), (1e-5, 0)]


values = st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True).map(tuple)
one_filter = st.dictionaries(st.sampled_from(["seed", "train.steps"]), values, min_size=1)


@given(values, values, st.lists(one_filter, max_size=3), st.lists(one_filter, max_size=3))
def test_filters_are_their_definition(seeds, steps, only, skip):
    axes = (("seed", seeds), ("train.steps", steps))
    by_field = dict(axes)
    only, skip = (
        [f for f in filters if all(set(them) <= set(by_field[name]) for name, them in f.items())]
        for filters in (only, skip)
    )

    def matches(point, wanted):
        return all(dict(zip(by_field, point, strict=True))[name] in them for name, them in wanted.items())

    expected = [
        point
        for point in itertools.product(seeds, steps)
        if (not only or any(matches(point, f) for f in only)) and not any(matches(point, f) for f in skip)
    ]
    assert kept({"axes": axes, "filters": {"only": tuple(only), "skip": tuple(skip)}}) == expected


@pytest.mark.parametrize(
    ("point", "label"),
    [
        (((("seed", 3),), (("pauses.rate", 0.1),)), "seed3-rate0.1"),
        (((("finetune.m_ft", (0, 10)),),), "m_ft0+10"),
        (((("data.files", "a/b c.txt"),),), "filesa_b_c.txt"),
        (((("data.files", "x" * 99),),), "files" + "x" * 40),
        (((("data.task", "c4"),), (("finetune.task", "gsm8k"),)), "data.taskc4-finetune.taskgsm8k"),
        (((("pretrain.size", "small"), ("finetune.task", "gsm8k"), ("finetune.max_prompt_length", 160)),), "taskgsm8k"),
        (((("finetune.m_ft", (24,)), ("train.steps", 3000)),), "m_ft24-steps3000"),
        (((("budget", ("model_flops", 1.23456e21)),),), "flops1.235e21"),
        (((("budget", ("steps", 190735)),), (("seed", 1),)), "steps190735-seed1"),
        (((("budget", ("text_tokens", 2e9)),),), "text_tokens2e09"),
    ],
)
def test_labels(point, label):
    assert grid.label(point) == label


@pytest.mark.parametrize(
    ("stage", "sentence"),
    [
        ({"axes": {"seed": 1}}, r"config\.finetune\.axes is \{'seed': 1\}, but must be a tuple of"),
        ({"axes": (("sise", ("small",)),)}, r"axes\[0\]: 'sise' is no config field: did you mean 'size'\?"),
        ({"axes": (("size", ("huge",)),)}, r"axes\[0\]: there is no size 'huge': config\.sizes has small, large"),
        ({"axes": (("size", ({},)),)}, r"axes\[0\]: there is no size \{\}"),
        ({"axes": ((3, (1,)),)}, r"axes\[0\] is \(3, \(1,\)\), but must be \(field, \(value, value"),
        ({"axes": (((3, "seed"), ((1, 1),)),)}, r"axes\[0\]: 3 is no config field"),
        ({"axes": (("budget", (("model_flops", 10**400),)),)}, r"budget \('model_flops', 10+\) must be"),
        ({"axes": (("budget", (([], 4),)),)}, r"budget \(\(\), 4\) must be"),
        ({"axes": (("pretrain.seed", (1,)),)}, r"axes\[0\]: 'pretrain\.seed' is no config field"),
        (
            {"axes": (("seed", (0,)), ("seed", (1,)))},
            r"axes\[0\] and config\.finetune\.axes\[1\]: 'seed' would vary seed twice",
        ),
        (
            {"axes": (("size", ("small",)), ("model.d_model", (64,)))},
            r"axes\[0\] and config\.finetune\.axes\[1\]: 'size' and 'model\.d_model' would vary model\.d_model twice",
        ),
        (
            {"axes": ((("budget", "train.steps"), ((("steps", 5), 6),)),)},
            r"axes\[0\]: 'budget' and 'train\.steps' would vary train\.steps twice",
        ),
        (
            {"axes": (("budget", (("tokens", 5),)),)},
            r"budget \('tokens', 5\) must be a kind of steps, text_tokens, mod",
        ),
        ({"axes": (("budget", (("steps", 0),)),)}, r"budget \('steps', 0\) must be .* and a number above 0"),
        ({"axes": (("budget", (("steps", float("nan")),)),)}, r"budget \('steps', nan\) must be"),
        ({"axes": (("budget", (100,)),)}, r"axes\[0\]: the budget 100 must be"),
        ({"axes": GRID, "filters": ()}, None),
        ({"axes": GRID, "filters": 3}, r"config\.finetune\.filters is 3, but must have only, skip or both"),
        ({"axes": GRID, "filters": {"onyl": ()}}, r"config\.finetune\.filters\.onyl is no filter: there are only and"),
        (
            {"axes": GRID, "filters": {"only": {"seed": 0}}},
            r"filters\.only is \{'seed': 0\}, but must be a tuple of di",
        ),
        (
            {"axes": GRID, "filters": {"skip": ({"seed": 0}, {"pauses.rat": 0.1})}},
            r"config\.finetune\.filters\.skip\[1\]: no axis varies 'pauses\.rat': did you mean 'pauses\.rate'\?",
        ),
        (
            {"axes": GRID, "filters": {"only": ({"pauses.rate": (0.1, 0.3)},)}},
            r"filters\.only\[0\]: 'pauses\.rate' never is 0\.3, but one of 0\.0, 0\.1, 0\.2",
        ),
    ],
)
def test_mistakes(stage, sentence):
    if sentence is None:
        assert len(parse(stage).after({})) == 6
        return
    with pytest.raises(UserError, match=sentence) as error:
        parse(stage)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("stage", "sentence"),
    [
        (
            {"axes": (("size", ("small",)),)},
            r"axes\[0\]: the size is that of the run before: vary it in config\.pretrain",
        ),
        ({"axes": (("pretrain.size", ("small",)),)}, r"axes\[0\] varies nothing of its own stage"),
        (
            {"axes": ((("pretrain.size", "seed"), (("huge", 1),)),)},
            r"axes\[0\]: 'pretrain\.size' never is 'huge', but one of 'small', 'large'",
        ),
        (
            {"filters": {"skip": ({"pretrain.pauses.rate": 0.2},)}},
            r"filters\.skip\[0\]: 'pretrain\.pauses\.rate' never is 0\.2, but one of 0\.0, 0\.1",
        ),
    ],
)
def test_mistakes_behind_another_stage(stage, sentence):
    with pytest.raises(UserError, match=sentence):
        parse(stage, BEFORE)


@pytest.mark.parametrize(
    ("sizes", "sentence"),
    [
        (("small",), r"config\.sizes is \('small',\), but must be names and the fields"),
        ({"small": 2}, r"config\.sizes\.small is 2, but must be fields of config\.model"),
        ({"small": {"num_layer": 2}}, r"config\.sizes\.small\.num_layer is no field .*: did you mean 'num_layers'\?"),
    ],
)
def test_sizes_that_cannot_be(sizes, sentence):
    with pytest.raises(UserError, match=sentence):
        grid.parse_sizes(sizes)
