"""What all programs share: flags, `--help`, and user errors in one sentence.

    def main(argv: list[str]) -> int:
        config = cli.load_config()
        from pause_jax.training import loop  # heavy imports go here, after the flags, so that --help is quick
        ...
        return cli.EXIT_DONE

    if __name__ == "__main__":
        cli.config_flag()
        cli.workdir_flag()
        cli.run(main)

Exit codes:
  0    done
  1    a defect of ours, with its traceback
  2    a mistake in the command: `error: ` and one sentence on stderr
  3    the run stopped itself, everything saved (loss not finite); one sentence on stderr
  4    another process of the run was lost (killed, or silent for 30 s); one sentence on stderr, and the same command
       goes on from the last checkpoint
  75   stopped by a signal or after config.run.max_seconds, everything saved: the same command goes on
  130  interrupted from the keyboard while nothing was there to save, or a second time: at once
  141  who read the output has gone, such as `head`; nothing is said
"""

from __future__ import annotations

import logging
import os
import re
import select
import sys
import textwrap
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import flags
from absl import logging as absl_logging

from pause_jax import extras
from pause_jax.checkpointing import starting
from pause_jax.command_line import flag_errors, installed
from pause_jax.config import Config, MeshConfig, from_config_dict, user_paths
from pause_jax.config.fields import Field, all_fields
from pause_jax.data import included
from pause_jax.distributed import processes
from pause_jax.errors import PeerLost, RunStopped, UserError, beginning
from pause_jax.system import paths
from pause_jax.system.exit_codes import (
    EXIT_DEFECT,
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_NOT_READ,
    EXIT_PEER_LOST,
    EXIT_STOPPED_ITSELF,
    EXIT_USER_ERROR,
)
from pause_jax.system.exit_codes import EXIT_STOPPED as EXIT_STOPPED  # for programs
from pause_jax.system.process import prepare_process

STDOUT = 1  # its file descriptor
MESH_AXES = ("data", "fsdp", "tensor")  # not "sequence": an answer is decoded one position at a time

FLAGS = flags.FLAGS
flags.disclaim_key_flags()  # so that flags defined here are listed in the calling program's --help


def run(main: Callable[[list[str]], int | None]) -> None:
    """Parse the flags, call `main` with the program's name alone, and exit; never returns."""
    prepare_process()
    try:
        code = _parse_and_call(main)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        code = EXIT_USER_ERROR
    except RunStopped as error:
        print(f"error: {error}", file=sys.stderr)
        code = EXIT_STOPPED_ITSELF
    except PeerLost as error:
        print(f"error: {error}", file=sys.stderr)
        code = EXIT_PEER_LOST
    except KeyboardInterrupt as interrupt:
        print(": ".join(["interrupted", *map(str, interrupt.args)]), file=sys.stderr)
        code = EXIT_INTERRUPTED
    except Exception as error:
        code = _tell(error)
    processes.shutdown(code)


def _tell(error: Exception) -> int:
    """Print the traceback of an unexpected exception, or that a package or memory is missing; return the exit code.

    Nothing is printed where who reads the output has gone, such as `head`.
    """
    if isinstance(error, BrokenPipeError) and _nobody_reads(STDOUT):
        os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)  # what is left in buffers goes there
        return EXIT_NOT_READ
    if sentence := extras.missing(error):
        print(f"error: {sentence}", file=sys.stderr)
        return EXIT_USER_ERROR
    if not (isinstance(error, MemoryError) or str(error).startswith("RESOURCE_EXHAUSTED")):  # XLA's, of any device
        traceback.print_exc()
        return EXIT_DEFECT
    print(
        f"error: there is not enough memory ({beginning(error) or 'of this machine'}): in training raise "
        "config.run.accumulation, take config.run.execution.remat=full or cut the state over more devices "
        "(config.run.mesh.fsdp; launch.describe tells what takes how much), elsewhere lower --batch_size",
        file=sys.stderr,
    )
    return EXIT_USER_ERROR


