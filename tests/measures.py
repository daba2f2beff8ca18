"""How the tree reads, in numbers, beside the goals that were set for it: `make measures`.

Below the table stands what is over its goal, the worst first.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests import old_names

ROOT = old_names.ROOT
TESTS = ("tests",)
TRICKS = ("row_major", "few_rows", "attention_blocks", "turned", "as_operand", "times_few_rows", "takes_copies")
RENAMES = "pause_jax/config/renames.py"  # which names what is gone, so that old records are read
# Text → batch, file by file, each with what it hands to the next one.
WAY_OF_TEXT = {
    "pause_jax/data/documents.py": "Document",
    "pause_jax/data/corpora.py": "text_task",
    "pause_jax/data/streams.py": "TokenStream",
    "pause_jax/data/blocks.py": "BlockSource",
    "pause_jax/pauses/insertion.py": "insert",
    "pause_jax/data/pretraining.py": "train_batches",
}
ENTRIES = ("An optimizer", "A mask", "A loss term", "A logger", "A pause policy", "A model family", "A downstream task")
MOST_ARGUMENTS, MOST_LINES_FUNCTION, MOST_LINES_FILE, SHOWN = 8, 60, 500, 10

Function = ast.FunctionDef | ast.AsyncFunctionDef
Sized = tuple[int, str]  # a size, and where it is


class Measure(NamedTuple):
    """A row of the table."""

    what: str
    before: str  # as HOUSE.md has it
    today: str
    goal: str
    is_met: bool


def measures() -> list[Measure]:
    """The table's rows, in the order of HOUSE.md, then what STYLE.md wants."""
    spans, lengths = longest_functions(), longest_files()
    tricks, mask, way, old = trick_lines(), mask_files(), files_of_the_way(), old_names.standing()
    skips = count("# fmt: " + "skip", old_names.CODE) + count("# fmt: " + "skip", TESTS)
    widest = widest_signatures()[0][0]
    touched = [files_touched(entry) for entry in ENTRIES]
    words = len((ROOT / "README.md").read_text(encoding="utf-8").split())
    tests = longest_functions(TESTS)[0][0], longest_files(TESTS)[0][0]
    return [
        Measure("`# fmt: skip`", "386", str(skips), "≤ 20", skips <= 20),
        Measure("widest public signature", "15", str(widest), f"≤ {MOST_ARGUMENTS}", widest <= MOST_ARGUMENTS),
        Measure("files that the mask rule stands in", "3", str(len(mask)), "1", len(mask) == 1),
        Measure(
            "files touched to add: optimizer, mask, loss, logger, pause policy, model family, task",
            "2, 3, 9, 4, …",
            ", ".join(map(str, touched)),
            "1 each and a line",
            max(touched) <= 1,
        ),
        Measure(f"lines that mention a CPU trick outside `{old_names.OPS}`", "40", str(len(tricks)), "0", not tricks),
        Measure("files that a reader of text → batch crosses", "11", str(len(way)), "≤ 6", len(way) <= 6),
        Measure("names of the left columns", "all", f"{len(old)}", "0", not old),
        Measure(
            "longest function, file",
            "62, 533",
            f"{spans[0][0]}, {lengths[0][0]}",
            f"≤ {MOST_LINES_FUNCTION}, ≤ {MOST_LINES_FILE}",
            spans[0][0] <= MOST_LINES_FUNCTION and lengths[0][0] <= MOST_LINES_FILE,
        ),
        Measure(
            "… of tests",
            "-",
            f"{tests[0]}, {tests[1]}",
            f"≤ {MOST_LINES_FUNCTION}, ≤ {MOST_LINES_FILE}",
            tests[0] <= MOST_LINES_FUNCTION and tests[1] <= MOST_LINES_FILE,
        ),
        Measure("README words", "3,437", str(words), "≤ 1,200", words <= 1200),
    ]


def main() -> None:
    print("| | before | today | goal | met |\n|---|---|---|---|---|")
    for row in measures():
        print(f"| {' | '.join((*row[:4], 'yes' if row.is_met else 'no'))} |")
    show(f"public signatures of more than {MOST_ARGUMENTS} arguments", widest_signatures(), MOST_ARGUMENTS)
    spans, lengths = longest_functions() + longest_functions(TESTS), longest_files() + longest_files(TESTS)
    show(f"functions of more than {MOST_LINES_FUNCTION} lines", spans, MOST_LINES_FUNCTION)
    show(f"files of more than {MOST_LINES_FILE} lines", lengths, MOST_LINES_FILE)
    show("lines of a CPU trick by file", by_file(trick_lines()), 0)
    show("files of the mask rule", [(1, file) for file in mask_files()], 0)
    show("files from text to batch", [(1, file) for file in files_of_the_way()], 0)
    show("dict[str, Any] bundles", [(1, where) for where in dict_bundles()], 0)
    old = old_names.standing()
    show("old names, by number of places", sorted(((len(p), n) for n, p in old.items()), reverse=True), 0)


