"""Configs that nobody would write: each validates and gives a training step of known shapes, or is one sentence.

Values are made from the dataclasses of `pause_jax.config`: near the bounds of each field's type, of other types, not
finite, huge, empty. What a step's shapes depend on decides what is traced anew: a few hundred of thousands of configs.
"""

from __future__ import annotations

import collections
import copy
import dataclasses
import functools
import re
import typing
from pathlib import Path

import jax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pause_jax import config as configs
from pause_jax.config import Config, DataConfig, FinetuneConfig, ModelConfig, OptimizerConfig, RunConfig, TrainConfig
from pause_jax.distributed import global_batch, mesh
from pause_jax.errors import UserError
from pause_jax.training import initialize, loop
from pause_jax.training import run as train
from pause_jax.training.optimizer import make_optimizer, make_schedule
from tests.programs import program
from tests.reliability.programs import FULL

ROOT = Path(__file__).resolve().parents[2]
TINY = Config(
    model=ModelConfig(num_layers=1, d_model=8, num_heads=2, d_ff=8, max_positions=64),
    data=DataConfig(length=16),
    finetune=FinetuneConfig(max_prompt_length=8, target_length=4),
    optimizer=OptimizerConfig(warmup_steps=1),
    train=TrainConfig(steps=4, batch_size=8),
    run=RunConfig(loggers=("jsonl",)),
)

# --- Values

SMALL_INTS = st.sampled_from([0, 1, 2, 3, 4, 8, 16, 24])
HUGE_INTS = st.sampled_from([-1, -2, -(2**31), -(2**63), 2**31 - 1, 2**31, 2**63, 10**30, 10**400])
SMALL_FLOATS = st.sampled_from([0.0, -0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 1e-8])
HUGE_FLOATS = st.floats() | st.sampled_from([1e308, 1e-320, -1.0, float("inf"), float("nan")]) | HUGE_INTS
STRINGS = st.sampled_from(
    [
        "",
        "byte",
        "a",
        "a=0.5,b=0.5",
        "a=0.5,b",
        "=,=,",
        "a=" + "9" * 400 + ",b=1",
        "x" * 5000,
        "\n",
        "a\r\nb",
        "\0",
        "\ud800",
        "\u2028",
        "/nowhere/model",
        "/",
        "~",
        "count_parity_24",
        "%s{}$(ls)",
        "\x1b[31m",
    ]
)
OTHER_TYPES = st.sampled_from(
    [
        None,
        True,
        "",
        "3",
        "nan",
        b"x",
        1.5,
        3 + 0j,
        float("nan"),
        (),
        [],
        [[1]],
        {},
        {1: 2, "a": 3},
        {"steps": 1},
        object,
        Config,
        iter([1]),
    ]
)


def sensible(hint: type) -> st.SearchStrategy:
    """Values of a field's type that may well be right."""
    if typing.get_origin(hint) is typing.Literal:
        return st.sampled_from(typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return st.lists(SMALL_INTS, max_size=3).map(tuple) | SMALL_INTS
    return {int: SMALL_INTS, float: SMALL_FLOATS, bool: st.booleans(), str: STRINGS}[hint]


def hostile(hint: type) -> st.SearchStrategy:
    """Values that can hardly be right: of the type, but far off, or of another one."""
    far_off = {int: HUGE_INTS, float: HUGE_FLOATS, bool: SMALL_INTS}.get(hint, STRINGS)
    if typing.get_origin(hint) is tuple:
        far_off = st.lists(HUGE_INTS, min_size=1, max_size=3)
    return far_off | OTHER_TYPES


def fields_of(cls: type, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], type]:
    """Every field that is no section, with its type."""
    found: dict[tuple[str, ...], type] = {}
    for name, hint in typing.get_type_hints(cls).items():
        if dataclasses.is_dataclass(hint):
            found |= fields_of(typing.cast(type, hint), (*path, name))
        else:
            found[*path, name] = hint
    return found


FIELDS = fields_of(Config)
SECTIONS = sorted({path[:i] for path in FIELDS for i in range(1, len(path))})
DELETED = object()


@st.composite
def change(draw: st.DrawFn) -> tuple[tuple[object, ...], object]:
    """A field or a section, and what it is to be."""
    kind = draw(st.sampled_from(["sensible"] * 12 + ["hostile"] * 4 + ["section", "unknown", "deleted"]))
    path = draw(st.sampled_from(sorted(FIELDS)))
    if kind == "sensible":
        return path, draw(sensible(FIELDS[path]))
    if kind == "hostile":
        return path, draw(hostile(FIELDS[path]))
    if kind == "section":
        return draw(st.sampled_from(SECTIONS)), draw(OTHER_TYPES)
    if kind == "unknown":
        return (*path[:-1], draw(st.sampled_from(["stpes", "", "a\nb", 7, None, ("x",), "\ud800"]))), draw(OTHER_TYPES)
    return path, DELETED


