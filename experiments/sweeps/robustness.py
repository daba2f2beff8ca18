"""Another number of pauses than was trained with, down to none; and models trained with a random number.

    python -m launch.sweep --config=experiments/sweeps/robustness.py --workdir=runs/robustness --dry_run
    python -m launch.sweep --config=experiments/sweeps/robustness.py:laptop --workdir=runs/robustness

The paper's figure 8, and ours: of an M_ft of several numbers, one is drawn for each example, 0 among them, so that the
answer without delay is trained too. Each model is asked at every M_inf.
"""

from typing import Any

from experiments.sweeps import edition_of, new_sweep


def get_config(arg: str = "") -> Any:
    edition = edition_of(__file__, arg)
    random = (0, *edition.many_m)
    sizes = tuple(edition.sizes)[-1:]  # the larger
    sweep = new_sweep()
    sweep.sizes = edition.sizes
    sweep.pretrain = edition.pretraining(sizes=sizes)
    m_ft = ("finetune.m_ft", ((0,), *((m,) for m in edition.m_ft), random))
    sweep.finetune = edition.finetuning(edition.some_tasks, m_ft, sizes=sizes)
    sweep.evaluate = edition.evaluation(random)
    return sweep
