"""The page and the CSV files of made-up findings: figures by hand, text escaped, fit for a telephone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pause_jax.diagnostics import page
from pause_jax.diagnostics.attention import MEASURES
from pause_jax.diagnostics.findings import Findings, write_tables
from pause_jax.diagnostics.flips import Flip, Flips
from pause_jax.diagnostics.measure import Measured
from pause_jax.errors import UserError
from tests.report.browser import look_at

NAMES = list(MEASURES)


def findings_of(flips=(), **changes):
    """One layer, two heads, two pauses."""
    measured = Measured(
        attention_NxH={name: np.array([[0.1, 0.2]]) + i for i, name in enumerate(NAMES)},
        to_each_NxHxM=np.array([[[0.04, 0.06], [0.05, 0.15]]]),
        even={name: 0.5 + i for i, name in enumerate(NAMES)},
        log_p_N1xL=np.log([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]),
        rank_N1xL=np.array([[3.0, 2.0, 2.0], [2.0, 1.5, 1.0]]),
        first_N1xL=np.array([[0.0, 0.25, 0.25], [0.25, 0.5, 1.0]]),
    )
    findings = Findings(
        checkpoint="mine/checkpoints/7",
        task="t",
        split="test",
        m_inf=2,
        m_ft=(0, 2),
        placement="append",
        attention="causal",
        flips=Flips(flips, both_right=1, both_wrong=2),
        measured=measured,
        positions=["prompt", "pause 1", "pause 2"],
        first_tokens=["a", "b"],
    )
    return dataclasses.replace(findings, **changes)


def flip(number, to_right=True, prompt="why?\nA:"):
    return Flip(number, prompt, "<b>yes</b>", "", "no & yes", to_right)


def test_tables_by_hand(tmp_path):
    write_tables(findings_of([flip(3), flip(4, to_right=False)]), tmp_path)
    assert (tmp_path / "flips.csv").read_text() == (
        "id,change,prompt,target,without_pauses,with_pauses\n"
        '3,wrong to right,"why?\nA:",<b>yes</b>,,no & yes\n4,right to wrong,"why?\nA:",<b>yes</b>,,no & yes\n'
    )
    attention = (tmp_path / "attention.csv").read_text().splitlines()
    assert len(attention) == 1 + 2 * len(NAMES)
    assert attention[:4] == [
        "layer,head,measure,value,if_even",
        "1,1,answer_to_pauses,0.100000,0.500000",
        "1,2,answer_to_pauses,0.200000,0.500000",
        "1,1,answer_to_prompt,1.100000,1.500000",
    ]
    by_pause = (tmp_path / "attention_by_pause.csv").read_text().splitlines()
    assert by_pause[0] == "layer,head,pause,value" and by_pause[-2:] == ["1,2,1,0.050000", "1,2,2,0.150000"]
    lens = (tmp_path / "lens.csv").read_text().splitlines()
    assert lens[0] == "layer,position,mean_log_p,mean_rank,share_first"
    assert lens[3] == "0,pause 2,-1.203973,2.000000,0.250000" and lens[5] == "1,pause 1,-0.693147,1.500000,0.500000"


def test_summary_by_hand():
    flips, lens, attention = page.summary(findings_of([flip(0), flip(1), flip(2, to_right=False)]))
    assert flips == (
        "Right without pauses: 33.3 % of 6 examples, with 2: 50.0 %. Wrong to right: 2; right to wrong: 1; exact "
        "two-sided sign test: p = 1."
    )
    assert "at the last prompt token in 25 % of the examples (mean log p -0.92)" in lens
    assert "at pause 2 in 100 % of the examples (mean log p -0.51)" in lens
    assert "pauses get 0.15, mean over layers and heads (if even: 0.50); most in layer 1, head 2: 0.20" in attention


def test_page_says_what_must_be_known(tmp_path):
    text = page.write_page(findings_of([flip(i) for i in range(25)]), tmp_path).read_text()
    assert "&lt;b&gt;yes&lt;/b&gt;" in text and "no &amp; yes" in text and "<b>" not in text
    assert text.count("<tr><td") == page.SHOWN_FLIPS and "The first 20 of 25; flips.csv has all" in text
    assert text.count('<span class="soft">nothing</span>') == page.SHOWN_FLIPS
    assert "never without" not in text and "begin with the same token" not in text
    other = findings_of(m_ft=(2,), first_tokens=[" ", " "])
    text = page.write_page(other, tmp_path).read_text()
    assert "finetuned with 2 pauses, never without" in text
    assert "All answers begin with the same token, &#39; &#39;: the lens tells nothing" in text
    assert "<table" not in text  # nothing flipped


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_and_shows_everything(tmp_path, width):
    flips = [flip(0), flip(1, prompt="0123456789abcdef" * 50)]
    file = page.write_page(findings_of(flips, task="a_task_with_a_long_name_" * 4), tmp_path)
    found = look_at(file, tmp_path, width)
    assert (found.page, found.wide, found.pictures) == (width, [], [780, 780])


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"the page can't be written to .*/file/page \(.*\): give another folder"):
        page.write_page(findings_of(), tmp_path / "file" / "page")
