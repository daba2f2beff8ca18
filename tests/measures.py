"""The measures of HOUSE.md section 7 on the tree as it is, beside their goals: `python -m tests.measures`.

Below the table stands what is over its goal, the worst first.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests import old_names

ROOT = old_names.ROOT
TESTS = ("tests",)
TRICKS = (
    "row_major",
    "few_rows",
    "attention_blocks",
    "turned",
    "as_operand",
    "times_few_rows",
    "takes_copies",
    r"\.turn\(",
)
MOST_ARGUMENTS, MOST_LINES_FUNCTION, MOST_LINES_FILE, SHOWN = 8, 60, 500, 10

Function = ast.FunctionDef | ast.AsyncFunctionDef
Sized = tuple[int, str]  # a size, and where it is


def main() -> None:
    signatures, spans, lengths = widest_signatures(), longest_functions(), longest_files()
    test_spans, test_lengths = longest_functions(TESTS), longest_files(TESTS)
    tricks, bundles, old = trick_lines(), dict_bundles(), old_names.standing()
    skips = count("# fmt: " + "skip", old_names.CODE), count("# fmt: " + "skip", TESTS)
    rows = [
        ("`# fmt: skip` (code + tests)", f"{sum(skips)} ({skips[0]} + {skips[1]})", "≤ 20"),
        ("widest public signature", str(signatures[0][0]), f"≤ {MOST_ARGUMENTS}"),
        (f"public signatures of more than {MOST_ARGUMENTS}", over(signatures, MOST_ARGUMENTS), "0"),
        ("longest function, of tests", f"{spans[0][0]}, {test_spans[0][0]}", f"≤ {MOST_LINES_FUNCTION}"),
        ("longest file, of tests", f"{lengths[0][0]}, {test_lengths[0][0]}", f"≤ {MOST_LINES_FILE}"),
        (f"lines of a CPU trick outside {old_names.OPS}", str(len(tricks)), "0"),
        ("`dict[str, Any]` bundles of arguments", str(len(bundles)), "0"),
        ("old names that still stand", f"{len(old)}, in {sum(map(len, old.values()))} places", "0"),
        ("README words", str(len((ROOT / "README.md").read_text(encoding="utf-8").split())), "≤ 1200"),
    ]
    print("| | today | goal |\n|---|---|---|")
    print(*(f"| {' | '.join(row)} |" for row in rows), sep="\n")
    print("\nNot counted here: files of the mask rule, files touched to add something, files from text to batch.")
    show(f"public signatures of more than {MOST_ARGUMENTS} arguments", signatures, MOST_ARGUMENTS)
    show(f"functions of more than {MOST_LINES_FUNCTION} lines", spans + test_spans, MOST_LINES_FUNCTION)
    show(f"files of more than {MOST_LINES_FILE} lines", lengths + test_lengths, MOST_LINES_FILE)
    show("lines of a CPU trick by file", by_file(tricks), 0)
    show("dict[str, Any] bundles", [(1, where) for where in bundles], 0)
    show("old names, by number of places", sorted(((len(p), n) for n, p in old.items()), reverse=True), 0)


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
        if not str(file.relative_to(ROOT)).startswith(f"{old_names.OPS}/")
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
        if re.search("|".join(TRICKS), line)
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


def over(sizes: list[Sized], most: int) -> str:
    return str(sum(size > most for size, _ in sizes))


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
