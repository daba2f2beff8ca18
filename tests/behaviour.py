"""What two short training runs compute, to the last bit: kept in golden_behaviour.json, to be compared with later code.

    python -m tests.behaviour --write

remakes the file, for a change that is meant to change numbers. A run is the program launch.train in a process of its
own, on one CPU device of one thread, compiled as users have it (not as conftest.py has tests compile). It is looked at
from outside, so that code can be moved and renamed: batches where they enter the jitted step, losses in metrics.jsonl,
parameters in the last checkpoint.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
import random
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
FIXTURE = Path(__file__).with_name("golden_behaviour.json")
STEPS = 20
COMMON = (
    f"--config.train.steps={STEPS}",
    "--config.run.log_every=5",
    "--config.run.validation_batches=2",
    "--config.run.loggers=jsonl",
)
# Flags by run; {texts} is the file of `write_texts`: that of the standard library differs between versions of Python.
RUNS: dict[str, tuple[str, ...]] = {
    "pretraining": ("--config=experiments/quickstart.py:pause", "--config.data.files={texts}", *COMMON),
    "finetuning": ("--config=experiments/time_to_think.py:24", "--config.optimizer.warmup_steps=20", *COMMON),
}
_FLAGS = ("avx2", "avx512f", "amx_bf16")  # of CPUs: they choose how products are computed


def made_by(name: str, *more_flags: str) -> dict[str, Any]:
    """What the run `name` of RUNS computes, with more flags if given; floats as `float.hex`, which is exact.

    Returns:
      batches: sha256 of each global batch; loss, grad_norm: of each step; validation: losses after the last one, by
      name; parameters: sha256 after the last one; model, length: what bounds of rounding depend on.
    """
    with tempfile.TemporaryDirectory() as folder:
        texts, report, workdir = (Path(folder) / part for part in ("texts.jsonl", "report.json", "run"))
        write_texts(texts)
        flags = [flag.format(texts=texts) for flag in (*RUNS[name], *more_flags)]
        command = [sys.executable, "-m", "tests.behaviour", f"--watch={report}", "launch.train", f"--workdir={workdir}"]
        done = subprocess.run([*command, *flags], cwd=ROOT, env=_environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        seen = json.loads(report.read_text(encoding="utf-8"))
        model = json.loads((workdir / "config.json").read_text(encoding="utf-8"))["model"]
    assert len(records) == len(seen["batches"]), "launch.train's step is no longer one call with a batch"
    losses = {name: value for name, value in records[-1].items() if name.startswith("validation/")}
    return {
        "batches": seen["batches"],
        "loss": [record["loss"].hex() for record in records],
        "grad_norm": [record["grad_norm"].hex() for record in records],
        "validation": {name: value.hex() for name, value in sorted(losses.items())},
        "parameters": seen["parameters"],
        "model": {field: model[field] for field in ("d_model", "d_ff", "num_layers")},
        "length": seen["length"],
    }


def write_texts(file: Path) -> None:
    """Two thousand documents of words drawn from a seed, one a line: the same on every machine."""
    draw = random.Random(0)
    words = ["".join(draw.choices("etaoinshrdlu", k=draw.randint(1, 8))) for _ in range(300)]
    documents = (" ".join(draw.choices(words, k=draw.randint(3, 40))) for _ in range(2000))
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents), encoding="utf-8")


def machine() -> dict[str, Any]:
    """What the last bits of a run depend on besides our code: the CPU's model, its vector units, JAX's version."""
    lines = (line.partition(":") for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines())
    cpu: dict[str, str] = {}
    for name, _, value in lines:
        cpu.setdefault(name.strip(), value.strip())
    flags = cpu.get("flags", "").split()
    # Family and model too: products are cut to fit the caches, and a sum that is cut elsewhere rounds otherwise.
    known = {name: cpu.get(name, "") for name in ("vendor_id", "model name", "cpu family", "model")}
    return {**known, **{flag: flag in flags for flag in _FLAGS}, "jax": metadata.version("jax")}


def _environment() -> dict[str, str]:
    """This process's, without what changes how JAX compiles."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))}
    cache = {"JAX_COMPILATION_CACHE_DIR": str(ROOT / ".pytest_cache" / "behaviour")}  # compiling is half of the time
    return kept | cache | {"JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}


def _watch(report: Path, module: str, flags: list[str]) -> None:
    """Run the program `module` in this process and write to `report` what its steps were given and left behind."""
    import jax

    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    jax.devices()  # has now as many threads as there are cores: by their number it cuts sums
    os.sched_setaffinity(0, cores)
    batches: list[dict[str, np.ndarray]] = []
    _watch_steps(jax, batches)
    sys.argv = [module, *flags]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code:
            raise
    [workdir] = (Path(flag.partition("=")[2]) for flag in flags if flag.startswith("--workdir="))
    seen = {
        "batches": [_digest(batch.items()) for batch in batches],
        "parameters": _digest(_saved_parameters(workdir).items(), with_names=True),
        "length": batches[0]["inputs"].shape[1],
    }
    report.write_text(json.dumps(seen), encoding="utf-8")


def _watch_steps(jax: Any, batches: list[dict[str, np.ndarray]]) -> None:
    """From now on each batch given to a jitted function that donates its state, as training's does, is noted."""
    jit = jax.jit

    @functools.wraps(jit)
    def watched_jit(function: Callable[..., Any], **options: Any) -> Any:
        compiled = jit(function, **options)
        if "donate_argnums" not in options:
            return compiled

        @functools.wraps(compiled)
        def call(*arguments: Any) -> Any:
            for argument in arguments:
                if isinstance(argument, Mapping) and {"inputs", "targets"} <= argument.keys():
                    batches.append({name: np.asarray(array) for name, array in argument.items()})
            return compiled(*arguments)

        return call

    jax.jit = watched_jit


def _saved_parameters(workdir: Path) -> dict[str, np.ndarray]:
    """Arrays of the last step's checkpoint by path, as docs/runs.md says that anyone reads them."""
    import orbax.checkpoint as ocp

    newest = max((workdir.absolute() / "checkpoints").glob("[0-9]*"), key=lambda folder: int(folder.name))
    with ocp.StandardCheckpointer() as checkpointer:
        return _flat(checkpointer.restore(newest / "params"))


def _flat(tree: Any, path: str = "") -> dict[str, np.ndarray]:
    if not isinstance(tree, Mapping):
        return {path: np.asarray(tree)}
    return {k: v for name, part in tree.items() for k, v in _flat(part, f"{path}/{name}").items()}


def _digest(arrays: Any, with_names: bool = False) -> str:
    """sha256 over arrays, by name: type, shape, bytes. A feature may be renamed where the order stays, so no names."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays):
        digest.update(f"{name if with_names else ''} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _write() -> None:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    fixture = {
        "commit": commit.stdout.strip(),
        "machine": machine(),
        "runs": {name: made_by(name) for name in RUNS},
    }
    FIXTURE.write_text(json.dumps(fixture, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--write", action="store_true", help=f"remake {FIXTURE.name}")
    what.add_argument("--watch", type=Path, help="where to write what the program that follows computes")
    arguments, rest = parser.parse_known_args()
    if arguments.write:
        _write()
    else:
        _watch(arguments.watch, rest[0], rest[1:])


if __name__ == "__main__":
    main()
