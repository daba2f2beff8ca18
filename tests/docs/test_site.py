"""The pages of docs/ as a site: it builds without a warning, each page is in its menu, and browsers show it well."""

from __future__ import annotations

import doctest
import functools
import http.server
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

from docs import site_hooks, write_reference
from pause_jax.config import fields
from tests.published_commands import ROOT
from tests.report.browser import look_at

PICTURES = {"index": 1, "tutorial": 0, "method": 1, "when_pauses_help": 4, "config": 0, "clusters/gke": 0}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(build, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    return folder


@pytest.fixture(scope="module")
def address(site):
    """Where the site is served."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *parts):
            pass

    server = http.server.ThreadingHTTPServer(("localhost", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_it_builds_and_fetches_nothing_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert 'src="http' not in text and 'rel="stylesheet" href="http' not in text, page


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", PICTURES)
def test_a_page_fits_and_shows_its_pictures(site, address, name, width):
    page = site / f"{name}.html"
    where = f"{address}/{name}".rpartition("/")[0]
    found = look_at(page, page.parent, width, address=where, scrolled=".md-typeset__scrollwrap, pre, .md-sidebar")
    assert (found.page, found.wide) == (width, [])
    assert len(found.pictures) == PICTURES[name] and all(found.pictures)


def test_each_page_is_in_the_menu():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    in_menu = set(_pages(yaml.safe_load(text)))
    ours = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert in_menu == ours | set(site_hooks.PAGES)


def _pages(entry):
    """The pages of a part of the menu."""
    if isinstance(entry, str):
        return [entry]
    parts = entry.values() if isinstance(entry, dict) else entry
    return [page for part in parts for page in _pages(part)]


@pytest.mark.parametrize(
    ("page", "written", "in_site"),
    [
        ("index.md", "[map](../WORKSPACE.md#words)", "[map](map.md#words)"),
        ("index.md", "[a](quickstart.ipynb)", "[a](notebooks/quickstart.md)"),
        ("clusters/gke.md", "[scale](../../docs/scale.md)", "[scale](../scale.md)"),
        ("notebooks/library.md", "[runs](runs.md)", "[runs](../runs.md)"),
        ("data.md", "[out](https://example.com/a.md) ![p](a.png)", "[out](https://example.com/a.md) ![p](a.png)"),
        ("data.md", "[below](#a-tokenizer)", "[below](#a-tokenizer)"),
    ],
)
def test_links_lead_to_pages_of_the_site(page, written, in_site):
    assert site_hooks.with_site_links(written, page) == in_site


def test_the_page_of_config_fields_is_that_of_the_code():
    assert write_reference.config_page() == _read(write_reference.CONFIG_PAGE), "python -m docs.write_reference"
    assert not doctest.testmod(fields).failed


@pytest.mark.slow
def test_the_page_of_programs_is_that_of_the_code():
    assert write_reference.programs_page() == _read(write_reference.PROGRAMS_PAGE), "python -m docs.write_reference"


def _read(page: Path) -> str:
    return page.read_text(encoding="utf-8")
