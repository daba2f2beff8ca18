"""Long-lived worker processes on this machine: imports, compilations and tokenized data are paid for once.

A worker runs one job after another in a process of its own (pause_jax/system/forking.py). A job that raises fails
alone; where a worker dies (out of memory, say) its job fails and a new worker takes its place.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal

from pause_jax import extras
from pause_jax.errors import UserError
from pause_jax.system import forking, local_chips
from pause_jax.system.cores import available_cores

Outcome = Literal["done", "stopped", "failed", "user_error"]  # "user_error": a UserError, which is not retried


@dataclasses.dataclass(frozen=True)
class JobResult:
    """How a job ended."""

    outcome: Outcome
    message: str  # of a failure: one line
    seconds: float = 0.0
    compile_seconds: float = 0.0  # of `seconds`, those spent tracing, lowering and compiling
    startup_seconds: float = 0.0  # spent starting the process and importing, before its first job


@dataclasses.dataclass(frozen=True)
class Setup:
    """How a worker process is set up."""

    function: str  # "module:name" of the function that runs a job; it returns "done" or "stopped"
    preload: tuple[str, ...] = ()  # modules to import before the first job
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)  # the same in all workers
    own_environment: Mapping[str, str] = dataclasses.field(default_factory=dict)  # in this worker, besides


class Worker:
    """One worker process, bound to the given cores."""

    def __init__(self, setup: Setup, cores: Sequence[int]):
        self._context = forking.context(setup.preload, setup.environment)
        self._setup, self._cores = setup, cores
        self._start()

    def _start(self) -> None:
        self.connection, theirs = self._context.Pipe()
        self._process = self._context.Process(
            target=_serve, args=(theirs, self._setup, self._cores, time.time()), daemon=True
        )
        self._process.start()
        theirs.close()  # so that the process's death closes the pipe

    def send(self, job: Any, log: Path) -> None:
        """Start a job; what it prints goes to `log`."""
        self.connection.send((job, log))

    def receive(self) -> JobResult:
        """The job's result, once `connection` is ready; restarts a process that has died."""
        try:
            return self.connection.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            code = self._process.exitcode
            self._start()
            return JobResult("failed", f"its process died with exit code {code}")

    def ask_to_stop(self) -> None:
        """Ask a run that is under way to save and stop."""
        self._process.terminate()

    def close(self) -> None:
        """End the process when it is idle."""
        with contextlib.suppress(OSError):
            self.connection.send(None)
        self._process.join(timeout=10)
        self._process.kill()


def ready(workers: Sequence[Worker], timeout: float) -> list[Worker]:
    """Workers that have a result, waited for up to `timeout` seconds."""
    readable = wait([worker.connection for worker in workers], timeout)
    return [worker for worker in workers if worker.connection in readable]


def worker_count(asked: int, chips: local_chips.Chips | None, jobs: int) -> int:
    """How many workers: as asked, else one for each chip, or on a machine without chips one for each core.

    Raises:
      UserError: more workers are asked for than there are chips; two cannot share one.
    """
    if chips and asked > len(chips.names):
        raise UserError(
            f"--workers={asked} is more than the {len(chips.names)} accelerators of this machine, of which a worker "
            "takes one: give as many or fewer, or leave it out; JAX_PLATFORMS=cpu uses the cores alone"
        )
    most = len(chips.names) if chips else len(available_cores())
    return max(1, min(asked or most, jobs))


def core_groups(workers: int) -> list[list[int]]:
    """The cores of this machine that we may use, divided among `workers` workers."""
    cores = available_cores()
    return [cores[i::workers] or [cores[i % len(cores)]] for i in range(workers)]


def _serve(connection: Connection, setup: Setup, cores: Sequence[int], started: float) -> None:
    """The worker's main loop: receives jobs and sends results, until None or the end of the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the sweep asks each to stop
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # between jobs; a run under way has its own handler
    forking.die_with_parent()
    os.environ.update({**setup.environment, **setup.own_environment})
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    clock = CompileClock()
    with _output_to(Path(os.devnull)):
        run = _start_up(setup, clock)
    startup = time.time() - started
    with contextlib.suppress(EOFError):
        while (message := connection.recv()) is not None:
            job, log = message
            report = _timed(functools.partial(run, job), log, clock)
            connection.send(dataclasses.replace(report, startup_seconds=startup))
            startup = 0.0


def run_once(run: Callable[[], Outcome], log: Path | None) -> JobResult:
    """Run a job in this process as a worker would; it prints to `log` unless that is None."""
    clock = CompileClock()
    clock.listen()
    return _timed(run, log, clock)


def _timed(run: Callable[[], Outcome], log: Path | None, clock: CompileClock) -> JobResult:
    begun, compiled = time.time(), clock.seconds
    with _output_to(log) if log else contextlib.nullcontext():
        report = _run(run)
    return dataclasses.replace(report, seconds=time.time() - begun, compile_seconds=clock.seconds - compiled)


def _start_up(setup: Setup, clock: CompileClock) -> Callable[[Any], Outcome]:
    """The function that runs a job, with everything imported; where importing fails, one that raises the error."""
    try:
        clock.listen()
        for module in setup.preload:
            importlib.import_module(module)
        module, name = setup.function.split(":")
        return getattr(importlib.import_module(module), name)
    except Exception as error:
        return functools.partial(_raise, error)


def _raise(error: Exception, job: Any) -> Outcome:
    raise error


def _run(run: Callable[[], Outcome]) -> JobResult:
    try:
        return JobResult(run(), "")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return JobResult("user_error", str(error))
    except Exception as error:  # a job that fails does not end the sweep
        if sentence := extras.missing(error):
            print(f"error: {sentence}", file=sys.stderr)
            return JobResult("user_error", sentence)
        traceback.print_exc()
        return JobResult("failed", f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")


class CompileClock:
    """Seconds that JAX has spent tracing, lowering and compiling in this process since `listen` was called."""

    seconds = 0.0

    def listen(self) -> None:
        import jax

        jax.monitoring.register_event_duration_secs_listener(self._listen)

    def _listen(self, event: str, duration_secs: float, **unused: str | int) -> None:
        if event.startswith("/jax/core/compile"):
            self.seconds += duration_secs


@contextlib.contextmanager
def _output_to(log: Path) -> Any:
    """Within this context everything that is printed, by C++ too, is appended to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    with log.open("ab") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, before in zip((1, 2), kept, strict=True):
            os.dup2(before, number)
            os.close(before)
