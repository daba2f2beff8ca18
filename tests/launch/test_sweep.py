"""The sweep program: mistakes before any work; a whole sweep with a bad point, stopped and killed on the way."""

from __future__ import annotations

import json
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from pause_jax import config as configs
from pause_jax.checkpointing import locks
from pause_jax.errors import UserError
from pause_jax.report.results import read_results
from pause_jax.sweeps import driver, execution, graph, job_files, record, results
from tests.programs import assert_one_sentence, program

SWEEP = """
import ml_collections
from experiments import quickstart

def tiny():
    config = quickstart.get_config("pause")
    config.model.num_layers, config.model.d_model, config.model.num_heads, config.model.d_ff = 1, 16, 2, 16
    config.data.length, config.train.batch_size, config.train.steps = 32, 8, 30
    config.optimizer.warmup_steps = 3
    config.run.validate_every, config.run.loggers, config.run.checkpoint_every = 0, ("jsonl",), 10
    return config

def get_config(seeds="1", tasks="recall_2", steps="30"):
    seeds, _, tasks = seeds.partition(",")
    pretrain, finetune = tiny(), tiny()
    pretrain.optimizer.b1 = 0.8
    finetune.pauses.rate = 0.0
    finetune.finetune.max_prompt_length, finetune.finetune.target_length = 8, 2
    finetune.finetune.task = "recall_2"
    sweep = ml_collections.ConfigDict()
    sweep.pretrain = {"config": pretrain, "axes": (("seed", tuple(range(int(seeds)))), ("pauses.rate", (0.0, 0.1)))}
    sweep.finetune = {"config": finetune, "axes": (("finetune.task", tuple((tasks or "recall_2").split("+"))),)}
    sweep.evaluate = {"m_inf": (0, 3), "limit": 20}
    return sweep
"""


@pytest.fixture
def sweep(tmp_path):
    """Runs the program on the sweep above, of so many seeds and tasks."""
    (tmp_path / "tiny.py").write_text(SWEEP)

    def run(argument="1", *more, wait=True):
        arguments = [f"--config={tmp_path}/tiny.py:{argument}", f"--workdir={tmp_path}/sweep", *more]
        if wait:
            return program("sweep", *arguments)
        command = [sys.executable, "-m", "launch.sweep", *arguments]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return run


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "--workdir is missing"),
        (["--workdir={tmp}/s"], "--config is missing: give a sweep"),
        (["--workdir={tmp}/s", "--config=experiments/quickstart.py"], r"config\.data is no stage of a sweep"),
        (["--workdir={tmp}/s", "--config=experiments/sweeps/two_by_two.py:x"], r"two_by_two\.py:x does not exist"),
        (["--workdir={tmp}/s", "--config=experiments/sweeps/two_by_two.py", "--workers=-1"], "must not be negative"),
    ],
)
def test_mistakes(tmp_path, arguments, sentence):
    assert_one_sentence(program("sweep", *(a.format(tmp=tmp_path) for a in arguments)), sentence)
    assert not (tmp_path / "s").exists()


def test_dry_run_shows_jobs_and_cost_and_writes_nothing(tmp_path, sweep):
    result = sweep("2", "--dry_run")
    assert result.returncode == 0, result.stderr
    assert "12 of 12 jobs to run" in result.stdout and "model FLOPs" in result.stdout
    assert "pretrain-seed1-rate0.1-" in result.stdout
    assert "a verdict takes 10 pretraining runs an arm, however often each is finetuned; there are 2" in result.stdout
    assert not (tmp_path / "sweep").exists()


def test_the_shipped_sweeps_make_graphs(tmp_path):
    for config, jobs in (("two_by_two", 20), ("time_to_think", 18)):
        result = program("sweep", f"--config=experiments/sweeps/{config}.py", f"--workdir={tmp_path}/s", "--dry_run")
        assert f"{jobs} of {jobs} jobs to run" in result.stdout, result.stderr
    assert "a verdict takes 10 seeds an arm: there are 3" in result.stdout


def trained(folder: Path) -> dict[str, int]:
    """Every run's records: their number grows where a finished run is trained again."""
    return {path.parent.name: path.read_text().count("\n") for path in (folder / "runs").glob("*/metrics.jsonl")}


