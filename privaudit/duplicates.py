"""Images that are the same, or nearly the same: found on the pooled data, before anything is split or scored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from privaudit.images import Images
from privaudit.store import Arrays

if TYPE_CHECKING:
    from torch import Tensor

THRESHOLDS = (0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.995, 0.999)
"""Correlations from which on two images count as linked; the first whose largest cluster stays small is used."""

LARGEST_CLUSTER = 0.01
"""Largest share of the data that one cluster may hold."""

_EQUAL = 1 - 1e-5
"""Float32 correlation of equal images, rounding included."""

VERSION = 3
"""Rises when the pairs of the same images change."""

BLOCK, _MOST_BLOCKS = 2**14, 64
"""Images on each side of a task, more where there would be more blocks than these."""

_SIDE = 32
_ROWS = 2048
_PAIRS = 2**16

Pairs = NDArray[np.int64]
Thresholds = tuple[float, float]
"""Of images as they are, and mirrored."""

PAIRS_OF = "privaudit.duplicates:pairs_of"


def _features(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean-free unit rows of the pixels, at no more than 32 x 32; flat images become 0."""
    import torch
    from torch.nn import functional

    parts = []
    for batch in Images(pixels, np.zeros(len(pixels), dtype=np.int64)).blocks():
        size = (min(_SIDE, batch.shape[2]), min(_SIDE, batch.shape[3]))
        rows = functional.adaptive_avg_pool2d(batch, size).flatten(1)
        rows = rows - rows.mean(1, keepdim=True)
        parts.append(rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-3 * rows.shape[1] ** 0.5))
    return np.asarray(torch.cat(parts).numpy()) if parts else np.zeros((0, 1), dtype=np.float32)


