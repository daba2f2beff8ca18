"""Tables and numbers for people."""

from __future__ import annotations

import csv
import io
import math

import pytest

from pause_jax.report.statistics import Estimate
from pause_jax.report.tables import Column, Table, human_count, human_flops, print_table


def test_numbers_are_aligned_right_and_text_left(capsys):
    print_table("Title [a]", ["run", "loss", "mixed"], [["no pauses", "1.4321", "1"], ["x", "-", "many"]])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[0] == "Title [a]"  # brackets are text, not markup
    assert lines[1] == "  run           loss   mixed"
    assert lines[3:] == ["  no pauses   1.4321   1", "  x                -   many"]


def test_a_wide_table_is_not_folded_in_a_file(capsys):
    print_table("T", ["a" * 60, "b" * 60], [["1", "x" * 200]])
    assert "x" * 200 in capsys.readouterr().out


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (999.6, "1.0k"),
        (1500, "1.5k"),
        (136_237_056, "136.2M"),
        (999_960, "1.0M"),
        (1_345_085_440, "1.3B"),
        (200_000_000_000, "200.0B"),
        (1.5e15, "1500.0T"),
    ],
)
def test_human_count(count, text):
    assert human_count(count) == text


def test_human_flops():
    assert human_flops(1_234_567_890_123) == "1.23e+12"


TABLE = Table(
    "t",
    "A title",
    (Column("arm"), Column("n"), Column("mean"), Column("change", signed=True), Column("p", ".2g")),
    (
        ("a, b", 3, Estimate(50.25, 49.0, 51.5, 3), 1.04, 0.031),
        ("c", 0, Estimate(7.0, math.nan, math.nan, 1), None, math.nan),
    ),
)


def test_people_see_few_digits():
    assert TABLE.shown() == [["a, b", "3", "50.2 [49.0, 51.5]", "+1.0", "0.031"], ["c", "0", "7.0 (1 seed)", "–", "–"]]


def test_a_csv_file_holds_all_digits_and_the_parts_of_estimates():
    heading, *rows = csv.reader(io.StringIO(TABLE.csv()))
    assert heading == ["arm", "n", "mean", "mean low", "mean high", "mean seeds", "change", "p"]
    assert rows == [
        ["a, b", "3", "50.25", "49.0", "51.5", "3", "1.04", "0.031"],
        ["c", "0", "7.0", "", "", "1", "", "nan"],
    ]
