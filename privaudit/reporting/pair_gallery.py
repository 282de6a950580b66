"""Pictures of the evidence edition: members beside the released image that an attack's score rests on. Private."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from privaudit.evidence import Gallery
from privaudit.plan import member_id, release_id
from privaudit.reporting.gallery import GalleryView, Picture, data_uri
from privaudit.reporting.text import count

_COLUMNS = ("Released", "Member", "Difference of the two", "Nearest control", "What the attack says")
_ASSEMBLED = "Put together of its blocks"

_NOTE = (
    "Each member stands beside the released image that its score rests on. A mirrored, shifted or cropped copy differs "
    "pixel by pixel and is a copy all the same: look at both."
)
_NOTE_NEAREST = (
    "This attack names no released image. Each member stands beside the one that is nearest pixel by pixel, which need "
    "not be the copy: a mirrored or shifted one can look unlike it. That two images look unlike here refutes nothing."
)


def pair_views(pairs: Gallery | None) -> tuple[GalleryView, ...]:
    """The members ranked highest, then those drawn at random for comparison."""
    if not pairs:
        return ()
    drawn = np.asarray(pairs["drawn"], dtype=np.bool_)
    note = _NOTE if np.asarray(pairs["told"]).any() else _NOTE_NEAREST
    columns = (_COLUMNS[0], _ASSEMBLED, *_COLUMNS[1:]) if "assembled" in pairs else _COLUMNS
    captions = ("The members that this attack is surest of", "Members drawn at random, for comparison")
    return tuple(
        GalleryView(caption, columns, tuple(_row(pairs, int(row)) for row in np.flatnonzero(chosen)), note)
        for caption, chosen in zip(captions, (~drawn, drawn), strict=True)
        if chosen.any()
    )


def _row(pairs: Gallery, row: int) -> tuple[Picture, ...]:
    member, released = member_id(int(pairs["member row"][row])), release_id(int(pairs["released row"][row]))
    rank = int(pairs["rank"][row])
    told = (
        "" if pairs["told"][row] else " The attack does not tell which released image: the nearest in pixels is shown."
    )
    says = (
        f"{member} beside {released}. Rank {count(rank)} of all suspects. Score {_number(pairs['score'][row])}; that "
        f"of the control {_number(pairs['control score'][row])}.{told}"
    )
    shown, assembled = pairs["released"][row], list[Picture]()
    if "assembled" in pairs:
        shown = pairs["assembled"][row]
        assembled = [Picture(data_uri(shown), f"Put together of blocks, from {released} on")]
    return (
        Picture(data_uri(pairs["released"][row]), f"Released image {released}"),
        *assembled,
        Picture(data_uri(pairs["member"][row]), f"Private image {member}"),
        Picture(data_uri(difference(shown, pairs["member"][row])), f"Difference of {member} and {released}"),
        Picture(data_uri(pairs["control"][row]), f"Control nearest to {released}"),
        Picture("", says),
    )


def difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Absolute difference of two images, uint8 [H, W, C]; black where they agree."""
    return np.abs(one.astype(np.int16) - other.astype(np.int16)).astype(np.uint8)


def _number(value: float) -> str:
    return f"{value:.3g}" if np.isfinite(value) else "none"
