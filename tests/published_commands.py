"""The commands that README, docs, pages of launch/ and docstrings tell people to type, as programs with arguments."""

from __future__ import annotations

import ast
import dataclasses
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("*.md", "docs/*.md", "launch/*/*.md", "experiments/**/*.md")
SCRIPTS = ("launch/*/*.sh", "launch/*/*.sbatch")  # their comments
CODE = ("launch/*.py", "experiments/**/*.py", "benchmarks/*.py", "pause_jax/**/*.py", "docs/*.py")  # docstrings

# What stands for something of the reader's, and what the tests take in its place; a path of a reader's file is itself.
PLACEHOLDERS = {  # patterns
    r"HOST:PORT": "localhost:1234",
    r"=N\b": "=2",
    r"=I\b": "=1",
    r"=K\b": "=3",
    r"=CORES\b": "=4",
    r"FILE\.py": "experiments/quickstart.py",
    r"\$task": "squad_v1",
    r"\$m\b": "10",
}
_STARTS = (
    r"python3? -m (?P<module>(?:launch|benchmarks|docs)\.[a-z]\w*)"
    r"|(?:python3? -m pause_jax|(?<![\w./-])pause-jax) (?P<program>[a-z]\w*)(?=[\s`]|$)"
    r"|(?:sbatch .*?)?launch/slurm/train\.sbatch|launch/tpu_vm/train\.sh start \S+ \S+"
)
# What comes behind a command on its line; two spaces begin a table's next column.
_ENDS = re.compile(r"\s(?:&&|\|\|?|;|>|#|&)(?:\s|$)|;\s|\s{2,}")


@dataclasses.dataclass(frozen=True)
class Command:
    """One, as it is printed in `page`."""

    page: str
    module: str  # launch.train
    arguments: tuple[str, ...]
    text: str  # the line that it stands in

    def __str__(self) -> str:
        return f"{self.page}: python -m {self.module} {shlex.join(self.arguments)}"


def all_commands() -> list[Command]:
    """Each once, in the order of pages."""
    found: dict[tuple[str, tuple[str, ...]], Command] = {}
    for page, text in texts():
        for command in commands_in(page, text):
            found.setdefault((command.module, command.arguments), command)
    return list(found.values())


def texts() -> Iterator[tuple[str, str]]:
    """(page, text) of all that is read."""
    for patterns, read in ((PAGES, _whole), (SCRIPTS, _comments), (CODE, _docstrings)):
        for pattern in patterns:
            for file in sorted(ROOT.glob(pattern)):
                if not file.name.startswith("CHANGELOG"):
                    yield str(file.relative_to(ROOT)), read(file)


def commands_in(page: str, text: str) -> Iterator[Command]:
    """Those of a page; what is elided (…) is left out of their arguments."""
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^ *```\w*$", "", text, flags=re.MULTILINE))
    joined = re.sub(r"`[^`]*`", lambda code: re.sub(r"\s*\n\s*", " ", code[0]), joined)  # inline code may go over lines
    for line in joined.splitlines():
        for match in re.finditer(_STARTS, line):
            rest, before = line[match.end() :], line[: match.start()]
            if before.count("`") % 2:  # within inline code
                rest = rest.split("`")[0]
            if before.count('"') % 2:  # within what another program is given
                rest = rest.split('"')[0]
            rest = _ENDS.split(f" {rest.strip()} ")[0] if not rest.startswith("  ") else ""
            for placeholder, value in PLACEHOLDERS.items():
                rest = re.sub(placeholder, value, rest)
            module = match["module"] or f"launch.{match['program'] or 'train'}"
            yield Command(page, module, _without_elisions(rest), line.strip())


def _without_elisions(text: str) -> tuple[str, ...]:
    """The arguments, those of which … stands for a part left out; fields of a config left out are some config's."""
    words = shlex.split(text)
    given = [w for w in words if w.startswith("-") and not re.search(r"…|=$|\.\.\.$", w)]
    is_elided = any(re.search(r"…|^\.\.\.$", w) for w in words)
    if (
        is_elided
        and any(w.startswith("--config.") for w in given)
        and not any(w.startswith("--config=") for w in given)
    ):
        given.insert(0, "--config=experiments/quickstart.py:pause")
    return tuple(given)


def _whole(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def _comments(file: Path) -> str:
    return "\n".join(line.lstrip("# ") for line in _whole(file).splitlines() if line.startswith("#"))


def _docstrings(file: Path) -> str:
    tree = ast.parse(_whole(file))
    with_docstring = (ast.Module, ast.FunctionDef, ast.ClassDef)
    return "\n".join(ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, with_docstring))
