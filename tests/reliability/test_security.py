"""Nothing that is read is run: no pickle, no eval; and what is written holds no secrets and no live HTML."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import jax
import pytest

from pause_jax.checkpointing import checkpoints
from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.config import Config, DataConfig, ModelConfig, TrainConfig
from pause_jax.distributed import mesh
from pause_jax.errors import UserError
from pause_jax.report.comparisons import Failure, Report
from pause_jax.report.report import write_report
from pause_jax.report.results import add_results, read_results
from pause_jax.training import initialize
from pause_jax.training.optimizer import make_optimizer
from tests.report.result_rows import row

ROOT = Path(__file__).resolve().parents[2]

# --- The source

RUNS_DATA = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "shelve"}
RUNS_TEXT = {"eval", "exec", "compile", "__import__"}


def calls_and_imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """What a module imports or calls that would run what it reads, each with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names if alias.name.split(".")[0] in RUNS_DATA]
        elif isinstance(node, ast.ImportFrom):
            found = [node.module or ""] if (node.module or "").split(".")[0] in {*RUNS_DATA, "yaml"} else []
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            arguments = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            safe = {"allow_pickle": "False", "weights_only": "True", "filter": "'data'"}
            given = any(arguments.get(argument) == value for argument, value in safe.items())
            unsafe_yaml = name.startswith("yaml.") and not name.startswith(("yaml.safe_load", "yaml.safe_dump"))
            runs = name in RUNS_TEXT or unsafe_yaml or (name in ("np.load", "numpy.load", "torch.load") and not given)
            escapes = name.endswith((".extractall", ".unpack_archive")) and not given
            allows = arguments.get("allow_pickle") == "True" or arguments.get("shell") == "True"
            found = [name] if runs or escapes or allows else []
        else:
            continue
        yield from ((node.lineno, name) for name in found)


def test_no_code_of_ours_runs_what_it_reads():
    files = [file for folder in ("pause_jax", "launch") for file in (ROOT / folder).rglob("*.py")]
    assert len(files) > 50
    found = [
        (str(file.relative_to(ROOT)), *use) for file in files for use in calls_and_imports(ast.parse(file.read_text()))
    ]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from yaml import load",
        "import a, marshal",
        "eval('1')",
        "exec(text)",
        "np.load(file)",
        "np.load(file, allow_pickle=True)",
        "torch.load(file)",
        "yaml.load(file)",
        "f(shell=True)",
        "tar.extractall(folder)",
    ],
)
def test_such_code_would_be_found(line):
    assert list(calls_and_imports(ast.parse(line)))


@pytest.mark.parametrize(
    "line", ["np.load(file, allow_pickle=False)", "model.eval()", "re.compile('a')", "json.load(f)"]
)
def test_other_code_is_let_be(line):
    assert not list(calls_and_imports(ast.parse(line)))


def test_ruff_looks_for_the_rest():
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert "S" in settings["select"]
    assert [rule for rule in settings["ignore"] if rule.startswith("S")] == ["S101"]
    assert [path for path, rules in settings["per-file-ignores"].items() if "S" in rules] == ["tests/**"]


# --- Checkpoints and records


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, file: Path):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


TINY = Config(
    model=ModelConfig(vocab_size=259, num_layers=1, d_model=8, num_heads=1, d_ff=8, max_positions=16),
    data=DataConfig(length=16),
    train=TrainConfig(steps=2, batch_size=1),
)


def abstract_state(devices):
    return initialize.abstract_state(TINY, make_optimizer(TINY.optimizer), devices)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    """A run with a checkpoint of step 1."""
    folder = RunFolder(tmp_path_factory.mktemp("security") / "run")
    folder.claim(TINY, {"vocabulary": "byte-259"})
    devices = mesh.make_mesh(TINY.run.mesh, jax.devices()[:1])
    saved = checkpoints.Checkpoints(folder.checkpoints, keep=2)
    saved.save(initialize.initial_state(TINY, make_optimizer(TINY.optimizer), devices), 1, {"counters": {}})
    saved.close()
    return folder.path


def restore(folder: RunFolder) -> None:
    """Both ways in which a checkpoint is read; either may refuse."""
    devices = mesh.make_mesh(TINY.run.mesh, jax.devices()[:1])
    try:
        checkpoints.restore_params(folder.checkpoints, 1, TINY, devices)
    except UserError as error:
        assert str(error).isprintable()
    try:
        with contextlib.closing(checkpoints.Checkpoints(folder.checkpoints, keep=2)) as reader:
            reader.restore_newest(abstract_state(devices))
    except UserError as error:
        assert str(error).isprintable()


def payloads(text: object, file: Path) -> object:
    """JSON with each string of it replaced by code, in the ways in which careless readers run it."""
    code = f"__import__('pathlib').Path({str(file)!r}).touch()"
    if isinstance(text, dict):
        return {key: payloads(value, file) for key, value in text.items()} | {
            "__reduce__": ["builtins.eval", [code]],
            "py/reduce": [{"py/function": "builtins.eval"}, {"py/tuple": [code]}],
        }
    if isinstance(text, list):
        return [payloads(value, file) for value in text]
    return code if isinstance(text, str) else text