@pytest.mark.slow
def test_stopped_killed_and_gone_on_with_nothing_is_done_twice(tmp_path, sweep):
    folder = tmp_path / "sweep"
    stopped = sweep("1", wait=False)
    wait_for(lambda: len(list(folder.glob("runs/*/checkpoints/30"))) >= 1)
    stopped.send_signal(signal.SIGTERM)
    out, err = stopped.communicate(timeout=120)
    assert stopped.returncode == 75, err
    assert "the same command goes on from here" in out

    killed = sweep("1", wait=False)
    wait_for(lambda: len(list(folder.glob("results/*.csv"))) >= 1)
    workers = psutil.Process(killed.pid).children(recursive=True)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate(timeout=60)
    assert psutil.wait_procs(workers, timeout=5)[1] == []  # none is left to write into the runs
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("results/*.csv")}

    done = sweep("1")
    assert done.returncode == 0, done.stderr
    assert "6 of 6 jobs done" in done.stdout
    assert set(trained(folder).values()) == {30} and len(trained(folder)) == 2 + 2
    assert all(path.stat().st_mtime_ns == time_ for path, time_ in kept.items())
    rows = read_results(folder / "results.csv")
    assert len(rows) == 2 * 2 * 2  # pretrained runs, M_inf, metrics
    assert {row.pretrain for row in rows} == {"std", "pause"}

    start = time.monotonic()
    again = sweep("1")
    assert again.returncode == 0 and "6 of 6 jobs done" in again.stdout
    assert time.monotonic() - start < 20 and read_results(folder / "results.csv") == rows
    assert_one_sentence(
        sweep("2", "--config.pretrain.config.optimizer.b1=0.7"),
        r"holds another sweep, which differs in pretrain\.optimizer\.b1",
    )


@pytest.mark.slow
def test_a_bad_point_stops_only_what_needs_it(tmp_path, sweep):
    result = sweep("1,recall_2+nonsense")
    assert result.returncode == 1
    assert "there is no task 'nonsense'" in result.stdout
    assert "6 of 10 jobs done" in result.stdout
    failures = json.loads((tmp_path / "sweep" / "failures.json").read_text())
    assert [f["error"][:5] for f in failures].count("needs") == 2 and len(failures) == 4
    log = re.search(r"\(see (.*)\)$", failures[0]["error"])[1]
    assert "there is no task 'nonsense'" in Path(log).read_text()
    page = (tmp_path / "sweep" / "report" / "report.html").read_text()
    assert page.index("4 failures") < page.index("recall_2, accuracy") and "Failures: what is missing" in result.stdout
    assert {row.task for row in read_results(tmp_path / "sweep" / "results.csv")} == {"recall_2"}


def wait_for(condition, seconds=240):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.2)


def test_the_cost_is_told_by_chip_or_by_what_was_measured(tmp_path, sweep):
    told = sweep("1", "--dry_run").stdout
    assert "no time is reckoned: config.resources names no chip" in told
    assert re.search(r"^disk: \S+ GB of checkpoints", told, re.MULTILINE)
    file = tmp_path / "tiny.py"
    file.write_text(SWEEP.replace("return sweep", 'sweep.resources = {"default": {"chip": "h100"}}\n    return sweep'))
    assert re.search(r"^h100: \S+ device-hours, if 40 % of its peak", sweep("1", "--dry_run").stdout, re.MULTILINE)


def test_a_sweep_that_does_not_say_where_its_jobs_run_takes_it_from_the_command(tmp_path, sweep):
    assert_one_sentence(sweep("1", "--config.executor=gke", "--dry_run"), r"config\.gke\.image is missing")
    assert_one_sentence(sweep("1", "--config.executors=gke"), r"no such field: did you mean --config\.executor\?")
    assert sweep("1", "--config.executor=local", "--dry_run").returncode == 0


def test_no_slurm_here_is_a_sentence_and_nothing_is_written(tmp_path, sweep, monkeypatch):
    (tmp_path / "tiny.py").write_text(SWEEP.replace("return sweep", 'sweep.executor = "slurm"\n    return sweep'))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert_one_sentence(sweep("1"), "submitit is not installed|sbatch is not in PATH")
    assert not (tmp_path / "sweep").exists()


def test_many_jobs_are_shown_by_stage(sweep):
    told = sweep("10", "--dry_run").stdout
    assert "60 of 60 jobs to run" in told and "pretrain-seed" not in told
    assert ["finetune", "20", "0"] in [line.split()[:3] for line in told.splitlines()]
    assert "pretrain-seed9-rate0.1-" in sweep("10", "--dry_run", "--all_jobs").stdout


def test_a_second_driver_is_refused(tmp_path, sweep):
    with locks.held(tmp_path / "sweep" / "lock"):
        assert_one_sentence(sweep("1"), "is being written to by another run, process")
    assert sorted(path.name for path in (tmp_path / "sweep").iterdir()) == ["lock"]


