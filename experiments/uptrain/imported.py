"""Continued pretraining with pauses of a model that was imported from Hugging Face, or of any run of ours.

    python -m launch.convert --from_hf=Llama-3.2-1B --workdir=runs/llama
    python -m launch.train --config=experiments/uptrain/imported.py:runs/llama --workdir=runs/llama_pauses \\
        --config.data.prepared=prepared/c4
    python -m launch.train --config=experiments/uptrain/imported.py:runs/llama,control --workdir=runs/llama_control \\
        --config.data.prepared=prepared/c4
    python -m launch.convert --run=runs/llama_pauses --to_hf=exported/llama_pauses

`,control` is without pauses at equal FLOPs, `,control_text` at equal text tokens (a shorter run). The text must be
tokenized by the run's own tokenizer: launch.prepare with this config does that. On a machine with GPUs or TPUs the
layers are scanned and the state is cut over all of them (FSDP); on another it is executed as is fast on CPUs. The
learning rate, 1e-5 with cosine to a tenth, is no measured optimum: sweep it.
"""

import dataclasses
from pathlib import Path
from typing import Any

from experiments.accelerators import Layout
from experiments.uptrain import ARMS, set_arm
from pause_jax.checkpointing import places
from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.config import default_config
from pause_jax.errors import UserError
from pause_jax.system import local_chips

STEPS = 2000


def get_config(arg: str = "") -> Any:
    """The folder of the run to start from, and behind a comma the arm."""
    run, _, arm = arg.partition(",")
    if not run or (arm or "pauses") not in ARMS:
        raise UserError(
            f"experiments/uptrain/imported.py:{arg} does not exist: give the run to start from and one of "
            f"{', '.join(ARMS)}, such as experiments/uptrain/imported.py:runs/llama,control"
        )
    source = RunFolder(places.run_of(Path(run))).config()
    config = default_config()
    config.model.update(dataclasses.asdict(source.model))
    config.init_from = run
    config.data.vocabulary = source.data.vocabulary
    config.data.length = min(1024, source.model.max_positions)
    config.pauses.rate = 0.1
    config.train.batch_size = 64
    config.optimizer.learning_rate = 1e-5
    config.optimizer.warmup_steps = 100
    if local_chips.of_this_machine():
        Layout(data=1, fsdp=-1, loss_chunk=128).apply(config)
    set_arm(config, arm or "pauses", STEPS, pause_only_steps=100)
    return config