def changed(changes: list[tuple[tuple[object, ...], object]]) -> dict:
    """The tiny config as nested dicts, changed; what a replaced section no longer holds stays as it is."""
    tree = copy.deepcopy(configs.to_dict(TINY))
    for (*sections, last), value in changes:
        node = tree
        for section in sections:
            node = node.get(section) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node[last] = value
            if value is DELETED:
                del node[last]
    return tree


# --- Steps


@functools.cache
def step_shapes(config: Config, devices: int) -> None:
    """Trace a training step as launch.train and the loop make it; nothing is computed or written."""
    grid = mesh.make_mesh(config.run.mesh, jax.devices()[:devices])
    rows = global_batch.process_rows(config.train.batch_size, config.length, grid, config.run.accumulation)
    initialize.check_config(config, grid)
    job = loop.TrainingJob(
        config=config, mesh=grid, rows=rows, open_batches=iter, validation={}, folder=None, label="", provenance={}
    )
    state = initialize.abstract_state(config, make_optimizer(config.optimizer), grid)
    batch = global_batch.abstract_batch(config.train.batch_size, config.length, bool(config.finetune.task), grid)
    new, metrics = jax.eval_shape(loop.compile_steps(job).train_step, state, batch)
    as_before = jax.tree.map(lambda old, new: (old.shape, old.dtype) == (new.shape, new.dtype), state, new)
    assert jax.tree.all(as_before)
    assert all(metric.shape == () for metric in metrics.values())


def without_what_shapes_ignore(config: Config) -> Config:
    """Equal for configs whose steps are traced alike, but for the schedule."""
    model, finetune, run = config.model, config.finetune, config.run
    return Config(
        model=dataclasses.replace(
            dataclasses.replace(model, norm_eps=1e-5, init_std=0.02, kernel_init="normal"),
            num_pause_tokens=config.model.num_pause_tokens,
        ),
        data=DataConfig(length=config.data.length),
        finetune=dataclasses.replace(finetune, task="task" * bool(finetune.task), filler=".", placement="append"),
        optimizer=OptimizerConfig(clip_norm=1.0 * bool(config.optimizer.clip_norm)),
        train=TrainConfig(batch_size=config.train.batch_size),
        run=RunConfig(mesh=run.mesh, execution=run.execution, accumulation=run.accumulation, loss_chunk=run.loss_chunk),
    )


def is_affordable(config: Config) -> bool:
    """Whether this test can trace the step: layers are traced one by one, and the rows are a list."""
    layers = 1 if config.run.execution.scan_layers == "on" else config.model.num_layers
    return layers <= 4 and config.train.batch_size <= 2**20


def assert_one_sentence(error: UserError, names: str) -> None:
    sentence = str(error)
    assert sentence.isprintable(), sentence  # hence one line
    assert len(sentence) < 2000, sentence
    assert re.search(names, sentence), sentence


def try_config(tree: dict, devices: int, *, trace: bool) -> str:
    """What becomes of a config: where it ended, by a sentence or not at all."""
    try:
        config = configs.from_config_dict(tree)
    except UserError as error:
        assert_one_sentence(error, r"^config\.")
        return "not valid"
    assert configs.from_config_dict(configs.to_dict(config)) == config
    configs.identity(config, {})
    try:
        config = train.resolve(config)
    except UserError as error:
        assert_one_sentence(error, r"^config\.(data\.vocabulary|model\.vocab_size) = ")
        return "not resolved"
    if not trace:
        return "valid"
    if not is_affordable(config):
        return "too big to trace here"
    schedule = make_schedule(config.optimizer, config.train.steps)
    assert jax.eval_shape(schedule, jax.ShapeDtypeStruct((), "int32")).shape == ()
    try:
        step_shapes(without_what_shapes_ignore(config), devices)
    except UserError as error:
        assert_one_sentence(error, r"config\.(run\.mesh|train\.batch_size|run\.accumulation|run\.execution\.attention)")
        return "does not fit the devices"
    return "traced"


MESHES = st.sampled_from([(8, 1, 1, 1), (-1, 2, 2, 1), (1, 8, 1, 1), (1, 1, 8, 1), (2, 1, -1, 2), (1, 1, 1, 8)])


