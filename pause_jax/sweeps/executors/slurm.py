"""A sweep through SLURM: each of its jobs is submitted as a SLURM job that waits for the one it depends on.

The queue is the record of what is under way: a SLURM job is named after its job and the sweep's folder, so that a
driver finds all of them again, even if the driver before it was killed while submitting. What is finished is found in
the sweep's folder. No accounting (sacct) is needed. WORKDIR/slurm/ has `ids.json` (jobs' names → SLURM's numbers),
`reports/` (the result of each job's last try) and submitit's own files.
"""

from __future__ import annotations

import dataclasses
import getpass
import hashlib
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from absl import logging

from pause_jax.errors import UserError, beginning
from pause_jax.sweeps import record
from pause_jax.sweeps.execution import Resources
from pause_jax.sweeps.executors.local import JobResult
from pause_jax.sweeps.graph import Job
from pause_jax.sweeps.scheduler import Entry, Schedule
from pause_jax.system.files import write_atomically

SECONDS_BETWEEN_LOOKS = 5.0
SIGNAL_SECONDS = 120  # before its time limit a job is asked to save
LOOKS_UNTIL_GONE = 3  # as network file systems may show the files of a job late, after it has left the queue
ENDED = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT"}
NEVER = "DependencyNeverSatisfied"
OURS = {"dependency", "job_name", "nodes", "ntasks_per_node", "cpus_per_task", "gpus_per_node", "array_parallelism"}


@dataclasses.dataclass(frozen=True)
class Queued:
    """A SLURM job, as squeue lists it."""

    id: str
    state: str  # RUNNING, PENDING, …
    reason: str  # why it is pending


class Cluster:
    """SLURM, as the sweep in `workdir` uses it."""

    def __init__(self, workdir: Path, settings: Mapping[str, Any]):
        """Raises UserError where submitit or SLURM is missing, or a setting does not exist."""
        try:
            import submitit
        except ImportError:
            raise UserError(
                "config.executor is 'slurm', but submitit is not installed: pip install 'pause_jax[slurm]'"
            ) from None
        if missing := [tool for tool in ("sbatch", "squeue", "srun") if not shutil.which(tool)]:
            raise UserError(
                f"config.executor is 'slurm', but {missing[0]} is not in PATH: start the sweep where SLURM is"
            )
        self.folder = workdir.absolute() / "slurm"
        self._label = hashlib.sha256(str(workdir.absolute()).encode()).hexdigest()[:8]
        if taken := sorted(OURS & set(settings)):
            raise UserError(
                f"config.slurm.{taken[0]} is not for a sweep's config: config.resources says what jobs take"
            )
        self._executor = submitit.SlurmExecutor(self.folder / "submitit")
        more = dict(settings)
        delay = more.pop("signal_delay_s", SIGNAL_SECONDS)
        extra = {"requeue": True, "signal": f"TERM@{delay}", **more.pop("additional_parameters", {})}
        # The shell gets SIGTERM too, and must live until the job has written its report.
        setup = ["trap : TERM", *more.pop("setup", ())]
        try:
            self._executor.update_parameters(**more, setup=setup, additional_parameters=extra)
        except (ValueError, TypeError) as error:
            raise UserError(f"config.slurm: {beginning(error)} (submitit's names of sbatch's settings)") from None

    def submit(self, job: Job, takes: Resources, after: str, call: Callable[[], Any]) -> str:
        """Submit `call`, and return SLURM's number of it.

        Args:
          after: number of the SLURM job that must be done before; "" for none.

        Raises:
          UserError: SLURM refuses it.
        """
        asked: dict[str, Any] = {"nodes": takes.nodes, "ntasks_per_node": takes.tasks_per_node}
        asked |= {"cpus_per_task": takes.cpus} if takes.cpus else {}
        asked |= {"gpus_per_node": takes.gpus} if takes.gpus else {}
        self._executor.update_parameters(
            job_name=self._name(job.name), dependency=f"afterok:{after}" if after else None, **asked
        )
        try:
            return self._executor.submit(call).job_id
        except Exception as error:  # whatever submitit makes of sbatch's exit
            said = [line for line in str(error).splitlines() if "error:" in line] or [beginning(error)]
            raise UserError(f"sbatch does not take {job.name}: {said[-1]}") from None

    def queue(self) -> dict[str, list[Queued]] | None:
        """SLURM jobs by the names of the sweep's jobs, recently ended ones too; None where squeue does not answer."""
        command = ["squeue", "--noheader", "--states=all", f"--user={getpass.getuser()}", "--format=%i|%T|%r|%j"]
        told = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if told.returncode:
            logging.warning("squeue: %s", told.stderr.strip())
            return None
        found: dict[str, list[Queued]] = {}
        for line in told.stdout.splitlines():
            number, state, reason, name = line.split("|", 3)
            job, _, label = name.rpartition("@")
            if label == self._label:
                found.setdefault(job, []).append(Queued(number, state, reason))
        return found

    def cancel(self, ids: list[str]) -> None:
        if ids:
            subprocess.run(["scancel", *ids], capture_output=True, check=False)  # noqa: S603, S607

    def report_file(self, job: Job) -> Path:
        """The file into which the job writes its report."""
        return self.folder / "reports" / f"{job.name}.json"

    def report(self, job: Job, number: str) -> JobResult | None:
        """The report of the SLURM job of this number, if it has written one."""
        try:
            told = json.loads(self.report_file(job).read_text(encoding="utf-8"))
            told["outcome"] = record.RENAMED.get(told["outcome"], told["outcome"])
            return JobResult(**told) if told.pop("id") == number else None
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _name(self, job: str) -> str:
        return f"{job}@{self._label}"


