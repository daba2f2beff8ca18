"""Command lines as users type them: a real process for each, its exit code and the one sentence it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pause_jax
from pause_jax.config import Config, flatten, to_dict
from pause_jax.system import code_version
from tests.programs import program

ROOT = Path(__file__).resolve().parents[2]
GOOD = "--config=configs/good.py:3"

PROGRAM = '''
"""Says what it was given.

    python program.py --config=FILE --workdir=DIR
"""
import os, signal, sys
from absl import flags, logging
from pause_jax.command_line import cli
from pause_jax.errors import RunStopped, UserError

def main(argv):
    what = flags.FLAGS.do
    if what == "user error": raise UserError("the sentence")
    if what == "stopped itself": raise RunStopped("not finite in 3 steps")
    if what == "defect": raise ValueError("ours")
    if what == "stopped": return cli.EXIT_STOPPED
    if what == "interrupt":
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with it ignored
        os.kill(os.getpid(), signal.SIGINT)
    if what == "log": logging.info("too much"); logging.warning("take care")
    if what == "nothing": return None
    if what == "chatter":
        for number in range(100_000): print(number)
    if what == "compile":
        import jax
        def increment(x): return x + 1
        print(jax.jit(increment)(2))
    if what == "config":
        config = cli.load_config()
        print(config.train.steps, config.optimizer.learning_rate, config.run.check_memory, cli.workdir(), len(argv))
    return cli.EXIT_DONE

if __name__ == "__main__":
    cli.config_flag()
    cli.workdir_flag()
    flags.DEFINE_string("do", "config", "what to do")
    flags.DEFINE_integer("number", 3, "a number")
    flags.DEFINE_bool("switch", False, "on or off")
    flags.DEFINE_enum("choice", "a", ["a", "b"], "one of two")
    cli.run(main)
'''

CONFIGS = {
    "good": "from pause_jax.config import default_config\ndef get_config(steps='1'):\n"
    "    config = default_config()\n    config.train.steps = int(steps)\n    return config\n",
    "syntax": "x = 1\ndef get_config(:\n",
    "raises": "def get_config():\n    return 1 / 0\n",
    "user": "from pause_jax.errors import UserError\ndef get_config(a):\n    raise UserError(f'no arm {a}')\n",
    "typo": "from pause_jax.config import default_config\ndef get_config():\n    default_config().trian.steps = 3\n",
    "new_field": "from pause_jax.config import default_config\ndef get_config():\n"
    "    config = default_config()\n    config.train.stpes = 3\n    return config\n",
    "wrong_type": "from pause_jax.config import default_config\ndef get_config():\n"
    "    default_config().train.steps = 'abc'\n",
    "none": "def get_config():\n    pass\n",
    "number": "def get_config():\n    return 7\n",
    "without": "x = 1\n",
    "reads": "def get_config():\n    open('/nowhere/file')\n",
    "imports": "import no_such_module\n",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    (folder / "program.py").write_text(PROGRAM)
    (folder / "configs").mkdir()
    for name, text in CONFIGS.items():
        (folder / "configs" / f"{name}.py").write_text(text)
    return folder


def run(folder, *arguments, program="program.py", **environment):
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    command = [sys.executable, program, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def test_flags_reach_the_config(folder):
    done = run(folder, GOOD, "--config.optimizer.learning_rate=0.5", "--noconfig.run.check_memory", "--workdir=w")
    assert (done.stdout, done.stderr, done.returncode) == ("3 0.5 False w 1\n", "", 0)


def test_values_may_stand_apart_from_their_flags(folder):
    done = run(folder, "--config", "configs/good.py", "--config.train.steps", "7", "--workdir", "w")
    assert (done.stdout, done.returncode) == ("7 0.001 True w 1\n", 0)


@pytest.mark.parametrize(
    ("what", "code", "error"),
    [
        ("nothing", 0, ""),
        ("user error", 2, "error: the sentence\n"),
        ("stopped itself", 3, "error: not finite in 3 steps\n"),
        ("stopped", 75, ""),
        ("interrupt", 130, "interrupted\n"),
    ],
)
def test_exit_codes(folder, what, code, error):
    done = run(folder, f"--do={what}")
    assert (done.returncode, done.stderr) == (code, error)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_nobody_reads_any_more_is_no_defect(folder, unbuffered):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered}
    command = [sys.executable, "program.py", "--do=chatter"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=folder, env=environment, **pipes) as running:
        running.stdout.readline()
        running.stdout.close()
        assert running.stderr.read() == b"" and running.wait(timeout=60) == 141


def test_what_compiles_in_no_time_is_cached_too(folder, tmp_path):
    """By default JAX leaves out what takes less than a second: together that was seconds of each start."""
    assert run(folder, "--do=compile", JAX_COMPILATION_CACHE_DIR=str(tmp_path)).stdout == "3\n"
    assert any(path.name.startswith("jit_increment") for path in tmp_path.iterdir())


def test_a_defect_keeps_its_traceback(folder):
    done = run(folder, "--do=defect")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.endswith("ValueError: ours\n")


def test_warnings_are_one_line_and_less_is_silent(folder):
    done = run(folder, "--do=log")
    assert done.stderr[8:] == " WARNING take care\n"  # after the time


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "--config is missing: give a config file, such as --config=experiments/quickstart.py:pause"),
        ([GOOD], "--workdir is missing: give the run's folder, such as --workdir=runs/mine"),
        (
            [GOOD, "--workdir=gs://bucket/run"],
            "--workdir=gs://bucket/run is an address, and must be a path of a file "
            "system: mount the bucket (gcsfuse, mount-s3) and give the path of the folder in it",
        ),
        # fields
        (
            [GOOD, "--config.train.stpes=5"],
            "--config.train.stpes: the config has no such field: did you mean --config.train.steps or --config.train?",
        ),
        (
            [GOOD, "--config.trian.steps=5"],
            "--config.trian.steps: the config has no such field: did you mean --config.train.steps?",
        ),
        (
            [GOOD, "--config.learning_rate=5"],
            "--config.learning_rate: the config has no such field: did you mean --config.optimizer.learning_rate?",
        ),
        (
            [GOOD, "--config.train.steps.x=5"],
            "--config.train.steps.x: the config has no such field: did you mean --config.train.steps?",
        ),
        (
            [GOOD, "--config.zzz=5"],
            "--config.zzz: the config has no such field: it has data, finetune, init_from, model, objective, "
            "optimizer, pauses, run, seed, train",
        ),
        ([GOOD, "--config.train.steps=abc"], "--config.train.steps=abc: the value must be an integer"),
        ([GOOD, "--config.train.steps=1e3"], "--config.train.steps=1e3: the value must be an integer"),
        ([GOOD, "--config.train.steps="], "--config.train.steps=: the value must be an integer"),
        ([GOOD, "--config.optimizer.b1=big"], "--config.optimizer.b1=big: the value must be a number"),
        ([GOOD, "--config.run.check_memory=maybe"], "--config.run.check_memory=maybe: the value must be true or false"),
        (
            [GOOD, "--config.train=5"],
            "--config.train=5: config.train is a section: change one of its fields, --config.train.FIELD=VALUE",
        ),
        ([GOOD, "--config.train.steps=0"], "config.train.steps is 0, but must be at least 1"),
        ([GOOD, "--config.train.steps"], "Missing value for flag --config.train.steps (see --help)"),
        (
            ["--config.train.steps=5"],
            "--config.train.steps changes a field of a config, but --config=FILE is missing: give it too, before this "
            "flag",
        ),
        (
            ["--config.train.steps=5", GOOD],
            "Found --config.train.steps=5 in argv before a value for --config was specified (see --help)",
        ),
        # files
        (
            ["--config=configs/godo.py"],
            "--config=configs/godo.py: there is no such file: did you mean configs/good.py?",
        ),
        (["--config=configs"], "--config=configs: there is no such file: give a Python file with get_config()"),
        (
            ["--config=configs/godo.py:x", "--config.train.steps=5"],
            "--config=configs/godo.py:x: there is no such file: did you mean configs/good.py?",
        ),
        (["--config="], "--config=: there is no such file: give a Python file with get_config()"),
        (
            [GOOD, "--config.pauses.n_pauses=1"],
            "--config.pauses.n_pauses is called config.model.num_pause_tokens now: write it so",
        ),
        (
            [GOOD, "--config.run.execution.few_rows=0"],
            "--config.run.execution.few_rows is gone: config.run.execution.kernels says it, and 'auto' is right on "
            "each platform",
        ),
        (["--config=configs/syntax.py"], "configs/syntax.py, line 2, is not valid Python: invalid syntax"),
        (["--config=configs/raises.py"], "configs/raises.py, line 2, raised ZeroDivisionError: division by zero"),
        (
            ["--config=configs/good.py:x"],
            "configs/good.py, line 4, raised ValueError: invalid literal for int() with base 10: 'x'",
        ),
        (
            ["--config=configs/good.py:1:2"],
            "configs/good.py, line 4, raised ValueError: invalid literal for int() with base 10: '1:2'",
        ),
        (
            ["--config=configs/raises.py:x"],
            "configs/raises.py: get_config() takes 0 positional arguments but 1 was given (its argument is what "
            "follows the colon in --config=configs/raises.py:ARGUMENT)",
        ),
        (["--config=configs/user.py:x"], "no arm x"),
        (
            ["--config=configs/typo.py"],
            'configs/typo.py, line 3, raised AttributeError: \'trian\' Did you mean "train" instead of "trian"?',
        ),
        (
            ["--config=configs/new_field.py"],
            "config.train.stpes is no field of the config; config.train has batch_size, steps",
        ),
        (
            ["--config=configs/wrong_type.py"],
            "configs/wrong_type.py, line 3, raised TypeError: Could not override field 'steps' (reference). abc is of "
            "original type <class 'str'> and cannot be casted to type <class 'int'>",
        ),
        (["--config=configs/none.py"], "get_config() of --config=configs/none.py returned None, which is no config"),
        (
            ["--config=configs/none.py", "--config.a=1"],
            "get_config() of --config=configs/none.py returned None, which is no config",
        ),
        (["--config=configs/number.py"], "get_config() of --config=configs/number.py returned 7, which is no config"),
        (
            ["--config=configs/without.py"],
            "configs/without.py has no function get_config(): a config file needs one that returns the config",
        ),
        (
            ["--config=configs/reads.py"],
            "configs/reads.py, line 2, raised FileNotFoundError: [Errno 2] No such file or directory: '/nowhere/file'",
        ),
        (
            ["--config=configs/imports.py"],
            "configs/imports.py, line 1, raised ModuleNotFoundError: No module named 'no_such_module'",
        ),
        (["--config"], "Missing value for flag --config (see --help)"),
        # flags
        (["--workdri=x"], "--workdri is no flag of this program: did you mean --workdir?"),
        (["--qqqqqq=x"], "--qqqqqq is no flag of this program: see --help"),
        (["--number=x"], "--number=x: the value must be an integer"),
        (["--choice=c"], "--choice=c: value should be one of <a|b>"),
        (["stray"], "'stray' is not understood: everything is given as --name=value (see --help)"),
        ([GOOD, "--workdir=w", "stray"], "'stray' is not understood: everything is given as --name=value (see --help)"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(folder, arguments, sentence):
    done = run(folder, *arguments)
    assert (done.stderr, done.stdout, done.returncode) == (f"error: {sentence}\n", "", 2)


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_is_the_docstring_and_the_programs_own_flags(folder, flag):
    done = run(folder, GOOD, flag)
    assert done.returncode == 0
    assert done.stdout.startswith(
        "Says what it was given.\n\n    python program.py --config=FILE --workdir=DIR\n\nFlags:\n"
    )
    names = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  --")]
    assert names == ["--config=...", "--workdir=...", "--do=...", "--number=...", "--[no]switch", "--choice=..."]
    assert "a number (default: 3)" in done.stdout


def test_help_of_train_lists_every_field_of_the_config_with_its_meaning():
    done = program("train", "--help")
    shown = dict(re.findall(r"^  ([a-z_0-9.]+)=(.*)$", done.stdout, re.MULTILINE))
    assert set(shown) == set(flatten(to_dict(Config())))
    assert shown["train.steps"].startswith("1000  # a finished run accepts a larger value")
    assert shown["optimizer.b1"].startswith("0.9  # ") and "1e-3" not in shown["optimizer.learning_rate"]
    assert all(len(line) <= 120 for line in done.stdout.splitlines() if "=" in line)
    assert "Fields of a config" not in program("evaluate", "--help").stdout


@pytest.mark.parametrize("name", sorted(f.stem for f in (ROOT / "launch").glob("*.py") if f.stem != "__init__"))
def test_programs_import_nothing_heavy_before_their_flags(name):
    code = f"import sys, launch.{name}; print([n for n in ('jax', 'tensorflow', 'matplotlib') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_code_version_is_the_commit_or_the_packages_version(monkeypatch, tmp_path):
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    if commit.returncode == 0:
        assert code_version.code_version().removesuffix("+changes") == commit.stdout[:12]
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    assert code_version.code_version() == f"pause_jax {pause_jax.__version__}"
