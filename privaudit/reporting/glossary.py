"""The technical terms of the page: what they mean, and a link from the first use of each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from privaudit.reporting.terms import TERMS

_TAG = re.compile(r"(<[^>]*>)")
_NAME = re.compile(r"</?([a-z][a-z0-9]*)")
_SILENT = frozenset({"a", "title", "style", "svg", "summary", "code", "nav", "h1", "h2", "h3", "h4", "h5", "caption"})
"""Elements in which no term is linked: headings, captions, links, and what is no running text."""

PLACE = "<!-- glossary -->"
"""Where the page is divided: what stands behind it is the glossary itself, in which no first use is looked for."""


@dataclass(frozen=True)
class Entry:
    """A term that the page uses."""

    anchor: str
    term: str
    meaning: str


def _pattern(terms: Mapping[str, tuple[str, str]]) -> re.Pattern[str]:
    """All spellings, the longest first; capitals matter in abbreviations only."""
    parts = []
    for number, (pattern, _) in enumerate(terms.values()):
        parts.append((len(pattern), f"(?P<t{number}>{pattern})"))
    return re.compile(r"(?<![\w-])(?:" + "|".join(part for _, part in sorted(parts, reverse=True)) + r")(?![\w-])")


def link_terms(html: str) -> tuple[str, tuple[Entry, ...]]:
    """The page with the first use of each term linked to `#term-NAME`, and the terms used, in alphabetical order.

    html: made by the templates of this package, in which every text is escaped; only running text is looked at.
    """
    pattern, names = _pattern(TERMS), list(TERMS)
    used: set[str] = set()
    silent: list[str] = []

    def link(match: re.Match[str]) -> str:
        name = names[int(str(match.lastgroup)[1:])]
        if name in used:
            return match[0]
        used.add(name)
        return f'<a class="term" href="#{anchor(name)}">{match[0]}</a>'

    parts = _TAG.split(html)
    for place, part in enumerate(parts):
        if part.startswith("<"):
            found = _NAME.match(part)
            if found is None or found[1] not in _SILENT:
                continue
            if part.startswith("</"):
                if silent and silent[-1] == found[1]:
                    silent.pop()
            elif not part.endswith("/>"):
                silent.append(found[1])
        elif not silent and part.strip():
            parts[place] = pattern.sub(link, part)
    entries = [Entry(anchor(name), name, TERMS[name][1]) for name in TERMS if name in used]
    return "".join(parts), tuple(sorted(entries, key=lambda one: one.term.lower()))


def anchor(name: str) -> str:
    """Address of a term within the page."""
    return f"term-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}"
