"""How many pauses: the best M of each model size and task, after pretraining with pauses.

    python -m launch.sweep --config=experiments/sweeps/pause_count.py --workdir=runs/pause_count --dry_run
    python -m launch.sweep --config=experiments/sweeps/pause_count.py:laptop --workdir=runs/pause_count

Every number of pauses is finetuned, and each of these models is asked at every M_inf; the best is chosen on validation.
All start from one pretraining run of each size, so the seeds are those of finetuning, and what is found holds for it.
"""

from typing import Any

from experiments.sweeps import edition_of, new_sweep


def get_config(arg: str = "") -> Any:
    edition = edition_of(__file__, arg)
    m_ft = ("finetune.m_ft", ((0,), *((m,) for m in edition.many_m)))
    sweep = new_sweep()
    sweep.sizes = edition.sizes
    sweep.pretrain = edition.pretraining_once()
    sweep.finetune = edition.finetuning(tuple(edition.tasks), m_ft, edition.seed_axis())
    sweep.evaluate = edition.evaluation((0, *edition.many_m))
    return sweep
