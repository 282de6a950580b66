"""DATASHEET.md: the stub of a datasheet, what is known filled in, the rest marked for the owner.

Sections after Gebru et al. 2021, Datasheets for Datasets, doi 10.1145/3458723.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from privaudit.data.croissant import NOT_ASSESSED
from privaudit.data.description import Description
from privaudit.data.resizing import describe, plural

DATASHEET = "DATASHEET.md"

_LARGEST = 2**20

OWNER = "*to be answered by the owner*"
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
_QUESTIONS = {
    "Motivation": (
        "Why was the dataset made, and for which task?",
        "Who made it, on whose behalf, and who paid for it?",
    ),
    "Composition": (
        "What do the private images show, and how many persons are behind them?",
        "Is anything offensive, confidential or sensitive to be seen?",
        "Are there groups of persons in it, by age, sex or origin, and how are they distributed?",
    ),
    "Collection": (
        "How were the private images collected, by whom, and when?",
        "Did the persons know and consent, can they withdraw, and was there an ethical review?",
    ),
    "Preparation": ("What was done to the private images before the synthesis, and were any left out?",),
    "Uses": (
        "What has the dataset been used for, and what else could it be used for?",
        "What should it not be used for?",
    ),
    "Distribution": (
        "Who receives the dataset, how, and when?",
        "Under which licence or terms of use, and does a law restrict it?",
    ),
    "Maintenance": (
        "Who looks after the dataset, and how can they be reached?",
        "Will it be corrected or withdrawn, and how would those who have it hear of that?",
    ),
}


def datasheet(release: Description) -> bytes:
    """The content of DATASHEET.md: Markdown in UTF-8. Equal facts give equal bytes."""
    known = {
        "Composition": _composition(release),
        "Collection": _collection(release),
        "Preparation": _preparation(release),
        "Uses": _uses(),
        "Distribution": [_privacy(release), "", *_files(release)],
    }
    lines = [
        f"# Datasheet of the images {release.images_sha256[:12]}",
        "",
        "A stub after Gebru et al. 2021, Datasheets for Datasets, doi 10.1145/3458723, written by privaudit with the "
        "release and before any audit of it. What is answered here is published with the images, and no audit reads "
        "it: leave out what could name a person.",
    ]
    for section, questions in _QUESTIONS.items():
        lines += ["", f"## {section}", ""]
        if section in known:
            lines += [*known[section], ""]
        lines += [f"- {question} {OWNER}" for question in questions]
    return ("\n".join(lines) + "\n").encode("utf-8")


def escaped(text: str) -> str:
    r"""A text in which Markdown and HTML see nothing but letters: every ASCII punctuation mark gets a backslash."""
    return _PUNCTUATION.sub(r"\\\1", text)


def _composition(release: Description) -> list[str]:
    width = describe(*release.size)
    kind = "synthetic " if release.engine else ""
    rows = [[str(number), escaped(name), str(count)] for number, (name, count) in enumerate(release.classes)]
    return [
        f"{release.images} {kind}{'image' if release.images == 1 else 'images'} of {width}, 8 bits per channel, in "
        f"{plural(len(release.classes), 'class', 'classes')}. Every image has a label; the labels are "
        f"{'hard and soft' if release.soft_labels else 'hard'}.",
        "",
        *_table(("class number", "name", "images"), rows),
    ]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]


def _collection(release: Description) -> list[str]:
    if release.engine is None:
        return ["The provenance does not say in plain words how the images were made; see release.json."]
    lines = ["No released image was collected: a program made them from private images.", ""]
    rows = [["engine", f"`{release.engine}`"]]
    if release.engine_version:
        rows.append(["version", f"`{release.engine_version}`"])
    rows += [[f"`{key}`", f"`{value}`"] for key, value in release.settings]
    lines += _table(("setting", "value"), rows)
    if release.settings_left_out:
        lines += ["", f"{plural(release.settings_left_out, 'further setting')} in release.json."]
    return lines


def _preparation(release: Description) -> list[str]:
    labels = "The labels were set by the engine, nobody annotated the images. " if release.engine else ""
    return [f"{labels}Pixels are whole numbers from 0 to 255, compressed without loss."]


def _uses() -> list[str]:
    return [
        "Not assessed when this file was written:",
        "",
        *(f"- {text}" for text in NOT_ASSESSED),
        "",
        "An audit of the release comes later and has a report of its own.",
    ]


def _privacy(release: Description) -> str:
    claim = release.claim
    if claim is None:
        return "Differential privacy is not claimed."
    words = [
        f"The maker claims differential privacy; the claim was not verified. epsilon = {claim.epsilon}, "
        f"delta = {claim.delta}, unit: one {claim.unit}, adjacency: {escaped(claim.adjacency)}.",
        f"Accountant: {_said(claim.accountant)}.",
        f"Trust model: {_said(claim.trust_model)}.",
        "The mechanism is in release.json.",
    ]
    return " ".join(words)


def _said(text: str | None) -> str:
    return "see release.json" if text is None else escaped(text.rstrip("."))


def _files(release: Description) -> list[str]:
    files = [*release.shards, *([release.soft_labels] if release.soft_labels else [])]
    lines = [
        "SHA-256 of the lines that sha256sum writes for all files with images, in the order of their paths: "
        f"`{release.images_sha256}`."
    ]
    if files:
        rows = [[f"`{file.path}`", str(file.size), f"`{file.sha256}`"] for file in files]
        lines += ["", *_table(("file", "bytes", "SHA-256"), rows)]
    if release.artifacts:
        lines += ["", f"Published beside the images: {', '.join(f'`{name}`' for name in release.artifacts)}."]
    return lines


def is_text(path: Path, written: bytes) -> bool:
    """Whether a file is a datasheet of this release, whatever its owner has answered: text with the same title."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > _LARGEST:
        return False
    try:
        title = path.read_text(encoding="utf-8").partition("\n")[0]
    except UnicodeDecodeError:
        return False
    return title == written.decode().partition("\n")[0]
