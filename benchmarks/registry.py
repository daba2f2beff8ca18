"""Every benchmark: its name, what it measures, its goal. How to add one: benchmarks/__init__.py."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Sequence
from functools import partial

from benchmarks import shapes
from benchmarks.measure import Pair
from benchmarks.shapes import Shape
from launch import cli
from pause_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Entry:
    """One benchmark. Making one imports and computes nothing."""

    name: str  # group/what
    unit: str  # of `ours` and `peer` in the results: seconds of one what
    goal: float  # the largest ratio, our time over the peer's, that is good enough
    make_pair: Callable[[], Pair]  # imports what it needs, sets both sides up, checks that they agree
    packages: tuple[str, ...] = ()  # that requirements.txt lacks


def select(entries: Sequence[Entry], prefix: str) -> list[Entry]:
    """Entries whose name starts with `prefix`, in order.

    Raises:
      UserError: there is none, or one needs a package that is not installed.
    """
    chosen = [entry for entry in entries if entry.name.startswith(prefix)]
    if not chosen:
        names = ", ".join(entry.name for entry in entries)
        raise UserError(f"--only={prefix} is the beginning of no benchmark's name: there are {names}")
    for entry in chosen:
        for package in entry.packages:
            if importlib.util.find_spec(package) is None:
                raise UserError(
                    f"{entry.name} is measured against {package}, which is not installed: "
                    "pip install -r requirements-bench.txt, or choose others with --only"
                )
    return chosen


def _train_step(shape: Shape) -> Pair:
    from benchmarks import train_step

    return train_step.make_pair(shape, batch_size=8, length=256)


def _prefill(m_inf: int) -> Pair:
    from benchmarks import prefill

    return prefill.make_pair(shapes.LLAMA_55M, batch_size=4, prompt_length=256, m_inf=m_inf)


def _decode() -> Pair:
    from benchmarks import decode

    return decode.make_pair(shapes.LLAMA_55M, batch_size=4, prompt_length=32, new_tokens=32)


def _six_m_inf() -> Pair:
    from benchmarks import evaluate

    return evaluate.make_pair()


def _batch(step: int) -> Pair:
    with cli.native_messages_hidden():
        from benchmarks import batches

    return batches.make_pair(step)


def _pipeline(step: int | None) -> Pair:
    with cli.native_messages_hidden():
        from benchmarks import pipeline

    return pipeline.make_step_pair(step) if step is not None else pipeline.make_goal()


TORCH = ("torch", "transformers")

ENTRIES = (
    Entry("train_step/gpt2", "s/step", 1.0, partial(_train_step, shapes.GPT2_5M), TORCH),
    Entry("train_step/llama", "s/step", 1.0, partial(_train_step, shapes.LLAMA_7M), TORCH),
    Entry("prefill/10_pauses", "s/prefill", 1.0, partial(_prefill, 10), TORCH),
    Entry("decode/greedy", "s/token", 1.0, _decode, TORCH),
    Entry("evaluate/six_m_inf", "s/prompt", 1.3, _six_m_inf),
    Entry("batch/step_1000000", "s/first batch", 1.2, partial(_batch, 1_000_000)),
    Entry("pipeline/step_1000000", "s/batch", 1.2, partial(_pipeline, 1_000_000)),
    Entry("pipeline/positions", "s/million positions", 1.0, partial(_pipeline, None)),
)
