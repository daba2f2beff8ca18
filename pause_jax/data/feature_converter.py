"""Feature converters: rows z[0..L] into what the model is fed, and into and from SeqIO's own names for it.

Our convention (DESIGN, Arrays): `inputs[k] = z[k]`, `targets[k] = z[k+1]`, no shift right, no BOS.
SeqIO's: `decoder_target_tokens[k] = z[k]` and `decoder_input_tokens[k] = z[k-1]`, 0 at the start of each segment.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import seqio
import tensorflow as tf

from pause_jax.pauses import insertion

_Spec = seqio.FeatureConverter.FeatureSpec


class PauseFeatureConverter(seqio.FeatureConverter):
    """Rows with their pauses, batched, into the model's features.

    A data set of {targets, segment_ids}, each [R, L + 1] int32, becomes one of `model_features`, each [R, L].
    """

    TASK_FEATURES = {name: _Spec(tf.int32, rank=2, sequence_dim=1) for name in ("targets", "segment_ids")}
    MODEL_FEATURES = {
        name: _Spec(tf.float32 if name == "loss_weights" else tf.int32, rank=2, sequence_dim=1)
        for name in ("inputs", "targets", "loss_weights", "positions", "segment_ids")
    }
    PACKING_FEATURE_DTYPES: Mapping[str, tf.DType] = {}

    def __init__(self, *, vocab_size: int):
        super().__init__(pack=False, apply_length_check=False)  # shapes are static here: ensure_shape is enough
        self._vocab_size = vocab_size

    def get_model_feature_lengths(self, task_feature_lengths: Mapping[str, int]) -> Mapping[str, int]:
        return dict.fromkeys(self.MODEL_FEATURES, task_feature_lengths["targets"] - 1)

    def _convert_features(self, ds: tf.data.Dataset, task_feature_lengths: Mapping[str, int]) -> tf.data.Dataset:
        names = list(self.MODEL_FEATURES)

        def convert(example: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            ids, segments = example["targets"], example["segment_ids"]
            features = tf.numpy_function(
                lambda ids, segments: [model_features(ids, segments, vocab_size=self._vocab_size)[n] for n in names],
                [ids, segments],
                [self.MODEL_FEATURES[name].dtype for name in names],
            )
            shape = (ids.shape[0], ids.shape[1] - 1)
            return {name: tf.ensure_shape(feature, shape) for name, feature in zip(names, features, strict=True)}

        return ds.map(convert)


def model_features(ids_BxT: np.ndarray, segments_BxT: np.ndarray, *, vocab_size: int) -> dict[str, np.ndarray]:
    """The five features of rows z[0..L], each [B, L], T = L + 1.

    inputs, targets, positions, segment_ids (those of the inputs): int32; loss_weights: float32.
    A target of weight 0 may be a pause, so >= vocab_size: a loss must not look it up in the output head unclipped.
    """
    return {
        "inputs": ids_BxT[:, :-1],
        "targets": ids_BxT[:, 1:],
        "loss_weights": insertion.loss_weights(ids_BxT, segments_BxT, vocab_size=vocab_size),
        "positions": insertion.positions(segments_BxT[:, :-1]),
        "segment_ids": segments_BxT[:, :-1],
    }


def to_seqio(features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Our features, [B, L], as SeqIO's `decoder_*`, [B, L + 1]: one longer, so that the look-ahead stays a target.

    Each segment's first token has weight 0: we never predict it, where SeqIO's own converters predict it from BOS. A
    look-ahead that carries no loss becomes padding.
    """
    has_loss_Bx1 = features["loss_weights"][:, -1:] > 0
    look_ahead_Bx1 = np.where(has_loss_Bx1, features["targets"][:, -1:], 0)
    ids_BxT = np.concatenate([features["inputs"], look_ahead_Bx1], axis=1)
    last_segment_Bx1 = np.where(has_loss_Bx1, features["segment_ids"][:, -1:], 0)
    segments_BxT = np.concatenate([features["segment_ids"], last_segment_Bx1], axis=1)
    last_position_Bx1 = np.where(has_loss_Bx1, features["positions"][:, -1:] + 1, 0)
    return {
        "decoder_target_tokens": ids_BxT,
        "decoder_input_tokens": _shift_right(ids_BxT, segments_BxT),
        "decoder_loss_weights": np.pad(features["loss_weights"], ((0, 0), (1, 0))),
        "decoder_segment_ids": segments_BxT,
        "decoder_positions": np.concatenate([features["positions"], last_position_Bx1], axis=1),
    }


def from_seqio(features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """SeqIO's `decoder_*` features, [B, L + 1], as ours, [B, L]: the inverse of `to_seqio` wherever there is loss.

    The loss that SeqIO puts on each segment's first token, predicted from BOS, has no place here and is dropped.
    """
    ids_BxT, segments_BxT = features["decoder_target_tokens"], features["decoder_segment_ids"]
    same_segment_BxL = segments_BxT[:, 1:] == segments_BxT[:, :-1]
    return {
        "inputs": ids_BxT[:, :-1],
        "targets": ids_BxT[:, 1:],
        "loss_weights": (features["decoder_loss_weights"][:, 1:] * same_segment_BxL).astype(np.float32),
        "positions": features["decoder_positions"][:, :-1],
        "segment_ids": segments_BxT[:, :-1],
    }


def _shift_right(ids_BxT: np.ndarray, segments_BxT: np.ndarray) -> np.ndarray:
    """z[k-1] at k, 0 where that is in another segment."""
    previous_BxT = np.pad(ids_BxT, ((0, 0), (1, 0)))[:, :-1]
    previous_segment_BxT = np.pad(segments_BxT, ((0, 0), (1, 0)))[:, :-1]
    return np.where(previous_segment_BxT == segments_BxT, previous_BxT, 0)
