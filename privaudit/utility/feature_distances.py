"""How far a set of images is from another in a feature space: Fréchet distance, precision and recall.

All three depend on the number of images and on the features, so they mean something only beside the same for real
images of the same number in the same features. Computed on the CPU in float64, with memory for one block of distances.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from privaudit.errors import InputError

if TYPE_CHECKING:
    import torch

NEIGHBOURS = 3
"""Neighbours that span a manifold (Kynkäänniemi et al. 2019 use 3)."""

_BLOCK_BYTES = 2**26
_SLACK = 1e-12

Features = NDArray[np.floating]


def frechet_distance(first: Features, second: Features) -> float:
    """Squared Fréchet (2-Wasserstein) distance of two Gaussians with the moments of the features, at least 0.

    first, second: [n, d] and [m, d], at least two rows each. ||mean difference||^2 + tr(A + B - 2 (A B)^(1/2)) with
    the covariances A, B (divided by n - 1). With A = R'R and B = S'S from the QR decompositions of the centred
    features, the last trace is the sum of the singular values of R S': no matrix root is taken, and it holds for
    singular covariances too (fewer images than features), where the distance is dominated by the sample size.
    Raises InputError for other shapes or values that are not finite.

    Dowson and Landau 1982, doi 10.1016/0047-259X(82)90077-X; for features of images Heusel et al. 2017, arXiv
    1706.08500, whose FID uses one fixed network: values in other features are not FID.
    """
    import torch

    a, b = _pair(first, second, least=2)
    roots = [torch.linalg.qr(side - side.mean(0), mode="r").R / (len(side) - 1) ** 0.5 for side in (a, b)]
    shared = torch.linalg.svdvals(roots[0] @ roots[1].T).sum()
    apart = (a.mean(0) - b.mean(0)).square().sum()
    distance = apart + roots[0].square().sum() + roots[1].square().sum() - 2 * shared
    return max(0.0, float(distance))


def precision_recall(images: Features, real: Features, neighbours: int = NEIGHBOURS) -> tuple[float, float]:
    """Improved precision and recall, both in [0, 1].

    images, real: [n, d] and [m, d], more than `neighbours` rows each. A set's manifold is the union of balls around
    its rows that reach to their k-th nearest neighbour in the set. Precision: share of images in the manifold of the
    real ones; recall: share of real ones in the manifold of the images. Raises InputError for other shapes or values.

    Kynkäänniemi, Karras, Laine, Lehtinen, Aila 2019, arXiv 1904.06991.
    """
    if neighbours < 1:
        raise InputError(f"A manifold needs at least one neighbour; found {neighbours}.")
    a, b = _pair(images, real, least=neighbours + 1)
    centre = b.mean(0)
    a, b = a - centre, b - centre
    slack = _SLACK * float(max(a.square().sum(1).max(), b.square().sum(1).max()))
    return _share_inside(a, b, neighbours, slack), _share_inside(b, a, neighbours, slack)


def _share_inside(queries: torch.Tensor, rows: torch.Tensor, neighbours: int, slack: float) -> float:
    """Share of the queries within the manifold of the rows; squared distances are compared up to `slack`."""
    import torch

    # The nearest row of each row is itself.
    reach = torch.cat(
        [block.topk(neighbours + 1, largest=False).values[:, -1] for block in _squared_distances(rows, rows)]
    )
    inside = sum(int((block <= reach + slack).any(1).sum()) for block in _squared_distances(queries, rows))
    return inside / len(queries)


def _squared_distances(queries: torch.Tensor, rows: torch.Tensor) -> Iterator[torch.Tensor]:
    """Squared distances [some queries, all rows], a block of queries at a time, in order."""
    import torch

    lengths = rows.square().sum(1)
    size = max(1, _BLOCK_BYTES // (8 * len(rows)))
    for start in range(0, len(queries), size):
        block = queries[start : start + size]
        yield torch.addmm(lengths, block, rows.T, alpha=-2).add_(block.square().sum(1, keepdim=True))


def _pair(first: Features, second: Features, least: int) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    shapes = first.shape, second.shape
    if any(len(shape) != 2 or shape[0] < least or not shape[1] for shape in shapes) or shapes[0][1] != shapes[1][1]:
        raise InputError(
            f"Two sets of features need at least {least} rows and the same columns; found {shapes[0]} and {shapes[1]}."
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise InputError("Features must be finite numbers.")
    a, b = (torch.from_numpy(np.array(side, np.float64)) for side in (first, second))
    return a, b
