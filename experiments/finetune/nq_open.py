"""Natural Questions, open: a fact without a context.

    python -m launch.prepare --download=nq_open --data_dir=data
    python -m launch.train --config=experiments/finetune/nq_open.py:130m,m_ft=10 --workdir=runs/nq_open \\
        --config.init_from=runs/130m_pause --config.data.data_dir=data
    python -m launch.evaluate --run=runs/nq_open --tasks=nq_open --m_inf=0,2,5,10,25,50 --out=results.csv

The argument: `toy`, `130m` or `1b`, then the number of pauses (experiments/finetune/__init__.py).
"""

from typing import Any

from experiments.finetune import config_of


def get_config(arg: str = "130m") -> Any:
    return config_of("nq_open", arg)