@dataclasses.dataclass
class Watch:
    """The jobs of a schedule, as they go through SLURM."""

    schedule: Schedule
    cluster: Cluster
    takes: Callable[[Job], Resources]
    call: Callable[[Job], Callable[[], Any]]  # the function that is submitted for a job
    is_finished: Callable[[Job], bool]
    ids: dict[str, str] = dataclasses.field(default_factory=dict)  # of jobs under way
    unseen: dict[str, int] = dataclasses.field(default_factory=dict)  # looks since a job left the queue

    def run(self, *, stopping: Callable[[], bool], on_done: Callable[[Job], None], on_tick: Callable[[], None]) -> None:
        """Run until nothing is under way, or until `stopping`; what is queued then stays queued.

        Raises:
          UserError: SLURM does not answer at the start, or refuses a job.
        """
        queue = self.cluster.queue()
        if queue is None:
            raise UserError("squeue does not answer: start the sweep again when SLURM runs")
        self._adopt(queue)
        while not stopping():
            self._submit_missing(stopping)
            on_tick()
            if not self.ids:
                return
            looked = time.monotonic()
            while time.monotonic() - looked < SECONDS_BETWEEN_LOOKS and not stopping():
                time.sleep(0.2)
                on_tick()
            if (queue := self.cluster.queue()) is not None:
                for job in self._look(queue):
                    on_done(job)

    def _adopt(self, queue: Mapping[str, list[Queued]]) -> None:
        """Take over SLURM jobs that are queued or running; cancel those that wait for a job that will never be done."""
        done = {entry.job.name for entry in self.schedule.with_status("cached")}
        for entry in self.schedule.entries:
            job = entry.job
            live = [q for q in queue.get(job.name, []) if q.state not in ENDED]
            if entry.status == "waiting" and not live and self.is_finished(job):  # finished since the schedule was made
                entry.status = "cached"
                done.add(job.name)
            if job.name in done:  # it may still run, about to end
                continue
            comes = not job.depends_on or job.depends_on in done or job.depends_on in self.ids
            mine = [q for q in live[-1:] if comes and q.reason != NEVER]
            self.cluster.cancel([q.id for q in live if q not in mine])
            if mine:
                self.ids[job.name], entry.tries = mine[0].id, 1

    def _submit_missing(self, stopping: Callable[[], bool]) -> None:
        done = {entry.job.name for entry in self.schedule.with_status("cached", "done")}
        for entry in self.schedule.with_status("waiting"):
            job = entry.job
            if job.name in self.ids or stopping():
                continue
            after = "" if job.depends_on in done or not job.depends_on else self.ids[job.depends_on]
            self.ids[job.name] = self.cluster.submit(job, self.takes(job), after, self.call(job))
            entry.tries += 1
            self._record()
        self._record()

    def _look(self, queue: Mapping[str, list[Queued]]) -> list[Job]:
        """Update the schedule from the queue, and return the jobs that are done since."""
        done = []
        for entry in self.schedule.with_status("waiting", "running"):
            job, number = entry.job, self.ids.get(entry.job.name)
            if number is None:  # cancelled, as a job it depends on has just failed
                continue
            told = next((q for q in queue.get(job.name, []) if q.id == number), None)
            if told is not None and told.reason == NEVER and self._is_done(job.depends_on):
                # What it depends on was killed after saving everything: submit it again without the dependency.
                self.cluster.cancel([self.ids.pop(job.name)])
                entry.tries -= 1
                continue
            if told is not None and told.state not in ENDED:
                runs = told.state in ("RUNNING", "COMPLETING")
                entry.since = entry.since if entry.status == "running" else time.time()
                entry.status = "running" if runs else "waiting"
                continue
            report = self.cluster.report(job, number)
            if self.is_finished(job):
                self._close(entry, report or JobResult("done", ""))
                done.append(job)
            elif report is not None and report.outcome in ("failed", "user_error"):
                self._fail(entry, report)
            else:
                self.unseen[job.name] = self.unseen.get(job.name, 0) + 1
                if self.unseen[job.name] >= LOOKS_UNTIL_GONE:
                    state = told.state if told is not None else "gone from the queue"
                    self._fail(entry, JobResult("failed", f"SLURM's job {number} ended without a word: {state}"))
        return done

    def _is_done(self, name: str) -> bool:
        return any(entry.job.name == name for entry in self.schedule.with_status("cached", "done"))

    def _close(self, entry: Entry, report: JobResult) -> None:
        del self.ids[entry.job.name]
        self.unseen.pop(entry.job.name, None)
        self.schedule.note(entry, dataclasses.replace(report, outcome="done", message=""))

    def _fail(self, entry: Entry, report: JobResult) -> None:
        """Note a failure; cancel what waits for this SLURM job in the queue, as its number will never be done."""
        waiting = self._needing(entry.job.name)
        self.cluster.cancel([self.ids.pop(name) for name in waiting if name in self.ids])
        for other in self.schedule.entries:
            if other.job.name in waiting:
                other.tries -= 1  # it never ran
        del self.ids[entry.job.name]
        self.unseen.pop(entry.job.name, None)
        self.schedule.note(entry, report)

    def _needing(self, name: str) -> list[str]:
        direct = [entry.job.name for entry in self.schedule.entries if entry.job.depends_on == name]
        return [*direct, *(further for one in direct for further in self._needing(one))]

    def _record(self) -> None:
        self.cluster.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.cluster.folder / "ids.json", json.dumps(self.ids, indent=1))
