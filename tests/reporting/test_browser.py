"""The report in a real browser, where there is one: nothing wider than the window, every picture shown, no errors."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess

import pytest

from pause_jax.reporting.comparisons import Failure, Report
from pause_jax.reporting.report import write_report
from tests.reporting.result_rows import grid_rows, row, toy_rows

# Windows narrower than 500 pixels are not to be had: the page is measured in a frame of the wanted width, by a script
# in a copy of it, and the frame's parent keeps the result where the printed DOM shows it.
PARENT = """<body><iframe src="probed.html" style="width: {width}px; height: 2000px; border: 0"></iframe>
<script>addEventListener('message', event => document.body.dataset.probe = event.data)</script></body>"""
PROBE = """<script>addEventListener('load', () => {
  document.querySelectorAll('details').forEach(details => details.open = true);
  parent.postMessage(JSON.stringify({
    page: document.documentElement.scrollWidth,
    pictures: [...document.images].map(image => image.naturalWidth),
    wide: [...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)
      .map(e => e.tagName + ' ' + e.className)}), '*');
});</script>"""


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_and_shows_everything(tmp_path, width):
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    long_name = "a_task_with_a_name_that_is_longer_than_a_telephone_is_wide_" * 2
    rows = [*toy_rows(), *grid_rows(seeds=3), row(task=long_name), row(task=long_name, seed=1, value=123456.0)]
    failures = [Failure("finetune recall_8 seed=2", "killed: see /runs/" + "0123456789abcdef" * 8 + "/log.txt")]
    page = write_report(Report.of(rows, failures=failures), tmp_path)
    (tmp_path / "probed.html").write_text(page.read_text().replace("</main>", f"</main>{PROBE}"))
    parent = tmp_path / "parent.html"
    parent.write_text(PARENT.format(width=width))
    command = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--dump-dom",
               "--virtual-time-budget=5000", f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr",
               parent.as_uri()]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr
    attribute = re.search(r'data-probe="([^"]*)"', done.stdout)
    assert attribute is not None, done.stdout[-2000:]
    found = json.loads(html.unescape(attribute[1]))
    assert (found["page"], found["wide"]) == (width, [])
    assert len(found["pictures"]) == 5 and min(found["pictures"]) == 780
