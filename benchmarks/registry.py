"""Every benchmark: its name, what it measures, its goal. How to add one: benchmarks/__init__.py."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from benchmarks import shapes
from benchmarks.measure import MIN_SECONDS, REPEATS, Pair
from benchmarks.shapes import Shape
from pause_jax.errors import UserError
from pause_jax.system.native_stderr import suppress_native_stderr


@dataclasses.dataclass(frozen=True)
class Entry:
    """One result. Making one imports and computes nothing. Neighbours with the same `make_pair` are one measurement."""

    name: str  # group/what
    unit: str  # of `ours` and `peer` in the results: seconds of one what
    goal: float | None  # the largest ratio, our time over the peer's, that is good enough; None: it is told, not judged
    make_pair: Callable[[], Pair]  # imports what it needs, sets both sides up, checks that they agree
    packages: tuple[str, ...] = ()  # that requirements.txt lacks
    ours: tuple[str, ...] = ("ours",)  # of the pair's sides: of several the quickest counts
    peer: str = "peer"
    dtype: str = ""  # of the matrix products: their peak is measured and the MFU told; "": not told
    mfu_goal: float = 0.0  # the least MFU of ours that is good enough
    repeats: int = REPEATS
    min_seconds: float = MIN_SECONDS  # as of measure.measure


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


def _peak(dtype: str) -> Pair:
    from benchmarks import peak

    return peak.make_matmul_pair(dtype)


def _triad() -> Pair:
    from benchmarks import peak

    return peak.make_triad_pair()


def _train_step(shape: Shape, batch_size: int, length: int) -> Pair:
    from benchmarks import train_step

    return train_step.make_pair(shape, batch_size, length)


def _products(shape: Shape, batch_size: int, length: int) -> Pair:
    from benchmarks import products

    return products.make_pair(shape, batch_size, length)


def _paused_step() -> Pair:
    from benchmarks import pauses

    return pauses.make_train_pair()


def _paused_prefill() -> Pair:
    from benchmarks import pauses

    return pauses.make_prefill_pair()


def _cross_entropy() -> Pair:
    from benchmarks import cross_entropy

    return cross_entropy.make_pair()


def _prefill(shape: Shape) -> Pair:
    from benchmarks import prefill

    return prefill.make_pair(shape, batch_size=4, prompt_length=256, m_inf=10)


def _decode(shape: Shape) -> Pair:
    from benchmarks import decode

    return decode.make_pair(shape, batch_size=8, prompt_length=32, new_tokens=32)


def _score() -> Pair:
    from benchmarks import score

    return score.make_pair()


def _six_m_inf() -> Pair:
    from benchmarks import evaluate

    return evaluate.make_pair()


def _batch(step: int) -> Pair:
    with suppress_native_stderr():
        from benchmarks import batches

    return batches.make_pair(step)


def _pipeline(step: int | None) -> Pair:
    with suppress_native_stderr():
        from benchmarks import pipeline

    return pipeline.make_step_pair(step) if step is not None else pipeline.make_goal()


def _start(arguments: tuple[str, ...], seconds: float) -> Pair:
    from benchmarks import start

    return start.make_pair(arguments, seconds)


def _start_training(seconds: float, warm: bool) -> Pair:
    from benchmarks import start

    return start.make_train_pair(seconds, warm)


def _overhead() -> Pair:
    from benchmarks import overhead

    return overhead.make_pair()


TORCH = ("torch", "transformers")
FEW: dict[str, Any] = {"repeats": 5, "min_seconds": 0.0}  # where a call takes seconds


def _train_steps(
    name: str, shape: Shape, batch_size: int, length: int, mfu_goal: float = 0.0, fastest_goal: float | None = 1 / 1.3
) -> tuple[Entry, ...]:
    """Float32 against float32, bfloat16 against bfloat16, and the quicker of ours against torch's float32; and the
    step's matrix products alone."""
    make_pair = partial(_train_step, shape, batch_size, length)
    common: dict[str, Any] = {"unit": "s/step", "make_pair": make_pair, "packages": TORCH, **FEW}
    products = common | {"make_pair": partial(_products, shape, batch_size, length)}
    return (
        Entry(f"train_step/{name}/float32", goal=1.0, dtype="float32", mfu_goal=mfu_goal, **common),
        Entry(
            f"train_step/{name}/bfloat16",
            goal=1.0,
            dtype="bfloat16",
            mfu_goal=mfu_goal,
            ours=("ours_bfloat16",),
            peer="peer_bfloat16",
            **common,
        ),
        Entry(f"train_step/{name}/fastest", goal=fastest_goal, ours=("ours", "ours_bfloat16"), **common),
        Entry(f"train_step/{name}/products/float32", goal=None, dtype="float32", **products),
        Entry(
            f"train_step/{name}/products/bfloat16",
            goal=None,
            dtype="bfloat16",
            ours=("ours_bfloat16",),
            peer="peer_bfloat16",
            **products,
        ),
    )


ENTRIES = (
    Entry("peak/matmul_float32", "s/TFLOP", None, partial(_peak, "float32"), TORCH),
    Entry("peak/matmul_bfloat16", "s/TFLOP", None, partial(_peak, "bfloat16"), TORCH, repeats=4),
    Entry("peak/triad", "s/GB", None, _triad, TORCH),
    *_train_steps("gpt2_d256", shapes.GPT2_D256, batch_size=8, length=256),
    *_train_steps("gpt2_d768", shapes.GPT2_D768, batch_size=2, length=512, mfu_goal=0.6),
    *_train_steps("gpt2_d2048", shapes.GPT2_D2048, batch_size=2, length=512, mfu_goal=0.6),
    *_train_steps("llama_d256", shapes.LLAMA_D256, batch_size=8, length=256, fastest_goal=1.0),
    Entry("cross_entropy/chunked", "s/step", 1.1, _cross_entropy, **FEW),
    Entry("pauses/train_step", "s/step", 1.05, _paused_step),
    Entry("pauses/prefill", "s/prefill", 1.1, _paused_prefill),
    Entry("prefill/gpt2", "s/prefill", 1.0, partial(_prefill, shapes.GPT2_45M), TORCH),
    Entry("prefill/llama", "s/prefill", 1.0, partial(_prefill, shapes.LLAMA_55M), TORCH),
    Entry("decode/gpt2", "s/token", 1 / 1.5, partial(_decode, shapes.GPT2_45M), TORCH),
    Entry("decode/llama", "s/token", 1 / 1.5, partial(_decode, shapes.LLAMA_55M), TORCH),
    Entry("score/shared_prompt", "s/item", 1 / 2, _score),
    Entry("evaluate/six_m_inf", "s/prompt", 1.3, _six_m_inf),
    Entry("batch/step_1000000", "s/first batch", 1.2, partial(_batch, 1_000_000)),
    Entry("pipeline/step_1000000", "s/batch", 1.2, partial(_pipeline, 1_000_000)),
    Entry("pipeline/positions", "s/million positions", 1.0, partial(_pipeline, None)),
    Entry("start/import", "s/import", 1.0, partial(_start, ("-c", "import pause_jax"), 0.3), **FEW),
    Entry("start/help", "s/start", 1.0, partial(_start, ("-m", "launch.train", "--help"), 2.0), **FEW),
    Entry("start/train_cold", "s/start", 1.0, partial(_start_training, 20.0, warm=False), **FEW),
    Entry("start/train_warm", "s/start", 1.0, partial(_start_training, 10.0, warm=True), **FEW),
    Entry("loop/overhead", "s/step", 1 / 0.9, _overhead, **FEW),
)
