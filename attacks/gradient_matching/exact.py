"""Exact inversion of batches through a first fully connected layer and ReLU: images with certificates, no search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from privaudit.attack import Effort
from privaudit.attacks.gradient_matching import peeling, spear
from privaudit.attacks.gradient_matching.exact_layer import Certificate, FirstLayer
from privaudit.images import Images

Method = Literal["peeling", "spear"]
METHODS: tuple[Method, ...] = ("peeling", "spear")

ROUNDS: dict[Effort, int] = {"quick": 16, "standard": 48, "thorough": 192}
"""Rounds of starts that sparse columns are sought from; few are needed up to 32 images."""
_STARTS = 64
_PATIENCE = 4
"""Rounds after which a quarter of the columns must have been found."""
_SAMPLED_RANK = 16
_DRAWS = 4096
"""Sets of neurons drawn as published, in each round, for ranks up to `_SAMPLED_RANK`: above, hardly any is silent."""


@dataclass(frozen=True, eq=False)
class Solved:
    """What is certain of one batch; an image that is in it twice is listed twice.

    levels: uint8 [K, pixels], channels first. labels: int64 [K]. methods: of each. rest: [neurons, pixels + 1], what of
    the layer's gradient (weights, and last biases) no certified image explains; zero for neurons on which it cannot be
    told.
    """

    levels: Tensor
    labels: Tensor
    methods: tuple[Method, ...]
    rest: Tensor


def solve(
    layer: FirstLayer,
    weight: Tensor,
    bias: Tensor,
    own: Images | None,
    rounds: int,
    generator: torch.Generator,
    methods: tuple[Method, ...] = METHODS,
) -> Solved:
    """Peel until nothing comes off, then look for the columns of what is left, and so on.

    weight: [neurons, pixels], bias: [neurons], gradients of the layer. own: images of the attacker's own, from which
    `spear` starts; None: from anywhere. rounds: of its search.
    """
    rest = torch.cat([weight, bias[:, None]], 1).double().cpu()
    floor = float(layer.epsilon**0.75 * torch.linalg.norm(rest))
    levels, labels, used = [], [], []
    unknown = torch.zeros(len(rest), dtype=torch.bool)
    left = layer.batch_size
    while left:
        accepted = 0
        for method in methods:
            if method == "peeling":
                found, certificate = peeling.peel(layer, rest, left)
            else:
                found, certificate = _columns(layer, rest, left, floor, own, rounds, generator)
            rows = _affordable(certificate, left)
            count = certificate.count[rows]
            accepted = int(count.sum())
            if accepted:
                levels.append(found[rows].repeat_interleave(count, 0))
                labels.append(certificate.label[rows].repeat_interleave(count))
                used += [method] * accepted
                rest = rest - _caused(layer, found[rows], certificate.columns[rows])
                unknown |= certificate.doubtful[rows].any(0)
                rest[unknown] = 0
                break
        left -= accepted
        if not accepted:
            break
    none = torch.zeros(0, rest.shape[1] - 1, dtype=torch.uint8)
    numbers = torch.zeros(0, dtype=torch.int64)
    return Solved(torch.cat([none, *levels]), torch.cat([numbers, *labels]), tuple(used), rest)


def _affordable(certificate: Certificate, left: int) -> Tensor:
    """Rows that are accepted; none where these are more images than the batch can still hold."""
    rows = torch.nonzero(certificate.count)[:, 0]
    return rows if int(certificate.count[rows].sum()) <= left else rows[:0]


def _caused(layer: FirstLayer, levels: Tensor, columns: Tensor) -> Tensor:
    """What images [K, pixels] add to the gradient by weights and bias, [neurons, pixels + 1], by that by outputs."""
    images = layer.standardised(levels)
    return columns.T @ torch.cat([images, torch.ones(len(images), 1, dtype=images.dtype)], 1)


def _columns(
    layer: FirstLayer,
    rest: Tensor,
    left: int,
    floor: float,
    own: Images | None,
    rounds: int,
    generator: torch.Generator,
) -> tuple[Tensor, Certificate]:
    """Images by SPEAR, as soon as all columns but one have been found and one image at least is accepted."""
    basis = spear.column_basis(rest, left, floor, generator)
    rank = basis.shape[1]
    known, silent = torch.zeros(0, rank, dtype=basis.dtype), torch.zeros(0, dtype=torch.int64)
    for number in range(rounds if rank else 0):
        found = spear.sparsest(basis, _starts(layer, basis, own, generator))
        if rank <= _SAMPLED_RANK:
            found = torch.cat([found, spear.sampled(basis, _DRAWS, generator)])
        more, quiet = spear.refined(basis, found, layer.tolerance)
        known, silent = spear.chosen(torch.cat([known, more]), torch.cat([silent, quiet]))
        if len(known) >= rank - 1:
            levels, certificate = spear.images_of(layer, rest, basis, known, left)
            if certificate.count.any():
                return levels, certificate
        if number + 1 >= _PATIENCE and len(known) < rank / 4:
            break
    nothing = torch.zeros(0, rest.shape[1] - 1, dtype=torch.uint8)
    no_columns = torch.zeros(0, len(rest), dtype=rest.dtype)
    return nothing, layer.certify(layer.standardised(nothing), no_columns, no_columns > 0, left)


def _starts(layer: FirstLayer, basis: Tensor, own: Images | None, generator: torch.Generator) -> Tensor:
    """Combinations that point to what the attacker's own images would cause, mixed in pairs, darker and brighter.

    The labels are drawn at random. Without images of his own: random combinations.
    """
    if own is None or not len(own):
        return torch.randn(_STARTS, basis.shape[1], dtype=basis.dtype, generator=generator)
    pixels = torch.from_numpy(own.pixels.transpose(0, 3, 1, 2).reshape(len(own), -1).copy())
    pair = pixels[torch.randint(len(own), (2, _STARTS), generator=generator)].double()
    share = torch.rand(_STARTS, 1, dtype=basis.dtype, generator=generator)
    mixed = layer.standardised(share * pair[0] + (1 - share) * pair[1])
    contrast, shift = torch.randn(2, _STARTS, 1, dtype=basis.dtype, generator=generator) * 0.7
    mean = mixed.mean(1, keepdim=True)
    images = (mixed - mean) * contrast.exp() + mean + shift
    predicted, slopes, _ = layer.derivatives(images)
    labels = torch.randint(slopes.shape[1], (_STARTS,), generator=generator)
    columns = (predicted[:, :, None] * slopes).sum(1) - slopes[torch.arange(_STARTS), labels]
    return columns @ basis
