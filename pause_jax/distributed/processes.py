"""Many processes as one run: they start together, agree before they train, and end together.

    with processes.initialize(address, start_timeout=300):  # nothing happens where this process is alone
        config = ...  # a UserError in one process ends all of them, with its sentence
        processes.assert_equal_across_processes({"config": ...})  # or a UserError in all that names who differs
        ...  # training

Agreement goes through the coordination service of `jax.distributed`, which process 0 hosts: no device is touched. A
process that is killed, or hangs, shows in one of two ways. Under gloo, the others' collectives raise at once. On every
platform the service misses its heartbeats, and JAX then aborts the others from C++, where no exception can be caught;
so SIGABRT is handled, and ends the process with a sentence and EXIT_PEER_LOST.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import importlib.util
import itertools
import json
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from pause_jax.distributed import jax_private
from pause_jax.errors import PeerLost, RunStopped, UserError, beginning
from pause_jax.system.exit_codes import EXIT_PEER_LOST, EXIT_USER_ERROR

EXIT_START_FAILED = EXIT_USER_ERROR  # the address or the number of processes is wrong
START_TIMEOUT = 300  # seconds for all processes to meet

HEARTBEAT_SECONDS = 30  # without a sign of a process, after which it counts as lost
AGREEMENT_SECONDS = 600  # for the slowest process to come to a point of agreement
FAREWELL_SECONDS = 60  # for which process 0 waits until all have heard why the run ends
ENDING_SECONDS = 10  # from a failure that was told or heard of to the end of the process

# What errors say that come of another process's end.
_GONE = re.compile(r"Gloo \w+ failed|Connection (reset|closed) by peer|CoordinationService")


@dataclasses.dataclass(frozen=True)
class Address:
    """Where the processes meet, and which of them this one is."""

    coordinator: str  # HOST:PORT, on which process 0 listens
    num_processes: int
    process_id: int
    local_device_ids: tuple[int, ...] = ()  # this process's GPUs among the machine's; (): all

    def __post_init__(self) -> None:
        if not re.fullmatch(r".+:\d+", self.coordinator):
            raise UserError(f"--coordinator={self.coordinator} is no HOST:PORT, such as node1:12345")
        if self.num_processes < 1 or not 0 <= self.process_id < self.num_processes:
            raise UserError(
                f"--process_id={self.process_id} does not go with --num_processes={self.num_processes}: the processes "
                "are numbered from 0, each number once"
            )


@dataclasses.dataclass(frozen=True)
class _Group:
    """The processes of this run, while they are initialized."""

    client: Any  # of JAX's coordination service
    size: int
    index: int

    def put(self, key: str, value: str) -> None:
        self.client.key_value_set(key, value, allow_overwrite=True)

    def get(self, key: str, seconds: float) -> str | None:
        """The value, waited for; None where it did not come in time."""
        try:
            return self.client.blocking_key_value_get(key, int(seconds * 1000))
        except Exception as error:  # JAX has no class of its own for it
            if "DEADLINE_EXCEEDED" in str(error):
                return None
            raise


_group: _Group | None = None
_agreements = itertools.count()  # numbers of agreements, to which all processes come in the same order


def index() -> int:
    """Which process of the run this is; 0 writes its files."""
    return _group.index if _group else 0


def several() -> bool:
    """Whether this run has processes besides this one."""
    return _group is not None


@contextlib.contextmanager
def initialize(address: Address | None, start_timeout: int) -> Iterator[None]:
    """While entered, this process is one of several of a run, which meet at `address` or where the cluster says.

    Raises, besides what is raised within:
      UserError: the others were not met in `start_timeout` seconds (the process is ended: JAX would abort it).
      PeerLost: what was raised within came of another process's end.
    """
    _start(address or _detected(start_timeout), start_timeout)
    try:
        yield
    except RunStopped:  # raised by all processes at the same step
        _part()
        raise
    except BaseException as error:
        if _group is None:
            raise
        if not isinstance(error, UserError) and is_peer_failure(error):
            raise PeerLost(_lost(_heard_failure() or str(error))) from error
        _tell(str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}")
        raise
    else:
        _part()


def is_peer_failure(error: BaseException) -> bool:
    """Whether it was raised because another process is gone."""
    return _group is not None and _GONE.search(str(error)) is not None


def shutdown(code: int) -> NoReturn:
    """End this process with `code`; without waiting for others where the run has failed and they may be gone."""
    sys.stdout.flush()
    sys.stderr.flush()
    if _group is not None:
        os._exit(code)
    sys.exit(code)


def assert_equal_across_processes(facts: Mapping[str, Any]) -> None:
    """Return where every process came with the facts of process 0.

    Raises:
      UserError: in all processes, naming who differs, in what; or who failed before, and why; or who did not come.
    """
    if _group is None:
        return
    ours = {fact: json.dumps(value, sort_keys=True, default=str) for fact, value in facts.items()}

    def decide(everyone: list[str]) -> str:
        first, *others = map(json.loads, everyone)
        return _verdict(first, dict(enumerate(others, 1)))

    if verdict := _decided(json.dumps(ours), decide):
        raise UserError(verdict)


class Failed(RuntimeError):
    """What all processes were to do failed in one of them; one line says in which and why."""


def run_on_all_or_none[T](do: Callable[[], T]) -> T:
    """Call `do` in every process and return its result here, once all have done it; within, none waits for another.

    Raises:
      Failed: in all processes, where any raised an exception.
      UserError: another process has failed elsewhere, or did not come.
    """
    problem = ""
    try:
        done = do()
    except Exception as error:
        problem = beginning(error) or type(error).__name__
    if _group is not None:
        problem = f"process {_group.index}: {problem}" if problem else ""
        problem = _decided(problem, lambda problems: next(filter(None, problems), ""))
    if problem:
        raise Failed(problem)
    return done


def _decided(ours: str, decide: Callable[[list[str]], str]) -> str:
    """Process 0's `decide` on the texts of all processes, returned in all of them. Raises as `_await`."""
    assert _group is not None
    name = f"agree/{next(_agreements)}"
    if _group.index > 0:
        _group.put(f"{name}/{_group.index}", ours)
        return _await(f"{name}/verdict", 0, AGREEMENT_SECONDS + 60)
    deadline = time.monotonic() + AGREEMENT_SECONDS
    theirs = [_await(f"{name}/{k}", k, deadline - time.monotonic()) for k in range(1, _group.size)]
    verdict = decide([ours, *theirs])
    _group.put(f"{name}/verdict", verdict)
    return verdict


