import dataclasses
import json

import pytest

from pause_jax import config as configs
from pause_jax.config import Config, from_config_dict
from pause_jax.errors import UserError


def changed(**values):
    """The defaults as nested dicts, with fields named `a__b` changed."""
    tree = configs.default_values()
    for name, value in values.items():
        *sections, last = name.split("__")
        node = tree
        for section in sections:
            node = node[section]
        node[last] = value
    return tree


def test_round_trip_through_config_dict_and_json():
    config = from_config_dict(changed(train__steps=7, run__mesh__fsdp=2, model__num_pause_tokens=1, pauses__rate=0.1))
    assert from_config_dict(configs.to_dict(config)) == config
    assert from_config_dict(json.loads(json.dumps(configs.to_dict(config)))) == config


def test_a_whole_number_is_a_float_but_not_the_other_way_round():
    assert from_config_dict(changed(optimizer__learning_rate=1)).optimizer.learning_rate == 1.0
    with pytest.raises(UserError, match=r"config\.train\.steps is 1\.5, but must be of type int"):
        from_config_dict(changed(train__steps=1.5))


@pytest.mark.parametrize(
    "values, sentence",
    [
        ({"train__stepz": 3}, r"config\.train\.stepz is no field of the config; config\.train has batch_size, steps"),
        ({"train__steps": True}, r"config\.train\.steps is True, but must be of type int"),
        ({"train__steps": 0}, r"config\.train\.steps is 0, but must be at least 1"),
        ({"model__mlp": "selu"}, r"config\.model\.mlp is 'selu', but must be one of 'gelu', .*'swiglu'"),
        ({"model__num_heads": 3}, r"config\.model\.d_model = 128 is not divisible by config\.model\.num_heads = 3"),
        ({"model__num_kv_heads": 3}, r"num_heads = 4 is not divisible by config\.model\.num_kv_heads = 3"),
        ({"model__positions": "rope", "model__head_dim": 3}, r"needs an even head size, but it is 3"),
        (
            {"pauses__rate": 0.1},
            r"config\.pauses\.rate = 0\.1 inserts pauses, but config\.model\.num_pause_tokens = 0",
        ),
        ({"pauses__rate": float("nan")}, r"config\.pauses\.rate is nan"),
        (
            {"pauses__rate": 1.0, "model__num_pause_tokens": 1, "data__length": 32},
            r"rate = 1\.0 puts 32 pauses into config\.data\.length = 32 positions",
        ),
        (
            {"pauses__rate": float("inf"), "model__num_pause_tokens": 1},
            r"config\.pauses\.rate is inf, but must be a number of at most 3\.4",
        ),
        ({"pauses__max_rate": -0.1}, r"config\.pauses\.max_rate is -0\.1, but must be in \[0, 1\]"),
        (
            {"pauses__max_rate": 0.1},
            r"config\.pauses\.max_rate = 0\.1 inserts pauses, but config\.model\.num_pause_tokens = 0",
        ),
        (
            {"pauses__rate": 0.2, "pauses__max_rate": 0.1, "model__num_pause_tokens": 1},
            r"max_rate = 0\.1 is not more than config\.pauses\.rate = 0\.2",
        ),
        (
            {"pauses__rate": 0.1, "pauses__max_rate": 0.2, "model__num_pause_tokens": 1, "pauses__mode": "exact"},
            r"max_rate = 0\.2 draws each block's number of pauses, but with config\.pauses\.mode = 'exact'",
        ),
        (
            {"pauses__rate": 0.1, "pauses__max_rate": 1.0, "model__num_pause_tokens": 1, "data__length": 32},
            r"max_rate = 1\.0 puts 32 pauses into config\.data\.length = 32 positions",
        ),
        ({"pauses__policy": "random"}, r"config\.pauses\.policy is 'random', but must be one of 'uniform', 'boundary'"),
        ({"pauses__policy": "burst"}, r"'burst' wants the length of its runs, but config\.pauses\.burst is 0"),
        ({"pauses__policy": "burst", "pauses__burst": -2}, r"config\.pauses\.burst is -2"),
        ({"pauses__burst": 4}, r"burst = 4 is the length of runs, but config\.pauses\.policy = 'uniform' has none"),
        (
            {"pauses__policy": "fixed", "pauses__boundary": "sentence"},
            r"boundary = 'sentence' is for boundaries, but config\.pauses\.policy = 'fixed' knows none",
        ),
        ({"data__length": 513}, r"config\.data\.length = 513 is more than config\.model\.max_positions = 512"),
        ({"optimizer__b1": 1.0}, r"config\.optimizer\.b1 is 1\.0, but must be in \[0, 1\)"),
        ({"run__accumulation": 5}, r"batch_size = 32 is not divisible by config\.run\.accumulation = 5"),
        ({"run__mesh__data": 0}, r"config\.run\.mesh\.data is 0"),
        ({"run__mesh__fsdp": -1}, r"more than one -1"),
        (
            {"finetune__m_ft": (3,)},
            r"m_ft = \(3,\) appends pauses, but config\.finetune\.task is empty",
        ),
        ({"finetune__m_ft": (1, -1)}, r"config\.finetune\.m_ft is \(1, -1\), but must be numbers of pauses, 0 or more"),
        ({"finetune__m_ft": (1.5,)}, r"config\.finetune\.m_ft\[0\] is 1\.5, but must be of type int"),
        ({"finetune__m_ft": ()}, r"config\.finetune\.m_ft is \(\)"),
        (
            {"finetune__m_ft": (3,), "finetune__task": "t"},
            r"m_ft = \(3,\) gives pauses to prompts, but config\.model",
        ),
        ({"finetune__target_length": 0}, r"config\.finetune\.target_length is 0"),
        (
            {"finetune__task": "t", "finetune__max_prompt_length": 500},
            r"max_prompt_length \+ m_ft \+ target_length - 1 = 531 is more than config\.model\.max_positions = 512",
        ),
        ({"optimizer__decay_from": 1.5}, r"config\.optimizer\.decay_from is 1\.5"),
        ({"run": 3}, r"config\.run is 3, but is a section"),
        ({"seed": -1}, r"config\.seed is -1"),
    ],
)
def test_mistakes_are_named(values, sentence):
    with pytest.raises(UserError, match=sentence):
        from_config_dict(changed(**values))


