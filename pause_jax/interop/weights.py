"""Weights of Hugging Face's GPT-2, Llama, Mistral, Qwen 2 and Qwen 3 as our parameters, and back.

    params = params(weights, config)  # weights: names to NumPy arrays, such as a `Folder` of safetensors files

Neither torch nor transformers is needed.

Letters: D width, H query heads, K key/value heads, E head size.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pause_jax import trees
from pause_jax.config.model import ModelConfig
from pause_jax.errors import UserError, beginning
from pause_jax.interop import files
from pause_jax.model import decoder

INDEX = "model.safetensors.index.json"  # says in which of several files each weight is
SINGLE = "model.safetensors"
TOKEN_TABLES = ("wte.weight", "embed_tokens.weight")  # how names of token embeddings end
HEAD = "lm_head.weight"

# Our path → Hugging Face's name, without the prefix "transformer." or "model." that whole language models have.
# "{}" is the layer. In GPT-2 q, k and v are thirds of c_attn.
_GPT2_NAMES = {
    "token/embedding": "wte.weight",
    "positions/embedding": "wpe.weight",
    "layers/attention_norm/scale": "h.{}.ln_1.weight",
    "layers/attention_norm/bias": "h.{}.ln_1.bias",
    "layers/attention/q/kernel": "h.{}.attn.c_attn.weight",
    "layers/attention/q/bias": "h.{}.attn.c_attn.bias",
    "layers/attention/k/kernel": "h.{}.attn.c_attn.weight",
    "layers/attention/k/bias": "h.{}.attn.c_attn.bias",
    "layers/attention/v/kernel": "h.{}.attn.c_attn.weight",
    "layers/attention/v/bias": "h.{}.attn.c_attn.bias",
    "layers/attention/out/kernel": "h.{}.attn.c_proj.weight",
    "layers/attention/out/bias": "h.{}.attn.c_proj.bias",
    "layers/mlp_norm/scale": "h.{}.ln_2.weight",
    "layers/mlp_norm/bias": "h.{}.ln_2.bias",
    "layers/mlp/up/kernel": "h.{}.mlp.c_fc.weight",
    "layers/mlp/up/bias": "h.{}.mlp.c_fc.bias",
    "layers/mlp/down/kernel": "h.{}.mlp.c_proj.weight",
    "layers/mlp/down/bias": "h.{}.mlp.c_proj.bias",
    "final_norm/scale": "ln_f.weight",
    "final_norm/bias": "ln_f.bias",
    "head/embedding": "lm_head.weight",
}
_LLAMA_NAMES = {
    "token/embedding": "embed_tokens.weight",
    "layers/attention_norm/scale": "layers.{}.input_layernorm.weight",
    "layers/attention/q/kernel": "layers.{}.self_attn.q_proj.weight",
    "layers/attention/q/bias": "layers.{}.self_attn.q_proj.bias",
    "layers/attention/k/kernel": "layers.{}.self_attn.k_proj.weight",
    "layers/attention/k/bias": "layers.{}.self_attn.k_proj.bias",
    "layers/attention/v/kernel": "layers.{}.self_attn.v_proj.weight",
    "layers/attention/v/bias": "layers.{}.self_attn.v_proj.bias",
    "layers/attention/out/kernel": "layers.{}.self_attn.o_proj.weight",
    "layers/attention/out/bias": "layers.{}.self_attn.o_proj.bias",
    "layers/attention/q_norm/scale": "layers.{}.self_attn.q_norm.weight",
    "layers/attention/k_norm/scale": "layers.{}.self_attn.k_norm.weight",
    "layers/mlp_norm/scale": "layers.{}.post_attention_layernorm.weight",
    "layers/mlp/gate/kernel": "layers.{}.mlp.gate_proj.weight",
    "layers/mlp/gate/bias": "layers.{}.mlp.gate_proj.bias",
    "layers/mlp/up/kernel": "layers.{}.mlp.up_proj.weight",
    "layers/mlp/up/bias": "layers.{}.mlp.up_proj.bias",
    "layers/mlp/down/kernel": "layers.{}.mlp.down_proj.weight",
    "layers/mlp/down/bias": "layers.{}.mlp.down_proj.bias",
    "final_norm/scale": "norm.weight",
    "head/embedding": "lm_head.weight",
}
_TYPES = ("F64", "F32", "F16", "BF16")  # as safetensors calls them
_BUFFERS = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")  # in older files; not weights


class Folder(Mapping[str, np.ndarray]):
    """The weights in a folder's safetensors files, each read when it is asked for."""

    def __init__(self, folder: Path):
        """Raises UserError: no safetensors files are there, one of several is missing, or one cannot be read."""
        import safetensors

        self._open: dict[str, Any] = {}  # each weight's file
        for file in _files(folder):
            files.check_content(file)
            try:
                opened = safetensors.safe_open(file, framework="numpy")
            except (OSError, safetensors.SafetensorError) as error:
                raise UserError(f"{file} cannot be read as safetensors ({beginning(error)}): fetch it again") from None
            for name in opened.keys():  # noqa: SIM118 - it is no dict
                _check_type(file, name, opened.get_slice(name).get_dtype())
                self._open[name] = opened

    def __getitem__(self, name: str) -> np.ndarray:
        return self._open[name].get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._open)

    def __len__(self) -> int:
        return len(self._open)


