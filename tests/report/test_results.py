"""results.csv: what is written is read, rows are replaced and never lost, and mistakes are named."""

from __future__ import annotations

import csv
import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pause_jax.errors import UserError
from pause_jax.report import results
from pause_jax.report.comparisons import Report
from pause_jax.report.report import write_report
from pause_jax.report.results import COLUMNS, Result, add_results, merge_results, read_results, write_results
from pause_jax.system.files import check_writable
from tests.report.result_rows import row as made_up

ROW = Result(
    model="130m",
    pretrain="pause",
    pretrain_rate=0.1,
    finetune="std",
    m_ft="0|10",
    m_inf=10,
    placement="append",
    task="gsm8k",
    metric="accuracy",
    value=7.5,
    seed=3,
    text_tokens=200_000_000_000,
    model_flops=1.5e21,
    checkpoint="ft/checkpoints/10",
    split="test",
    n_examples=1319,
    inference_flops=2.5e9,
    policy="uniform_trim",
    num_pause_tokens=1,
    attention="causal",
    steps=10,
    pretrain_steps="190735",
)


def test_the_columns_are_those_of_the_design():
    """Others read the file by these names, in this order."""
    wanted = (
        "model,pretrain,pretrain_rate,finetune,m_ft,m_inf,placement,task,metric,value,seed,text_tokens,model_flops,"
        "checkpoint,split,n_examples,inference_flops,policy,num_pause_tokens,attention,steps,"
        "pretrain_steps,hints,pretrain_run,pretrain_seed,settings"
    )
    assert ",".join(COLUMNS) == wanted


def test_a_file_from_before_there_were_hints_is_read_and_added_to(tmp_path):
    path = tmp_path / "results.csv"
    write(
        path,
        lambda text: text.replace(",hints,pretrain_run,pretrain_seed,settings\n", "\n").replace(",none,,,\n", "\n"),
    )
    assert path.read_text().startswith("model,") and "hints" not in path.read_text()
    assert read_results(path) == [ROW]
    add_results(path, [dataclasses.replace(ROW, hints="prompt")])
    assert read_results(path) == [ROW, dataclasses.replace(ROW, hints="prompt")]


@given(
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_characters="\r\n\x00", exclude_categories=["Cs"])),
    st.integers(0, 2**62),
    st.sampled_from(results.PLACEMENT),
)
def test_what_is_written_is_read(tmp_path_factory, value, task, tokens, placement):
    path = tmp_path_factory.mktemp("results") / "deep" / "results.csv"
    rows = [ROW, dataclasses.replace(ROW, value=value, task=task, text_tokens=tokens, placement=placement)]
    write_results(path, rows)
    assert read_results(path) == rows


def test_the_same_row_is_replaced_where_it_stands_and_others_stay(tmp_path):
    path = tmp_path / "results.csv"
    other, better = dataclasses.replace(ROW, m_inf=0), dataclasses.replace(ROW, value=9.0, n_examples=5)
    add_results(path, [ROW, other])
    add_results(path, [better, dataclasses.replace(ROW, seed=4)])
    assert read_results(path) == [better, other, dataclasses.replace(ROW, seed=4)]


def write(path, change):
    write_results(path, [ROW])
    path.write_text(change(path.read_text()))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: "", "has other columns than launch.evaluate writes: it is empty"),
        (
            lambda text: text.replace("seed,", "seeds,", 1),
            "other columns .*: without seed and with seeds; give another",
        ),
        (lambda text: text.replace("model,", "seed,", 1), "other columns .*: without model and twice seed; give"),
        (lambda text: text.replace("pretrain_seed", "", 1), "other columns .*: with one without a name; give another"),
        (lambda text: text.replace(",7.5,", ",good,"), "line 2, column value: 'good' is not a number"),
        (lambda text: text.replace(",1319,", ",1.5,"), "line 2, column n_examples: '1.5' is not a whole number"),
        (lambda text: text.replace(",std,", ",both,"), "line 2, column finetune: 'both' is none of std, pause, none"),
        (lambda text: text + "130m,pause\n", "line 3, has 2 fields, but there are 26 columns"),
    ],
)
def test_damaged_files_are_named_and_left_as_they_are(tmp_path, change, sentence):
    path = tmp_path / "results.csv"
    write(path, change)
    before = path.read_text()
    with pytest.raises(UserError, match=sentence):
        read_results(path)
    with pytest.raises(UserError, match=r"results\.csv"):
        add_results(path, [ROW])
    assert path.read_text() == before


SAVED_BY_A_SPREADSHEET = {
    "CSV UTF-8": lambda text: "\ufeff" + text.replace("\n", "\r\n"),
    "semicolons": lambda text: text.replace(",", ";"),
    "semicolons, decimal commas": lambda text: (
        "\ufeff" + text.replace(",", ";").replace(".", ",").replace("\n", "\r\n")
    ),
    "tabs": lambda text: text.replace(",", "\t"),
    "large numbers": lambda text: text.replace("200000000000", "2E+11"),
    "an empty line": lambda text: text + "\r\n",
    "columns in another order": lambda text: "".join(
        ",".join(reversed(line.split(","))) + "\n" for line in text.splitlines()
    ),
}


@pytest.mark.parametrize("change", SAVED_BY_A_SPREADSHEET.values(), ids=SAVED_BY_A_SPREADSHEET)
def test_what_a_spreadsheet_saves_is_read(tmp_path, change):
    path = tmp_path / "results.csv"
    write_results(path, [ROW])
    path.write_bytes(change(path.read_text()).encode())
    (read,) = read_results(path)
    assert read == dataclasses.replace(ROW, checkpoint=read.checkpoint)


