"""SQuAD v1.1: the answer is a span of the context.

    python -m launch.prepare --download=squad_v1 --data_dir=data
    python -m launch.train --config=experiments/finetune/squad_v1.py:130m,m_ft=10 --workdir=runs/squad_v1 \\
        --config.init_from=runs/130m_pause --config.data.data_dir=data
    python -m launch.evaluate --run=runs/squad_v1 --tasks=squad_v1 --m_inf=0,2,5,10,25,50 --out=results.csv

The argument: `toy`, `130m` or `1b`, then the number of pauses (experiments/finetune/__init__.py).
"""

from typing import Any

from experiments.finetune import config_of


def get_config(arg: str = "130m") -> Any:
    return config_of("squad_v1", arg)
