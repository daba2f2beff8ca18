"""Where pauses go: after the prompt, before it, or periods in their place, which are no pauses at all.

    python -m launch.sweep --config=experiments/sweeps/placement.py --workdir=runs/placement --dry_run
    python -m launch.sweep --config=experiments/sweeps/placement.py:laptop --workdir=runs/placement

The paper's table 2, and its filler, which here is finetuned with. Periods follow standard pretraining only: pauses in
pretraining would be no part of that comparison.
"""

from typing import Any

from experiments.sweeps import edition_of, new_sweep

TASKS = ("gsm8k", "squad_v1", "commonsenseqa", "lambada", "piqa", "nq_open")  # of table 2


def get_config(arg: str = "") -> Any:
    edition = edition_of(__file__, arg)
    places = [(place, (m,)) for place in ("append", "prepend", "filler") for m in edition.m_ft]
    where = (("finetune.placement", "finetune.m_ft"), (("append", (0,)), *places))
    sizes = tuple(edition.sizes)[-1:]  # the larger
    sweep = new_sweep()
    sweep.sizes = edition.sizes
    sweep.pretrain = edition.pretraining(sizes=sizes)
    sweep.finetune = edition.finetuning(TASKS if edition.is_paper else tuple(edition.tasks), where, sizes=sizes)
    sweep.finetune.filters = {"skip": ({"finetune.placement": "filler", "pretrain.pauses.rate": 0.1},)}
    sweep.evaluate = edition.evaluation((0, *edition.m_ft))
    return sweep
