"""The findings as one HTML file: pictures and style inside, no script, nothing fetched. All text is escaped."""

from __future__ import annotations

from pathlib import Path

from pause_jax.diagnostics.attention import MEASURES
from pause_jax.diagnostics.findings import Findings, change, write_tables
from pause_jax.diagnostics.flips import Flip
from pause_jax.diagnostics.plots import plot_attention, plot_lens
from pause_jax.errors import UserError
from pause_jax.report.html import fill
from pause_jax.report.statistics import format_p
from pause_jax.system.files import write_atomically

SHOWN_FLIPS = 20  # on the page; flips.csv has all
PROMPT_CHARACTERS = 400  # of a longer prompt only the end is shown, which is next to the pauses

LENS = (
    "At the last prompt token and at each pause, the residual stream after each layer (layer 0: what the first layer "
    "reads) goes through the final norm and the head as if that layer were the last: the log-probability, and the rank "
    "among all text tokens, of the first token of the right answer; means over the examples (the picture has e to the "
    "power of the mean log-probability). Only the output at the "
    "answer position, in the last layer, is ever used as an answer. Where no prompt token sees a pause (pauses "
    "appended, attention causal or prefix_only), the last layer at the last prompt token is the prediction without "
    "pauses."
)
ATTENTION = (
    "Attention weights after the softmax, of the rows that end where the answer begins: padding left out, means over "
    "the examples. The answer position is the one whose output is the first token of the answer. "
    "“If even” is what a head would give that looks at all it may see alike."
)


def write_page(findings: Findings, folder: Path) -> Path:
    """Writes diagnosis.html, its pictures and its CSV files into `folder`, made where it is missing.

    Raises:
      UserError: the folder can't be written.
    """
    attention, lens, page = folder / "attention.png", folder / "lens.png", folder / "diagnosis.html"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_tables(findings, folder)
        plot_attention(findings, attention)
        plot_lens(findings, lens)
        write_atomically(page, render(findings, attention=attention, lens=lens))
    except OSError as error:
        raise UserError(f"the page can't be written to {folder} ({error}): give another folder as --out") from None
    return page


def render(findings: Findings, *, attention: Path, lens: Path) -> str:
    """The whole page; `attention` and `lens` are PNG files."""
    flips = sorted(findings.flips.flips, key=lambda flip: not flip.to_right)[:SHOWN_FLIPS]
    measured = findings.measured
    return fill(
        "diagnosis.html",
        title=f"What pauses do: {findings.task}",
        findings=findings,
        summary=summary(findings),
        columns=["change", "prompt", "target", "without pauses", "with pauses"],
        flips=[_texts(flip) for flip in flips],
        kinds=len(set(findings.first_tokens)),
        first_token=repr(findings.first_tokens[0]),
        lens=lens,
        about_lens=LENS,
        attention=attention,
        about_attention=ATTENTION,
        measures=[
            (name, meaning, f"{measured.attention_NxH[name].mean():.2f}", f"{measured.even[name]:.2f}")
            for name, meaning in MEASURES.items()
        ],
    )


def summary(findings: Findings) -> list[str]:
    """One sentence with the figures of each of the three parts."""
    flips, measured = findings.flips, findings.measured
    right = [flips.both_right + flips.to_wrong, flips.both_right + flips.to_right]
    percent = [f"{100 * count / flips.examples:.1f} %" for count in right]
    last = f"pause {findings.m_inf}"
    first, log_p = measured.first_N1xL[-1], measured.log_p_N1xL[-1]
    lens = [
        f"{100 * first[i]:.0f} % of the examples (mean log p {log_p[i]:.2f})"
        for i in map(findings.positions.index, ("prompt", last))
    ]
    shares = measured.attention_NxH["answer_to_pauses"]
    layer, head = divmod(int(shares.argmax()), shares.shape[1])
    return [
        f"Right without pauses: {percent[0]} of {flips.examples:,} examples, with {findings.m_inf}: {percent[1]}. "
        f"Wrong to right: {flips.to_right:,}; right to wrong: {flips.to_wrong:,}; exact two-sided sign test: "
        f"p {format_p(flips.p_value)}.",
        f"In the last layer the right first token is the likeliest at the last prompt token in {lens[0]}, "
        f"at {last} in {lens[1]}.",
        f"Of the answer position's attention pauses get {shares.mean():.2f}, mean over layers and heads "
        f"(if even: {measured.even['answer_to_pauses']:.2f}); most in layer {layer + 1}, head {head + 1}: "
        f"{shares.max():.2f}.",
    ]


def _texts(flip: Flip) -> list[str]:
    """A row of the table of answers."""
    prompt = flip.prompt if len(flip.prompt) <= PROMPT_CHARACTERS else f"… {flip.prompt[-PROMPT_CHARACTERS:]}"
    return [change(flip.to_right), prompt, flip.target, flip.without_pauses, flip.with_pauses]
