"""How likely a model finds given answers, after the prompt and its pauses (paper section 3.1, Alg. 3).

Letters: B rows, C positions of context (prompt and pauses), A positions of the answer, V vocabulary.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pause_jax import pauses
from pause_jax.errors import UserError
from pause_jax.inference.rows import BUCKET, check_positions, context_rows
from pause_jax.model import decoder
from pause_jax.model.config import Execution, ModelConfig


def score(
    params: dict[str, Any],
    config: ModelConfig,
    execution: Execution,
    n_pauses: int,
    prompts: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
    *,
    m_inf: int,
    attention: pauses.PrefixAttention = "prefix_and_pauses",
    answer_length: int,
    bucket: int = BUCKET,
    filler: int | None = None,
) -> list[float]:
    """log p(answer | prompt, pauses) in nats, of each row: the sum over the answer's tokens.

    Args:
      prompts: ids, one sequence a row; the rows are one batch.
      answers: ids, at least one a row, all below the vocabulary's size; EOS counts where it is given.
      answer_length: positions for the answers, so that batches of one setting are one compilation.
      bucket, filler: as of `generate`.

    Raises:
      UserError: as `generate`; an answer is empty or longer than `answer_length`.
    """
    if not prompts:
        return []
    for row, answer in enumerate(answers):
        if not 1 <= len(answer) <= answer_length:
            raise UserError(f"answer {row} has {len(answer)} tokens, but must have 1 to {answer_length}")
    rows = context_rows(prompts, m_inf, vocab_size=config.vocab_size, n_pauses=n_pauses, bucket=bucket, filler=filler)
    check_positions(rows, max(map(len, answers)), config)
    contexts = [ids[segments > 0] for ids, segments in zip(rows.ids_BxC, rows.segments_BxC, strict=True)]
    made = pauses.finetune_rows(contexts, [np.asarray(answer) for answer in answers],
                                context_length=rows.ids_BxC.shape[1], target_length=answer_length)  # fmt: skip
    sums_B = _score(
        params,
        made.ids_BxT,
        pauses.positions(made.segments_BxT),
        made.segments_BxT,
        made.loss_weights_BxL,
        config=config,
        execution=execution,
        n_pauses=n_pauses,
        bidirectional=pauses.bidirectional_length(attention, rows.prompt_length, rows.num_pauses),
        answer_position=pauses.first_answer_position(rows.prompt_length, rows.num_pauses),
    )
    return np.asarray(sums_B).tolist()


@functools.partial(jax.jit, static_argnames=("config", "execution", "n_pauses", "bidirectional", "answer_position"))
def _score(
    params: dict[str, Any],
    ids_BxT: jax.Array,
    positions_BxT: jax.Array,
    segments_BxT: jax.Array,
    weights_BxL: jax.Array,
    *,
    config: ModelConfig,
    execution: Execution,
    n_pauses: int,
    bidirectional: int,
    answer_position: int,
) -> jax.Array:
    model = decoder.bind(params, config, execution, n_pauses)
    hidden_BxLxD, _ = model(ids_BxT[:, :-1], positions_BxT[:, :-1], segments_BxT[:, :-1], bidirectional=bidirectional)
    logits_BxAxV = model.logits(hidden_BxLxD[:, answer_position:])  # no others are computed
    targets_BxA, weights_BxA = ids_BxT[:, answer_position + 1 :], weights_BxL[:, answer_position:]
    log_p_BxA = jnp.take_along_axis(jax.nn.log_softmax(logits_BxAxV), targets_BxA[..., None], axis=-1)[..., 0]
    return jnp.sum(log_p_BxA * weights_BxA, axis=-1)
