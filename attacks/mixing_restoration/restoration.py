"""Putting the images of a mixed release together again, class by class."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from privaudit.attacks.mixing_restoration.fit import Fit
from privaudit.attacks.mixing_restoration.ownership import Mixed, beliefs, largest_part, seams
from privaudit.blocks import Block, grid_of
from privaudit.images import Images


def learned_fits(own: Images, block: Block, rng: np.random.Generator) -> tuple[Fit | None, Fit | None]:
    """How blocks fit side by side, and one above the other, learned on these images; None where no seam runs that way.

    own: two images or more; those without another one of their class teach nothing, unless none has one.
    """
    labels, counts = np.unique(own.labels, return_counts=True)
    if counts.max() > 1:
        own = own.take(np.flatnonzero(np.isin(own.labels, labels[counts > 1])))
    else:
        own = Images(own.pixels, np.zeros(len(own), dtype=np.int64))
    turned = Images(np.ascontiguousarray(own.pixels.transpose(0, 2, 1, 3)), own.labels)
    across = Fit.learned(own, block, rng) if block[1] < own.size[1] else None
    down = Fit.learned(turned, (block[1], block[0]), rng) if block[0] < own.size[0] else None
    return across, down


def restored(
    images: Images, own: Images, block: Block, replacement: float, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Rows of the mixed images, some at a time, and for each at every place of the grid the row of the image whose
    block there is believed to be its own, int64 [n, rows, columns].

    Classes larger than what memory allows are looked at in random parts. own: the attacker's own images.
    """
    fits = learned_fits(own, block, rng)
    most = largest_part(*grid_of(images.size, block))
    for label in np.unique(images.labels):
        rows = rng.permutation(np.flatnonzero(images.labels == label))
        mine = own.pixels[own.labels == label]
        for part in np.array_split(rows, -(-len(rows) // most)):
            mixed = Mixed.of(images.pixels[part], mine, block)
            believed = beliefs(mixed, seams(mixed, *fits), replacement)
            source = np.empty_like(mixed.shown)
            for place, belief in believed.items():
                best, stands = belief[:, :-1].argmax(axis=1), mixed.shown[:, *place]
                _, first = np.unique(stands, return_index=True)
                source[:, *place] = part[np.where(best == stands, np.arange(len(part)), first[best])]
            yield part, source
