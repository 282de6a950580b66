"""SPEAR: a batch from the rank and the silent neurons of the gradient of a first layer, by linear algebra.

Dimitrov, Baader, Mueller, Vechev 2024, arXiv 2403.03945. The gradient has as many independent columns as images, and
its factor on the neurons' side has one column for each image, zero wherever ReLU silences that image. They sample sets
of neurons on which one image could be silent. Of ours, and what reaches larger batches: the sparse columns are sought
by reweighted least squares (Daubechies et al. 2010, doi 10.1002/cpa.20303, for the L1 norm), from what images of the
attacker's own would cause.
"""

from __future__ import annotations

import torch
from torch import Tensor

from privaudit.attacks.gradient_matching.exact_layer import Certificate, FirstLayer

_REWEIGHTINGS = 12
_BROAD, _FALL = 0.1, 0.45
_ZERO = 1e-3
"""Entries below this share of a column's mean square root count as silent at a first look."""
_SILENT = 1 / 8
"""Least share of silent neurons of a column that is taken for that of an image."""
_CHUNK = 64
_ANOTHER = 1e-2
"""Least length of what is new in a combination of length 1, for it to be another one."""


def column_basis(rest: Tensor, most: int, floor: float, generator: torch.Generator) -> Tensor:
    """Orthonormal basis [neurons, rank] of the columns of `rest`; directions weaker than `floor` are rounding."""
    sketch = torch.randn(rest.shape[1], most + 8, dtype=rest.dtype, generator=generator) / rest.shape[1] ** 0.5
    left, strength, _ = torch.linalg.svd(rest @ sketch, full_matrices=False)
    basis: Tensor = left[:, : min(most, int((strength > floor).sum()))]
    return basis


def sampled(basis: Tensor, draws: int, generator: torch.Generator) -> Tensor:
    """Combinations [draws, rank] of the basis that vanish on rank - 1 neurons drawn at random, of length 1."""
    neurons, rank = basis.shape
    if rank == 1:
        return torch.ones(1, 1, dtype=basis.dtype)
    rows = torch.rand(draws, neurons, generator=generator).topk(rank - 1, 1).indices
    chosen = basis[rows]
    solved, _ = torch.linalg.solve_ex(chosen[:, :, :-1], -chosen[:, :, -1:])
    found = torch.cat([solved[:, :, 0], torch.ones(draws, 1, dtype=basis.dtype)], 1)
    found = found[found.isfinite().all(1)]
    unit: Tensor = found / found.norm(dim=1, keepdim=True)
    return unit


def sparsest(basis: Tensor, starts: Tensor) -> Tensor:
    """Combinations [K, rank] of length 1 whose columns are sparse, each near to where `starts` [K, rank] pointed."""
    parts = []
    for some in torch.split(starts[starts.abs().sum(1) > 0], _CHUNK):
        found = some / some.norm(dim=1, keepdim=True)
        for step in range(_REWEIGHTINGS):
            size = (found @ basis.T).square() * len(basis)
            weight = (size + (_BROAD * _FALL**step) ** 2).rsqrt()
            _, vectors = torch.linalg.eigh((basis.T * weight[:, None, :]) @ basis)
            found = vectors[:, :, 0]
        parts.append(found)
    return torch.cat([starts[:0], *parts])


def refined(basis: Tensor, combinations: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """Those with enough silent neurons, [K, rank], made exact on these neurons; and how many each silences, [K].

    tolerance: below which an entry counts as silent in the end, as a share of its column's mean square root; a first
    look is coarser.
    """
    quiet = _silent(basis, combinations, _ZERO)
    quiet = quiet[quiet.sum(1) > len(basis) * _SILENT]
    found, numbers = [combinations[:0]], [torch.zeros(0, dtype=torch.int64)]
    for some in torch.split(quiet, _CHUNK):
        for zero in (_ZERO, (_ZERO * tolerance) ** 0.5, tolerance):
            _, vectors = torch.linalg.eigh((basis.T * some[:, None, :]) @ basis)
            some = _silent(basis, vectors[:, :, 0], zero)
        found.append(vectors[:, :, 0])
        numbers.append(some.sum(1))
    return torch.cat(found), torch.cat(numbers)


def _silent(basis: Tensor, combinations: Tensor, zero: float) -> Tensor:
    found: Tensor = (combinations @ basis.T).abs() * len(basis) ** 0.5 < zero
    return found


def chosen(combinations: Tensor, silent: Tensor) -> tuple[Tensor, Tensor]:
    """Linearly independent ones [k, rank] of the combinations, those with most silent neurons first; and their numbers.

    A mixture of columns is silent only where all of them are: each column comes before the mixtures that it is in, so
    that taking the sparsest first takes the right ones as soon as all have been found.
    """
    rank = combinations.shape[1]
    rows: list[int] = []
    base = torch.zeros(rank, 0, dtype=combinations.dtype)
    for row in silent.argsort(descending=True, stable=True).tolist():
        if len(rows) == rank:
            break
        new = combinations[row] - base @ (base.T @ combinations[row])
        if new.norm() > _ANOTHER:
            rows.append(row)
            base = torch.cat([base, (new / new.norm())[:, None]], 1)
    return combinations[rows], silent[rows]


def images_of(
    layer: FirstLayer, rest: Tensor, basis: Tensor, combinations: Tensor, left: int
) -> tuple[Tensor, Certificate]:
    """Accepted or refused images, grey levels uint8 [K, pixels], with their certificates.

    combinations: [rank, rank], if they give the columns of all images: the rows that these are multiplied with are the
    images, and last the scale of each column. [rank - 1, rank], if one is missing: what is orthogonal to the others is
    multiplied with the missing image.
    """
    columns = basis @ combinations.T
    if len(combinations) == basis.shape[1]:
        others = None
        rows = torch.linalg.lstsq(columns, rest).solution
    else:
        whole = torch.linalg.qr(columns)[0]
        others = whole
        left_over = basis - whole @ (whole.T @ basis)
        columns = torch.linalg.svd(left_over, full_matrices=False)[0][:, :1]
        rows = columns.T @ rest
    levels, near = layer.levels(rows[:, :-1] / rows[:, -1:])
    seen = (columns * rows[:, -1]).T[near]
    known = torch.ones_like(seen, dtype=torch.bool)
    return levels[near], layer.certify(layer.standardised(levels[near]), seen, known, left, others)
