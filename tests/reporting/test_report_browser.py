"""The page in a real browser: no sideways scrolling on a phone or a desk, and it draws in light and dark."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from report_examples import RECORDS, galleries_of, scores_of

from privaudit.reporting.page import render_html

pytestmark = pytest.mark.browser
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
FRAME = """<!DOCTYPE html><title>waiting</title><body style="margin:0">
<iframe id="f" src="page.html" style="border:0;width:{width}px;height:{height}px"></iframe>
<script>addEventListener("message", function (event) {{ document.title = event.data; }});</script>"""
PROBE = """<script>addEventListener("load", function () {
  document.querySelectorAll("details").forEach(function (one) { one.open = true; });
  var root = document.documentElement;
  var wide = Array.from(document.querySelectorAll("body *")).filter(function (one) {
    var inside = one.closest("svg, .skip, thead, .scroll table");
    return !inside && one.getBoundingClientRect().right > root.clientWidth + 1; });
  parent.postMessage("inner " + innerWidth + " scroll " + root.scrollWidth + " wide " + wide.length, "*");
});</script></body>"""


def chromium(tmp_path: Path, *arguments: str) -> str:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", profile, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.parametrize("width", [1280, 375])
@pytest.mark.parametrize("name", sorted(RECORDS))
def test_no_sideways_scrolling(name: str, width: int, tmp_path: Path) -> None:
    """In a copy without the security policy and with a script; every `details` is opened."""
    record = RECORDS[name]()
    page = POLICY.sub("", render_html(record, scores_of(record), galleries_of(record))).replace("</body>", PROBE)
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    (tmp_path / "frame.html").write_text(FRAME.format(width=width, height=2400), encoding="utf-8")
    address = (tmp_path / "frame.html").as_uri()
    drawn = chromium(tmp_path, f"--window-size={width},2400", "--virtual-time-budget=5000", "--dump-dom", address)
    title = re.search(r"<title>(.*?)</title>", drawn)
    assert title is not None
    assert title[1] == f"inner {width} scroll {width} wide 0"


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (375, "light"), (375, "dark")])
def test_it_draws(width: int, scheme: str, tmp_path: Path) -> None:
    from PIL import Image

    page = render_html(RECORDS["fail"](), scores_of(RECORDS["fail"]()))
    if scheme == "dark":
        page = page.replace("(prefers-color-scheme: dark)", "all")
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    (tmp_path / "frame.html").write_text(FRAME.format(width=width, height=2400), encoding="utf-8")
    picture = tmp_path / "page.png"
    address = (tmp_path / "frame.html").as_uri()
    chromium(tmp_path, f"--window-size={width},2400", f"--screenshot={picture}", address)
    with Image.open(picture) as image:
        grey = np.asarray(image.convert("L"), dtype=np.int64)
    assert grey[2, 2] > 200 if scheme == "light" else grey[2, 2] < 60
    assert grey.max() - grey.min() > 150
