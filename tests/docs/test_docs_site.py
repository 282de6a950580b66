"""The site: it is built without the network, links lead somewhere, and nothing is loaded from elsewhere."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urlparse

import page_blocks
import pytest
from pydantic import BaseModel

OUTSIDE = re.compile(r"https://(arxiv\.org/abs/\d{4}\.\d{4,5}|doi\.org/10\.\d{4,9}/\S+)")
"""What a page may link to outside: permanent addresses of publications."""

_NO_NETWORK = """
import socket
def refuse(*_, **__):
    raise OSError("the documentation is built without the network")
socket.socket.connect = refuse
socket.getaddrinfo = refuse
from mkdocs.__main__ import cli
cli()
"""


class Page(HTMLParser):
    """Addresses, anchors and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if "id" in found:
            self.anchors.add(found["id"])
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        elif tag == "link" and "href" in found:
            self.loaded.append(found["href"])
        self.loaded += [found[name] for name in ("src", "srcset", "poster", "data") if name in found]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; every warning of the build is an error."""
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("needs the extra 'docs'")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-c", _NO_NETWORK, "build", "--strict", "--quiet", "-f", "docs/mkdocs.yml", "-d", str(folder)],
        cwd=page_blocks.ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def _inside(pages: dict[Path, Page]) -> Iterator[tuple[Path, str]]:
    """Every link within the site. The page for missing addresses is not one that is linked from."""
    for path, page in pages.items():
        if path.name != "404.html":
            yield from ((path, link) for link in page.links if not urlparse(link).scheme)


def test_every_page_is_built(site: Path) -> None:
    for page in page_blocks.names():
        assert (site / page).with_suffix(".html").exists(), page


def test_links_and_anchors_within_the_site_lead_somewhere(pages: dict[Path, Page]) -> None:
    looked_at = 0
    for path, link in _inside(pages):
        target, anchor = urldefrag(link)
        file = (path.parent / unquote(target)).resolve() if target else path
        if file.is_dir():
            file /= "index.html"
        assert file.exists(), f"{path.name}: {link}"
        if anchor and file in pages:
            assert unquote(anchor) in pages[file].anchors, f"{path.name}: {link}"
        looked_at += 1
    assert looked_at > 500


def test_outside_links_are_permanent_addresses_of_publications(pages: dict[Path, Page]) -> None:
    found = [link for page in pages.values() for link in page.links if urlparse(link).scheme]
    assert {link for link in found if not OUTSIDE.fullmatch(link)} == set()
    assert len(set(found)) >= 10


def test_nothing_is_loaded_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        outside = [address for address in page.loaded if urlparse(address).scheme not in ("", "data")]
        assert not outside, f"{path.name}: {outside}"
        assert not [address for address in page.loaded if address.startswith("//")], path.name
        assert "Content-Security-Policy" in path.read_text(encoding="utf-8")
    for style in site.rglob("*.css"):
        assert not re.search(r"@import|url\(\s*[\"']?(https?:)?//", style.read_text(encoding="utf-8")), style.name


def test_every_option_of_every_command_is_in_the_reference(pages: dict[Path, Page], site: Path) -> None:
    """As the program's own help names them, asked in a process of its own."""
    known = " ".join(pages[site / "reference" / "command-line.html"].texts)
    for name in ("audit", "benchmark"):
        done = subprocess.run(
            [sys.executable, "-m", "privaudit", name, "--help"], capture_output=True, text=True, check=True, timeout=60
        )
        options = set(re.findall(r"^ +(?:-h, )?(--[a-z-]+)", done.stdout, re.MULTILINE))
        assert len(options) > 3
        assert {option for option in options if option not in known} == set(), name


def test_settings_of_every_plugin_are_on_its_page(pages: dict[Path, Page], site: Path) -> None:
    from privaudit.plugins import ATTACKS, SYNTHESIZERS, attack_class, installed, synthesizer_class

    shipped = {
        group: [name for name, one in installed(group).items() if one.dist and one.dist.name == "privaudit"]
        for group in (ATTACKS, SYNTHESIZERS)
    }
    kinds: list[tuple[str, Any]] = [(f"attacks/{name}.html", attack_class(name)) for name in shipped[ATTACKS]]
    kinds += [(f"engines/{name}.html", synthesizer_class(name)) for name in shipped[SYNTHESIZERS]]
    assert len(kinds) >= 6
    for page, kind in kinds:
        words = " ".join(" ".join(pages[site / page].texts).split())
        for name, field in kind.model_fields.items():
            assert name in words, f"{page}: {name}"
            assert " ".join(str(field.description).split()) in words, f"{page}: {name}"


def _keys(schema: dict[str, Any]) -> set[str]:
    """Names of all properties in a JSON Schema."""
    objects = [schema, *schema.get("$defs", {}).values()]
    return {key for one in objects for key in one.get("properties", {})}


def test_every_key_of_every_file_is_in_the_reference(pages: dict[Path, Page], site: Path) -> None:
    from privaudit.record import AuditRecord
    from privaudit.schemas import SCHEMAS

    files: dict[str, list[type[BaseModel]]] = {"audit-json": [AuditRecord], "files": list(SCHEMAS.values())}
    for page, models in files.items():
        words = set(re.split(r"[^\w]+", " ".join(pages[site / "reference" / f"{page}.html"].texts)))
        keys = set().union(*(_keys(model.model_json_schema(by_alias=True)) for model in models))
        assert len(keys) > 30
        assert keys - words == set(), page


def test_contracts_are_in_the_reference(pages: dict[Path, Page], site: Path) -> None:
    anchors = pages[site / "reference" / "python.html"].anchors
    for name in ("attack.Attack", "attack.Evidence", "synthesizer.Synthesizer", "release.Release", "images.Images"):
        assert f"privaudit.{name}" in anchors
    assert "privaudit.attack.Attack.expose" in anchors
