"""axe-core on the page in a real browser, in light and dark; it needs the file that AXE_CORE names, and no network."""

from __future__ import annotations

import html
import json
import os
import re
from pathlib import Path

import pytest
from grid_examples import grid_of, record_of, table_of
from report_examples import RECORDS, galleries_of, scores_of
from test_report_browser import POLICY, chromium

from privaudit.reporting.grid_view import grid_html
from privaudit.reporting.page import render_html

pytestmark = [pytest.mark.browser, pytest.mark.slow]
AXE = Path(os.environ.get("AXE_CORE", ""))
RUN = """<script>{axe}</script><script>addEventListener("load", function () {{
  document.querySelectorAll("details").forEach(function (one) {{ one.open = true; }});
  axe.run(document).then(function (found) {{
    var told = found.violations.map(function (one) {{
      return one.id + ": " + one.nodes.slice(0, 3).map(function (node) {{ return node.target; }}).join(" | "); }});
    document.title = JSON.stringify([found.passes.length, told]);
  }});
}});</script></body>"""


@pytest.mark.skipif(not AXE.is_file(), reason="AXE_CORE does not name axe.min.js of axe-core")
@pytest.mark.parametrize("evidence", [False, True], ids=["shareable", "evidence"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", sorted(RECORDS))
def test_axe_finds_no_violation(name: str, scheme: str, evidence: bool, tmp_path: Path) -> None:
    record = RECORDS[name]()
    check(render_html(record, scores_of(record), galleries_of(record) if evidence else None), scheme, tmp_path)


@pytest.mark.skipif(not AXE.is_file(), reason="AXE_CORE does not name axe.min.js of axe-core")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation_in_a_benchmark(scheme: str, tmp_path: Path) -> None:
    grid = grid_of(("base", "leaky"))
    table = table_of(grid, {"base": (0.02, 0.52, 0.60), "leaky": (0.10, 0.60, 0.70)})
    check(grid_html(record_of(grid, table)), scheme, tmp_path)


def check(page: str, scheme: str, tmp_path: Path) -> None:
    """No violation in the page, all of it opened."""
    page = POLICY.sub("", page)
    if scheme == "dark":
        page = page.replace("(prefers-color-scheme: dark)", "all")
    page = page.replace("</body>", RUN.format(axe=AXE.read_text(encoding="utf-8")))
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    address = (tmp_path / "page.html").as_uri()
    drawn = chromium(tmp_path, "--window-size=1280,900", "--virtual-time-budget=60000", "--dump-dom", address)
    title = re.search(r"<title>(.*?)</title>", drawn, re.DOTALL)
    assert title is not None
    passed, violations = json.loads(html.unescape(title[1]))
    assert passed > 15
    assert violations == []
