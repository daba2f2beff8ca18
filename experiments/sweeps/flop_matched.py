"""Are pauses worth their FLOPs? Against more steps, a wider and a deeper model without them.

    python -m launch.sweep --config=experiments/sweeps/flop_matched.py --workdir=runs/flop_matched --dry_run
    python -m launch.sweep --config=experiments/sweeps/flop_matched.py:laptop --workdir=runs/flop_matched

All pretraining runs have the same FLOPs. So have all finetuning runs, but those that are marked by a budget in steps:
the model of the usual size, as many steps without pauses, which has fewer. The wider and the deeper model read a prompt
for the FLOPs that the usual one has for the prompt with its pauses, counted over the longest prompt and target
(`pause_jax.model.counts`; within 5 %, which a test holds them to).
"""

from typing import Any

from experiments.sweeps import edition_of, new_sweep
from pause_jax.config import from_config_dict
from pause_jax.sweeps.budgets import flops_per_step

# Task and its pauses; the usual size, and what the wider and the deeper model have in place of its numbers.
PAPER = ("gsm8k", 50, "1b", {"wider": {"d_ff": 9728}, "deeper": {"num_layers": 27}})
LAPTOP = ("recall_8", 10, "medium", {"wider": {"d_ff": 896}, "deeper": {"num_layers": 6}})


def get_config(arg: str = "") -> Any:
    edition = edition_of(__file__, arg)
    task, m, usual, others = PAPER if edition.is_paper else LAPTOP
    model = edition.sizes[usual]
    pretrain, finetune = edition.pretraining_config(), edition.finetuning_config()
    pretrain.optimizer.learning_rate = edition.learning_rates[usual]
    finetune.update_from_flattened_dict(edition.recipe(task, usual))
    for config in (pretrain, finetune):
        config.model.update(model)
        config.model.vocab_size = config.model.vocab_size or 259  # bytes and three more: FLOPs want a number
    finetune.finetune.m_ft = (m,)
    sweep = new_sweep()
    sweep.sizes = {usual: model, **{name: {**model, **other} for name, other in others.items()}}
    arms = ((usual, 0.0), (usual, 0.1), *((name, 0.0) for name in others))
    axes = ((("size", "pauses.rate"), arms), ("budget", (_flops(pretrain),)), edition.seed_axis())
    sweep.pretrain = {"config": pretrain, "axes": axes}
    flops, steps = _flops(finetune), ("steps", finetune.train.steps)
    asked = (("finetune.m_ft", "budget"), (((m,), flops), ((0,), flops), ((0,), steps)))
    other = {"pretrain.size": tuple(others)}
    sweep.finetune = {
        "config": finetune,
        "axes": (asked,),
        "filters": {"skip": ({**other, "finetune.m_ft": (m,)}, {**other, "budget": steps})},
    }
    sweep.evaluate = edition.evaluation((0, m))
    return sweep


def _flops(config: Any) -> tuple[str, float]:
    """The budget that a config's steps are."""
    return "model_flops", config.train.steps * flops_per_step(from_config_dict(config))