@dataclasses.dataclass(frozen=True)
class TextRows(Mapping[str, np.ndarray]):
    """Weights without the rows that were added for pauses."""

    weights: Mapping[str, np.ndarray]
    rows: int

    def __getitem__(self, name: str) -> np.ndarray:
        weight = self.weights[name]
        return weight[: self.rows] if name.endswith((*TOKEN_TABLES, HEAD)) else weight

    def __iter__(self) -> Iterator[str]:
        return iter(self.weights)

    def __len__(self) -> int:
        return len(self.weights)


def _check_type(file: Path, name: str, kind: str) -> None:
    """Raises UserError for a weight of integers or packed numbers, which mean nothing without their scales."""
    if kind not in _TYPES and not name.endswith(_BUFFERS):
        raise UserError(
            f"{file}: the weight {name} is of type {kind}, but only {', '.join(_TYPES)} can be read: quantized weights "
            "cannot, so give the model as it was before"
        )


def _files(folder: Path) -> list[Path]:
    """The folder's safetensors files. Raises UserError where there are none, not all, or both one file and several."""
    index = folder / INDEX
    if index.is_file():
        names = _names_in(index)
        if (folder / SINGLE).is_file() and SINGLE not in names:
            raise UserError(
                f"{folder} has both {SINGLE} and {INDEX} with {len(names)} other files, which may hold other weights: "
                "move the one away that is not meant"
            )
        if missing := [name for name in names if not (folder / name).is_file()]:
            raise UserError(
                f"{folder / missing[0]} is missing, one of the {len(names)} files that {INDEX} lists: fetch it"
            )
        return [folder / name for name in names]
    shards = sorted(folder.glob("model-*-of-*.safetensors"))
    if shards and (folder / SINGLE).is_file():
        raise UserError(
            f"{folder} has both {SINGLE} and {shards[0].name}, which may hold other weights: move one of them away"
        )
    if shards:
        raise UserError(f"{index} is missing, which says what {shards[0].name} and the others hold: fetch it")
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    old = next(
        (
            f" (it has {name}, which is a pickle and is not read)"
            for name in ("pytorch_model.bin", "pytorch_model.bin.index.json")
            if (folder / name).is_file()
        ),
        "",
    )
    raise UserError(f"{folder} has neither {SINGLE} nor {INDEX}{old}: give a folder with weights as safetensors")


def _names_in(index: Path) -> list[str]:
    """The names of the files that an index lists. Raises UserError where it is no index."""
    places = files.read_json(index).get("weight_map")
    names = set(places.values()) if isinstance(places, dict) and places else {None}
    if not all(isinstance(name, str) and name == Path(name).name for name in names):
        raise UserError(f"{index} is no index of safetensors files: fetch it again")
    return sorted(str(name) for name in names)


def params(weights: Mapping[str, np.ndarray], config: ModelConfig) -> dict[str, Any]:
    """`weights` as float32 arrays in the tree of `decoder.init(config, seed)`, layers stacked.

    Args:
      weights: arrays of any float type by their Hugging Face names, with or without "transformer." or "model.".
      config: from `configs.model_config`; learned positions mean GPT-2's names, rope those of Llama and Qwen.

    Raises:
      UserError: as `Reader`.
    """
    reader = Reader(weights, config)
    flat = {path: np.stack(list(parts)) if path.startswith("layers/") else next(iter(parts)) for path, parts in reader}
    return trees.unflatten(flat)


class Reader:
    """Iterates over our parameters' paths, each with its arrays (one for each layer where stacked), read lazily."""

    def __init__(self, weights: Mapping[str, np.ndarray], config: ModelConfig):
        """Raises UserError: a weight is missing or has no counterpart; it is named."""
        self._config = config
        self._found = {_bare(name): name for name in weights if not name.endswith(_BUFFERS)}
        self._weights = weights
        used = {name for path in self._shapes() for name in self._names(path)}
        if missing := sorted(used - self._found.keys()):
            raise UserError(f"the weight {missing[0]} is missing")
        self._check_leftovers(used)

    def __iter__(self) -> Iterator[tuple[str, Iterator[np.ndarray]]]:
        """(path, arrays). Raises UserError, when a weight is read, where its shape is not what the config says."""
        for path, shape in self._shapes().items():
            one = shape[1:] if path.startswith("layers/") else shape
            yield path, (_weight(self._weights[self._found[name]], name, path, one) for name in self._names(path))

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        return {path: leaf.shape for path, leaf in trees.flatten(decoder.abstract_params(self._config)).items()}

    def _names(self, path: str) -> list[str]:
        return names_of(path, self._config)

    def _check_leftovers(self, used: set[str]) -> None:
        """Raises UserError for a weight that is not used; a tied head may be there if it equals the embedding."""
        for name in sorted(self._found.keys() - used):
            if name != HEAD or not self._config.tie_embeddings:
                raise UserError(f"the weight {name} has no place in a model of this config")
            head, token = (self._weights[self._found[n]] for n in (name, *self._names("token/embedding")))
            if not np.array_equal(head, token):
                raise UserError("the weight lm_head.weight differs from the token embedding, but the config ties them")