def _nobody_reads(descriptor: int) -> bool:
    """Whether it is a pipe whose other end is closed."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def config_flag(**may_be_left_out: str) -> None:
    """Define `--config=FILE.py[:ARGUMENT]` and, with it, `--config.a.b=VALUE`.

    Args:
      may_be_left_out: fields that flags can set although the file does not have them, with their defaults.
    """
    from ml_collections import config_flags

    config_flags.DEFINE_config_file(
        "config",
        None,
        "a file of experiments/, with what its get_config() takes; --config.a.b=VALUE changes a field",
        lock_config=True,
    )
    parser: Any = FLAGS["config"].parser
    parse = parser.parse

    def parse_whole(path: str) -> Any:
        config = parse(path)
        if hasattr(config, "unlocked"):  # an ml_collections ConfigDict
            with config.unlocked():
                for name in set(may_be_left_out) - set(config):
                    config[name] = may_be_left_out[name]
        return config

    parser.parse = parse_whole


def workdir_flag() -> None:
    """Define `--workdir`."""
    path_flag("workdir", None, "the run's folder: made where it is missing, gone on from where it is not")


def path_flag(name: str, default: str | None, help: str) -> None:
    """Define a flag whose value is a path of a file system: ~ is the home directory, and an address is refused."""
    flags.DEFINE(_PathParser(name), name, default, help)


def path_list_flag(name: str, default: str | None, help: str) -> None:
    """Define a flag whose value is several such paths, with commas between them."""
    flags.DEFINE(_PathListParser(name), name, default, help, serializer=flags.CsvListSerializer(","))


def include_flag() -> None:
    """Define `--include`: files that register the user's own tasks, for this process and those that it starts."""
    path_list_flag("include", None, "Python files that register tasks or corpora of your own (docs/tasks.md)")


def process_flags() -> None:
    """Define the flags that make this process one of several (`address`)."""
    flags.DEFINE_string(
        "coordinator",
        None,
        "HOST:PORT of process 0, where the processes of one run meet; not needed "
        "under SLURM, on TPU VMs and in JobSets on TPUs",
    )
    flags.DEFINE_integer("num_processes", None, "how many processes the run has; with --coordinator")
    flags.DEFINE_integer("process_id", None, "which of them this is, from 0; with --coordinator")
    flags.DEFINE_integer("start_timeout", processes.START_TIMEOUT, "seconds for all processes to meet", lower_bound=1)


def address() -> processes.Address | None:
    """The address that `--coordinator`, `--num_processes` and `--process_id` give; None where none is given.

    Raises:
      UserError: some are missing, or do not go together.
    """
    values: dict[str, Any] = {name: FLAGS[name].value for name in ("coordinator", "num_processes", "process_id")}
    if missing := [name for name, value in values.items() if value is None]:
        if len(missing) == len(values):
            return None
        raise UserError(f"--{missing[0]} is missing: --coordinator, --num_processes and --process_id go together")
    return processes.Address(**values)


def check_given(*names: str) -> None:
    """Raises UserError where one of these flags is missing or empty."""
    for name in names:
        if not FLAGS[name].value:
            raise UserError(f"--{name} is missing: {FLAGS[name].help}")


def parse_mesh(text: str) -> MeshConfig:
    """`fsdp=4,tensor=2` as sizes of axes; what is left of the devices goes to `data`. Raises UserError."""
    sizes = dict(part.strip().partition("=")[::2] for part in text.split(",")) if text else {}
    if not all(axis in MESH_AXES and size.isdecimal() and int(size) > 0 for axis, size in sizes.items()):
        raise UserError(f"--mesh={text} gives no sizes of {', '.join(MESH_AXES)}: give such as fsdp=4,tensor=2")
    return MeshConfig(**{axis: int(size) for axis, size in sizes.items()})


def load_config(tell: Callable[[str], None] = lambda sentence: None) -> Config:
    """The config that the flags give, validated, with ~ replaced in its paths.

    A finetuning config takes its model and tokenizer from the run that it starts from (`starting.from_source`).

    Args:
      tell: called with sentences on what was taken from there.

    Raises:
      UserError: `--config` is missing, or its file gives no valid config.
    """
    flag: Any = FLAGS["config"]
    if not flag.present:
        raise UserError("--config is missing: give a config file, such as --config=experiments/quickstart.py:pause")
    values, taken = starting.from_source(flag_errors.as_dict(FLAGS.config, flag.config_filename), flag.override_values)
    for sentence in taken:
        tell(sentence)
    return user_paths.expand(from_config_dict(values))


