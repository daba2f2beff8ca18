"""Shardings of an optimizer's state: each array lies as the parameter that it belongs to."""

from __future__ import annotations

from typing import Any

from jax.sharding import NamedSharding, PartitionSpec

from pause_jax import trees


def shardings_like_parameters(opt_state: Any, params: Any, param_shardings: Any) -> Any:
    """A sharding for each array of an optimizer's state.

    An array belongs to the parameter whose path its own path ends with. With the parameter's shape it lies as the
    parameter does; without one dimension of it (a row's or a column's second moment, as Adafactor keeps them) as the
    parameter does along the others; an array of any other shape is replicated.

    Args:
      opt_state: shapes (`jax.eval_shape(optimizer.init, params)`).
      params: shapes.
      param_shardings: of `sharding.param_shardings`, in the same tree.
    """
    shapes, shardings = trees.flatten(params), trees.flatten(param_shardings)
    mesh = next(iter(shardings.values())).mesh

    def of_array(path: str, array: Any) -> NamedSharding:
        names = path.split("/")
        suffixes = ("/".join(names[start:]) for start in range(len(names)))
        owner = next((suffix for suffix in suffixes if suffix in shapes), None)
        if owner is None:
            return NamedSharding(mesh, PartitionSpec())
        return NamedSharding(mesh, _spec(array.shape, shapes[owner].shape, shardings[owner].spec))

    return trees.map_with_path(of_array, opt_state)


def _spec(shape: tuple[int, ...], param_shape: tuple[int, ...], spec: PartitionSpec) -> PartitionSpec:
    if shape == param_shape:
        return spec
    axes = (*spec, *[None] * (len(param_shape) - len(spec)))
    for dim in range(len(param_shape)):
        # Of two equal dimensions either may be the one that is gone: both ways the sizes divide.
        if shape == param_shape[:dim] + param_shape[dim + 1 :]:
            return PartitionSpec(*axes[:dim], *axes[dim + 1 :])
    return PartitionSpec()
