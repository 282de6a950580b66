"""Images in the store, and the shuffled suspects among them: only the runner knows where each went."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privaudit import seeds
from privaudit.images import Images, concatenate
from privaudit.store import Store


def put_images(store: Store, images: Images) -> dict[str, str]:
    """Keep pixels and labels; their hashes by name."""
    return {"pixels": store.put_array(images.pixels), "labels": store.put_array(images.labels)}


@dataclass(frozen=True, eq=False)
class Pile:
    """Shuffled suspects in the store, and where each part's rows went. Only the runner has this."""

    stored: dict[str, str]
    order: NDArray[np.int64]
    parts: tuple[str, ...]
    ends: NDArray[np.int64]

    def scores(self, shuffled: NDArray[np.float64], part: str) -> NDArray[np.float64]:
        """The scores of one part, in the order of its rows."""
        straight = np.empty_like(shuffled)
        straight[self.order] = shuffled
        place = self.parts.index(part)
        start = self.ends[place - 1] if place else 0
        return straight[start : self.ends[place]]


def shuffled(store: Store, parts: dict[str, Images], seed: int) -> Pile:
    """All images of the parts in one pile, in an order that depends on them too: the seed does not give it away."""
    pooled = concatenate(list(parts.values()))
    order = seeds.generator(seed, "shuffle", *parts, pooled.digest).permutation(len(pooled))
    ends = np.cumsum([len(part) for part in parts.values()])
    return Pile(put_images(store, pooled.take(order)), order, tuple(parts), ends)
