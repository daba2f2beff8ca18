"""CoQA: the next answer of a conversation about a text.

    python -m launch.prepare --download=coqa --data_dir=data
    python -m launch.train --config=experiments/finetune/coqa.py:130m,m_ft=10 --workdir=runs/coqa \\
        --config.init_from=runs/130m_pause --config.data.data_dir=data
    python -m launch.evaluate --run=runs/coqa --tasks=coqa --m_inf=0,2,5,10,25,50 --out=results.csv

The argument: `toy`, `130m` or `1b`, then the number of pauses (experiments/finetune/__init__.py).
"""

from typing import Any

from experiments.finetune import config_of


def get_config(arg: str = "130m") -> Any:
    return config_of("coqa", arg)
