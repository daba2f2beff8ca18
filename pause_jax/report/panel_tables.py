"""The tables of a panel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pause_jax.report import paper, pareto
from pause_jax.report.best_m import Selection
from pause_jax.report.comparisons import Comparison
from pause_jax.report.panels import Cell, Panel, paired_differences, vary
from pause_jax.report.statistics import Estimate, estimate
from pause_jax.report.tables import Column, Table, Value

COSTS: tuple[Literal["training", "inference"], ...] = ("training", "inference")
NEVER_TRAINED = (
    "* Trained without any pause: its figures after pauses are those of an untrained vector, and mean nothing."
)
FINETUNING = {"std": "finetuned without pauses", "pause": "finetuned with pauses"}
PRETRAINING = {
    "std": "standard pretraining",
    "pause": "pause pretraining",
    "none": "no pretraining",
    "unknown": "unknown pretraining",
}


def arms(panel: Panel) -> Table:
    """A row for each arm, at its own M_inf, with its cost."""
    cells = [panel.matched_cell(arm) for arm in panel.arms]
    values = [cell.estimate.mean for cell in cells]
    fronts = {
        cost: pareto.front([cell.flops(cost) for cell in cells], values)
        for cost in COSTS
        if not panel.lower_is_better and vary([cell.flops(cost) for cell in cells])
    }
    columns = ["arm", "M_ft", "M_inf", "seeds", *(["pretraining runs"] if panel.is_nested else [])]
    rows = [
        (
            panel.label(cell),
            cell.arm.m_ft,
            cell.m_inf,
            len(cell.by_seed),
            *([cell.estimate.n if cell.runs_known else "not told"] if panel.is_nested else []),
            cell.estimate,
            cell.training_flops,
            cell.inference_flops,
            *([", ".join(name for name, front in fronts.items() if i in front) or None] if fronts else []),
        )
        for i, cell in enumerate(cells)
    ]
    costs = [Column("training FLOPs", ".2e"), Column("inference FLOPs", ".2e")]
    costs += [Column("on the Pareto front of")] if fronts else []  # there is no front where all cost the same
    return Table("arms", "Every arm and its cost", (*map(Column, columns), _mean(panel), *costs), tuple(rows))


def grid_places(panel: Panel) -> list[tuple[str, dict[str, list[Cell]]]]:
    """The paper's 2 × 2: for each pretraining the cells by finetuning, each arm at its own M_inf."""
    arms_shown = [arm for arm in panel.arms if arm.finetune in FINETUNING and arm.placement != "filler"]
    return [
        (
            pretrain,
            {
                finetune: [
                    panel.matched_cell(arm)
                    for arm in arms_shown
                    if (arm.pretrain, arm.finetune) == (pretrain, finetune)
                ]
                for finetune in FINETUNING
            },
        )
        for pretrain in PRETRAINING
        if any(arm.pretrain == pretrain for arm in arms_shown)
    ]


def grid(panel: Panel, compared: Sequence[Comparison]) -> Table:
    """The 2 × 2 grid, a row for each arm and baseline in it."""
    rows: list[tuple[Value, ...]] = []
    for pretrain, places in grid_places(panel):
        for finetune, cells in places.items():
            for cell in cells:
                place = (PRETRAINING[pretrain], FINETUNING[finetune], panel.label(cell), cell.m_inf, cell.estimate)
                mine = [c for c in compared if c.cell is cell]
                rows += [(*place, c.effect.difference, panel.label(c.baseline), c.effect.corrected_p) for c in mine]
                rows += [] if mine else [(*place, None, None, None)]
    columns = (
        *map(Column, ("pretraining", "finetuning", "arm", "M_inf")),
        _mean(panel),
        Column("minus baseline", panel.spec, signed=True),
        Column("baseline"),
        Column("corrected p", "p"),
    )
    return Table("grid", "Pretraining and finetuning", columns, tuple(rows))


