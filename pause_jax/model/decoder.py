"""The decoder: embeddings (pauses among them), stacked layers, head.

Parameters live in a plain nested dict. `init` makes one, `bind` puts one under a module that can be called:

    params = init(config, seed=0)
    hidden_BxTxD, _ = bind(params, config, Execution())(ids, positions, segments)

Letters: B rows, T positions, D width, V vocabulary, P distinct pauses, N layers.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from pause_jax.config.model import Execution, ModelConfig, resolve
from pause_jax.model import ops, rope
from pause_jax.model.layers import DENSE, Cache, Dense, ForwardContext, Layer, Norm, normal
from pause_jax.model.mask import Mask
from pause_jax.model.partitioning import Axes, constrain

PAUSE_STD = 0.02  # of a new pause vector, also when it is added to a standard checkpoint

_REMAT_POLICIES = {
    "dots": jax.checkpoint_policies.save_only_these_names(DENSE),
    "full": jax.checkpoint_policies.nothing_saveable,
}


class Embedding(nnx.Module):
    """A table of vectors."""

    def __init__(self, rngs: nnx.Rngs, rows: int, config: ModelConfig, axis: str):
        self.embedding = normal(rngs, (rows, config.d_model), (axis, "embed"), config.init_std)


class Pause(nnx.Module):
    """One vector of d_model for each distinct pause: all that a pause model has beyond a standard one."""

    def __init__(self, rngs: nnx.Rngs, config: ModelConfig):
        # A stream of its own: all other parameters start as those of a standard model of the same seed.
        shape = (config.num_pause_tokens, config.d_model)
        vectors = PAUSE_STD * jax.random.normal(rngs.pause(), shape, jnp.float32)
        self.embedding = nnx.Param(vectors, axes=("pauses", "embed"))


class Decoder(nnx.Module):
    """Ids in [0, V) are text, V + j is the j-th pause. The head has V rows: a pause cannot be predicted."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs, execution: Execution):
        self.config, self.execution = config, execution
        self.token = Embedding(rngs, config.vocab_size, config, "vocab")
        self.positions = (
            Embedding(rngs, config.max_positions, config, "positions") if config.positions == "learned" else None
        )
        self.layers = Layer(config, rngs)
        self.final_norm = Norm(config.d_model, config) if config.norm_placement == "pre" else None
        self.head = None if config.tie_embeddings else Embedding(rngs, config.vocab_size, config, "vocab")
        self.pause = Pause(rngs, config) if config.num_pause_tokens else None

    def __call__(
        self,
        ids_BxT: jax.Array,
        positions_BxT: jax.Array,
        segments_BxT: jax.Array,
        *,
        prefix_lm_length: jax.Array | int = 0,
        cache: Cache | None = None,
        layers: Sequence[Layer] | None = None,
    ) -> tuple[jax.Array, Cache | None]:
        """The last layer's vectors [B, T, D] in the compute dtype, after the final norm; and the cache, advanced by T.

        Args:
          ids_BxT: int32 ids, pauses included.
          positions_BxT: int32, restarting in each segment; pauses count.
          segments_BxT: int32; attention stays within one; 0 is padding.
          prefix_lm_length: how many positions at the row's start see each other both ways (`mask.prefix_lm`); int32 [B]
            where the rows differ.
          cache: from `empty_cache`, or an earlier call; None to read the whole row at once.
          layers: from `layers_for_decoding`, once for many calls; None: those of the stack.
        """
        first_query: jax.Array | int = 0
        k_segments = segments_BxT
        starts_cache = cache is not None and isinstance(cache.index, int)  # 0, as `empty_cache` makes it
        if cache is not None:
            segments_BxS = jax.lax.dynamic_update_slice(cache.segments_BxS, segments_BxT, (0, cache.index))
            cache = dataclasses.replace(cache, segments_BxS=segments_BxS)
            if not starts_cache:
                first_query, k_segments = cache.index, segments_BxS
        context = ForwardContext(
            mask=Mask(segments_BxT, k_segments, first_query, prefix_lm_length, self.config.mask),
            cos_sin=rope.angles(positions_BxT, self.config) if self.config.positions == "rope" else None,
            starts_cache=starts_cache,
        )
        x = self.embed(ids_BxT, positions_BxT)
        if layers is None:
            x, cache = self._run_layers(x, context, cache)
        else:
            for index, layer in enumerate(layers):
                x, cache = layer(x, context, cache, index, self.execution)
        if self.final_norm is not None:
            x = self.final_norm(x)
        if cache is not None:
            cache = dataclasses.replace(cache, index=jnp.asarray(cache.index + ids_BxT.shape[1], jnp.int32))
        return x, cache

    def head_VxD(self) -> jax.Array:
        """The output matrix, float32: logits are hidden · headᵀ (`logits`, or in chunks in ops/chunked_loss.py)."""
        return constrain((self.head or self.token).embedding[...], "vocab", None)

    def logits(self, hidden_BxTxD: jax.Array) -> jax.Array:
        """Logits over text tokens, float32 [B, T, V]."""
        head = self.head_VxD().astype(hidden_BxTxD.dtype)
        logits = ops.linear(hidden_BxTxD, head, self.execution, transposed=True)
        return constrain(logits, "batch", "length", "vocab")

    def embed(self, ids_BxT: jax.Array, positions_BxT: jax.Array) -> jax.Array:
        """What the first layer reads [B, T, D], in the compute dtype. Arguments as of a call."""
        vocab_size = self.config.vocab_size
        is_pause_BxT = ids_BxT >= vocab_size
        # Tables are gathered over fsdp before the look-up, as every weight is before its use: looking up in a table cut
        # along D would make the result for the whole global batch exist on every device.
        table_VxD = constrain(self.token.embedding[...], "vocab", None)
        x = jnp.take(table_VxD, jnp.where(is_pause_BxT, 0, ids_BxT), axis=0, mode="clip")
        if self.pause is not None:
            table_PxD = constrain(self.pause.embedding[...], "pauses", None)
            pauses = jnp.take(table_PxD, jnp.maximum(ids_BxT - vocab_size, 0), axis=0, mode="clip")
            x = jnp.where(is_pause_BxT[..., None], pauses, x)
        if self.positions is not None:
            table = constrain(self.positions.embedding[...], "positions", None)
            x = x + jnp.take(table, positions_BxT, axis=0, mode="clip")
        return constrain(x.astype(self.config.dtype), "batch", "length", None)

    def _run_layers(self, x: jax.Array, context: ForwardContext, cache: Cache | None) -> tuple[jax.Array, Cache | None]:
        graph, stacked = nnx.split(self.layers)

        def run_layer(carry: tuple[jax.Array, Cache | None], sliced: tuple[Any, Any]) -> tuple[Any, None]:
            state, index = sliced
            x, cache = carry
            return nnx.merge(graph, state)(x, context, cache, index, self.execution), None

        if self.execution.remat != "none":
            run_layer = jax.checkpoint(
                run_layer, policy=_REMAT_POLICIES[self.execution.remat], prevent_cse=self.execution.scan_layers == "off"
            )
        carry = (x, cache)
        if self.execution.scan_layers == "on":
            carry, _ = jax.lax.scan(run_layer, carry, (stacked, jnp.arange(self.config.num_layers)))
            return carry
        for index, state in enumerate(self._unstack(stacked)):
            carry, _ = run_layer(carry, (state, index))
        return carry

    def _unstack(self, stacked: Any) -> Iterator[Any]:
        """Each layer's part of the layers' state."""
        # lax.split: its gradient is one concatenation, where indexing would add up N arrays of all layers' size
        leaves, tree = jax.tree.flatten(stacked)
        splits = (jax.lax.split(leaf, (1,) * self.config.num_layers) for leaf in leaves)
        for slices in zip(*splits, strict=True):
            yield jax.tree.unflatten(tree, [s.reshape(s.shape[1:]) for s in slices])

    def layers_for_decoding(self, rows: int, new_tokens: int) -> list[Layer] | None:
        """The layers, unstacked and with transposed kernels, where that decodes faster; None where the stack does.

        Args:
          rows: how many rows are decoded at once.
          new_tokens: how many tokens are decoded in each, one by one.
        """
        if not ops.transposes_for_decoding(rows, new_tokens, self.execution):
            return None
        graph, stacked = nnx.split(self.layers)
        layers = [nnx.merge(graph, state) for state in self._unstack(stacked)]
        for _, module in (found for layer in layers for found in nnx.iter_modules(layer)):
            if isinstance(module, Dense):
                module.transpose()
        return layers


