"""Pauses for any SeqIO task: a preprocessor to put after tokenization, for decoders such as t5x's.

    seqio.TaskRegistry.add(
        "my_task_with_pauses",
        source=my_source,
        preprocessors=[*my_preprocessors, seqio.preprocessors.tokenize, seqio.preprocessors.append_eos,
                       functools.partial(insert_pauses, length=512, vocab_size=32_000, rate=0.1)],
        output_features=pause_features(vocabulary),
    )
    dataset = seqio.get_dataset("my_task_with_pauses", {}, feature_converter=seqio.PassThroughFeatureConverter())

The embedding needs `num_pause_tokens` rows beyond `vocab_size`; where the output head has them too, mask their logits.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import seqio
import tensorflow as tf

from pause_jax.pauses import insertion

_TYPES = {
    "decoder_target_tokens": tf.int32,
    "decoder_input_tokens": tf.int32,
    "decoder_loss_weights": tf.float32,
    "decoder_segment_ids": tf.int32,
    "decoder_positions": tf.int32,
}


def insert_pauses(
    dataset: tf.data.Dataset,
    *,
    length: int,
    vocab_size: int,
    rate: float = 0.1,
    num_pause_tokens: int = 1,
    seed: int = 0,
) -> tf.data.Dataset:
    """Examples with `targets` (text ids) as rows with pauses at random places, in SeqIO's names (paper section 3.1).

    A row has `length` + 1 elements: text and pauses, then padding; what is longer loses its end. Where pauses go
    depends on the seed and on the example's place in the data set.

    Args:
      length: positions that are read; `rate` of it are pauses, fewer where the text is short.
      vocab_size: ids of text, and the first pause's id.

    Returns:
      A data set of `decoder_target_tokens`, `decoder_input_tokens` (shifted right within the row),
      `decoder_segment_ids`, `decoder_positions` (int32) and `decoder_loss_weights` (float32: 0 on pauses, on padding
      and on the first token), each [length + 1].

    Raises:
      UserError: the rate is out of range, or leaves no room for text.
    """
    insertion.text_tokens_per_block(length, rate, "trim", 0.0)  # or it raises
    count = insertion.num_pauses(length, rate)

    def one(number: np.ndarray, ids_N: np.ndarray) -> list[np.ndarray]:
        text_1xZ = np.zeros((1, length + 1), np.int32)
        kept = ids_N[: length + 1]
        text_1xZ[0, : len(kept)] = kept
        segments_1xZ = (np.arange(length + 1)[None] < len(kept)).astype(np.int32)
        slots = insertion.draw_slots(
            insertion.Blocks([0], [int(number)]), seed=seed, num_slots=length + count, num_pauses=count
        )
        rows = insertion.insert(
            text_1xZ, segments_1xZ, slots, length=length, vocab_size=vocab_size, num_pause_tokens=num_pause_tokens
        )
        features = to_seqio(insertion.model_features(rows.ids_BxZ, rows.segments_BxZ, vocab_size=vocab_size))
        return [features[name][0].astype(kind.as_numpy_dtype) for name, kind in _TYPES.items()]

    def convert(number: tf.Tensor, example: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        arrays = tf.numpy_function(one, [number, example["targets"]], list(_TYPES.values()))
        return {name: tf.ensure_shape(array, [length + 1]) for name, array in zip(_TYPES, arrays, strict=True)}

    return dataset.enumerate().map(convert, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def pause_features(vocabulary: seqio.Vocabulary) -> dict[str, seqio.Feature]:
    """`output_features` of a task that ends in `insert_pauses`."""
    return {name: seqio.Feature(vocabulary, add_eos=False, dtype=kind) for name, kind in _TYPES.items()}


# --- SeqIO's features and ours
#
# Ours: `inputs[k] = z[k]`, `targets[k] = z[k+1]`, no shift right, no BOS. SeqIO's: `decoder_target_tokens[k] = z[k]`,
# `decoder_input_tokens[k] = z[k-1]`, 0 at the start of each segment.


def to_seqio(features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Our features, [B, T], as SeqIO's `decoder_*`, [B, T + 1]: one longer, so that the look-ahead stays a target.

    Each segment's first token has weight 0: we never predict it, where SeqIO's own converters predict it from BOS. A
    look-ahead that carries no loss becomes padding.
    """
    has_loss_Bx1 = features["loss_weights"][:, -1:] > 0
    look_ahead_Bx1 = np.where(has_loss_Bx1, features["targets"][:, -1:], 0)
    ids_BxZ = np.concatenate([features["inputs"], look_ahead_Bx1], axis=1)
    last_segment_Bx1 = np.where(has_loss_Bx1, features["segment_ids"][:, -1:], 0)
    segments_BxZ = np.concatenate([features["segment_ids"], last_segment_Bx1], axis=1)
    last_position_Bx1 = np.where(has_loss_Bx1, features["positions"][:, -1:] + 1, 0)
    return {
        "decoder_target_tokens": ids_BxZ,
        "decoder_input_tokens": _shift_right(ids_BxZ, segments_BxZ),
        "decoder_loss_weights": np.pad(features["loss_weights"], ((0, 0), (1, 0))),
        "decoder_segment_ids": segments_BxZ,
        "decoder_positions": np.concatenate([features["positions"], last_position_Bx1], axis=1),
    }


def from_seqio(features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """SeqIO's `decoder_*` features, [B, T + 1], as ours, [B, T]: the inverse of `to_seqio` wherever there is loss.

    The loss that SeqIO puts on each segment's first token, predicted from BOS, has no place here and is dropped.
    """
    ids_BxZ, segments_BxZ = features["decoder_target_tokens"], features["decoder_segment_ids"]
    same_segment_BxT = segments_BxZ[:, 1:] == segments_BxZ[:, :-1]
    return {
        "inputs": ids_BxZ[:, :-1],
        "targets": ids_BxZ[:, 1:],
        "loss_weights": (features["decoder_loss_weights"][:, 1:] * same_segment_BxT).astype(np.float32),
        "positions": features["decoder_positions"][:, :-1],
        "segment_ids": segments_BxZ[:, :-1],
    }


def _shift_right(ids_BxZ: np.ndarray, segments_BxZ: np.ndarray) -> np.ndarray:
    """z[k-1] at k, 0 where that is in another segment."""
    previous_BxZ = np.pad(ids_BxZ, ((0, 0), (1, 0)))[:, :-1]
    previous_segment_BxZ = np.pad(segments_BxZ, ((0, 0), (1, 0)))[:, :-1]
    return np.where(previous_segment_BxZ == segments_BxZ, previous_BxZ, 0)