def names_of(path: str, config: ModelConfig) -> list[str]:
    """Hugging Face's names, without prefix, of the weights of our parameter `path`: one for each layer if stacked.

    Raises:
      UserError: Hugging Face's model has no such weight.
    """
    names = _GPT2_NAMES if config.positions == "learned" else _LLAMA_NAMES
    if path not in names:
        raise UserError(f"the model has {path}, for which Hugging Face's model has no weight")
    layers = range(config.num_layers) if path.startswith("layers/") else (0,)
    return [names[path].format(layer) for layer in layers]


def full_name(name: str, config: ModelConfig) -> str:
    """A name with the prefix that whole language models have."""
    if name == HEAD:
        return name
    return f"{'transformer' if config.positions == 'learned' else 'model'}.{name}"


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One of Hugging Face's weights, to be made from ours."""

    name: str
    shape: tuple[int, ...]
    make: Callable[[], np.ndarray]  # float32


def tensors(params: Mapping[str, Any], config: ModelConfig) -> list[Tensor]:
    """Hugging Face's weights of `params` (arrays, also on devices; no pauses). Nothing is copied before `make`."""
    flat = trees.flatten(params)
    parts: dict[str, list[tuple[str, int]]] = {}  # of each weight, our paths and the layer
    for path in flat:
        for layer, name in enumerate(names_of(path, config)):
            parts.setdefault(name, []).append((path, layer))
    return [_tensor(name, sorted(paths, key=_qkv_first), flat, config) for name, paths in parts.items()]


def _tensor(name: str, paths: list[tuple[str, int]], flat: Mapping[str, Any], config: ModelConfig) -> Tensor:
    def part(path: str, layer: int) -> np.ndarray:
        ours = np.asarray(flat[path][layer] if path.startswith("layers/") else flat[path], np.float32)
        is_linear = _is_linear(path, name)
        wanted = _file_shape(path, ours.shape, is_fused=False, is_linear=is_linear)
        return ours.reshape(wanted[::-1]).T if is_linear else ours.reshape(wanted)

    path, _ = paths[0]
    shape = flat[path].shape[1:] if path.startswith("layers/") else flat[path].shape
    theirs = _file_shape(path, shape, is_fused=len(paths) > 1, is_linear=_is_linear(path, name))
    return Tensor(
        full_name(name, config),
        theirs,
        lambda: np.ascontiguousarray(np.concatenate([part(*one) for one in paths], axis=-1)),
    )


def _qkv_first(part: tuple[str, int]) -> int:
    """The place of q, k or v in a fused weight."""
    path, _ = part
    projection = path.removeprefix("layers/attention/").split("/")[0]
    return "qkv".index(projection) if projection in ("q", "k", "v") else 0


def _bare(name: str) -> str:
    return name.removeprefix("transformer.").removeprefix("model.")


def _is_linear(path: str, name: str) -> bool:
    """Whether the weight is a matrix [out, in]; GPT-2's are [in, out], like ours."""
    return path.endswith("/kernel") and name.startswith("layers.")


def _weight(weight: np.ndarray, name: str, path: str, shape: tuple[int, ...]) -> np.ndarray:
    """One layer's array in our `shape` from the weight `name`."""
    is_fused, is_linear = "c_attn" in name, _is_linear(path, name)
    wanted = _file_shape(path, shape, is_fused=is_fused, is_linear=is_linear)
    weight = np.asarray(weight)
    if weight.shape != wanted:
        raise UserError(f"the weight {name} has shape {weight.shape}, but the config says {wanted}")
    if is_linear:
        weight = weight.T
    if is_fused:
        weight = np.split(weight, 3, axis=-1)["qkv".index(path.split("/")[2])]
    return weight.reshape(shape).astype(np.float32)


def _file_shape(path: str, shape: tuple[int, ...], *, is_fused: bool, is_linear: bool) -> tuple[int, ...]:
    """The shape in the file of a parameter of our `shape`: heads and head size [H, E] are one dimension there."""
    if path.endswith("/embedding"):
        return shape
    outputs = math.prod(shape)
    if not path.endswith("/kernel"):
        return (3 * outputs if is_fused else outputs,)
    inputs = math.prod(shape[:-1]) if path.endswith(("out/kernel", "down/kernel")) else shape[0]
    outputs = outputs // inputs * (3 if is_fused else 1)
    return (outputs, inputs) if is_linear else (inputs, outputs)
