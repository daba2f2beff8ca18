"""Writes the generated part of docs/tasks.md: the official files, and three examples of each task.

python -m docs.write_tasks --data_dir=data --vocabulary=t5.spiece.model
"""

from __future__ import annotations

import argparse
import io
import textwrap
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments import finetune
from pause_jax import tasks
from pause_jax.config import Config, from_config_dict
from pause_jax.data import finetuning, preview
from pause_jax.data.finetuning import Examples
from pause_jax.errors import UserError
from pause_jax.tasks import official
from pause_jax.tokenizers import vocabularies
from pause_jax.training import run

PAGE = Path(__file__).with_name("tasks.md")
BEGIN = "<!-- What follows is written by `python -m docs.write_tasks`. -->\n"
_COLUMNS = 118


def config_of(task: str, data_dir: str, vocabulary: str) -> Config:
    """The config whose rows are shown."""
    config: Any = finetune.config_of(task, "130m,m_ft=10")
    config.data.data_dir = data_dir
    config.data.vocabulary = vocabulary
    return run.resolve(from_config_dict(config))


def examples_of(config: Config) -> tuple[Examples, str]:
    """The training part, or where its file is not at hand the test's examples; and which of them it is."""
    data, name = config.data, config.finetune.task
    task = tasks.get(name, vocabularies.load(data.vocabulary), data.data_dir)
    try:
        return finetuning.read_examples(task, "train"), "training part"
    except UserError:
        return finetuning.read_examples(task, "test"), "test split"


def section(config: Config, examples: Examples, part: str) -> str:
    """A task's three examples, in Markdown."""
    shown = io.StringIO()
    filler = finetuning.filler_id(config.finetune.filler, vocabularies.load(config.data.vocabulary))
    preview.show_examples(config, examples, filler, count=3, console=Console(file=shown, width=_COLUMNS))
    body = shown.getvalue()[shown.getvalue().index("\n=== ") + 1 :]
    lines = [line for long in body.splitlines() if long for line in textwrap.wrap(long, _COLUMNS) or [""]]
    text = "\n".join(lines).replace("\n=== ", "\n\n=== ")
    return f"### {config.finetune.task}\n\nThe {part}, {preview.cuts(examples, config.finetune)}.\n\n```\n{text}\n```\n"


def files() -> str:
    """The table of official files, in Markdown."""
    lines = ["| task | split | file, below the data directory | examples | address |", "|---|---|---|---|---|"]
    for name, source in official.known().items():
        for split, part in source.files.items():
            for file in part:
                count = f"{file.records:,}" if file.records else ""
                path = f"`{file.path}`" + (f" (or `{file.instead.path}`)" if file.instead else "")
                url = file.url + (f", there `{file.member}`" if file.member else "")
                lines.append(f"| {name} | {split} | {path} | {count} | {url} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data_dir", "vocabulary"):
        parser.add_argument(f"--{name}", required=True)
    flags = parser.parse_args()
    sections = []
    for task in finetune.TASKS:
        print(task, flush=True)
        config = config_of(task, flags.data_dir, flags.vocabulary)
        sections.append(section(config, *examples_of(config)))
    page = PAGE.read_text(encoding="utf-8").partition(BEGIN)[0]
    PAGE.write_text(f"{page}{BEGIN}\n## Files\n\n{files()}\n## Examples\n\n" + "\n".join(sections), encoding="utf-8")


if __name__ == "__main__":
    main()