@pytest.mark.slow
def test_a_malicious_checkpoint_is_not_run(run_folder, tmp_path):
    sentinel = tmp_path / "pwned"
    bomb = pickle.dumps(Bomb(sentinel))
    pickle.loads(bomb)
    sentinel.unlink()  # it does go off where it is unpickled
    step = run_folder / "checkpoints" / "1"
    files = sorted(file.relative_to(step) for file in step.rglob("*") if file.is_file())
    assert {"_CHECKPOINT_METADATA", "commit_success.txt"} <= {str(file) for file in files}
    names = [*files, *(Path(item, name) for item in ("", "params", "meta") for name in ("checkpoint", "state.pkl"))]
    for number, name in enumerate(names):
        copy = RunFolder(tmp_path / str(number))
        shutil.copytree(run_folder, copy.path)
        target = copy.checkpoints / "1" / name
        target.write_bytes(bomb)
        restore(copy)
        assert not sentinel.exists(), name
    for number, name in enumerate(file for file in files if is_json(step / file)):
        copy = RunFolder(tmp_path / f"json{number}")
        shutil.copytree(run_folder, copy.path)
        target = copy.checkpoints / "1" / name
        target.write_text(json.dumps(payloads(json.loads(target.read_text()), sentinel)))
        restore(copy)
        assert not sentinel.exists(), name


def is_json(file: Path) -> bool:
    try:
        return isinstance(json.loads(file.read_bytes()), dict)
    except ValueError:
        return False


@pytest.mark.parametrize(
    "content",
    [
        "!!python/object/apply:pathlib.Path.touch ['{file}']",
        '{{"seed": "!!python/object/apply:os.system [touch {file}]"}}',
        '{{"__reduce__": ["os.system", ["touch {file}"]]}}',
        '{{"py/object": "pathlib.Path", "py/reduce": ["touch", "{file}"]}}',
        '{{"model": {{"__class__": "os.system", "args": "touch {file}"}}}}',
        "__import__('os').system('touch {file}')",
    ],
)
def test_a_malicious_record_of_a_run_is_not_run(tmp_path, content):
    sentinel = tmp_path / "pwned"
    (tmp_path / "config.json").write_text(content.format(file=sentinel))
    with pytest.raises(UserError, match=r"config\."):
        RunFolder(tmp_path).config()
    (tmp_path / "config.json").write_bytes(pickle.dumps(Bomb(sentinel)))
    with pytest.raises(UserError, match=r"config\.json is not readable as JSON"):
        RunFolder(tmp_path).config()
    assert not sentinel.exists()


# --- Reports

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    '=HYPERLINK("http://x";"y")',
    "'+alert(1)+'",
    "&lt;b&gt;",
    "$\\frac{",
    "\x1b[31m",
]


class Elements(HTMLParser):
    """The elements of a page, and the handlers and links in their attributes."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.live: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.live += [name for name, value in attributes if name.startswith("on") or "script:" in (value or "")]


@pytest.mark.filterwarnings("ignore:Glyph")  # the fonts of pictures do not have all characters
@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_report_of_malicious_results_is_text(tmp_path, hostile):
    """Through results.csv, as they would come."""
    texts = {name: hostile for name in ("model", "task", "metric", "split", "policy", "attention", "checkpoint")}
    add_results(tmp_path / "results.csv", [row(**texts), row(**texts, seed=1, m_inf=10)])
    rows = read_results(tmp_path / "results.csv")
    assert rows[0].task == hostile
    page = write_report(Report.of(rows, failures=[Failure(hostile, hostile)]), tmp_path / "report").read_text()
    plain = write_report(Report.of([row(), row(seed=1, m_inf=10)], failures=[Failure("a", "b")]), tmp_path / "plain")
    found, expected = Elements(page), Elements(plain.read_text())
    assert found.live == []
    assert sorted(found.tags) == sorted(expected.tags)


# --- Secrets


@pytest.mark.slow
def test_secrets_of_the_environment_are_written_nowhere(tmp_path):
    names = ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HF_TOKEN", "WANDB_API_KEY", "GITHUB_TOKEN", "DB_PASSWORD"]
    secrets = {name: f"s3cr3t-of-{name}" for name in names}
    (tmp_path / "text.txt").write_text("some text to train on, again and again\n" * 100)
    command = [
        sys.executable,
        "-m",
        "launch.train",
        "--config=experiments/quickstart.py:pause",
        f"--workdir={tmp_path}/run",
        f"--config.data.files={tmp_path}/text.txt",
        "--config.model.num_layers=1",
        "--config.model.d_model=8",
        "--config.model.num_heads=1",
        "--config.model.d_ff=8",
        "--config.data.length=32",
        "--config.train.steps=2",
        "--config.train.batch_size=8",
        "--config.run.validation_batches=1",
        "--verbosity=1",
    ]
    cache = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(command, cwd=ROOT, env=os.environ | secrets | cache, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {"config.json", "data.json", "metrics.jsonl"} <= {file.name for file in files}
    written = {str(file): file.read_bytes() for file in files} | {"stdout": done.stdout, "stderr": done.stderr}
    assert [place for place, content in written.items() if b"s3cr3t-of-" in content] == []
