"""Measures attention and logit lens of a run over examples, batch by batch.

Letters: N layers, H heads, M pauses, L positions looked at, B rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pause_jax.config import Config
from pause_jax.diagnostics import lens
from pause_jax.diagnostics.attention import answer_to_each, even_attention, shares
from pause_jax.diagnostics.context import MarkedRows
from pause_jax.diagnostics.layers import embed, run_layers
from pause_jax.inference.rows import pad_batch
from pause_jax.model.mask import Mask


@dataclasses.dataclass(frozen=True)
class Measured:
    """Means over all examples, float64. Layer 0 of the lens is what the first layer reads."""

    attention_NxH: Mapping[str, np.ndarray]  # one for each of `attention.MEASURES`
    to_each_NxHxM: np.ndarray  # the answer position's attention to each pause
    even: Mapping[str, float]  # each measure, for a head that attends evenly to all it may see
    log_p_N1xL: np.ndarray  # nats, of the target's first token
    rank_N1xL: np.ndarray  # of that token among all text tokens, from 1
    first_N1xL: np.ndarray  # share of the examples in which that token is the likeliest


def measure(
    params: Any,
    config: Config,
    context: MarkedRows,
    tokens: Sequence[int],
    *,
    batch_size: int = 16,
    done: Callable[[int], None] = lambda count: None,
) -> Measured:
    """Run the rows through the network layer by layer, and average over them.

    Args:
      tokens: the first token of each row's target.
      done: called with the number of rows measured, after each batch.
    """
    size = min(batch_size, len(tokens))
    found = []
    for start in range(0, len(tokens), size):
        numbers = list(range(start, min(start + size, len(tokens))))
        rows = pad_batch(numbers, size)
        measured = _measure_batch(params, config, context.rows(rows), np.array([tokens[i] for i in rows], np.int32))
        found.append(_without_padding(measured, len(numbers)))
        done(numbers[-1] + 1)
    attention, to_each, even, log_p, rank = jax.tree.map(lambda *parts: np.concatenate(parts), *found)
    return Measured(
        attention_NxH={name: np.stack([layer[name].mean(axis=0) for layer in attention]) for name in attention[0]},
        to_each_NxHxM=np.stack([layer.mean(axis=0) for layer in to_each]),
        even={name: float(values.mean()) for name, values in even.items()},
        log_p_N1xL=np.stack([layer.mean(axis=0) for layer in log_p]),
        rank_N1xL=np.stack([layer.mean(axis=0) for layer in rank]),
        first_N1xL=np.stack([(layer == 1).mean(axis=0) for layer in rank]),
    )


def _without_padding(measured: Any, count: int) -> Any:
    return jax.tree.map(lambda x: np.asarray(x, np.float64)[:count], measured)


def _measure_batch(params: Any, config: Config, context: MarkedRows, token_B: np.ndarray) -> Any:
    """Measures of one batch.

    In order: of each layer the shares [B, H], and the attention to each pause [B, H, M]; shares [B, 1] of even
    attention; of each layer, and of what the first one reads, log p and ranks [B, L].
    """
    model = config.model
    positions, segments, prefix_lm_length = context.positions_BxC, context.segments_BxC, context.prefix_lm_length
    whose = context.is_pause_BxC, context.is_prompt_BxC
    looked_at = context.looked_at_BxL
    mask = Mask(jnp.asarray(segments), jnp.asarray(segments), 0, prefix_lm_length, config.model.mask)
    residual = embed(params, model, context.ids_BxC, positions)
    attention, to_each, lenses = [], [], [lens.look(params, residual, looked_at, token_B, config=model)]
    for view in run_layers(
        params,
        model,
        residual_BxTxD=residual,
        positions_BxT=positions,
        segments_BxT=segments,
        prefix_lm_length=prefix_lm_length,
    ):
        attention.append(shares(view.attention_BxHxTxS, *whose))
        to_each.append(answer_to_each(view.attention_BxHxTxS, context.pauses_BxM))
        lenses.append(lens.look(params, view.residual_BxTxD, looked_at, token_B, config=model))
    log_p, rank = zip(*lenses, strict=True)
    return attention, to_each, shares(even_attention(mask.may_attend_BxTxS()), *whose), list(log_p), list(rank)
