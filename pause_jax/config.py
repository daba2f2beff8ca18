"""Configs: the schema of a run as dataclasses, made from and into ml_collections ConfigDicts.

The dataclasses are the only place where a field, its type, its default and its meaning are written.
`experiments/*.py` start from `default_config()` and change fields; flags change them further
(`--config.train.steps=100`); `from_config_dict` turns the result into a validated `Config`.
Nothing here imports ml_collections until a ConfigDict is asked for.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import typing
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from pause_jax import bounds, pauses, policies
from pause_jax.errors import UserError
from pause_jax.model.config import Execution, ModelConfig

_PATHS = ("init_from", "data.vocabulary", "data.prepared", "data.files", "data.validation_files")
LARGEST: Mapping[type, float] = {int: 2**31 - 1, float: 3.4028234e38}  # of 32 bits


@dataclasses.dataclass(frozen=True)
class PauseConfig:
    """Pauses in pretraining (paper section 3.1)."""

    n_pauses: int = 0  # distinct pause tokens, each one vector of d_model; 0: a standard model
    rate: float = 0.0  # pauses per text token inserted into a pretraining block: 0.1 in the paper
    max_rate: float = 0.0  # if given, each block draws its number of pauses between those of `rate` and this one
    mode: Literal["trim", "exact"] = "trim"  # "trim" (paper): insert, then cut back to length; "exact": lose no text
    policy: policies.Policy = "uniform"  # where they go (pause_jax/policies.py); "uniform" in the paper
    boundary: policies.Boundary = "word"  # policy "boundary": pauses come before what
    burst: int = 0  # policy "burst": pauses in a run
    # Of new pauses, which an `init_from` lacks: noise, or a little of it around its embeddings' mean or one of them.
    init: Literal["noise", "mean", "token"] = "noise"
    init_token: str = ""  # of "token": the text whose last token it is

    def validate(self) -> None:
        bounds.check(self, "config.pauses", "not be negative", "n_pauses")
        bounds.check(self, "config.pauses", "be in [0, 1]", "rate", "max_rate")
        for name in ("rate", "max_rate"):
            if getattr(self, name) > 0 and self.n_pauses == 0:
                raise UserError(
                    f"config.pauses.{name} = {getattr(self, name)} inserts pauses, but config.pauses.n_pauses = 0 "
                    "gives the model none: set --config.pauses.n_pauses=1"
                )
        if (self.init == "token") != bool(self.init_token):
            raise UserError(
                f"config.pauses.init = {self.init!r} and config.pauses.init_token = {self.init_token!r} do not go "
                "together: a token is given with init = 'token', and only there"
            )
        self._validate_range()
        self._validate_policy()

    def _validate_range(self) -> None:
        if self.max_rate and self.max_rate <= self.rate:
            raise UserError(
                f"config.pauses.max_rate = {self.max_rate} is not more than config.pauses.rate = {self.rate}, the "
                "least that a block has: raise it, or leave it 0 for one rate"
            )
        if self.max_rate and self.mode == "exact":
            raise UserError(
                f"config.pauses.max_rate = {self.max_rate} draws each block's number of pauses, but with config.pauses."
                "mode = 'exact' all blocks take the same number of text tokens: use 'trim'"
            )

    def _validate_policy(self) -> None:
        if self.policy == "burst" and self.burst < 1:
            raise UserError(
                f"config.pauses.policy = 'burst' wants the length of its runs, but config.pauses.burst is "
                f"{self.burst}: set --config.pauses.burst=4, say"
            )
        if self.policy != "burst" and self.burst:
            raise UserError(
                f"config.pauses.burst = {self.burst} is the length of runs, but config.pauses.policy = {self.policy!r} "
                "has none: set --config.pauses.policy=burst"
            )
        if self.policy != "boundary" and self.boundary != "word":
            raise UserError(
                f"config.pauses.boundary = {self.boundary!r} is for boundaries, but config.pauses.policy = "
                f"{self.policy!r} knows none: set --config.pauses.policy=boundary"
            )

    @property
    def mean_rate(self) -> float:
        """Pauses per text token over all blocks, before `trim` cuts; 0 where none are inserted."""
        return (self.rate + self.max_rate) / 2 if self.max_rate else self.rate

    @property
    def label(self) -> str:
        """All that tells how pauses are placed, but not how many: what `policy` is in results.csv.

        "uniform_trim", "boundary_sentence_exact", "burst_4_trim", "fixed_trim"; of a range "uniform_trim_0.05_to_0.15".
        """
        kind = {"boundary": f"boundary_{self.boundary}", "burst": f"burst_{self.burst}"}.get(self.policy, self.policy)
        spread = f"_{self.rate:g}_to_{self.max_rate:g}" if self.max_rate else ""
        return f"{kind}_{self.mode}{spread}"


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which text, which tokenizer, how long a row."""

    task: str = "python_stdlib"  # name in seqio.TaskRegistry; not used when `files` is given
    prepared: str = ""  # in place of `task` and `files`: a folder of launch.prepare, or several: "c4=0.9,wiki=0.1"
    files: str = ""  # glob of your own text: *.txt (a file is a document) or *.jsonl, *.json (a line is one), or .gz
    validation_files: str = ""  # glob of text to hold out; "": 5 % of `files`
    data_dir: str = ""  # where a task of files finds them (docs/tasks.md); of TensorFlow Datasets, "" is their default
    text_field: str = "text"  # the field of a JSON line that holds the document
    vocabulary: str = "byte"  # "byte", or the path of a SentencePiece model or a Hugging Face tokenizer.json
    length: int = 256  # positions in a row
    separate_documents: bool = True  # attention, positions and loss stop at a document's end

    def validate(self) -> None:
        if self.length < 2:
            raise UserError(f"config.data.length is {self.length}, but a row needs at least 2 positions")
        if self.validation_files and not self.files:
            raise UserError(
                f"config.data.validation_files = {self.validation_files!r} goes with training text: set "
                "--config.data.files"
            )
        if self.prepared and self.files:
            raise UserError(
                f"config.data.prepared = {self.prepared!r} and config.data.files = {self.files!r} are both given, but "
                "a run reads one or the other: prepare the files too, and mix"
            )
        rates = [rate for _, rate in self.prepared_folders]
        if rates and abs(sum(rates) - 1) > 1e-6:
            raise UserError(
                f"config.data.prepared = {self.prepared!r}: the rates sum to {sum(rates):g}, but must sum to 1"
            )

    @property
    def prepared_folders(self) -> tuple[tuple[str, float], ...]:
        """The folders of `prepared`, each with its share of the examples.

        Raises:
          UserError: of several, one has no rate above 0.
        """
        if os.path.isdir(self.prepared):  # whose name may have an = or a comma
            return ((self.prepared, 1.0),)
        parts = [part.strip() for part in self.prepared.split(",") if part.strip()]
        folders = []
        for part in parts:
            folder, _, rate = part.rpartition("=")
            has_rate = folder and rate.replace(".", "", 1).isdecimal() and float(rate) > 0
            if has_rate and (len(parts) > 1 or float(rate) == 1 or os.path.isdir(folder)):
                folders.append((folder, float(rate)))
            elif len(parts) == 1:  # its share can only be 1: lr=0.1 is a name, also after the folder has gone
                folders.append((part, 1.0))
            else:
                raise UserError(
                    f"config.data.prepared = {self.prepared!r}: {part!r} has no rate above 0: of several folders give "
                    "each its share of the rows, such as c4=0.9,wiki=0.1"
                )
        return tuple(folders)


