"""Words and numbers as people read them, and hostile text made visible.

Names of releases, classes and plants come from outside. `printable` is applied to every string before it enters a
file: control characters, terminal escapes and direction overrides appear as their code, so no name can hide or
rearrange what the reader sees. Escaping for the format (HTML, XML, Markdown) comes after it.
"""

from __future__ import annotations

import re
import unicodedata

from privaudit.record import Estimate

SPACE = "\N{NO-BREAK SPACE}"
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_LONGEST = 2000
_MARKDOWN = re.compile(r"([\\`*_\[\]|~#])")


def printable(text: str) -> str:
    """The text with every invisible character written as its code and over-long text cut with a note."""
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]} … (cut, {len(text):,} characters)"
    return "".join(_visible(letter) for letter in text)


def _visible(letter: str) -> str:
    if letter in "\n\r\t":
        return " "
    if unicodedata.category(letter) not in _HIDDEN:
        return letter
    code = ord(letter)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def markdown(text: str) -> str:
    """The text for a Markdown file: no markup, no HTML, no link and no mention in it takes effect."""
    safe = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    safe = _MARKDOWN.sub(r"\\\1", safe)
    return safe.replace("@", "&#64;").replace("://", "&#58;//").replace("www.", "www&#46;")


def count(number: int) -> str:
    """A whole number with thousands separated."""
    return f"{number:,}"


def percent(share: float) -> str:
    """A share as a percentage with the digits that matter; never rounded to 0 % or to 100 %."""
    value = share * 100
    sign = "-" if value < 0 else ""
    value = abs(value)
    if value == 0:
        return f"0{SPACE}%"
    if value < 0.01:
        return f"{sign}<{SPACE}0.01{SPACE}%"
    if 99.95 <= value < 100:
        return f"{sign}>{SPACE}99.9{SPACE}%"
    digits = 2 if value < 1 else 1 if value < 9.95 or 99 <= value < 100 else 0
    number = f"{value:.{digits}f}"
    if "." in number:
        number = number.rstrip("0").rstrip(".")
    return f"{sign}{number}{SPACE}%"


def p_value(p: float) -> str:
    """A p value: "p = 0.003", "p < 0.0001"."""
    if p < 0.0001:
        return f"p{SPACE}<{SPACE}0.0001"
    digits = 4 if p < 0.001 else 3 if p < 0.1 else 2
    return f"p{SPACE}={SPACE}{p:.{digits}f}"


def decimal(number: float) -> str:
    """A plain number with at most three decimals."""
    return f"{number:.3f}" if abs(number) < 100 else f"{number:,.1f}"


def percent_interval(value: Estimate) -> str:
    """An estimated share with its interval."""
    return f"{percent(value.estimate)} ({percent(value.low)} to {percent(value.high)})"


def decimal_interval(value: Estimate) -> str:
    """An estimated number with its interval."""
    return f"{decimal(value.estimate)} ({decimal(value.low)} to {decimal(value.high)})"


def units(number: int, unit: str, kind: str = "") -> str:
    """A number of things in words: "1 image", "3,000 planted persons"."""
    noun = unit if number == 1 else f"{unit}s"
    return " ".join(part for part in (count(number), kind, noun) if part)
