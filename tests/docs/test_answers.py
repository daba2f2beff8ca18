"""docs/when_pauses_help.md: what the table of answers says is what the sections below it say."""

from __future__ import annotations

import re

from tests.published_commands import ROOT

HEAD, _, BELOW = (ROOT / "docs" / "when_pauses_help.md").read_text(encoding="utf-8").partition("\n## How to read")
ROWS = [line.strip("| ").split(" | ") for line in HEAD.splitlines() if line.startswith("| ")][1:]
FIGURES = r"[+−]\d[\d.]*(?: \[[^\]]+\])?|\d+\.\d %"


def test_each_study_has_a_row():
    assert len(ROWS) >= 18 and all(len(row) == 6 for row in ROWS)
    commands = re.findall(r"python -m launch\.sweep --config=(\S+\.py)", BELOW)
    asked = {row[-1].split("](#")[1].rstrip(")") for row in ROWS}
    titles = {title.lower() for title in re.findall(r"^##+ (.*)$", BELOW, re.MULTILINE)}
    anchors = {re.sub(r"[^\w -]", "", title).replace(" ", "-") for title in titles}
    assert asked <= anchors and len(asked) >= len(set(commands)) - 1  # smaller tasks are told with the large ones


def test_figures_of_the_table_are_those_below():
    flat = " ".join(BELOW.split())
    for question, _, difference, verdict, *_ in ROWS:
        for figure in re.findall(FIGURES, difference) + re.findall(r"p [<=] [\d.]+\d", verdict):
            number = figure.removesuffix(" %").lstrip("+")  # below, percentages stand in tables, some gains in prose
            assert number in flat, (question, figure)
            if "[" in figure and not figure.startswith("−"):
                assert figure in flat, (question, figure)


def test_only_ten_seeds_get_a_verdict():
    for question, setting, _, verdict, *_ in ROWS:
        if "significant" in verdict:
            assert "ten" in setting and "seeds" in setting, question