def fuzz(examples: int, *, trace: bool) -> collections.Counter[str]:
    """So many configs; where how many of them ended."""
    outcomes: collections.Counter[str] = collections.Counter()

    @settings(max_examples=examples, database=None)
    @given(st.lists(change(), min_size=1, max_size=4), st.none() | st.none() | MESHES)
    def run(changes: list, sizes: tuple[int, ...] | None) -> None:
        mesh_changes = [(("run", "mesh", axis), size) for axis, size in zip(mesh.AXES, sizes or (), strict=False)]
        outcomes[try_config(changed([*mesh_changes, *changes]), devices=8 if sizes else 1, trace=trace)] += 1

    run()
    return outcomes


def test_any_config_validates_or_is_one_sentence():
    outcomes = fuzz(300, trace=False)
    assert min(outcomes["not valid"], outcomes["valid"]) > 50, outcomes


@pytest.mark.slow
def test_what_validates_has_a_training_step():
    """On one device and on meshes of eight; about one config of three gets so far."""
    examples = 2000 if FULL else 500
    outcomes = fuzz(examples, trace=True)
    assert outcomes.total() >= examples
    assert min(outcomes["not valid"], outcomes["traced"]) > examples // 5, outcomes
    assert outcomes["does not fit the devices"] > examples // 100, outcomes


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        # Found by the fuzz; each was another exception, or went through.
        ("train.steps", 10**30, r"steps is 10{30}, but must be a number of at most 2147483647$"),
        ("optimizer.learning_rate", 10**400, r"learning_rate is 10{400}, but must be a number of at most 3\.4"),
        ("optimizer.learning_rate", float("inf"), r"learning_rate is inf, but must be a number of at most 3\.4"),
        ("optimizer.weight_decay", float("nan"), r"weight_decay is nan, but must be a number of at most"),
        ("optimizer.eps", 0.0, r"eps is 0\.0, but must be more than 0"),
        ("pauses.rate", 1e308, r"rate is 1e\+308, but must be a number of at most"),
        ("model.rope_factor", 0.0, r"rope_factor is 0\.0, but must be at least 1"),
        ("model.rope_theta", -1.0, r"rope_theta is -1\.0, but must be at least 1"),
        ("model.norm_eps", -1.0, r"norm_eps is -1\.0, but must be more than 0"),
        ("model.init_std", -1.0, r"init_std is -1\.0, but must not be negative"),
        ("train.batch_size", 2**30, r"batch_size = 1073741824 rows of 16 positions are more than the 2147483647 that"),
        ("model.a\nb", 1, r"^config\.model\.a\\nb is no field of the config"),
    ],
)
def test_values_that_cannot_be_are_named(field, value, sentence):
    with pytest.raises(UserError) as raised:
        configs.from_config_dict(changed([(tuple(field.split(".")), value)]))
    assert_one_sentence(raised.value, sentence)


@pytest.mark.parametrize(("field", "must"), [("steps", "be a number of at most"), ("task", "be of type str")])
def test_numbers_that_python_does_not_show(field, must):
    section = "train" if field == "steps" else "data"
    with pytest.raises(UserError, match=f"{field} is of type int and too long to be shown, but must {must}"):
        configs.from_config_dict(changed([((section, field), 10**5000)]))


def test_names_of_fields_need_be_no_strings():
    with pytest.raises(UserError, match=r"^config\.7 is no field of the config"):
        configs.from_config_dict({**configs.to_dict(TINY), 7: 1, "x": 1})


def test_frequencies_to_be_blended_must_lie_apart():
    model = {"rope_scaling": "llama3", "rope_low_freq_factor": 4.0, "rope_high_freq_factor": 4.0}
    with pytest.raises(UserError, match=r"rope_low_freq_factor = 4\.0 is not less than config\.model\.rope_high"):
        configs.from_config_dict(changed([(("model", name), value) for name, value in model.items()]))


def test_minus_zero_is_zero():
    """JSON tells them apart, so one run would have two identities."""
    config = configs.from_config_dict(changed([(("pauses", "rate"), -0.0)]))
    assert configs.identity(config, {}) == configs.identity(TINY, {})


# --- Real command lines

