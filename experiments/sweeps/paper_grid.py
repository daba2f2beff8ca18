"""The paper's grid: standard and pause pretraining, then finetuning without and with pauses, on each task.

    python -m launch.sweep --config=experiments/sweeps/paper_grid.py --workdir=runs/paper_grid --dry_run
    python -m launch.sweep --config=experiments/sweeps/paper_grid.py:laptop --workdir=runs/paper_grid

From the paper: both sizes, nine tasks with their hyperparameters, M_ft 10 and 50. Ours: five pretraining runs an arm,
each finetuned once; the paper finetunes one run five times, which cannot tell pauses in pretraining from its luck. A
verdict takes ten (`:10`, `:laptop,10`). Data and tokenizer are given as docs/sweeps.md says.
"""

from typing import Any

from experiments.sweeps import edition_of, new_sweep


def get_config(arg: str = "") -> Any:
    edition = edition_of(__file__, arg)
    m_ft = ("finetune.m_ft", ((0,), *((m,) for m in edition.m_ft)))
    sweep = new_sweep()
    sweep.sizes = edition.sizes
    sweep.pretrain = edition.pretraining()
    sweep.finetune = edition.finetuning(tuple(edition.tasks), m_ft)
    sweep.evaluate = edition.evaluation((0, *edition.m_ft))
    return sweep
