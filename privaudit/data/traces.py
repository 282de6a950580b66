"""Whether released file names or the row order repeat the members': rules that unrelated datasets do not meet."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

CHANCE = 1e-6
"""A coincidence is reported when chance explains it less often than this."""

_RUNNING = re.compile(r"([^0-9]*)([0-9]+)")
_MOST_NUMBERS = 10**7


def repeated_names(members: Sequence[str], released: Sequence[str]) -> list[int]:
    """Rows of the release whose file name, without folder, suffix and case, is a member's, where names can tell.

    A name is a running number if it is digits behind a prefix without digits (`0001`, `img_0001`), and at least half
    of the released names have that prefix. Any two datasets have running numbers in common. They count only if the
    released numbers are no counter (not at least 90 % of 0 or 1 to their largest), and if as many common numbers as
    found have a probability of at most `CHANCE` (hypergeometric: the released numbers drawn at random from all
    numbers between the smallest and the largest of both datasets). Every other common name counts.
    """
    known = {PurePosixPath(name).stem.casefold() for name in members}
    stems = [PurePosixPath(name).stem.casefold() for name in released]
    parsed = [_RUNNING.fullmatch(stem) for stem in stems]
    prefixes = Counter(match[1] for match in parsed if match)
    running = {prefix for prefix, count in prefixes.items() if 2 * count >= len(stems)}
    rows = [
        row
        for row, (stem, match) in enumerate(zip(stems, parsed, strict=True))
        if stem in known and not (match and match[1] in running)
    ]
    for prefix in running:
        ours = _numbers(known, prefix)
        numbers = {row: int(match[2]) for row, match in enumerate(parsed) if match and match[1] == prefix}
        if not _is_counter(set(numbers.values())) and _chance_of_common(ours, set(numbers.values())) <= CHANCE:
            rows += [row for row, number in numbers.items() if number in ours]
    return sorted(rows)


def _numbers(stems: set[str], prefix: str) -> set[int]:
    matches = (_RUNNING.fullmatch(stem) for stem in stems)
    return {int(match[2]) for match in matches if match and match[1] == prefix}


def _is_counter(numbers: set[int]) -> bool:
    return min(numbers) <= 1 and len(numbers) >= 0.9 * (max(numbers) - min(numbers) + 1)


def _chance_of_common(members: set[int], released: set[int]) -> float:
    """Probability of at least as many common numbers; a range beyond ten million is taken as ten million."""
    from scipy.stats import hypergeom

    common = len(members & released)
    if not common:
        return 1.0
    both = members | released
    universe = max(min(max(both) - min(both) + 1, _MOST_NUMBERS), len(both))
    return float(hypergeom.sf(common - 1, universe, len(members), len(released)))


def repeated_order(members: NDArray[np.int64], released: NDArray[np.int64]) -> tuple[int, int, float]:
    """The longest run of labels that members and release have in common: its length, its first released row, chance.

    The run may lie anywhere in both. Chance is the expected number of common runs of that length, which bounds the
    probability of one: exact when the released rows are in random order; the same with each label drawn after its
    predecessor as the release's own transitions go; the larger of both, so that clumps and habits do not count.

    Some orders say nothing and have chance 1. Regular ones: sorted by class, round-robin, or blocks of fixed lengths
    (the sequence of blocks of one class repeats itself, lengths included, in 90 % of its places). And orders that
    follow a protocol (the writers of MNIST and digits filled the same forms): a common run counts only if it is more
    than twice as long as the longest run that members, or release, have twice themselves.
    """
    if len(members) == 0 or len(released) == 0 or _is_regular(released):
        return 0, 0, 1.0
    most = min(len(members), len(released))
    length = _longest(most, lambda length: _common_run(members, released, length) is not None)
    start = _common_run(members, released, length) if length else None
    if start is None:
        return 0, 0, 1.0
    for labels in (members, released):
        half = length // 2 + length % 2
        if 0 < half < len(labels) and _has_twice(labels, half):
            return length, start, 1.0
    chance = max(_chance_random_order(members, released, length), _chance_transitions(members, released, length))
    return length, start, min(chance, 1.0)


def _longest(most: int, exists: Callable[[int], bool]) -> int:
    """The largest length that exists; with k, k - 1 exists too."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if exists(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _has_twice(labels: NDArray[np.int64], length: int) -> bool:
    hashes = _windows(labels, length)
    return len(np.unique(hashes)) < len(hashes)