def mask_files() -> list[str]:
    """Files in which an index is compared with the prefix's length: where the rule of the mask is written."""
    found = set()
    for file in old_names.files(("pause_jax/model",)):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Compare) or not any(isinstance(op, (ast.Lt, ast.LtE)) for op in node.ops):
                continue
            with_number = any(isinstance(side, ast.Constant) for side in (node.left, *node.comparators))
            if "prefix_lm_length" in ast.unparse(node) and not with_number:
                found.add(str(file.relative_to(ROOT)))
    return sorted(found)


def files_of_the_way() -> list[str]:
    """The files of WAY_OF_TEXT, each of which must have what it is said to hand on."""
    for file, name in WAY_OF_TEXT.items():
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, (*Function.__args__, ast.ClassDef))}, file
    return list(WAY_OF_TEXT)


def files_touched(entry: str) -> int:
    """How many files of pause_jax a section of "How to add" has code for; tests/test_how_to_add.py runs it."""
    text = (ROOT / "WORKSPACE.md").read_text(encoding="utf-8")
    section = re.search(rf"### {entry}\n(.*?)(?=\n### |\n## )", text, re.DOTALL)
    assert section, f"WORKSPACE.md has no section {entry!r}"
    return len(re.findall(r"```python\n", section[1]))


def widest_signatures(folders: tuple[str, ...] = old_names.CODE) -> list[Sized]:
    """Arguments of public functions, methods and constructors, self left out, the widest first."""
    found = []
    for file in old_names.files(folders):
        for name, function in _public_functions(ast.parse(file.read_text(encoding="utf-8"))):
            arguments = function.args
            names = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
            found.append((sum(n not in ("self", "cls") for n in names), f"{_place(file, function)} {name}"))
    return sorted(found, reverse=True)


def longest_functions(folders: tuple[str, ...] = old_names.CODE) -> list[Sized]:
    """Lines of functions, decorators left out, the longest first."""
    found = []
    for file in old_names.files(folders):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, Function):
                found.append(((node.end_lineno or 0) - node.lineno + 1, f"{_place(file, node)} {node.name}"))
    return sorted(found, reverse=True)


def longest_files(folders: tuple[str, ...] = old_names.CODE) -> list[Sized]:
    return sorted(
        (
            (len(file.read_text(encoding="utf-8").splitlines()), str(file.relative_to(ROOT)))
            for file in old_names.files(folders)
        ),
        reverse=True,
    )


def trick_lines() -> list[str]:
    """FILE:LINE of lines of code outside `model/ops` that mention what only a CPU needs."""
    return [
        f"{file.relative_to(ROOT)}:{number}"
        for file in old_names.files()
        if not str(file.relative_to(ROOT)).startswith((f"{old_names.OPS}/", RENAMES))
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(rf"\b({'|'.join(TRICKS)})\b", line)
    ]


def dict_bundles() -> list[str]:
    """FILE:LINE of names that are a dict[str, Any] and are given on as `**NAME` in the same function."""
    found = []
    for file in old_names.files():
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for function in (node for node in ast.walk(tree) if isinstance(node, Function)):
            nodes = list(ast.walk(function))
            given = {
                word.value.id
                for call in nodes
                if isinstance(call, ast.Call)
                for word in call.keywords
                if word.arg is None and isinstance(word.value, ast.Name)
            }
            for node in nodes:
                if (
                    isinstance(node, ast.AnnAssign)
                    and isinstance(node.target, ast.Name)
                    and node.target.id in given
                    and ast.unparse(node.annotation) == "dict[str, Any]"
                ):
                    found.append(f"{_place(file, node)} {node.target.id} in {function.name}")
    return sorted(set(found))


def count(text: str, folders: tuple[str, ...]) -> int:
    return sum(file.read_text(encoding="utf-8").count(text) for file in old_names.files(folders))


def by_file(places: list[str]) -> list[Sized]:
    names = [place.partition(":")[0] for place in places]
    return sorted(((names.count(name), name) for name in set(names)), reverse=True)


def show(title: str, sizes: list[Sized], most: int) -> None:
    worst = sorted((one for one in sizes if one[0] > most), reverse=True)
    print(f"\n{title}: {len(worst)}")
    print(*(f"  {size:4} {where}" for size, where in worst[:SHOWN]), sep="\n")


def _public_functions(tree: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple[str, Function]]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _public_functions(node, f"{node.name}.")
        elif isinstance(node, Function) and (not node.name.startswith("_") or node.name in ("__init__", "__call__")):
            yield prefix + node.name, node


def _place(file: Path, node: ast.stmt) -> str:
    return f"{file.relative_to(ROOT)}:{node.lineno}"


if __name__ == "__main__":
    main()
