"""The parts of one layer.

Parameters of all N layers are stacked: arrays carry a leading axis N, and a layer's `__call__` sees its own slice,
without that axis (see decoder.py).

Letters: N layers, B rows, T positions, S positions of the cache, D width, H query heads, K key/value heads, E head
size, F inner width.
"""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from pause_jax.config.model import Execution, ModelConfig
from pause_jax.model import ops, rope
from pause_jax.model.mask import Mask
from pause_jax.model.partitioning import Axes, constrain

DENSE = "dense"  # the checkpoint name of the outputs of `Dense`, which remat "dots" keeps


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Cache:
    """Keys and values of all layers, filled up to `index`."""

    k_NxBxSxKxE: jax.Array
    v_NxBxSxKxE: jax.Array
    segments_BxS: jax.Array  # int32, 0 where nothing may be read
    index: jax.Array | int  # int32 []: where the next position goes, for all rows; the number 0 in an empty one


@dataclasses.dataclass(frozen=True)
class ForwardContext:
    """What is the same for all layers of one forward pass."""

    mask: Mask
    cos_sin: tuple[jax.Array, jax.Array] | None
    starts_cache: bool = False  # nothing is in the cache yet: keys and values are this call's own


def normal(rngs: nnx.Rngs, shape: tuple[int, ...], axes: Axes, std: float) -> nnx.Param:
    return nnx.Param(std * jax.random.normal(rngs.params(), shape, jnp.float32), axes=axes)


def constant(value: float, shape: tuple[int, ...], axes: Axes) -> nnx.Param:
    return nnx.Param(jnp.full(shape, value, jnp.float32), axes=axes)


class Dense(nnx.Module):
    """x · kernel + bias, where input and output may each be one dimension or two (heads, head size)."""

    def __init__(
        self,
        rngs: nnx.Rngs,
        num_layers: int,
        d_in: tuple[int, ...],
        d_out: tuple[int, ...],
        axes: Axes,
        bias: bool,
        config: ModelConfig,
        gain: float = 1.0,
    ):
        std = gain * (math.prod(d_in) ** -0.5 if config.kernel_init == "fan_in" else config.init_std)
        self.kernel = normal(rngs, (num_layers, *d_in, *d_out), ("layers", *axes), std)
        self.bias = constant(0.0, (num_layers, *d_out), ("layers", *axes[len(d_in) :])) if bias else None
        self.d_in, self.d_out = d_in, d_out
        self.transposed = False

    def transpose(self) -> None:
        """Replace the kernel of a layer, no longer of the stack, by its transpose as a matrix."""
        matrix = self.kernel[...].reshape(math.prod(self.d_in), math.prod(self.d_out))
        self.kernel, self.transposed = nnx.Param(matrix.T), True

    def __call__(self, x: jax.Array, execution: Execution) -> jax.Array:
        lead = x.shape[: x.ndim - len(self.d_in)]
        x_RxI = x.reshape(-1, math.prod(self.d_in))
        kernel = self.kernel[...].astype(x.dtype)
        if not self.transposed:
            kernel = kernel.reshape(x_RxI.shape[1], math.prod(self.d_out))
        y = ops.linear(x_RxI, kernel, execution, transposed=self.transposed).reshape(*lead, *self.d_out)
        if self.bias is not None:
            y += self.bias[...].reshape((1,) * len(lead) + self.d_out)
        return checkpoint_name(y.astype(x.dtype), DENSE)


class Norm(nnx.Module):
    """LayerNorm or RMSNorm over the last dimension, statistics in float32."""

    def __init__(
        self,
        size: int,
        config: ModelConfig,
        num_layers: int | None = None,
        axis: str = "embed",
        rms: bool | None = None,
    ):
        lead: tuple[int, ...] = () if num_layers is None else (num_layers,)
        axes: Axes = (axis,) if num_layers is None else ("layers", axis)
        self.rms = config.norm == "rmsnorm" if rms is None else rms
        self.eps = config.norm_eps
        self.scale = constant(1.0, (*lead, size), axes)
        self.bias = constant(0.0, (*lead, size), axes) if config.norm_bias and not self.rms else None

    def __call__(self, x: jax.Array) -> jax.Array:
        y = x.astype(jnp.float32)
        ones = (1,) * (x.ndim - 1)
        if not self.rms:
            y = y - jnp.mean(y, axis=-1, keepdims=True)
        y = y * jax.lax.rsqrt(jnp.mean(jnp.square(y), axis=-1, keepdims=True) + self.eps)
        y = y * self.scale[...].reshape(*ones, -1)
        if self.bias is not None:
            y = y + self.bias[...].reshape(*ones, -1)
        return y.astype(x.dtype)


