"""The paper's config: what its docstring calls ours is what the config has."""

from __future__ import annotations

from experiments import paper
from pause_jax.config import from_config_dict


def test_what_the_paper_does_not_say_is_said_as_it_is():
    config = from_config_dict(paper.get_config("1b"))
    optimizer, said = config.optimizer, " ".join((paper.__doc__ or "").split())
    assert f"betas of {optimizer.b1:g} and {optimizer.b2:g}" in said
    assert f"weight decay of {optimizer.weight_decay:g}" in said and f"a norm of {optimizer.clip_norm:g}" in said
    assert config.data.document_mask and "stop at a document's end" in said
    assert not any("dropout" in name for name in vars(config.model)) and "no dropout" in said
    assert f"batch {config.train.batch_size}" in said and config.model.dtype in said
    assert optimizer.schedule in said and f"to {100 * optimizer.final_fraction:g} %" in said