def differences(panel: Panel, compared: Sequence[Comparison]) -> Table:
    """A row for each arm and baseline."""
    rows = tuple(
        (
            panel.label(c.cell),
            panel.label(c.baseline),
            c.effect.difference.n,
            c.effect.difference,
            c.effect.p,
            c.effect.corrected_p,
            "yes" if c.effect.is_significant else "no",
            c.flops_ratio,
            c.inference_flops_ratio,
        )
        for c in compared
    )
    columns = (
        Column("arm"),
        Column("baseline"),
        Column("units"),
        Column("difference", panel.spec, signed=True),
        Column("p", "p"),
        Column("corrected p", "p"),
        Column("significant"),
        Column("training FLOPs × baseline", ".2f"),
        Column("inference FLOPs × baseline", ".2f"),
    )
    return Table("differences", "Differences, paired by seed", columns, rows)


def by_m_inf(panel: Panel) -> Table:
    """The values of the plot against M_inf and of the heat map."""
    m_inf = sorted({cell.m_inf for cell in panel.cells})
    rows: list[tuple[Value, ...]] = []
    for arm in panel.arms:
        cells = {cell.m_inf: cell.estimate for cell in panel.of_arm(arm)}
        mark = " *" * any(cell.is_untrained for cell in panel.of_arm(arm))
        rows.append((panel.label(panel.matched_cell(arm)) + mark, *(cells.get(m) for m in m_inf)))
    columns = (Column("arm"), *(Column(f"{m} pauses", panel.spec) for m in m_inf))
    note = NEVER_TRAINED if any(cell.is_untrained for cell in panel.cells) else ""
    return Table("m_inf", "Figures by pauses at inference", columns, tuple(rows), note)


def selection(chosen: Selection) -> Table:
    """A row for each M that could be chosen."""
    candidates = chosen.candidates
    baseline = candidates.test.get(0)
    rows: list[tuple[Value, ...]] = []
    for m in sorted(candidates.validation.keys() | candidates.test.keys()):
        validation, test = candidates.validation.get(m), candidates.test.get(m)
        difference: Estimate | None = None
        if m and test is not None and baseline is not None and (paired := paired_differences(test, baseline)).values:
            difference = estimate(paired.values, unit=paired.unit)
        share = 100 * chosen.bootstrap[m] if m in chosen.bootstrap else None
        mark = "chosen" if m == chosen.chosen else None
        rows.append((m, mark, _estimate(validation), share, chosen.left_out.get(m), _estimate(test), difference))
    columns = (
        Column("M"),
        Column("selection"),
        Column("validation"),
        Column("% of bootstrap draws", ".0f"),
        Column("times with a seed left out"),
        Column(candidates.panel.split),
        Column("minus no pauses", signed=True),
    )
    return Table("best_m", f"Best M: {candidates.title}", columns, tuple(rows))


def beside_paper(panel: Panel) -> Table | None:
    """The paper's numbers for settings that the panel has too; None where there are none."""
    rows: list[tuple[Value, ...]] = []
    missed = 0
    for numbers, cells in paper.of_panel(panel):
        missed += not cells
        by_value: dict[str, list[paper.Number]] = {}
        for number in numbers:
            by_value.setdefault(f"{number.value:.1f}", []).append(number)
        for cell in cells:
            for alike in by_value.values():
                first, sources = alike[0], "; ".join(f"{number.source} ({number.how})" for number in alike)
                rows.append(
                    (
                        panel.label(cell),
                        first.m_inf,
                        first.model,
                        first.named,
                        first.value,
                        first.std,
                        sources,
                        cell.estimate,
                    )
                )
    if not rows:
        return None
    more = f" The paper has {missed} more settings of this task and metric that were not measured here." * bool(missed)
    names = ("arm", "M_inf", "paper's model", "paper's metric", "paper", "± over 5 runs", "read from")
    columns = (*map(Column, names), Column(f"measured, model {panel.model}"))
    note = f"Goyal et al., ICLR 2024: decoder-only models pretrained on 200 billion positions of C4.{more}"
    return Table("paper", "The paper's numbers and the measured ones", columns, tuple(rows), note)


def _mean(panel: Panel) -> Column:
    return Column("mean, 95 % interval", panel.spec)


def _estimate(cell: Cell | None) -> Estimate | None:
    return None if cell is None else cell.estimate