class Attention(nnx.Module):
    """Multi-head attention; with fewer key/value heads than query heads, grouped (GQA)."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        n, d, size = config.num_layers, config.d_model, config.head_dim
        qkv_bias, out_bias = config.attention_bias != "none", config.attention_bias == "all"
        kv = (config.num_kv_heads, size)
        self.q = Dense(rngs, n, (d,), (config.num_heads, size), ("embed", "heads", "head"), qkv_bias, config)
        self.k = Dense(rngs, n, (d,), kv, ("embed", "kv_heads", "head"), qkv_bias, config)
        self.v = Dense(rngs, n, (d,), kv, ("embed", "kv_heads", "head"), qkv_bias, config)
        self.out = Dense(
            rngs,
            n,
            (config.num_heads, size),
            (d,),
            ("heads", "head", "embed"),
            out_bias,
            config,
            gain=1 / math.sqrt(2 * n),
        )
        self.q_norm = Norm(size, config, n, "head", rms=True) if config.qk_norm else None
        self.k_norm = Norm(size, config, n, "head", rms=True) if config.qk_norm else None

    def __call__(
        self,
        x_BxTxD: jax.Array,
        context: ForwardContext,
        cache: Cache | None,
        layer: jax.Array | int,
        execution: Execution,
    ) -> tuple[jax.Array, Cache | None]:
        q = constrain(self.q(x_BxTxD, execution), "batch", "length", "heads", "head")
        k = constrain(self.k(x_BxTxD, execution), "batch", "length", "kv_heads", "head")
        v = constrain(self.v(x_BxTxD, execution), "batch", "length", "kv_heads", "head")
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        if context.cos_sin is not None:
            q, k = rope.rotate(q, context.cos_sin), rope.rotate(k, context.cos_sin)
        if cache is not None:
            cache = _write(cache, k, v, layer)
            if not context.starts_cache:
                k, v = cache.k_NxBxSxKxE[layer].astype(q.dtype), cache.v_NxBxSxKxE[layer].astype(q.dtype)
        out = ops.attention(q, k, v, context.mask, execution, from_cache=cache is not None)
        out = constrain(out, "batch", "length", "heads", "head")
        return self.out(out, execution), cache


class MLP(nnx.Module):
    """Two matrices around an activation, or three with a gate (SwiGLU)."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        n, d, f, bias = config.num_layers, config.d_model, config.d_ff, config.mlp_bias
        self.gate = Dense(rngs, n, (d,), (f,), ("embed", "mlp"), bias, config) if config.mlp == "swiglu" else None
        self.up = Dense(rngs, n, (d,), (f,), ("embed", "mlp"), bias, config)
        self.down = Dense(rngs, n, (f,), (d,), ("mlp", "embed"), bias, config, 1 / math.sqrt(2 * n))
        self.activation = config.mlp

    def __call__(self, x_BxTxD: jax.Array, execution: Execution) -> jax.Array:
        gate = constrain(self.gate(x_BxTxD, execution), "batch", "length", "mlp") if self.gate is not None else None
        up = constrain(self.up(x_BxTxD, execution), "batch", "length", "mlp")
        # its gradient recomputes from its inputs: else three more float32 arrays of this size would be kept
        return self.down(jax.checkpoint(self._activate)(gate, up), execution)

    def _activate(self, gate_BxTxF: jax.Array | None, up_BxTxF: jax.Array) -> jax.Array:
        """What `down` reads, computed in float32."""
        up = up_BxTxF.astype(jnp.float32)
        if gate_BxTxF is not None:
            inner = jax.nn.silu(gate_BxTxF.astype(jnp.float32)) * up
        elif self.activation == "relu":
            inner = jax.nn.relu(up)
        else:
            inner = jax.nn.gelu(up, approximate=self.activation == "gelu_tanh")
        return inner.astype(up_BxTxF.dtype)


class Layer(nnx.Module):
    """Attention and MLP, each with a residual and a norm before it (or, as printed in the paper, after the sum)."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        self.attention_norm = Norm(config.d_model, config, config.num_layers)
        self.attention = Attention(config, rngs)
        self.mlp_norm = Norm(config.d_model, config, config.num_layers)
        self.mlp = MLP(config, rngs)
        self.post_norm = config.norm_placement == "post"

    def __call__(
        self,
        x_BxTxD: jax.Array,
        context: ForwardContext,
        cache: Cache | None,
        layer: jax.Array | int,
        execution: Execution,
    ) -> tuple[jax.Array, Cache | None]:
        x = x_BxTxD
        if self.post_norm:
            attended, cache = self.attention(x, context, cache, layer, execution)
            x = self.attention_norm(x + attended)
            x = self.mlp_norm(x + self.mlp(x, execution))
        else:
            attended, cache = self.attention(self.attention_norm(x), context, cache, layer, execution)
            x = x + attended
            x = x + self.mlp(self.mlp_norm(x), execution)
        return constrain(x, "batch", "length", None), cache


def _write(cache: Cache, k_BxTxKxE: jax.Array, v_BxTxKxE: jax.Array, layer: jax.Array | int) -> Cache:
    """The cache with one layer's keys and values of T new positions put in at `index` (which stays)."""
    at = (layer, 0, cache.index, 0, 0)
    k = jax.lax.dynamic_update_slice(cache.k_NxBxSxKxE, k_BxTxKxE[None].astype(cache.k_NxBxSxKxE.dtype), at)
    v = jax.lax.dynamic_update_slice(cache.v_NxBxSxKxE, v_BxTxKxE[None].astype(cache.v_NxBxSxKxE.dtype), at)
    return dataclasses.replace(cache, k_NxBxSxKxE=k, v_NxBxSxKxE=v)
