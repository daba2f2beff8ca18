"""launch.prepare as a user runs it: mistakes, signals, kills at any moment, memory."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.programs import ROOT, assert_one_sentence, program

CONFIG = "--config=experiments/quickstart.py:pause"


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "launch.prepare", CONFIG, *map(str, arguments)]


def prepare(*arguments: object) -> subprocess.CompletedProcess[str]:
    return program("prepare", CONFIG, *map(str, arguments))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_mistakes_in_the_command():
    assert_one_sentence(prepare(), "error: --out is missing")
    assert_one_sentence(prepare("--out=x", "--workers=-1"), "error: --workers=-1 must not be negative")
    assert_one_sentence(prepare("--out=x", "--on_bad_text=mend"), "on_bad_text")
    assert_one_sentence(prepare("--out=nowhere", "--verify"), "error: nowhere is not prepared")
    assert_one_sentence(prepare(f"--out={ROOT / 'README.md'}", "--train_sentencepiece=100"), "exists: give another")


@pytest.mark.slow
def test_bad_text_then_skipped_then_verified(tmp_path):
    lines = [json.dumps({"text": f"text {i}"}).encode() for i in range(100)]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([*lines, b'{"text": "\xe9"}']))
    files, out = f"--config.data.files={tmp_path}/a.jsonl", f"--out={tmp_path / 'out'}"
    assert_one_sentence(prepare(files, out, "--workers=1"), "a.jsonl is not UTF-8 at byte ")
    shutil.rmtree(tmp_path / "out")
    done = prepare(files, out, "--workers=1", "--on_bad_text=skip")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert "1 bad documents left out" in done.stdout and f"--config.data.prepared={tmp_path / 'out'}" in done.stdout
    done = prepare(out, "--verify")
    assert done.stdout == f"2 shards agree with their checksums: {tmp_path / 'out'}\n"


@pytest.mark.slow
def test_a_tokenizer_trained_here_prepares_text_that_trains(tmp_path):
    texts = [f"def function_{i}(first, second):\n    return first + {i} * second\n" for i in range(400)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    files, model = f"--config.data.files={tmp_path}/a.jsonl", tmp_path / "a.model"
    done = prepare(files, f"--out={model}", "--train_sentencepiece=400")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    vocabulary = f"--config.data.vocabulary={model}"
    done = prepare(files, f"--out={tmp_path / 'out'}", vocabulary, "--workers=1")
    assert done.returncode == 0, done.stderr
    train = [
        CONFIG,
        f"--workdir={tmp_path / 'run'}",
        "--config.train.steps=2",
        f"--config.data.prepared={tmp_path / 'out'}",
        "--config.run.validate_every=2",
        "--config.model.num_layers=1",
        "--config.model.d_model=16",
        "--config.model.num_heads=2",
    ]
    done = program("train", *train, vocabulary)
    assert done.returncode == 0, done.stderr
    assert_one_sentence(
        program("train", *train, f"--workdir={tmp_path / 'other'}"),
        "was made with another tokenizer than config.data.vocabulary = 'byte'",
    )


@pytest.mark.slow
def test_official_files_that_are_there_and_what_finetuning_makes_of_them(data_dir):
    """No network is needed for either; the sentence about a missing file names a command of this program."""
    done = program("prepare", "--download=gsm8k", f"--data_dir={data_dir}")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert done.stdout == f"0 files fetched; the files of gsm8k are whole and as published: {data_dir}\n"
    config = "--config=experiments/finetune.py:gsm8k,toy,m_ft=3"
    done = program("prepare", config, "--show=2", f"--config.data.data_dir={data_dir}")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert done.stdout.count("=== example") == 2 and done.stdout.count("Answer:‹pause›‹pause›⟧‹pause› ") == 2
    assert "7,119 examples: " in done.stdout
    done = program("prepare", config, "--show=2", "--config.data.data_dir=none")
    assert_one_sentence(done, "`python -m pause_jax prepare --download=gsm8k --data_dir=none` fetches it")


@pytest.fixture
def many_shards(tmp_path):
    """Files of 34 MB, more than half a range: each has one of its own, and so a shard of either split."""
    chooser = random.Random(0)
    words = (ROOT / "pause_jax" / "pauses" / "insertion.py").read_text().split()
    texts = [" ".join(chooser.choices(words, k=150)) for _ in range(2000)]
    for number in range(2):
        with (tmp_path / f"{number}.jsonl").open("w") as file:
            for line in range(34_000):
                file.write(json.dumps({"text": f"{line} {texts[line % 2000]}"}) + "\n")
    return f"--config.data.files={tmp_path}/*.jsonl"


def runs(process: psutil.Process) -> bool:
    """Not only in the process table, where an orphan may stay for as long as this machine's init likes."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kill_after(running: subprocess.Popen, out: Path, seconds: float) -> bool:
    """Kill the program so long after it has begun another shard; whether it was still running."""
    before = set(out.glob("*/*"))
    while running.poll() is None and set(out.glob("*/*")) <= before:
        time.sleep(0.02)
    time.sleep(seconds)
    alive = running.poll() is None
    children = psutil.Process(running.pid).children(recursive=True) if alive else []
    running.kill()
    running.wait()
    left = [child for child in psutil.wait_procs(children, timeout=10)[1] if runs(child)]
    assert not left, "a worker outlived the program"
    return alive


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_in_the_same_folder(tmp_path, many_shards):
    assert prepare(many_shards, f"--out={tmp_path / 'undisturbed'}").returncode == 0
    out, chooser, kills = tmp_path / "killed", random.Random(1), 0
    for _ in range(2):
        running = subprocess.Popen(command(many_shards, f"--out={out}"), cwd=ROOT, stdout=subprocess.DEVNULL)
        if not kill_after(running, out, chooser.uniform(0, 1.5)):
            break
        kills += 1
    done = prepare(many_shards, f"--out={out}")
    assert done.returncode == 0 and kills == 2, done.stderr
    assert contents(out) == contents(tmp_path / "undisturbed")


@pytest.mark.slow
def test_a_signal_stops_it_with_what_is_finished_kept(tmp_path, many_shards):
    out = tmp_path / "out"
    running = subprocess.Popen(
        command(many_shards, f"--out={out}", "--workers=1"), cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    while running.poll() is None and not list(out.glob("train/*.json")):
        time.sleep(0.1)
    running.send_signal(signal.SIGTERM)
    output, _ = running.communicate(timeout=200)
    assert running.returncode == 75 and "stopped by SIGTERM; run the same command again" in output
    assert not list(out.glob("*/*partial*")) and not (out / "manifest.json").exists()
    done = prepare(many_shards, f"--out={out}")
    assert done.returncode == 0 and (out / "manifest.json").exists()


@pytest.mark.slow
def test_a_hundred_megabytes_take_less_than_two_gigabytes_of_memory(data_dir, tmp_path):
    running = subprocess.Popen(
        command(
            f"--out={tmp_path / 'out'}",
            "--workers=2",
            f"--config.data.files={data_dir / 'pretrain' / 'wikipedia_en_sample.jsonl.gz'}",
            f"--config.data.vocabulary={data_dir / 'tokenizers' / 't5.spiece.model'}",
        ),
        cwd=ROOT,
    )
    peak = 0
    while running.poll() is None:
        memory = 0
        for process in [psutil.Process(running.pid), *psutil.Process(running.pid).children(recursive=True)]:
            try:
                memory += process.memory_full_info().pss  # shared pages counted once
            except psutil.Error:  # it has just ended
                continue
        peak = max(peak, memory)
        time.sleep(0.2)
    assert running.returncode == 0
    assert 0.5e9 < peak < 2e9
