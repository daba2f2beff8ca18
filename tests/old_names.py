"""Names that HOUSE.md section 2 replaces (its left column), and where each of them still stands.

Identifiers are found by ast: what is defined, given, read or imported, and names of modules. Everyday words are only
asked for where they had the meaning that was replaced: `read` as a function of inference, `room` as an argument there.
Beside identifiers: settings (`config.pauses.n_pauses`) in texts of programs and pages, words in code spans of pages,
statuses (strings), and names that may be defined once only.
"""

from __future__ import annotations

import ast
import collections
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
CODE = ("pause_jax", "launch", "experiments", "benchmarks")
PAGES = ("README.md", "WORKSPACE.md", "docs/*.md", "launch/**/*.md", "experiments/**/*.md")


class Old(NamedTuple):
    """What a name becomes, and where the old one must not stand."""

    becomes: str
    kinds: str = "any"  # "any" identifier, or some of: class, function, argument, name, attribute, module
    folders: tuple[str, ...] = CODE  # or files, from the root on


OPS = "pause_jax/model/ops"  # where the words of CPU tricks may stand
INFERENCE = ("pause_jax/inference",)
DISTRIBUTED = ("pause_jax/distributed",)
REPORT = ("pause_jax/reporting", "pause_jax/report")  # before and after it is moved
SWEEPS = ("pause_jax/sweeps", "launch/sweep.py")

OLD_NAMES: dict[str, Old] = {
    # Traps
    "n_pauses": Old("num_pause_tokens (distinct embeddings), num_pauses (how many are inserted)"),
    "prefix_length": Old("max_prompt_length (config), prefix_lm_length (batch feature)"),
    "tells_of_loss": Old("is_peer_failure"),
    "head_size": Old("head_dim, resolved once"),
    "kv_heads": Old("num_kv_heads, resolved once"),
    # Standard terms. A file's read and write stay; an attribute `read` of another file's object is not asked for.
    "read": Old("prefill", "function", INFERENCE),
    "write": Old("decode", "function", INFERENCE),
    "Reading": Old("Prefill"),
    "score_read": Old("score_from_prefill"),
    "room": Old(
        "extra_cache_length", "argument", (*INFERENCE, "pause_jax/evaluation", "pause_jax/interop", "benchmarks")
    ),
    "filled": Old("pad_batch", "function"),
    "one_ahead": Old("prefetch"),
    "said": Old("previous_answers", "argument name", ("pause_jax/evaluation", "pause_jax/data", "pause_jax/tasks")),
    "mine": Old("row_options", "name", (*INFERENCE, "pause_jax/evaluation", "pause_jax/interop", "benchmarks")),
    "products": Old("matmul and its platform variants in model/ops", "module", ("pause_jax",)),
    "times": Old("matmul", "function name", ("pause_jax/model",)),
    "turned": Old("matmul's variants"),
    "turn": Old("matmul's variants", "function", ("pause_jax/model",)),
    "as_operand": Old("matmul's variants"),
    "few_rows": Old("matmul's variants"),
    "row_major": Old("matmul's variants"),
    "both_ways": Old("prefix_lm_length"),
    "bidirectional": Old("prefix_lm_length"),
    "separate_documents": Old("document_mask"),
    "Network": Old("ApplyFn; the object of section 5 may be called so", "name", ("pause_jax/training/step.py",)),
    "examination": Old("debug_step"),
    "make_examination": Old("make_debug_step"),
    "laid_out": Old("activation_sharding"),
    "on_each_part": Old("shard_map_over"),
    "on": Old("with_mesh", "function attribute", INFERENCE),
    "sharded": Old("with_mesh", "module", INFERENCE),
    "joined": Old("initialize", "function", DISTRIBUTED),
    "agree": Old("assert_equal_across_processes"),
    "together": Old("run_on_all_or_none", "function attribute"),
    "leave": Old("shutdown"),
    "StallWatch": Old("Watchdog"),
    "beat": Old("heartbeat"),
    "made_with": Old("provenance"),
    "pauses_first": Old("pause_only_steps"),
    "home": Old("matched_cell", "any", REPORT),
    "base": Old("baseline", "any", (*REPORT, "pause_jax/sweeps")),
    "election": Old("candidates"),
    "choice": Old("selection", "any", REPORT),  # of a question with choices, in tasks, it is the word
    "ballots": Old("plain words"),
    "lots": Old("plain words"),
    "is_for_choosing": Old("is_validation"),
    "counts_errors": Old("lower_is_better"),
    "needs": Old("depends_on", "attribute name argument", SWEEPS),
    "points": Old("grid", "module", ("pause_jax/sweeps",)),  # points of a plot stay
    "of_report": Old("a verb that says what is made"),
    "of_run": Old("a verb that says what is made"),
    "of_arrays": Old("a verb that says what is made"),
    "judge": Old("a verb that says what is made", "function", ("pause_jax/training/aot.py", "pause_jax/aot")),
    "hidden": Old("suppress_native_stderr", "function attribute"),  # arrays of hidden states are names
    "native_messages": Old("system/stderr", "module"),
    "native_memory": Old("system/malloc", "module"),
    "keep_freed": Old("tune_malloc"),
    "host": Old("tf_utils.py", "module", ("pause_jax/data",)),
    "quick_imports": Old("skip_keras", "module"),
    **{
        name: Old("a name by its question", "module", ("experiments",))
        for name in ("knee", "knee_large", "late", "late_hints", "larger", "no_help", "theorem")
    },
}

