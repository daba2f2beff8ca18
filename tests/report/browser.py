"""Pages in a real browser, Chromium, where there is one."""

from __future__ import annotations

import dataclasses
import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

# Windows narrower than 500 pixels are not to be had: the page is measured in a frame of the wanted width, by a script
# in a copy of it, and the frame's parent keeps the result where the printed DOM shows it.
PARENT = """<body><iframe src="probed.html" style="width: {width}px; height: 2000px; border: 0"></iframe>
<script>addEventListener('message', event => document.body.dataset.probe = event.data)</script></body>"""
PROBE = """<script>addEventListener('load', () => {
  document.querySelectorAll('SCROLLED').forEach(box => box.classList.add('may-scroll'));
  document.querySelectorAll('details').forEach(details => details.open = true);
  parent.postMessage(JSON.stringify({
    page: document.documentElement.scrollWidth,
    pictures: [...document.images].map(image => image.naturalWidth),
    answers: [...document.querySelectorAll('.answer')].map(e => e.getBoundingClientRect())
      .map(box => [box.left, box.top, box.right, box.bottom]),
    contents: document.querySelector('nav')?.getBoundingClientRect().top ?? -1,
    wide: [...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)
      .filter(e => !e.parentElement.closest('.may-scroll')).map(e => e.tagName + ' ' + e.className)}), '*');
});</script>"""


@dataclasses.dataclass(frozen=True)
class Found:
    """What a page is like in a window, everything unfolded."""

    page: int  # width in pixels
    pictures: list[int]  # width of each, 0 where it did not load
    wide: list[str]  # elements that reach beyond the window
    answers: list[list[float]]  # left, top, right and bottom of each answer box, in pixels
    contents: float  # the top of the table of contents; -1 where there is none


def chromium(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it without a window; its profile is kept in `folder`. Skips the test where it is missing."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    command = [
        program,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={folder / 'profile'}",
        *arguments,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


def look_at(page: Path, folder: Path, width: int, *, address: str = "", scrolled: str = "nothing") -> Found:
    """The page in a window of so many pixels. Fails where its console says anything.

    Args:
      folder: where a copy of the page is written.
      address: at which that folder is served; "": the browser reads it from disk.
      scrolled: a CSS selector of boxes that scroll by themselves, in which things may be wider than the window.
    """
    probe = PROBE.replace("SCROLLED", scrolled)
    text = page.read_text(encoding="utf-8").replace("</main>", f"</main>{probe}")
    (folder / "probed.html").write_text(text, encoding="utf-8")
    parent = folder / "parent.html"
    parent.write_text(PARENT.format(width=width), encoding="utf-8")
    shown = f"{address}/parent.html" if address else parent.as_uri()
    done = chromium(folder, "--dump-dom", "--virtual-time-budget=5000", "--enable-logging=stderr", shown)
    assert "CONSOLE" not in done.stderr
    attribute = re.search(r'data-probe="([^"]*)"', done.stdout)
    assert attribute is not None, done.stdout[-2000:]
    return Found(**json.loads(html.unescape(attribute[1])))
