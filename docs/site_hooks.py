"""What MkDocs is told beside mkdocs.yml: pages whose source lies outside docs/, notebooks, and links between them.

A link is written as it works in the repository, such as ../WORKSPACE.md; in the site it leads to the page made of its
target.
"""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]

# Page of the site → its source in the repository.
PAGES = {
    "map.md": "WORKSPACE.md",
    "changes.md": "CHANGELOG.md",
    "compiled.md": "experiments/compiled/README.md",
    "clusters/slurm.md": "launch/slurm/README.md",
    "clusters/gke.md": "launch/gke/README.md",
    "clusters/tpu_vm.md": "launch/tpu_vm/README.md",
    "notebooks/quickstart.md": "docs/quickstart.ipynb",
    "notebooks/library.md": "docs/library.ipynb",
}
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:)([^)\s#]+)")  # the path of a link that has no scheme


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages from outside docs/."""
    for page, source in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        content = notebook_as_markdown(text) if source.endswith(".ipynb") else text
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **kwargs: Any) -> str:
    """The page's text with its links as the site has them."""
    return with_site_links(markdown, page.file.src_uri)


def with_site_links(markdown: str, page: str) -> str:
    """`markdown` of the page `page`, in which links to sources of pages lead to these pages."""
    source = PAGES.get(page, f"docs/{page}")
    page_of = {source: page for page, source in PAGES.items()}

    def site_link(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        in_site = page_of.get(target, target.removeprefix("docs/"))
        return posixpath.relpath(in_site, posixpath.dirname(page) or ".")

    return _LINK.sub(site_link, markdown)


def notebook_as_markdown(text: str) -> str:
    """A notebook's cells, code as blocks of Python; outputs are left out, and badges become plain links."""
    text = re.sub(r"\[!\[([^\]]*)\]\([^)]*\)\](?=\()", r"[\1]", text)
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"]]
    return "\n\n".join(f"```python\n{source}\n```" if kind == "code" else source for kind, source in cells) + "\n"