GOOD = "--config=experiments/quickstart.py:pause"
COMMANDS = [
    [],
    ["--config"],
    ["--config="],
    ["--config=nowhere.py"],
    ["--config=experiments"],
    ["--config=README.md"],
    ["--config={tmp}/unreadable.py"],
    ["--config={tmp}/latin1.py"],
    ["--config={tmp}/nul.py"],
    ["--config={tmp}/exits.py"],
    ["--config={tmp}/deep.py"],
    ["--config={tmp}/number.py"],
    ["--config={tmp}/infinite.py"],
    ["--config=" + "x" * 5000],
    ["--config=\udcff.py"],
    ["--config=experiments/quickstart.py:pau\nse"],
    ["--config=experiments/quickstart.py:pause:x"],
    ["--config.train.steps=3"],
    ["--config.train.steps=3", GOOD],
    [GOOD, "--config.train.stpes=3"],
    [GOOD, "--config.train.steps"],
    [GOOD, "--config.train.steps="],
    [GOOD, "--config.train.steps=-1"],
    [GOOD, "--config.train.steps=3.5"],
    [GOOD, "--config.train.steps=1e3"],
    [GOOD, "--config.train.steps=0o8"],
    [GOOD, "--config.train.steps=" + "9" * 30],
    [GOOD, "--config.train.steps=" + "9" * 5000],
    [GOOD, "--config.train.steps=None"],
    [GOOD, "--config.train=3"],
    [GOOD, "--config.train.steps.x=3"],
    [GOOD, "--config.=3"],
    [GOOD, "--config..=3"],
    [GOOD, "--config.train..steps=3"],
    [GOOD, "--config.optimizer.learning_rate=nan"],
    [GOOD, "--config.optimizer.learning_rate=-inf"],
    [GOOD, "--config.optimizer.learning_rate=1,5"],
    [GOOD, "--config.optimizer.schedule=cosinus"],
    [GOOD, "--config.optimizer.schedule="],
    [GOOD, "--config.run.check_memory=maybe"],
    [GOOD, "--config.finetune.m_ft=(1,"],
    [GOOD, "--config.finetune.m_ft=1.5"],
    [GOOD, "--config.finetune.m_ft=('a',)"],
    [GOOD, "--config.finetune.m_ft=__import__('os').system('touch {tmp}/pwned')"],
    [GOOD, "--config.data.vocabulary=\udcff"],
    [GOOD, "--config.data.vocabulary={tmp}"],
    [GOOD, "--config.data.vocabulary={tmp}/garbage.model"],
    [GOOD, "--config.data.vocabulary=" + "x" * 5000],
    [GOOD, "--config.seed=-5"],
    [GOOD, "--noconfig.seed"],
    [GOOD, "--workdri=x"],
    [GOOD, "stray"],
    [GOOD, "--config.run.mesh.data=3"],
    [GOOD, "--config.data.prepared={tmp}"],
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("commands")
    (folder / "unreadable.py").mkdir()
    (folder / "latin1.py").write_bytes(b"# caf\xe9\ndef get_config():\n    return {}\n")
    (folder / "nul.py").write_bytes(b"x = 1\0\n")
    (folder / "exits.py").write_text("import sys\ndef get_config():\n    sys.exit(3)\n")
    (folder / "deep.py").write_text("def get_config():\n    return get_config()\n")
    (folder / "number.py").write_text("def get_config():\n    return {'seed': 10**5000}\n")
    (folder / "infinite.py").write_text("def get_config():\n    c = {}\n    c['model'] = c\n    return c\n")
    (folder / "garbage.model").write_bytes(b"\x0a\x05\x0a\x01\xff\x15\0")
    return folder


def trouble_with(folder: Path, number: int) -> str | None:
    """What a command did but say one sentence and exit with code 2."""
    workdir = folder / f"run{number}"
    arguments = [argument.replace("{tmp}", str(folder)) for argument in COMMANDS[number]]
    done = program("train", *arguments, f"--workdir={workdir}", timeout=300)
    error = re.sub(r"(?m)^[EWI]\d{4} .*\n", "", done.stderr)  # C++ libraries on what this machine lacks
    one_sentence = re.fullmatch(r"error: .{10,1100}\n", error) and error[:-1].isprintable()
    if done.returncode == 2 and one_sentence and not workdir.exists():
        return None
    return f"{arguments} exited with {done.returncode}, folder made: {workdir.exists()}: {error[-500:]}"


@pytest.mark.slow
def test_command_lines_with_mistakes_end_in_one_sentence_and_leave_nothing(folder):
    assert len(COMMANDS) >= 40
    before = sorted(folder.iterdir())
    troubles = [trouble_with(folder, number) for number in range(len(COMMANDS))]
    assert not [trouble for trouble in troubles if trouble]
    assert sorted(folder.iterdir()) == before