# (name, file) → why it stays there, at most five.
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("found", "pause_jax/sweeps/record.py"): "records of older drivers are read",
    ("mistaken", "pause_jax/sweeps/record.py"): "reports of older jobs are read",
}

# Fields of the config: as settings they stand in messages, commands and pages.
SETTINGS = ("n_pauses", "prefix_length", "separate_documents", "pauses_first", "few_rows", "row_major")
PHRASES = {"may be called": "significant"}  # of an effect; in reports and pages
STATUSES = {"found": "cached", "mistaken": "user_error"}  # whole strings, in sweeps and launch
ONCE = ("Batch", "Job", "Report", "Context", "Execution", "evaluate", "read", "check")  # and the module `batches`


def files(folders: tuple[str, ...] = CODE) -> list[Path]:
    """Python files in folders of the root, or those named; folders that are not there (any more, or yet) have none."""
    found = {file for folder in folders for file in [*(ROOT / folder).rglob("*.py"), ROOT / folder] if file.is_file()}
    return sorted(file for file in found if file.suffix == ".py")


def standing() -> dict[str, list[str]]:
    """Where each old name still stands: name → places, FILE:LINE (kind)."""
    places: dict[str, list[str]] = collections.defaultdict(list)
    for file in files():
        where = str(file.relative_to(ROOT))
        for kind, name, line in identifiers(file):
            old = OLD_NAMES.get(name)
            if old and _asks_for(old, kind, where) and (name, where) not in EXCEPTIONS:
                places[name].append(f"{where}:{line} ({kind})")
        text = file.read_text(encoding="utf-8")
        _add(places, text, where, rf"config\.[\w.]*\b({'|'.join(SETTINGS)})\b", "setting")
        if where.startswith((*SWEEPS, "launch")):
            _add(places, text, where, rf"""["']({"|".join(STATUSES)})["']""", "status")
        if where.startswith(REPORT):
            _add(places, text, where, rf"({'|'.join(PHRASES)})", "phrase")
    words = [name for name, old in OLD_NAMES.items() if old.kinds == "any" and old.folders == CODE]
    for page in pages():
        for span, line in code_spans(page):
            for word in re.findall(r"\w+", span):
                if word in words:
                    places[word].append(f"{page.relative_to(ROOT)}:{line} (code span)")
    return {**places, **{f"{name} (defined once)": where for name, where in defined_often().items()}}


def identifiers(file: Path) -> Iterator[tuple[str, str, int]]:
    """(kind, name, line) of all that a file defines, gives, reads or imports; a module's own name at line 1."""
    yield "module", file.stem, 1
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield "function", name, node.lineno
            case ast.ClassDef(name=name):
                yield "class", name, node.lineno
            case ast.arg(arg=name) | ast.keyword(arg=str(name)):
                yield "argument", name, node.lineno
            case ast.Attribute(attr=name):
                yield "attribute", name, node.lineno
            case ast.Name(id=name):
                yield "name", name, node.lineno
            case ast.ImportFrom() | ast.Import():
                for alias in node.names:
                    yield "name", (alias.asname or alias.name).rpartition(".")[2], node.lineno


def defined_often() -> dict[str, list[str]]:
    """Names of ONCE, and the module `batches`, that more than one file of the package defines at its top level.

    Tasks' `read` is one: each task has the same function for its own files.
    """
    places: dict[str, list[str]] = collections.defaultdict(list)
    for file in files(("pause_jax", "launch")):
        where = str(file.relative_to(ROOT))
        if file.stem == "batches":
            places["batches"].append(where)
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names = [node.name]
            if file.parent.name == "tasks" and names == ["read"]:
                continue
            places |= {name: [*places[name], f"{where}:{node.lineno}"] for name in names if name in ONCE}
    return {name: where for name, where in places.items() if len(where) > 1}


def pages() -> list[Path]:
    return sorted({page for pattern in PAGES for page in ROOT.glob(pattern)})


def code_spans(page: Path) -> Iterator[tuple[str, int]]:
    """Inline code and the lines of code blocks of a page, each with its line's number."""
    in_block = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if line.lstrip().startswith("```"):
            in_block = not in_block
        elif in_block:
            yield line, number
        else:
            yield from ((span, number) for span in re.findall(r"`([^`]+)`", line))


def _asks_for(old: Old, kind: str, where: str) -> bool:
    if old.becomes == "matmul's variants" and where.startswith(f"{OPS}/"):
        return False
    inside = any(where == folder or where.startswith(f"{folder}/") for folder in old.folders)
    return inside and (old.kinds == "any" or kind in old.kinds.split())


def _add(places: dict[str, list[str]], text: str, where: str, pattern: str, kind: str) -> None:
    for match in re.finditer(pattern, text):
        if (match[1], where) in EXCEPTIONS:
            continue
        places[match[1]].append(f"{where}:{text.count(chr(10), 0, match.start()) + 1} ({kind})")