def test_jobsets_are_written_and_name_the_jobs_files(tmp_path, sweep):
    more = """
    sweep.executor, sweep.gke = "gke", {"image": "i", "claim": "c"}
    sweep.resources = {"default": {"chip": "v5e", "topology": "4x4", "slices": 2}}
    return sweep"""
    (tmp_path / "tiny.py").write_text(SWEEP.replace("\n    return sweep", more))
    written = sweep("1")
    assert written.returncode == 0, written.stderr
    assert "6 JobSets: 1-pretrain.yaml, 2-finetune.yaml, 3-evaluate.yaml" in written.stdout
    manifests = list(yaml.safe_load_all((tmp_path / "sweep/gke/2-finetune.yaml").read_text()))
    for manifest in manifests:
        (argument,) = manifest["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["containers"][0][
            "args"
        ]
        file = tmp_path / argument.removeprefix("--job=/runs/")
        job = job_files.read_job(file)
        assert job.kind == "finetune" and job.config.run.mesh == configs.MeshConfig(data=32, dcn_data=2)
        assert job.config.init_from == f"/runs/sweep/runs/{job.depends_on}"
    assert len(manifests) == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("pretrain.run.mesh.fsdp = 3", "of which .* takes 1 x 1x1: config.run.mesh = .* does not fit 1 devices"),
        (
            "for c in (pretrain, finetune): c.model.d_model, c.model.d_ff = 8192, 32768",
            "of which .*: training takes .* GB",
        ),
    ],
)
def test_jobs_that_do_not_go_on_their_chips_are_refused_before_anything_is_written(tmp_path, sweep, line, message):
    more = f"""
    sweep.executor, sweep.gke = "gke", {{"image": "i", "claim": "c"}}
    sweep.resources = {{"default": {{"chip": "v5e", "topology": "1x1", "chips_per_host": 1}}}}
    {line}
    return sweep"""
    (tmp_path / "tiny.py").write_text(SWEEP.replace("\n    return sweep", more))
    refused = sweep("1")
    assert refused.returncode == 2 and re.search(f"^error: config.resources.default, {message}", refused.stderr)
    assert not (tmp_path / "sweep" / "gke").exists()


def schedule(tmp_path, argument):
    values = runpy.run_path(str(tmp_path / "tiny.py"))["get_config"](argument).to_dict()
    parsed = graph.parse(values)
    return driver.make_schedule(parsed, tmp_path / "sweep", execution.parse(parsed.execution), retries=0)


@pytest.mark.slow
def test_a_sweep_that_only_pretrains_has_the_losses_as_results(tmp_path, sweep):
    text = SWEEP.replace("config.run.validate_every, config.run.loggers", "_, config.run.loggers")
    text = text.replace("    return sweep\n", "    del sweep['finetune'], sweep['evaluate']\n    return sweep\n")
    (tmp_path / "tiny.py").write_text(text)
    result = sweep("2")
    assert result.returncode == 0, result.stderr
    rows = read_results(tmp_path / "sweep" / "results.csv")
    for row in rows:
        run = tmp_path / "sweep" / "runs" / row.checkpoint.partition("/")[0]
        last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
        key = {"loss": "loss", "loss_after_pause": "after_pause_loss", "loss_elsewhere": "elsewhere_loss"}[row.metric]
        assert row.value == last[f"validation/{key}"] and (row.split, row.finetune, row.steps) == (
            "held_out",
            "none",
            30,
        )
    seen = {
        (row.pretrain, row.seed): sum(other.seed == row.seed and other.pretrain == row.pretrain for other in rows)
        for row in rows
    }
    assert seen == {("std", 0): 1, ("pause", 0): 3, ("std", 1): 1, ("pause", 1): 3}
    assert re.search(r"10 % pauses in pretraining.* minus .*: [+-]\d\.\d{3} nats, 95 % interval", result.stdout)


def test_values_added_to_an_axis_add_only_their_jobs(tmp_path, sweep):
    folder = tmp_path / "sweep"
    first = schedule(tmp_path, "1")
    for entry in first.entries:  # as if all were done
        run = folder / "runs" / entry.job.name
        files = {
            run / "config.json": json.dumps(configs.to_dict(entry.job.config)),
            run / "checkpoints/30/commit_success.txt": "",
        }
        if entry.job.evaluation is not None:
            files = {results.results_of(folder, entry.job.name): ""}
        for file, text in files.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        entry.status, entry.seconds = "done", 2.0
    record.Recorder(first, folder, "local", 2).write(ended=True)
    more = schedule(tmp_path, "2")
    assert {entry.job.name for entry in more.with_status("cached")} == {entry.job.name for entry in first.entries}
    assert len(more.with_status("waiting")) == 6 and all("seed1" in e.job.name for e in more.with_status("waiting"))
    assert {entry.seconds for entry in more.with_status("cached")} == {2.0}  # what they took is known still
    assert re.search(r"of one worker, at the \S+ FLOP/s of the jobs that are done", sweep("2", "--dry_run").stdout)
    other = json.loads((run := folder / "runs" / first.entries[0].job.name / "config.json").read_text())
    run.write_text(json.dumps(other | {"seed": 7}))
    with pytest.raises(UserError, match="holds another run, which differs in"):
        schedule(tmp_path, "2")


@pytest.mark.slow
def test_a_job_is_run_from_its_file(tmp_path, sweep):
    """As SLURM and JobSets do; what it makes is what the sweep looks for."""
    assert_one_sentence(program("run_job", f"--job={tmp_path}/none.json"), "cannot be read")
    made = schedule(tmp_path, "1")
    job = made.entries[0].job
    file = job_files.write_job(job, tmp_path / "sweep")
    assert job_files.read_job(file) == job
    evaluation = made.entries[-1].job
    assert job_files.read_job(job_files.write_job(evaluation, tmp_path / "sweep")) == evaluation
    done = program("run_job", f"--job={file}")
    assert done.returncode == 0, done.stderr
    assert results.is_finished(job, tmp_path / "sweep")