def init(config: ModelConfig, seed: int | jax.Array) -> dict[str, Any]:
    """Fresh parameters, float32, as nested dicts. The same seed gives the same but for the pauses' own leaf."""
    return nnx.to_pure_dict(nnx.state(Decoder(config, nnx.Rngs(params=seed, pause=seed), Execution())))


def new_pauses(config: ModelConfig, seed: int) -> dict[str, Any]:
    """The `pause` part of `init`: what a standard checkpoint lacks."""
    return nnx.to_pure_dict(nnx.state(Pause(nnx.Rngs(params=seed, pause=seed), config)))


def bind(params: dict[str, Any], config: ModelConfig, execution: Execution) -> Decoder:
    """A callable Decoder over `params` (arrays, tracers or shapes). Cheap: nothing is computed or copied.

    Fields of `execution` that are "auto" are resolved for JAX's default platform.
    """
    execution = resolve(execution, jax.default_backend())
    graph, abstract = nnx.split(_abstract(config, execution))
    nnx.replace_by_pure_dict(abstract, params)
    return nnx.merge(graph, abstract)


def logical_axes(config: ModelConfig) -> dict[str, Axes]:
    """For each parameter's path ("layers/mlp/up/kernel") its logical axis names, one a dimension."""
    flat = nnx.to_flat_state(nnx.state(_abstract(config, Execution())))
    return {"/".join(map(str, path)): param.get_metadata()["axes"] for path, param in flat}


def abstract_params(config: ModelConfig) -> dict[str, Any]:
    """Shapes and dtypes of `init` without computing it."""
    return nnx.to_pure_dict(nnx.state(_abstract(config, Execution())))


def empty_cache(config: ModelConfig, batch: int, length: int) -> Cache:
    """A cache for `length` positions of `batch` rows, in the compute dtype."""
    shape = (config.num_layers, batch, length, config.num_kv_heads, config.head_dim)
    return Cache(
        k_NxBxSxKxE=jnp.zeros(shape, config.dtype),
        v_NxBxSxKxE=jnp.zeros(shape, config.dtype),
        segments_BxS=jnp.zeros((batch, length), jnp.int32),
        index=0,
    )


@functools.cache
def _abstract(config: ModelConfig, execution: Execution) -> Decoder:
    return nnx.eval_shape(lambda: Decoder(config, nnx.Rngs(params=0, pause=0), execution))