def test_where_a_row_began_may_be_known_only_since(tmp_path):
    """A row evaluated again says more; it is the same row, in one file and in several."""
    told = dataclasses.replace(ROW, pretrain_run="import|uptrain", pretrain_seed="3")
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    write_results(one, [ROW])
    write_results(two, [told])
    assert merge_results([one, two]) == merge_results([two, one]) == [told]
    add_results(one, [told])
    assert read_results(one) == [told]


@pytest.mark.parametrize(
    ("fields", "untrained"),
    [
        ({}, True),
        ({"pretrain": "none"}, True),
        ({"m_inf": 0}, False),
        ({"m_ft": "0|10"}, False),
        ({"pretrain": "pause"}, False),
        ({"pretrain": "unknown"}, False),
        ({"placement": "filler"}, False),  # an ordinary token
    ],
)
def test_pauses_that_no_stage_had(fields, untrained):
    asked = dataclasses.replace(ROW, **({"pretrain": "std", "m_ft": "0", "m_inf": 10} | fields))
    assert asked.has_untrained_pauses == untrained


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"none\.csv cannot be read .*give a CSV of launch\.evaluate"):
        read_results(tmp_path / "none.csv")


def test_several_files_are_one_and_what_both_have_stands_once(tmp_path):
    one, two, three = tmp_path / "one.csv", tmp_path / "two.csv", tmp_path / "three.csv"
    other, lost = dataclasses.replace(ROW, seed=4), dataclasses.replace(ROW, seed=5, value=math.nan)
    write_results(one, [ROW, lost])
    write_results(two, [lost, other, ROW])
    write_results(three, [])
    merged = merge_results([one, two, three])
    assert [(r.seed, repr(r.value)) for r in merged] == [(3, "7.5"), (5, "nan"), (4, "7.5")]


@pytest.mark.parametrize("change", [{"value": 8.0}, {"n_examples": 7}, {"model_flops": 1.0}])
def test_one_run_with_two_outcomes_is_a_mistake_that_names_both_lines(tmp_path, change):
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    write_results(one, [dataclasses.replace(ROW, seed=9), ROW])
    write_results(two, [dataclasses.replace(ROW, **change)])
    with pytest.raises(UserError) as raised:
        merge_results([one, two])
    assert str(raised.value) == (
        f"{one}, line 3, and {two}, line 2, are two runs with one fingerprint and different content "
        "(ft/checkpoints/10, gsm8k, accuracy): remove the row that is wrong"
    )
    write_results(one, [ROW, dataclasses.replace(ROW, **change)])  # in one file too
    with pytest.raises(UserError, match=r"line 2, and .*line 3, are two runs"):
        merge_results([one])


def test_a_cost_that_is_not_known_is_an_empty_cell(tmp_path):
    file = tmp_path / "results.csv"
    row = dataclasses.replace(ROW, text_tokens=None, model_flops=math.nan, pretrain="unknown", value=7.25)
    write_results(file, [row, dataclasses.replace(ROW, seed=ROW.seed + 1)])
    lines = list(csv.DictReader(file.open()))
    assert [lines[0][name] for name in ("text_tokens", "model_flops")] == ["", ""]
    assert repr(read_results(file)[0]) == repr(row) and read_results(file)[1].text_tokens == ROW.text_tokens
    assert len(merge_results([file, file])) == 2
    file.write_text(file.read_text().replace(",7.25,", ",,"))
    with pytest.raises(UserError, match="column value: '' is not a number"):  # only costs may be unknown
        read_results(file)


def test_a_report_of_rows_without_costs(tmp_path):
    rows = [
        made_up(
            seed=seed,
            m_ft=m,
            finetune="pause" if m != "0" else "std",
            m_inf=int(m),
            text_tokens=None,
            model_flops=math.nan,
            value=50.0 + seed + int(m),
        )
        for seed in range(3)
        for m in ("0", "10")
    ]
    page = write_report(Report.of(rows, title="x"), tmp_path)
    assert "training FLOPs unknown" in page.read_text(encoding="utf-8")


def test_outputs_are_tried_before_the_work(tmp_path):
    check_writable(tmp_path / "new/folder/r.csv", "--out=r.csv")
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "r.csv"):
        with pytest.raises(UserError, match=r"--out=r\.csv cannot be written"):
            check_writable(path, "--out=r.csv")


def test_settings_are_known_only_since_and_tell_runs_of_one_name_apart(tmp_path):
    """A row without them is the same run asked again; two with other settings are two runs."""
    path = tmp_path / "results.csv"
    lion, muon = (
        dataclasses.replace(ROW, settings=json.dumps({"optimizer.name": name, "data.files": "a,b"}))
        for name in ("lion", "muon")
    )
    add_results(path, [ROW])
    add_results(path, [lion])
    assert read_results(path) == [lion]
    add_results(path, [muon])
    assert read_results(path) == [lion, muon]
    old = tmp_path / "old.csv"
    write_results(old, [ROW])
    one = tmp_path / "one.csv"
    write_results(one, [lion])
    assert merge_results([old, one]) == merge_results([one, old]) == [lion]


def test_settings_that_are_no_json_are_refused(tmp_path):
    path = tmp_path / "results.csv"
    write_results(path, [dataclasses.replace(ROW, settings="lion")])
    with pytest.raises(UserError, match=r"line 2, column settings: 'lion' is no JSON object"):
        read_results(path)