def test_missing_field_is_named():
    tree = configs.to_dict(Config())
    del tree["data"]["length"]
    with pytest.raises(UserError, match=r"config\.data\.length is missing"):
        from_config_dict(tree)


def test_identity_is_the_config_without_run_and_steps_plus_the_data():
    base, data = from_config_dict(changed()), {"sha256": "a"}
    same = from_config_dict(changed(run__log_every=3, run__accumulation=2, train__steps=5000))
    other = from_config_dict(changed(model__d_ff=256))
    assert configs.identity(base, data) == configs.identity(same, data)
    assert configs.identity(base, data) != configs.identity(other, data)
    assert configs.identity(base, data) != configs.identity(base, {"sha256": "b"})
    assert configs.differences(other, base) == ["config.model.d_ff: 512 -> 256"]
    assert configs.differences(same, base) == []


def test_the_length_of_a_row():
    assert from_config_dict(changed(data__length=100)).length == 100
    finetune = {"finetune__task": "t", "finetune__max_prompt_length": 7, "finetune__target_length": 3}
    several = from_config_dict(changed(**finetune, finetune__m_ft=[0, 5], model__num_pause_tokens=1))
    assert several.finetune.m_ft == (0, 5) and several.length == 7 + 5 + 3 - 1
    assert from_config_dict(changed(**finetune, finetune__m_ft=4, model__num_pause_tokens=1)).finetune.m_ft == (4,)


def test_what_tells_two_ways_of_placing_pauses_apart():
    def pauses(**fields):
        return from_config_dict(
            changed(model__num_pause_tokens=1, **{f"pauses__{k}": v for k, v in fields.items()})
        ).pauses

    assert pauses(rate=0.1).label == "uniform_trim"  # the rate is a column of its own
    assert pauses(rate=0.1, policy="fixed", mode="exact").label == "fixed_exact"
    assert pauses(rate=0.1, policy="burst", burst=4).label == "burst_4_trim"
    assert pauses(rate=0.1, policy="boundary").label == "boundary_word_trim"
    assert pauses(rate=0.1, policy="boundary", boundary="sentence").label == "boundary_sentence_trim"
    spread = pauses(rate=0.0, max_rate=0.25)
    assert spread.label == "uniform_trim_0_to_0.25" and spread.mean_rate == 0.125
    assert pauses(rate=0.1).mean_rate == 0.1 and pauses().mean_rate == 0.0


def test_records_of_older_code_lack_new_fields_and_still_read():
    recorded = configs.to_dict(dataclasses.replace(Config(), seed=5))
    del recorded["finetune"], recorded["optimizer"]["decay_from"], recorded["pauses"]["policy"]
    assert configs.from_recorded(recorded) == dataclasses.replace(Config(), seed=5)
    recorded["optimizer"]["unknown"] = 1
    with pytest.raises(UserError, match=r"config\.optimizer\.unknown is no field"):
        configs.from_recorded(recorded)


@pytest.mark.parametrize(
    ("prepared", "folders"),
    [
        ("", ()),
        ("prepared/c4", (("prepared/c4", 1.0),)),
        ("x=y/c4", (("x=y/c4", 1.0),)),
        ("c4=0.9, wiki=0.1", (("c4", 0.9), ("wiki", 0.1))),
        ("lr=0.1", (("lr=0.1", 1.0),)),  # not there, or no longer: the name of one folder, whose share is 1
        ("c4=1", (("c4", 1.0),)),
    ],
)
def test_prepared_folders_and_their_rates(prepared, folders):
    assert from_config_dict(changed(data__prepared=prepared)).data.prepared_folders == folders


@pytest.mark.parametrize(
    ("prepared", "sentence"),
    [
        ("c4=0.9,wiki=0.2", r"the rates sum to 1\.1, but must sum to 1"),
        ("c4=0.9,wiki", r"'wiki' has no rate above 0: of several folders give each its share"),
        ("c4=1,wiki=0", r"'wiki=0' has no rate above 0"),
        ("c4=1,wiki=-1", r"'wiki=-1' has no rate above 0"),
    ],
)
def test_rates_that_cannot_be(prepared, sentence):
    with pytest.raises(UserError, match=sentence):
        from_config_dict(changed(data__prepared=prepared))


@pytest.mark.parametrize("name", ["lr=0.1", "seed=1", "a,b", "c4=0.9,wiki=0.2"])
def test_a_folder_that_is_there_comes_before_names_and_rates(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    assert from_config_dict(changed(data__prepared=name)).data.prepared_folders == ((name, 1.0),)


def test_one_folder_has_no_share_of_half(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c4").mkdir()
    with pytest.raises(UserError, match=r"the rates sum to 0\.5, but must sum to 1"):
        from_config_dict(changed(data__prepared="c4=0.5"))


def test_prepared_text_or_files_but_not_both():
    with pytest.raises(UserError, match=r"are both given, but a run reads one or the other"):
        from_config_dict(changed(data__prepared="c4", data__files="*.txt"))