def _verdict(ours: Mapping[str, str], theirs: Mapping[int, Mapping[str, str]]) -> str:
    """A sentence on the first process that differs, and how many more do; empty where all agree."""
    differing = {k: [f for f in sorted({*ours, *facts}) if ours.get(f) != facts.get(f)] for k, facts in theirs.items()}
    differing = {k: names for k, names in differing.items() if names}
    if not differing:
        return ""
    k, names = min(differing.items())
    shown = ", ".join(f"{f} ({theirs[k].get(f, 'nothing')} there, {ours.get(f, 'nothing')} here)" for f in names[:3])
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    others = f", and so do {len(differing) - 1} more processes" if len(differing) > 1 else ""
    return (
        f"process {k} differs from process 0 in {shown}{more}{others}: start all processes with the same command, "
        "code and data"
    )


def _await(key: str, who: int, seconds: float) -> str:
    """The value of `key`, which process `who` sets.

    Raises:
      UserError: a process has failed meanwhile, or the value did not come in `seconds`.
    """
    assert _group is not None
    deadline = time.monotonic() + max(seconds, 0)
    while time.monotonic() < deadline:
        value = _group.get(key, seconds=1)
        if value is not None:
            return value
        if failure := _heard_failure():
            raise UserError(failure)
    raise UserError(
        f"process {who} did not come to where all processes agree within {AGREEMENT_SECONDS} s: see its log"
    )


def _detected(timeout: int) -> Address | None:
    """The address on the cluster that this process runs on; None where the process is alone."""
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1:  # not the allocation's: its shell is one task
        return _on_slurm(timeout)
    if os.environ.get("JAX_PLATFORMS") == "cpu" or not importlib.util.find_spec("libtpu"):
        return None
    for cluster in jax_private.tpu_clusters():
        if cluster.is_env_present() and (size := cluster.get_process_count()) > 1:
            return Address(_coordinator(cluster, timeout), size, cluster.get_process_id())
    return None


def _on_slurm(timeout: int) -> Address:
    # As JAX has it: where a machine runs several tasks, each takes one of its GPUs.
    alone = re.fullmatch(r"1(\(x\d+\))?", os.environ["SLURM_STEP_TASKS_PER_NODE"])
    return Address(
        coordinator=_coordinator(jax_private.slurm_cluster(), timeout),
        num_processes=int(os.environ["SLURM_STEP_NUM_TASKS"]),
        process_id=int(os.environ["SLURM_PROCID"]),
        local_device_ids=() if alone else (int(os.environ["SLURM_LOCALID"]),),
    )