@dataclasses.dataclass(frozen=True)
class FinetuneConfig:
    """Prefix, pauses, target, and the loss on the target alone (paper section 3.1). Only where `task` is given."""

    task: str = ""  # a downstream task, such as "count_parity_24" (pause_jax/data/tasks); "": this run pretrains
    m_ft: tuple[int, ...] = (0,)  # pauses a prompt; of several numbers, one is drawn for each example
    placement: pauses.Placement = "append"  # "filler": an ordinary token in the pauses' place
    filler: str = "."  # whose last token is the filler
    attention: pauses.PrefixAttention = "prefix_and_pauses"  # over prompt and pauses; the target is always causal
    # Which positions are told intermediate results in training, as targets of their own, where the task has some (not
    # the paper's): the pauses but the last, from the first on, or the prompt's tokens up to the last but one.
    hints: pauses.Hints = "none"
    prefix_length: int = 128  # positions for the prompt, pauses not counted; a longer prompt loses its beginning
    target_length: int = 32  # positions for the target and its EOS; a longer target loses its end

    def validate(self) -> None:
        bounds.check(self, "config.finetune", "be at least 1", "prefix_length", "target_length")
        if not self.m_ft or min(self.m_ft) < 0:
            raise UserError(f"config.finetune.m_ft is {self.m_ft}, but must be numbers of pauses, 0 or more each")
        if self.m_ft != (0,) and not self.task:
            raise UserError(f"config.finetune.m_ft = {self.m_ft} appends pauses, but config.finetune.task is empty")
        if self.hints != "none" and not self.task:
            raise UserError(f"config.finetune.hints = {self.hints!r} wants hints, but config.finetune.task is empty")
        if self.hints == "pauses" and (self.placement == "prepend" or max(self.m_ft) < 2):
            raise UserError(
                f"config.finetune.hints = 'pauses' gives hints to all pauses after the prompt but the last, and there "
                f"are none: config.finetune.m_ft is {self.m_ft}, placement {self.placement!r}"
            )

    @property
    def context_length(self) -> int:
        """Positions of prompt and pauses."""
        return self.prefix_length + max(self.m_ft)

    def bidirectional[Number: (int, np.ndarray)](self, num_pauses: Number) -> Number:
        """How many positions at the start of a row with so many pauses see each other both ways; arrays of rows too."""
        after_prompt = num_pauses * (self.placement != "prepend")
        return pauses.bidirectional_length(self.attention, self.context_length - after_prompt, after_prompt)


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """AdamW. Weight decay is on matrices only: never on biases, norms or pauses."""

    learning_rate: float = 1e-3  # the peak
    schedule: Literal["cosine", "linear", "rsqrt", "constant", "wsd"] = "cosine"  # after warm-up
    warmup_steps: int = 100
    schedule_steps: int = 0  # steps until the schedule's end, after which its last value stays; 0: train.steps
    final_fraction: float = 0.1  # cosine, linear, wsd: learning rate at the last step, as a part of the peak
    decay_from: float = 0.8  # wsd (warm-up, stable, decay): the part of the steps after which it falls, linearly
    b1: float = 0.9
    b2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.1
    clip_norm: float = 1.0  # global gradient norm; 0: no clipping
    pauses_first: int = 0  # steps at the start in which the pauses' vectors alone move

    def validate(self) -> None:
        bounds.check(
            self,
            "config.optimizer",
            "not be negative",
            "learning_rate",
            "warmup_steps",
            "schedule_steps",
            "final_fraction",
            "weight_decay",
            "clip_norm",
            "pauses_first",
        )
        if self.schedule_steps and self.schedule in ("rsqrt", "constant"):
            raise UserError(
                f"config.optimizer.schedule_steps = {self.schedule_steps} says when a schedule ends, but "
                f"config.optimizer.schedule = {self.schedule!r} has no end: leave it 0"
            )
        bounds.check(self, "config.optimizer", "be in [0, 1)", "b1", "b2")
        bounds.check(self, "config.optimizer", "be in [0, 1]", "decay_from")
        bounds.check(self, "config.optimizer", "be more than 0", "eps")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How long, on how much."""

    steps: int = 1000  # a finished run accepts a larger value: it goes on
    batch_size: int = 32  # rows of the global batch, all devices and microbatches together

    def validate(self) -> None:
        bounds.check(self, "config.train", "be at least 1", "steps", "batch_size")


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Devices along each mesh axis; one of them may be -1: what is left over."""

    data: int = -1  # copies of the parameters, each with its own rows
    fsdp: int = 1  # rows too, and parameters cut along d_model
    tensor: int = 1  # heads, MLP width and vocabulary
    sequence: int = 1  # positions
    dcn_data: int = 1  # TPU slices; a divisor of `data`, whose outer part crosses the network between them

    def validate(self) -> None:
        if self.dcn_data < 1:
            raise UserError(f"config.run.mesh.dcn_data is {self.dcn_data}, but must be at least 1: how many TPU slices")
        sizes = self.sizes
        for name, size in sizes.items():
            if size < 1 and size != -1:
                raise UserError(f"config.run.mesh.{name} is {size}, but must be at least 1, or -1 for what is left")
        if sum(size == -1 for size in sizes.values()) > 1:
            raise UserError(f"config.run.mesh = {sizes} has more than one -1: only one axis can take what is left")

    @property
    def sizes(self) -> dict[str, int]:
        """Devices along each axis by the axis's name, as configured."""
        sizes = dataclasses.asdict(self)
        del sizes["dcn_data"]
        return sizes


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """What does not change the result (beyond rounding): speed, memory, logs, checkpoints."""

    mesh: MeshConfig = MeshConfig()
    execution: Execution = Execution()
    accumulation: int = 1  # microbatches a step; k of them equal one batch k times their size
    loss_chunk: int = 0  # positions whose logits exist at a time; 0: all
    log_every: int = 10  # steps
    validate_every: int = 100  # steps; 0: never
    validation_batches: int = 8  # at most; a smaller validation text is used whole
    checkpoint_every: int = 100  # steps; the last step is always saved
    keep_checkpoints: int = 2
    keep_every: int = 0  # steps; checkpoints at its multiples are kept for good; 0: none
    max_skipped_steps: int = 10  # non-finite steps in a row after which the run stops
    max_failed_saves: int = 3  # checkpoints in a row that cannot be written, after which the run stops
    replay_step: int = 0  # a step to look at instead of training: what it computes from which rows; 0: train
    max_seconds: int = 0  # of training, compilation included, after which it saves and stops; 0: no limit
    profile_steps: str = ""  # FIRST:LAST, such as 10:13: steps traced into profile/ (docs/performance.md); "": none
    check_memory: bool = True  # refuse what by formula the devices do not hold, before anything is allocated
    stall_seconds: int = 60  # without progress, and 20 times the usual, after which stacks are shown; 0: never
    tensorboard: bool = True

    def validate(self) -> None:
        bounds.check(
            self,
            "config.run",
            "be at least 1",
            "accumulation",
            "log_every",
            "validation_batches",
            "checkpoint_every",
            "keep_checkpoints",
            "max_skipped_steps",
            "max_failed_saves",
        )
        bounds.check(
            self,
            "config.run",
            "not be negative",
            "loss_chunk",
            "validate_every",
            "keep_every",
            "max_seconds",
            "replay_step",
            "stall_seconds",
        )
        bounds.check(self.execution, "config.run.execution", "be at least 1", "attention_blocks")
        bounds.check(self.execution, "config.run.execution", "not be negative", "few_rows")
        self.mesh.validate()
        _ = self.profiled_steps  # or it raises

    @property
    def profiled_steps(self) -> range:
        """The steps of `profile_steps`, both ends included. Raises UserError where it is not two numbers in order."""
        if not self.profile_steps:
            return range(0)
        first, _, last = self.profile_steps.partition(":")
        if not (first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
            raise UserError(
                f"config.run.profile_steps = {self.profile_steps!r} is not FIRST:LAST: give the first and the last "
                "step to trace, from 1 on, such as 10:13"
            )
        return range(int(first), int(last) + 1)


@dataclasses.dataclass(frozen=True)
class Config:
    """One run."""

    seed: int = 0
    init_from: str = ""  # a run's folder, or one of its checkpoints (RUN/checkpoints/STEP): whose parameters to take
    model: ModelConfig = ModelConfig()
    pauses: PauseConfig = PauseConfig()
    data: DataConfig = DataConfig()
    finetune: FinetuneConfig = FinetuneConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    train: TrainConfig = TrainConfig()
    run: RunConfig = RunConfig()

    def validate(self) -> None:
        """Raises UserError where a field, or two of them together, cannot be."""
        if not 0 <= self.seed < 2**31:
            raise UserError(f"config.seed is {self.seed}, but must be in 0..{2**31 - 1}")
        for section in (self.model, self.pauses, self.data, self.finetune, self.optimizer, self.train, self.run):
            section.validate()
        pause = self.pauses
        pauses.text_tokens_per_block(self.data.length, pause.rate, pause.mode, pause.max_rate)  # or too many of them
        if self.model.positions == "learned" and self.length > self.model.max_positions:
            name = (
                "config.finetune: prefix_length + m_ft + target_length - 1"
                if self.finetune.task
                else "config.data.length"
            )
            raise UserError(
                f"{name} = {self.length} is more than config.model.max_positions = {self.model.max_positions}, the "
                "rows of the learned position table"
            )
        if max(self.finetune.m_ft) and self.finetune.placement != "filler" and not self.pauses.n_pauses:
            raise UserError(
                f"config.finetune.m_ft = {self.finetune.m_ft} gives pauses to prompts, but config.pauses.n_pauses = 0 "
                "gives the model none: set --config.pauses.n_pauses=1"
            )
        self._validate_new_pauses()
        if self.train.batch_size % self.run.accumulation:
            raise UserError(
                f"config.train.batch_size = {self.train.batch_size} is not divisible by config.run.accumulation = "
                f"{self.run.accumulation}"
            )
        if self.train.batch_size * self.length > LARGEST[int]:  # a step counts them in int32
            raise UserError(
                f"config.train.batch_size = {self.train.batch_size} rows of {self.length} positions are more than the "
                f"{LARGEST[int]} that a batch may have: lower one of them"
            )
        self._validate_attention()

    def _validate_new_pauses(self) -> None:
        if self.optimizer.pauses_first and not self.pauses.n_pauses:
            raise UserError(
                f"config.optimizer.pauses_first = {self.optimizer.pauses_first} trains pauses alone, but config.pauses."
                "n_pauses = 0 gives the model none: set --config.pauses.n_pauses=1"
            )
        if self.pauses.init != "noise" and not (self.init_from and self.pauses.n_pauses):
            raise UserError(
                f"config.pauses.init = {self.pauses.init!r} makes pauses from a trained model's embeddings: give one "
                "as --config.init_from, and --config.pauses.n_pauses"
            )

    def _validate_attention(self) -> None:
        """What the attention kernels cannot serve, as far as a config tells."""
        kernel, dtype = self.run.execution.attention, self.model.dtype
        if kernel == "splash" and self.bidirectional is None:
            raise UserError(
                f"config.finetune.m_ft = {self.finetune.m_ft} with config.finetune.attention = "
                f"{self.finetune.attention!r} gives each row a mask of its own, but config.run.execution.attention = "
                "'splash' compiles one for all: set --config.run.execution.attention=xla, or one number of pauses"
            )
        if kernel == "cudnn" and (dtype != "bfloat16" or self.model.head_size % 8):
            raise UserError(
                f"config.run.execution.attention = 'cudnn' serves bfloat16 and heads of a multiple of 8, but "
                f"config.model.dtype = {dtype!r} and a head has size {self.model.head_size}: set "
                "--config.run.execution.attention=xla"
            )

    @property
    def length(self) -> int:
        """Positions L of a row, pauses counted."""
        if not self.finetune.task:
            return self.data.length
        return self.finetune.context_length + self.finetune.target_length - 1  # the last token is only a target

    @property
    def first_loss(self) -> int:
        """The first position of a row that may carry loss: in finetuning the last of prompt and pauses, or a hint's."""
        finetune = self.finetune
        if not finetune.task or finetune.hints == "prompt":
            return 0
        return finetune.context_length - (max(finetune.m_ft) if finetune.hints == "pauses" else 1)

    @property
    def bidirectional(self) -> int | None:
        """How many positions at a row's start see each other both ways; None where rows differ in it."""
        lengths = {self.finetune.bidirectional(m) for m in self.finetune.m_ft} if self.finetune.task else {0}
        return lengths.pop() if len(lengths) == 1 else None


def default_config() -> Any:
    """The defaults of every field, as an unlocked ml_collections ConfigDict for `experiments/` to change."""
    return to_config_dict(Config())


def to_config_dict(config: Config) -> Any:
    """`config` as an ml_collections ConfigDict (locked against unknown fields by ml_collections itself)."""
    import ml_collections  # not needed on a bare accelerator box that restores a resolved config

    return ml_collections.ConfigDict(to_dict(config))


def from_config_dict(config_dict: Any) -> Config:
    """A validated Config from a ConfigDict or a plain nested dict.

    Raises:
      UserError: unknown or missing field, wrong type, value outside its range; the field is named.
    """
    values = config_dict.to_dict() if hasattr(config_dict, "to_dict") else config_dict
    config = _convert(Config, values, "config")
    config.validate()
    return config


def from_recorded(values: Mapping[str, Any]) -> Config:
    """A Config from a run's record, of whatever age: fields that were added since have their defaults.

    Raises:
      UserError: as `from_config_dict`.
    """
    return from_config_dict(_merge(to_dict(Config()), values))


def checked(section: Any, path: str) -> Any:
    """A section of a config, each of its fields of its type. Raises UserError, in which it is called `path`."""
    return _build(type(section), dataclasses.asdict(section), path)


def to_dict(config: Config) -> dict[str, Any]:
    """`config` as nested plain dicts, ready for JSON."""
    return dataclasses.asdict(config)


def identity(config: Config, manifest: Mapping[str, Any]) -> str:
    """Fingerprint of what a run computes: the config but `run`, `train.steps` and all paths, and the manifest.

    Two folders with one identity hold the same run; `steps` is left out so that a run can be prolonged, paths as the
    manifest tells what was found there: runs and data may be moved.
    """
    content = {"config": _identity_fields(config), "data": dict(manifest)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def differences(ours: Config, theirs: Config) -> list[str]:
    """The fields in which two runs' identities differ, as `config.a.b: theirs -> ours`; paths where one has none."""
    whole_ours, whole_theirs = (flatten(to_dict(c)) for c in (ours, theirs))
    compared = flatten(_identity_fields(ours))
    fields = [k for k in compared if whole_theirs[k] != whole_ours[k]]
    fields += [k for k in _PATHS if _is_path(whole_ours[k]) != _is_path(whole_theirs[k])]
    return [f"config.{k}: {whole_theirs[k]!r} -> {whole_ours[k]!r}" for k in fields]


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one dict with dotted names."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def _merge(defaults: Any, values: Any) -> Any:
    """`values`, with what their sections lack of `defaults`."""
    if not isinstance(defaults, Mapping) or not isinstance(values, Mapping):
        return values
    return {**defaults, **{name: _merge(defaults.get(name), value) for name, value in values.items()}}


def _identity_fields(config: Config) -> dict[str, Any]:
    fields = to_dict(config)
    del fields["run"]
    del fields["train"]["steps"], fields["data"]["data_dir"]
    for section, _, name in (path.rpartition(".") for path in _PATHS):
        del (fields[section] if section else fields)[name]
    return fields


def _is_path(value: str) -> bool:
    return value not in ("", "byte")


_hints = functools.cache(typing.get_type_hints)  # it parses each annotation


def _build(cls: type, values: Mapping[str, Any], path: str) -> Any:
    """An instance of the dataclass `cls`, every field given and of its type."""
    hints = _hints(cls)
    for name in values:
        if name not in hints:
            raise UserError(f"{path}.{name} is no field of the config; {path} has {', '.join(sorted(hints))}")
    if missing := sorted(set(hints) - set(values)):
        raise UserError(f"{path}.{missing[0]} is missing")
    return cls(**{name: _convert(hints[name], values[name], f"{path}.{name}") for name in hints})


def _convert(hint: Any, value: Any, path: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise UserError(f"{path} is {_shown(value)}, but is a section with fields of its own")
        return _build(typing.cast(type, hint), value, path)
    if typing.get_origin(hint) is Literal:
        choices = typing.get_args(hint)
        if value not in choices:
            raise UserError(f"{path} is {_shown(value)}, but must be one of {', '.join(map(repr, choices))}")
        return value
    if typing.get_origin(hint) is tuple:
        items = value if isinstance(value, (list, tuple)) else [value]
        return tuple(_convert(typing.get_args(hint)[0], item, f"{path}[{i}]") for i, item in enumerate(items))
    wanted = (int, float) if hint is float else hint
    if not isinstance(value, wanted) or (isinstance(value, bool) and hint is not bool):
        raise UserError(f"{path} is {_shown(value)}, but must be of type {hint.__name__}")
    return _number(hint, value, path) if hint in LARGEST else value


def _number(hint: type, value: Any, path: str) -> int | float:
    """`value` as the type `hint`. Raises UserError where 32 bits, of which all arrays are, do not hold it."""
    if not abs(value) <= LARGEST[hint]:
        raise UserError(f"{path} is {_shown(value)}, but must be a number of at most {LARGEST[hint]}")
    return hint(value) + 0  # -0.0 becomes 0.0, which JSON tells apart


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except ValueError:  # of whole numbers of thousands of digits, Python shows none
        return f"of type {type(value).__name__} and too long to be shown"
