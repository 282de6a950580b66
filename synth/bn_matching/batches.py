"""Which images are optimised together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from privaudit.synthesizer import Shard


def single_class(wanted: Mapping[int, int], batch_size: int) -> Sequence[Shard]:
    """Batches of one class each, nearly equal within a class."""
    found = []
    for label, count in wanted.items():
        sizes = _parts(count, -(-count // batch_size))
        for part, (size, before) in enumerate(zip(sizes, np.cumsum([0, *sizes]).tolist(), strict=False)):
            found.append(_shard(f"class {label} part {part}", {label: size}, {label: before}))
    return found


def all_classes(wanted: Mapping[int, int], batch_size: int, *, equally: bool) -> Sequence[Shard]:
    """Batches of all classes; equally: as many images of each that is not complete yet, else by their shares."""
    batches = _equal_runs(dict(wanted), batch_size) if equally else _mixed_runs(wanted, batch_size)
    before, found = dict.fromkeys(wanted, 0), []
    for number, counts in enumerate(batches):
        found.append(_shard(f"mixed part {number}", counts, {label: before[label] for label in counts}))
        for label, count in counts.items():
            before[label] += count
    return found


def _shard(name: str, counts: Mapping[int, int], before: Mapping[int, int]) -> Shard:
    """labels: images of each class; before: as many of the class are in earlier batches."""
    kept = [label for label, count in counts.items() if count]
    arguments = {
        "labels": {str(label): counts[label] for label in kept},
        "before": {str(label): before[label] for label in kept},
    }
    return Shard(name, sum(counts.values()), arguments)


def _parts(count: int, number: int) -> list[int]:
    """A count cut into so many nearly equal parts."""
    edges = [round(place * count / number) for place in range(number + 1)]
    return [end - start for start, end in pairwise(edges)]


def _mixed_runs(wanted: Mapping[int, int], batch_size: int) -> list[dict[int, int]]:
    """Nearly equal batches, the classes in each as near to their shares of the whole as whole numbers allow."""
    labels = np.concatenate([np.full(count, label) for label, count in wanted.items()])
    places = np.concatenate([(np.arange(count) + 0.5) / count for count in wanted.values()])
    dealt = labels[np.lexsort((labels, places))]
    ends = np.cumsum(_parts(len(dealt), -(-len(dealt) // batch_size)))
    return [
        {int(label): int((batch == label).sum()) for label in np.unique(batch)} for batch in np.split(dealt, ends[:-1])
    ]


def _equal_runs(left: dict[int, int], batch_size: int) -> list[dict[int, int]]:
    """Batches with as many images of every class that is not complete yet."""
    batches = []
    while left:
        run = min(*left.values(), max(1, batch_size // len(left)))
        batches.append(dict.fromkeys(left, run))
        left = {label: count - run for label, count in left.items() if count > run}
    return batches