def blocks_of(images: Images) -> list[NDArray[np.uint8]]:
    """The pixels in the blocks that are compared with each other."""
    size = max(BLOCK, -(-len(images) // _MOST_BLOCKS))
    return [images.pixels[start : start + size] for start in range(0, len(images), size)]


def block_pairs(lengths: Sequence[int], mirrored: bool = True) -> dict[tuple[int, int], dict[str, Any]]:
    """Every two blocks that are compared, by their numbers, with the arguments for `pairs_of`: a task each.

    mirrored: whether mirrored near-duplicates are looked for, too.
    """
    starts = np.cumsum([0, *lengths]).tolist()
    return {
        (one, other): {"threshold": THRESHOLDS[0], "rows": starts[one], "columns": starts[other], "mirrored": mirrored}
        for one in range(len(lengths))
        for other in range(one, len(lengths))
    }


def pairs_of(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """The pairs (i, j), i < j, of one block of rows with one of columns whose pixels correlate at least this much.

    Inputs {'rows', 'columns'} to 'pairs', int64 [P, 2], and 'value', their correlations; and the same of rows with the
    mirror images of columns, 'mirrored pairs' and 'mirrored value', where asked.
    """
    import torch

    rows = torch.from_numpy(_features(inputs["rows"]["pixels"]))
    found: dict[str, NDArray[Any]] = {}
    pixels, first = inputs["columns"]["pixels"], (arguments["rows"], arguments["columns"])
    columns = rows if first[0] == first[1] else torch.from_numpy(_features(pixels))
    compared = {"": columns}
    if arguments["mirrored"]:
        compared["mirrored "] = torch.from_numpy(_features(pixels[:, :, ::-1]))
    for name, others in compared.items():
        pairs, value = _pairs(rows, others, first, arguments["threshold"])
        found |= {f"{name}pairs": pairs.numpy(), f"{name}value": value.numpy().astype(np.float64)}
    return found


def _pairs(rows: Tensor, columns: Tensor, first: tuple[int, int], threshold: float) -> tuple[Tensor, Tensor]:
    import torch

    quick_rows, quick_columns = rows.bfloat16(), columns.bfloat16()
    found, values = [torch.zeros(0, 2, dtype=torch.int64)], [torch.zeros(0)]
    for down in range(0, len(rows), _ROWS):
        for across in range(0, len(columns), _ROWS):
            # bfloat16 finds the candidates; its error is far below the margin.
            products = quick_rows[down : down + _ROWS] @ quick_columns[across : across + _ROWS].T
            likely = torch.nonzero(products >= threshold - 0.02) + torch.tensor([down, across])
            likely = likely[likely[:, 0] + first[0] < likely[:, 1] + first[1]]
            for part in torch.split(likely, _PAIRS):
                value = (rows[part[:, 0]] * columns[part[:, 1]]).sum(1)
                found.append(part[value >= threshold])
                values.append(value[value >= threshold])
    return torch.cat(found) + torch.tensor(first), torch.cat(values)


def clusters(count: int, pairs: Pairs) -> NDArray[np.int64]:
    """The number of the connected component of each of `count` rows."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def linked(images: Images) -> tuple[Pairs, Thresholds]:
    """Near-duplicate pairs, mirrored ones too, at the lowest thresholds whose largest cluster holds under 1 % of the
    images.

    At most a cluster of two is always accepted. Returns the pairs, int64 [P, 2] in order, and both thresholds.
    """
    return accepted(_found(images, mirrored=True), len(images))


def linked_unmirrored(images: Images) -> Pairs:
    """The pairs without mirrored ones."""
    return _accepted(_found(images, mirrored=False), "", np.zeros((0, 2), dtype=np.int64), len(images))[0]


def _found(images: Images, mirrored: bool) -> list[Arrays]:
    blocks = blocks_of(images)
    return [
        pairs_of(arguments, {"rows": {"pixels": blocks[one]}, "columns": {"pixels": blocks[other]}})
        for (one, other), arguments in block_pairs([len(block) for block in blocks], mirrored).items()
    ]


def accepted(found: Iterable[Arrays], count: int) -> tuple[Pairs, Thresholds]:
    """The same of what `pairs_of` found in all the blocks."""
    parts = list(found)
    plain, threshold = _accepted(parts, "", np.zeros((0, 2), dtype=np.int64), count)
    both, mirrored = _accepted(parts, "mirrored ", plain, count)
    return both, (threshold, mirrored)


def _accepted(parts: Sequence[Arrays], name: str, before: Pairs, count: int) -> tuple[Pairs, float]:
    """Pairs of this kind added to those before, and their threshold. What is linked anyway, as equal images are however
    many there are, does not count as too large.
    """
    pairs = np.concatenate([np.zeros((0, 2), dtype=np.int64), *(part[f"{name}pairs"] for part in parts)])
    value = np.concatenate([np.zeros(0), *(part[f"{name}value"] for part in parts)])
    sure = np.concatenate([before, pairs[value >= _EQUAL]])
    allowed = max(2, int(LARGEST_CLUSTER * count), _largest(count, sure))
    for threshold in THRESHOLDS:
        both = np.concatenate([before, pairs[value >= threshold]])
        if _largest(count, both) <= allowed:
            return _in_order(both, count), threshold
    return _in_order(sure, count), 1.0


def _largest(count: int, pairs: Pairs) -> int:
    """Images in the largest cluster; 0 without pairs."""
    return int(np.bincount(clusters(count, pairs)).max()) if len(pairs) else 0


def _in_order(pairs: Pairs, count: int) -> Pairs:
    """Each pair once, in order."""
    numbers = np.unique(pairs[:, 0] * count + pairs[:, 1])
    return np.stack([numbers // max(count, 1), numbers % max(count, 1)], axis=1)


def joined_units(units: NDArray[np.str_], pairs: Pairs) -> NDArray[np.int64]:
    """Unit numbers after joining units that share a group or a linked pair."""
    number = np.unique(units, return_inverse=True)[1].astype(np.int64)
    return clusters(int(number.max()) + 1 if len(number) else 0, number[pairs].reshape(-1, 2))[number]


def straddling(units: Sequence[NDArray[np.str_]], pairs: Pairs, n_members: int) -> NDArray[np.bool_]:
    """Rows to leave out of scoring: units of members and of others that share a linked pair or a group.

    units: of the members, then of the others, concatenated as in the pooled images. Both sides are always left out:
    removing from one side only would manufacture leaks.
    """
    pooled = np.concatenate(list(units))
    is_member = np.arange(len(pooled)) < n_members
    cross = pairs[is_member[pairs[:, 0]] != is_member[pairs[:, 1]]]
    marked = set(pooled[cross.ravel()].tolist())
    named = np.char.startswith(pooled, "group ")
    marked |= set(pooled[is_member & named].tolist()) & set(pooled[~is_member & named].tolist())
    return np.isin(pooled, np.array(sorted(marked), dtype=pooled.dtype)) if marked else np.zeros(len(pooled), bool)


def surplus(
    units: Sequence[NDArray[np.str_]], pairs: Pairs, n_members: int, out: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Further rows to leave out, so that near-duplicated units are equally common on both sides.

    In pools of different size a near-duplicate pair is more likely to lie whole in the larger one: leaving out the
    straddling pairs alone makes near-duplicated images, which score higher against any release of their source,
    rarer in the smaller pool. Where pairs were left out, units linked to another are thinned at random on the side
    that has too many. out: rows left out already.
    """
    pooled = np.concatenate(list(units))
    names, number = np.unique(pooled, return_inverse=True)
    between = number[pairs]
    between = between[between[:, 0] != between[:, 1]]
    is_linked = np.zeros(len(names), dtype=bool)
    is_linked[between.ravel()] = True
    gone = np.zeros(len(names), dtype=bool)
    gone[number[out]] = True
    side = np.zeros(len(names), dtype=bool)
    side[number[:n_members]] = True
    if not (gone & is_linked).any():
        return np.zeros(len(pooled), dtype=bool)
    kept = [np.flatnonzero(is_linked & ~gone & (side == where)) for where in (True, False)]
    plain = [int((~is_linked & ~gone & (side == where)).sum()) for where in (True, False)]
    dropped = np.zeros(len(names), dtype=bool)
    for mine, other in ((0, 1), (1, 0)):
        fair = len(kept[other]) * plain[mine] / plain[other] if plain[other] else len(kept[mine])
        extra = len(kept[mine]) - int(np.ceil(fair))
        if extra > 0:
            dropped[rng.permutation(kept[mine])[:extra]] = True
    return np.asarray(dropped[number])