def _is_regular(labels: NDArray[np.int64]) -> bool:
    starts = np.flatnonzero(np.concatenate([[True], labels[1:] != labels[:-1]]))
    blocks, lengths = labels[starts], np.diff(np.append(starts, len(labels)))
    classes = len(np.unique(labels))
    if len(blocks) <= 2 * classes:
        return True
    return any(
        ((blocks[period:] == blocks[:-period]) & (lengths[period:] == lengths[:-period])).mean() >= 0.9
        for period in range(2, 2 * classes + 1)
    )


def _windows(labels: NDArray[np.int64], length: int) -> NDArray[np.uint64]:
    """A hash of each run of this length (polynomial, modulo 2^64, of scrambled labels)."""
    weights = np.random.default_rng(0).integers(1, 2**63, int(labels.max()) + 1, dtype=np.uint64)
    values = weights[labels]
    result = np.zeros(len(labels) - length + 1, np.uint64)
    done, block, width = 0, values, 1  # block: hashes of runs of `width`, a power of two
    power = 0x9E3779B97F4A7C15
    while width <= length:
        if length & width:
            result = result * np.uint64(power) + block[done : done + len(result)]
            done += width
        if 2 * width <= length:
            block = block[: len(block) - width] * np.uint64(power) + block[width:]
        power = (power * power + 2) % 2**64  # stays odd
        width *= 2
    return result


def _common_run(members: NDArray[np.int64], released: NDArray[np.int64], length: int) -> int | None:
    """First released row of a common run of this length, verified; None where there is none."""
    top = max(int(members.max()), int(released.max()))
    padded = [np.append(labels, top) for labels in (members, released)]
    ours, theirs = (_windows(labels, length)[:-1] for labels in padded)
    _, at_member, at_release = np.intersect1d(ours, theirs, return_indices=True)
    for member, row in zip(at_member, at_release, strict=True):
        if np.array_equal(members[member : member + length], released[row : row + length]):
            return int(row)
    return None


def _chance_random_order(members: NDArray[np.int64], released: NDArray[np.int64], length: int) -> float:
    from scipy.special import gammaln

    top = max(int(members.max()), int(released.max())) + 1
    counts = np.bincount(released, minlength=top)
    places = len(members) - length + 1
    log = np.full(places, gammaln(len(released) - length + 1) - gammaln(len(released) + 1))
    for label in range(top):
        before = np.concatenate([[0], np.cumsum(members == label)])
        used = before[length:] - before[:places]
        left = counts[label] - used
        log += np.where(left >= 0, gammaln(counts[label] + 1) - gammaln(np.maximum(left, 0) + 1), -np.inf)
    return float(np.exp(log).sum() * (len(released) - length + 1))


def _chance_transitions(members: NDArray[np.int64], released: NDArray[np.int64], length: int) -> float:
    classes, codes = np.unique(released, return_inverse=True)
    table = np.zeros((len(classes), len(classes)))
    np.add.at(table, (codes[:-1], codes[1:]), 1)
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    place = np.searchsorted(classes, members).clip(0, len(classes) - 1)
    known = classes[place] == members
    step = np.where(known[:-1] & known[1:], share[place[:-1], place[1:]], 0.0)
    with np.errstate(divide="ignore"):
        log_step = np.log(step)
    impossible = np.concatenate([[0], np.cumsum(np.isneginf(log_step))])
    total = np.concatenate([[0.0], np.cumsum(np.where(np.isneginf(log_step), 0.0, log_step))])
    span = length - 1
    logs = (total[span:] - total[: len(total) - span]) if span else np.zeros(len(members))
    possible = (impossible[span:] == impossible[: len(impossible) - span]) if span else np.ones(len(members), bool)
    first = np.where(known, np.bincount(codes, minlength=len(classes))[place] / len(released), 0.0)[: len(logs)]
    return float((np.exp(logs) * possible * first).sum() * (len(released) - length + 1))