def config_arguments() -> str:
    """The arguments that make this config again: the file with its argument, and the fields that flags change."""
    flag: Any = FLAGS["config"]
    changes = [argument for argument in sys.argv[1:] if re.match(r"--?(no)?config\.", argument)]
    return " ".join([installed.shorten(flag.config_filename), *changes])


def workdir() -> Path:
    """The value of `--workdir`. Raises UserError where it is missing."""
    if not FLAGS.workdir:
        raise UserError("--workdir is missing: give the run's folder, such as --workdir=runs/mine")
    return Path(FLAGS.workdir)


def _parse_and_call(main: Callable[[list[str]], int | None]) -> int:
    if any(argument in ("-h", "-help", "--help") for argument in sys.argv[1:]):
        print(_help())
        return EXIT_DONE
    try:
        flag_errors.parse(sys.argv)
    except UserError:
        if "coordinator" not in FLAGS:
            raise
        with processes.initialize(_address_in(sys.argv), processes.START_TIMEOUT):  # so that the others are told
            raise
    _log_to_stderr()
    if "include" in FLAGS and FLAGS.include:
        os.environ[included.VARIABLE] = os.pathsep.join(map(os.path.abspath, FLAGS.include))
    return main(sys.argv[:1]) or EXIT_DONE


def _address_in(argv: list[str]) -> processes.Address | None:
    """As `address`, for a command line that cannot be parsed."""
    pattern = r"--?(?:(coordinator)=(.+)|(num_processes|process_id)=(\d+))"
    found: dict[str, Any] = {
        m[1] or m[3]: m[2] or int(m[4]) for argument in argv if (m := re.fullmatch(pattern, argument))
    }
    return processes.Address(**found) if len(found) == 3 else None


def _log_to_stderr() -> None:
    """Log warnings and errors of all libraries, one line each; `--verbosity=0` shows more."""
    absl_logging.use_absl_handler()
    absl_logging.get_absl_handler().setFormatter(_OneLine("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # a failed save makes it log once for each array


class _PathParser(flags.ArgumentParser):
    """absl's parser of a path; see `path_flag`."""

    def __init__(self, name: str):
        self._name = name

    def parse(self, argument: str) -> str:
        return paths.expand_local(argument, f"--{self._name}")


class _PathListParser(flags.ListParser):
    """absl's parser of several paths; see `path_list_flag`."""

    def __init__(self, name: str):
        super().__init__()
        self._name = name

    def parse(self, argument: str | list[str]) -> list[str]:
        return [paths.expand_local(path, f"--{self._name}") for path in super().parse(argument)]


class _OneLine(logging.Formatter):
    """Formats records without tracebacks: Orbax logs those of errors that it also raises."""

    def formatException(self, ei: Any) -> str:
        return ""


def _help() -> str:
    """The text of --help: the program's docstring and its own flags."""
    lines = [(sys.modules["__main__"].__doc__ or "").strip(), "", "Flags:"]
    for flag in FLAGS.get_key_flags_for_module(sys.argv[0]):
        default = "" if flag.default in (None, "") else f" (default: {flag.default})"
        name = f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}=..."
        lines.append(f"  {name}\n      {' '.join(flag.help.split())}{default}")
    if "config" in FLAGS and "workdir" in FLAGS and Path(sys.argv[0]).stem == "train":
        lines += [
            "",
            "Fields of a config, --config.FIELD=VALUE, with their defaults (pause_jax/config/):",
            *map(_field_line, all_fields(Config)),
        ]
    return "\n".join(lines)


def _field_line(field: Field) -> str:
    """A field of the config: name, default, meaning."""
    text = f"{field.name}={field.default!r}{f'  # {field.meaning}' if field.meaning else ''}"
    return textwrap.fill(text, 120, initial_indent="  ", subsequent_indent="      ")
