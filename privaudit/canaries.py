"""Canaries: members that are made to stand out, each fed to the engine or not by a fair coin of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from privaudit import seeds
from privaudit.errors import InputError, suggestion
from privaudit.images import Images

FEWEST, MOST, SHARE = 20, 500, 0.1
"""By default a tenth of the members are canaries, at least 20 and at most 500."""

STRIPS = 4
"""Into how many strips a picture is cut, each way, to make it unlike the others."""

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "mislabelled": "the right picture with the label of another class, each as likely",
        "out-of-distribution": "the picture cut into four strips, which are shuffled, down and then across, and its "
        "colours inverted",
        "plain": "unchanged, for comparison",
    }
)
"""How canaries are changed."""

Pixels = NDArray[np.uint8]
_Change = Callable[[Pixels, int, NDArray[np.int64], np.random.Generator], tuple[Pixels, int]]


@dataclass(frozen=True, eq=False)
class Canaries:
    """Members drawn as canaries, changed, and how their coins fell; m of them, in an order that the coins do not know.

    rows: int64 [m], rows of the members. kinds: str [m], names of `KINDS`. images: as they are fed and ranked, with
    the labels of the canaries. inside: bool [m], whether the coin says that the engine is fed this one.
    ties: int64 [m], a random order that decides between equal scores, drawn before anything is scored.
    """

    rows: NDArray[np.int64]
    kinds: NDArray[np.str_]
    images: Images
    inside: NDArray[np.bool_]
    ties: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def of_kind(self, kind: str) -> NDArray[np.bool_]:
        """Which of them are of this kind, bool [m]."""
        return np.asarray(self.kinds == kind)


def _mislabelled(
    pixels: Pixels, label: int, classes: NDArray[np.int64], rng: np.random.Generator
) -> tuple[Pixels, int]:
    return pixels, int(rng.choice(classes[classes != label]))


def _out_of_distribution(
    pixels: Pixels, label: int, classes: NDArray[np.int64], rng: np.random.Generator
) -> tuple[Pixels, int]:
    for axis in (0, 1):
        strips = np.array_split(pixels, STRIPS, axis=axis)
        pixels = np.concatenate([strips[place] for place in rng.permutation(STRIPS)], axis=axis)
    return 255 - pixels, label


def _plain(pixels: Pixels, label: int, classes: NDArray[np.int64], rng: np.random.Generator) -> tuple[Pixels, int]:
    return pixels, label


_CHANGES: Mapping[str, _Change] = {
    "mislabelled": _mislabelled,
    "out-of-distribution": _out_of_distribution,
    "plain": _plain,
}


def draw(
    members: Images, kinds: Sequence[str], seed: int, count: int | None = None, attacks: Sequence[str] = ()
) -> Canaries:
    """Canaries among these members, of each kind as many as of the others (but for one), and their coins.

    count: how many; None: a tenth of the members, at least 20, at most 500. The order of the members does not matter:
    they are drawn in the order of their hashes. Pictures that occur twice are not drawn, for the other one would stay.
    attacks: who will guess. Another list throws other coins: whoever saw the guesses of some attacks and then asked the
    best of them alone, on the same coins, would correct for too few. Coins hang on all members, whom no attacker holds.
    Raises InputError for unknown kinds, for fewer than 20 canaries or more than there are pictures, and where there
    is one class only and labels should be wrong.
    """
    _check_kinds(kinds)
    classes = np.unique(members.labels)
    if "mislabelled" in kinds and len(classes) < 2:
        others = [kind for kind in KINDS if kind != "mislabelled"]
        raise InputError(
            "A wrong label needs a second class, and the members have one class only. Leave 'mislabelled' out, with "
            f"--kinds {','.join(others)}."
        )
    digests = members.image_digests()
    copies = Counter(digests)
    single = np.array([row for row, digest in enumerate(digests) if copies[digest] == 1], dtype=np.int64)
    wanted = min(MOST, max(FEWEST, int(SHARE * len(members)))) if count is None else count
    _check_count(wanted, len(single))
    rng = seeds.generator(seed, "canaries")
    by_hash = single[np.argsort(np.array([digests[row] for row in single], dtype="S16"), kind="stable")]
    rows = rng.permutation(by_hash)[:wanted]
    dealt = np.array([kinds[place % len(kinds)] for place in range(wanted)], dtype=np.str_)
    changed = [
        _CHANGES[str(kind)](members.pixels[row], int(members.labels[row]), classes, rng)
        for row, kind in zip(rows, dealt, strict=True)
    ]
    images = Images(np.stack([pixels for pixels, _ in changed]), np.array([label for _, label in changed], np.int64))
    unknown = blake2b(b"".join(sorted(digests)), digest_size=16).hexdigest()
    thrown = (images.digest, unknown, *sorted(attacks))
    coins = seeds.generator(seed, "coins of the canaries", *thrown)
    ties = seeds.generator(seed, "ties of the canaries", *thrown).permutation(wanted)
    return Canaries(rows, dealt, images, coins.integers(2, size=wanted) == 1, ties)


def fed(members: Images, canaries: Canaries) -> Images:
    """What the engine gets: the other members, and the canaries whose coin says so, each in its own place."""
    pixels, labels = np.array(members.pixels), members.labels.copy()
    pixels[canaries.rows], labels[canaries.rows] = canaries.images.pixels, canaries.images.labels
    kept = np.ones(len(members), dtype=bool)
    kept[canaries.rows] = canaries.inside
    return Images(pixels, labels).take(kept)


def _check_kinds(kinds: Sequence[str]) -> None:
    for kind in kinds:
        if kind not in KINDS:
            raise InputError(f"There is no kind of canary '{kind}'. {suggestion(kind, KINDS)}")
    if not kinds or len(set(kinds)) < len(kinds):
        raise InputError(f"Name each kind of canary once. Allowed: {', '.join(KINDS)}.")


def _check_count(wanted: int, pictures: int) -> None:
    if wanted < FEWEST:
        raise InputError(
            f"{wanted} canaries are too few to show anything: at least {FEWEST} are needed, and a bound above 3 needs "
            "130 even if a single attack guesses a single kind and is always right."
        )
    if wanted > pictures:
        raise InputError(
            f"{wanted:,} canaries need as many different pictures; the members have {pictures:,}. Give more members"
            + (f", or fewer canaries, at least {FEWEST}." if pictures >= FEWEST else ".")
        )
