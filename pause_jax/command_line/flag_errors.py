"""Parses the command line; whatever absl or ml_collections raise becomes a UserError of one sentence."""

from __future__ import annotations

import difflib
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from absl import flags

from pause_jax import extras
from pause_jax.command_line import installed
from pause_jax.config import flatten, renames
from pause_jax.errors import UserError

FLAGS = flags.FLAGS
TYPES = {"int": "an integer", "float": "a number", "bool": "true or false"}  # absl's names → ours


def parse(argv: list[str]) -> None:
    """Parse `argv` into absl's FLAGS; a config of experiments/ that is not here is the one that came with the package.

    Raises:
      UserError: unknown flag or config field, a value of the wrong type, a config file that is missing or fails, or a
        stray argument.
    """
    if "config" in FLAGS:
        argv = _with_installed_config(argv)
    config = _config_argument(argv)
    if config is not None and "config" in FLAGS:
        _check_file(config)
    logging.disable(logging.WARNING)  # ml_collections warns of what is reported below
    try:
        rest = FLAGS(argv)
        if config is not None and "config" in FLAGS:
            getattr(FLAGS.config, "keys", None)  # ml_collections keeps an OSError of the file until it is looked at
    except (Exception, SystemExit) as error:  # it is about the command line or the user's file, of whatever class
        raise UserError(_sentence(error, argv, config)) from error
    finally:
        logging.disable(logging.NOTSET)
    if rest[1:]:
        raise UserError(f"{rest[1]!r} is not understood: everything is given as --name=value (see --help)")


def as_dict(config: Any, file: str) -> Mapping[str, Any]:
    """The plain dict of what get_config() of `file` returned.

    Raises:
      UserError: it is neither an ml_collections ConfigDict nor a dict.
    """
    if isinstance(config, Mapping):
        return config
    if not hasattr(config, "to_dict"):  # a ConfigDict is no Mapping
        raise UserError(f"get_config() of --config={file} returned {config!r}, which is no config")
    return config.to_dict()


def _config_argument(argv: list[str]) -> str | None:
    """The value of --config, as FILE[:ARGUMENT]."""
    for argument, following in zip(argv, [*argv[1:], None], strict=True):
        if match := re.fullmatch(r"--?config(?:=(.*))?", argument, re.DOTALL):
            return following if match[1] is None else match[1]
    return None


def _with_installed_config(argv: list[str]) -> list[str]:
    """`argv` with the path of our config in place of a relative one that is not there, which is told on stderr."""
    config = _config_argument(argv)
    if config is None:
        return argv
    path, colon, argument = config.partition(":")
    file = installed.find(path)
    installed.make_importable(ours=file is not None)
    if file is None:
        return argv
    print(f"{path} is not in this folder: taking the one that came with pause_jax, {file}", file=sys.stderr)
    whole = f"{file}{colon}{argument}"
    there = {config: whole, f"--config={config}": f"--config={whole}", f"-config={config}": f"--config={whole}"}
    return [there.get(given, given) for given in argv]


def _check_file(config: str) -> None:
    file = Path(config.split(":", 1)[0])
    if os.path.isfile(file):  # unlike Path.is_file, it takes any name
        return
    ours = installed.parent_folder()
    folders = [file.parent, *([ours / file.parent] if ours and file.parts[:1] == (installed.NAME,) else [])]
    there = {f.stem for folder in folders for f in folder.glob("*.py") if f.name != "__init__.py" and f.is_file()}
    close = [str(file.parent / f"{stem}.py") for stem in difflib.get_close_matches(file.stem, sorted(there), n=3)]
    hint = f"did you mean {' or '.join(close)}?" if close else "give a Python file with get_config()"
    raise UserError(f"--config={config}: there is no such file: {hint}")


