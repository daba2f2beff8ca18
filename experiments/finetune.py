"""The paper's finetuning on nine tasks (Goyal et al., ICLR 2024, tables 3 and 4).

    python -m launch.prepare --download=gsm8k --data_dir=data
    python -m launch.train --config=experiments/finetune.py:gsm8k,130m,m_ft=10 --workdir=runs/gsm8k \\
        --config.init_from=runs/130m_pause --config.data.data_dir=data
    python -m launch.evaluate --run=runs/gsm8k --tasks=gsm8k --m_inf=0,2,5,10,25,50 --out=results.csv

The argument is a task, a size and, if not 10, the number of pauses after the prompt. The tasks, which docs/tasks.md
describes: squad_v1, gsm8k, commonsenseqa, lambada, webquestions, nq_open, coqa, piqa, hellaswag. Sizes: `1b` and
`130m`, the paper's, as experiments/paper.py pretrains them; `toy`, as experiments/quickstart.py does, which two cores
train in minutes, from a fresh start too. With `--config.init_from=RUN` model and tokenizer are that run's, whatever the
size says, and prompts are read causally where it was imported from Hugging Face (docs/interop.md). Other choices are
config fields: `--config.finetune.m_ft=0,10` draws one of these for each example, `--config.finetune.placement=prepend`,
`--config.finetune.attention=causal`, `--config.seed=1`. (Finetuned on lambada, lambada_openai can be evaluated too.)

From the paper: learning rate, warm-up, steps and batch size; M_ft 10 or 50; full finetuning.

Ours, as the paper does not say: AdamW without weight decay, its learning rate constant after warm-up; the last
checkpoint is the one evaluated; bfloat16 compute; lengths in tokens of T5's tokenizer that cut at most 1 % of the
prompts, and of the targets (docs/tasks.md). The toy's steps, batch size and learning rate, and its lengths: four times
as many, as its tokens are bytes.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from experiments import paper, quickstart
from pause_jax.errors import UserError, did_you_mean


@dataclasses.dataclass(frozen=True)
class Training:
    """A row of the paper's tables."""

    learning_rate: float
    warmup_steps: int
    steps: int
    batch_size: int


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One task's."""

    max_prompt_length: int  # positions for the prompt
    target_length: int  # positions for the target and its end
    at: dict[str, Training]  # by size


TOY = Training(1e-3, 50, 1000, 8)
BYTES_A_TOKEN = 4  # of T5's; with lengths of so many bytes, too, at most 1 % of prompts and targets are cut


def _recipe(lengths: tuple[int, int], at_1b: Training, at_130m: Training) -> Recipe:
    return Recipe(*lengths, {"1b": at_1b, "130m": at_130m, "toy": TOY})


TASKS = {
    "squad_v1": _recipe((512, 48), Training(1e-4, 100, 10_000, 256), Training(1e-4, 400, 40_000, 16)),
    "gsm8k": _recipe((160, 224), Training(1e-4, 200, 20_000, 16), Training(1e-4, 75, 7500, 16)),
    "commonsenseqa": _recipe((96, 16), Training(5e-5, 100, 4000, 16), Training(5e-5, 100, 6000, 16)),
    "lambada": _recipe((224, 16), Training(5e-5, 40, 2800, 16), Training(5e-5, 40, 1400, 16)),
    "webquestions": _recipe((32, 32), Training(5e-4, 200, 2000, 16), Training(5e-4, 200, 2000, 16)),
    "nq_open": _recipe((48, 32), Training(1e-4, 100, 5000, 256), Training(5e-4, 100, 5000, 256)),
    "coqa": _recipe((1024, 32), Training(5e-5, 75, 3500, 16), Training(1e-4, 75, 3500, 16)),
    "piqa": _recipe((48, 160), Training(1e-6, 50, 600, 32), Training(1e-6, 50, 600, 32)),
    "hellaswag": _recipe((128, 96), Training(5e-6, 100, 1000, 16), Training(1e-6, 100, 1000, 16)),
}


def get_config(arg: str = "gsm8k,130m") -> Any:
    """`TASK,SIZE` or `TASK,SIZE,m_ft=PAUSES`. Raises UserError for another argument."""
    task, _, rest = arg.partition(",")
    if task not in TASKS:
        raise UserError(
            f"experiments/finetune.py:{arg} does not exist: choose a task of {', '.join(TASKS)}, and "
            f"a size behind it, such as :gsm8k,130m{did_you_mean(task, TASKS)}"
        )
    return config_of(task, rest)


def config_of(task: str, arg: str) -> Any:
    """The config of a task of `TASKS`; `arg` is what the argument says behind it, such as "130m,m_ft=50".

    Raises:
      UserError: there is no such size, or the number of pauses is none.
    """
    size, given, m_ft = arg.partition(",m_ft=")
    m_ft = m_ft if given else "10"
    recipe = TASKS[task]
    if size not in recipe.at or not m_ft.isdecimal():
        raise UserError(
            f"experiments/finetune.py:{task},{arg} does not exist: choose toy, 130m or 1b as its size, with "
            ",m_ft=50, say, behind it for other than 10 pauses"
        )
    config = quickstart.get_config("pause") if size == "toy" else paper.get_config(size)
    config.pauses.rate = 0.0
    config.finetune.task = task
    config.finetune.m_ft = (int(m_ft),)
    unit = BYTES_A_TOKEN if size == "toy" else 1
    config.finetune.max_prompt_length = unit * recipe.max_prompt_length
    config.finetune.target_length = unit * recipe.target_length
    _train(config, recipe.at[size])
    return config


def _train(config: Any, training: Training) -> None:
    config.train.steps = training.steps
    config.train.batch_size = training.batch_size
    config.optimizer.learning_rate = training.learning_rate
    config.optimizer.warmup_steps = training.warmup_steps
    config.optimizer.schedule = "constant"
    config.optimizer.weight_decay = 0.0
    config.run.log_every = training.steps // 100
    config.run.validate_every = training.steps // 10
    config.run.checkpoint_every = training.steps // 10
    config.run.keep_every = 0