def _coordinator(cluster: Any, timeout: int) -> str:
    """HOST:PORT of process 0, as JAX derives it from the cluster's variables."""
    try:
        port = os.environ.get("JAX_COORDINATOR_PORT")
        return cluster.get_coordinator_address(timeout_secs=timeout, override_coordinator_port=port)
    except RuntimeError as error:
        raise UserError(f"no other process was met within {timeout} s: {error}") from error


def _start(address: Address | None, timeout: int) -> None:
    """Meet the other processes. Ends this one with a sentence where they do not come: JAX would abort it instead."""
    global _group
    if address is None or address.num_processes == 1:
        return
    alarm = threading.Timer(timeout, lambda: _end(EXIT_START_FAILED, _why_not_met(address, timeout)))
    alarm.daemon = True
    alarm.start()
    import jax

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    _on_abort(_end_aborted)
    try:
        jax.distributed.initialize(
            address.coordinator,
            address.num_processes,
            address.process_id,
            local_device_ids=address.local_device_ids,
            initialization_timeout=timeout + 60,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"process {address.process_id} could not join at {address.coordinator}: {reason}") from error
    finally:
        alarm.cancel()
    _group = _Group(jax_private.coordination_client(), address.num_processes, address.process_id)


def _part() -> None:
    """Leave the group at the end of a run: the service is shut down once all processes are here."""
    global _group
    if _group is None:
        return
    import jax

    jax.distributed.shutdown()
    _group = None
    _on_abort(None)


def _tell(why: str) -> None:
    """Tell the others of this process's failure; process 0, with which the service ends, waits until they know."""
    assert _group is not None
    group = _group
    if group.index > 0:  # process 0 and the service end once all have heard, and JAX aborts what still runs
        _on_abort(lambda: _end_aborted(ENDING_SECONDS))

    def tell() -> None:
        with contextlib.suppress(Exception):  # the service is gone: there is no one to tell
            group.put("failure", f"process {group.index}: {' '.join(why.split())[:2000]}")
            group.put(f"heard/{group.index}", "")
            deadline = time.monotonic() + FAREWELL_SECONDS
            for k in range(1, group.size) if group.index == 0 else ():
                group.get(f"heard/{k}", max(deadline - time.monotonic(), 0.001))

    # In a thread: where the service ends while it answers, the caller would wait until JAX aborts it.
    telling = threading.Thread(target=tell, daemon=True)
    telling.start()
    telling.join(None if group.index == 0 else ENDING_SECONDS / 2)


def _end_aborted(patience: float = 0.0) -> None:
    """End the process, unless it ends within `patience` seconds with a sentence and code of its own."""
    time.sleep(patience)
    _end(EXIT_PEER_LOST, _lost("JAX aborted; its own message is above"))


def _why_not_met(address: Address, timeout: int) -> str:
    host, port = address.coordinator.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except OSError as error:
        what = f"nothing answers at the coordinator's address {address.coordinator} ({error.strerror or error})"
        return (
            f"{what} after {timeout} s: check that process 0 runs there and that the port is open (--coordinator, "
            "--start_timeout)"
        )
    return (
        f"not all {address.num_processes} processes met at {address.coordinator} within {timeout} s: check that each "
        "was started and sees the same --coordinator and --num_processes"
    )


def _heard_failure() -> str | None:
    """What another process has told of its failure, or None, which takes a tenth of a second to find out."""
    assert _group is not None
    with contextlib.suppress(Exception):  # the service may be gone
        return _group.get("failure", seconds=0.1)  # the only call that is sure to return where the service is gone
    return None


def _lost(reason: str) -> str:
    return (
        f"process {index()} ends, as another process of this run was lost ({' '.join(reason.split())[:300]}): see the "
        "others' logs; the same command goes on from the last checkpoint"
    )


def _end(code: int, sentence: str) -> None:
    """End the process at once, from whatever thread."""
    sys.stdout.flush()
    sys.stderr.write(f"error: {sentence}\n")
    sys.stderr.flush()
    os._exit(code)


_handler: Any = None  # must live as long as it may be called


def _on_abort(do: Callable[[], None] | None) -> None:
    """Call `do` where C++ aborts this process. Python's own handlers would never run: abort() does not return."""
    global _handler
    kind = ctypes.CFUNCTYPE(None, ctypes.c_int)
    handler = kind(lambda number: do()) if do else None
    libc = ctypes.CDLL(None)
    libc.signal.argtypes, libc.signal.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
    libc.signal(signal.SIGABRT, ctypes.cast(handler, ctypes.c_void_p) if handler else None)  # None: SIG_DFL
    _handler = handler