def _sentence(error: BaseException, argv: list[str], config: str | None) -> str:
    """What went wrong, in one line."""
    causes = list(_causes(error))
    if own := [cause for cause in causes if isinstance(cause, UserError)]:
        return str(own[-1])  # ml_collections raises it again with the traceback as its text
    if config is not None and (failure := _failure_of_file(causes, config.split(":", 1)[0])):
        return failure
    if isinstance(error, flags.UnrecognizedFlagError):
        return _unknown_flag(error.flagname)
    if isinstance(error, flags.IllegalFlagValueError):
        return _illegal_value(str(error))
    if isinstance(error, flags.Error):
        return _one_line(str(error)) + " (see --help)"
    if config is not None and (unknown := _unknown_field(argv, config)):
        return unknown
    return f"{type(error).__name__}: {_message(error)}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and, outermost first, the ones it was raised from or while handling."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _failure_of_file(causes: list[BaseException], file: str) -> str | None:
    """A sentence on what was raised in the config file itself, and where; None where nothing was."""
    for cause in causes:
        if sentence := extras.missing(cause):
            return f"{file}: {sentence}"
        if isinstance(cause, SyntaxError) and Path(cause.filename or file).is_file():  # of a NUL byte, none is given
            line = f", line {cause.lineno}," if cause.lineno else ""
            return f"{cause.filename or file}{line} is not valid Python: {cause.msg}"
        if isinstance(cause, AttributeError) and "has no attribute 'get_config'" in str(cause):
            return f"{file} has no function get_config(): a config file needs one that returns the config"
        lines = [f.lineno for f in traceback.extract_tb(cause.__traceback__) if Path(f.filename) == Path(file)]
        if lines:
            return f"{file}, line {lines[-1]}, raised {type(cause).__name__}: {_message(cause)}"
    if str(causes[-1]).startswith("get_config()"):  # called with an argument that it does not take, or without one
        return f"{file}: {causes[-1]} (its argument is what follows the colon in --config={file}:ARGUMENT)"
    return None


def _unknown_flag(name: str) -> str:
    if name.startswith("config.") and "config" in FLAGS:
        return f"--{name} changes a field of a config, but --config=FILE is missing: give it too, before this flag"
    close = difflib.get_close_matches(name, list(FLAGS), n=3)
    hint = f"did you mean --{' or --'.join(close)}?" if close else "see --help"
    return f"--{name} is no flag of this program: {hint}"


def _illegal_value(message: str) -> str:
    """absl's `flag --NAME=VALUE: reason`, with the type that is wanted as the reason where that is what's wrong."""
    match = re.match(r"flag --(?:no)?([\w.]+)=(.*?): (.*)", message, re.DOTALL)
    if not match:
        return _one_line(message)
    name, value, reason = match.groups()
    if "as a ConfigDict" in reason:
        return f"--{name}={value}: {name} is a section: change one of its fields, --{name}.FIELD=VALUE"
    wanted = TYPES.get(FLAGS[name].flag_type()) if name in FLAGS else None
    if wanted and ("literal" in reason or "convert" in reason or "boolean" in reason):
        return f"--{name}={value}: the value must be {wanted}"
    return f"--{name}={value}: {_one_line(reason)}"


def _unknown_field(argv: list[str], config: str) -> str | None:
    """The first --config.FIELD that the config hasn't got, with the names nearest to it."""
    fields = as_dict(FLAGS["config"].parser.parse(config), config)  # it loaded before: only the overrides failed
    names = _names(fields)
    for argument in argv:
        match = re.match(r"--?(?:no)?config\.([^=]*)", argument)
        if match and match[1] not in names:
            if sentence := renames.sentence(match[1]):  # it has had this name
                return f"--{sentence}"
            close = difflib.get_close_matches(match[1], names, n=3)
            hint = f"did you mean --config.{' or --config.'.join(close)}?" if close else f"it has {', '.join(fields)}"
            return f"--config.{match[1]}: the config has no such field: {hint}"
    return None


def _names(fields: Mapping[str, Any]) -> list[str]:
    """Dotted names of all fields and sections."""
    leaves = list(flatten(fields))
    sections = {leaf[:i] for leaf in leaves for i, character in enumerate(leaf) if character == "."}
    return leaves + sorted(sections)


def _message(error: BaseException) -> str:
    """The error's text; ml_collections nests KeyErrors, which would show the quotes and backslashes of each."""
    while len(error.args) == 1 and isinstance(error.args[0], BaseException):
        error = error.args[0]
    return _one_line(str(error.args[0] if isinstance(error, KeyError) and error.args else error))


def _one_line(text: str) -> str:
    return " ".join(text.split())
