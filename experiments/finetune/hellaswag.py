"""HellaSwag: which of four endings, scored by likelihood.

    python -m launch.prepare --download=hellaswag --data_dir=data
    python -m launch.train --config=experiments/finetune/hellaswag.py:130m,m_ft=10 --workdir=runs/hellaswag \\
        --config.init_from=runs/130m_pause --config.data.data_dir=data
    python -m launch.evaluate --run=runs/hellaswag --tasks=hellaswag --m_inf=0,2,5,10,25,50 --out=results.csv

The argument: `toy`, `130m` or `1b`, then the number of pauses (experiments/finetune/__init__.py).
"""

from typing import Any

from experiments.finetune import config_of


def get_config(arg: str = "130m") -> Any:
    return config_of("hellaswag", arg)
