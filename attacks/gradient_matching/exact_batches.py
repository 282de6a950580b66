"""What of many batches is certain, before any search; and the batches of what is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from privaudit.attack import Context
from privaudit.attacks.gradient_matching import algebra, exact, labels
from privaudit.attacks.gradient_matching.exact_layer import first_layer_of
from privaudit.attacks.gradient_matching.gradients import Observed
from privaudit.attacks.gradient_matching.inverting import Reconstruction

_LARGEST = 1e6
Search = Callable[[Observed], Reconstruction]


@dataclass(frozen=True, eq=False)
class Certain:
    """images: [victims * batch size, C, H, W], standardised; those of a victim that are certified come first.

    labels: int64 of each. certified: int64 [victims], how many are. rest: [victims], length of the gradient of the
    first layer that is not explained, divided by that seen. shares: of all images, by what certified them.
    gradients: of the images that are not certified, by name, as those of `Observed`.
    """

    images: Tensor
    labels: Tensor
    certified: Tensor
    rest: Tensor
    shares: dict[str, float]
    gradients: dict[str, Tensor]


def certain(observed: Observed, own: Context) -> Certain | None:
    """Images that algebra gives with a certificate. None where there is no such first layer, or several local steps.

    Batches of one by division; larger ones by peeling and SPEAR.
    """
    name = algebra.first_layer(observed)
    if name is None or observed.local_steps > 1:
        return None
    return _divided(observed, name) if observed.batch_size == 1 else _solved(observed, name, own)


def _divided(observed: Observed, name: str) -> Certain:
    images, found = algebra.divide(observed, name), torch.from_numpy(labels.single_labels(observed))
    found = found.to(observed.device)
    rest = algebra.relative_difference(observed, images.to(observed.network.mean.dtype), found)
    certified = rest < algebra.CERTAIN
    shares = {"division": float(certified.float().mean())}
    return Certain(images, found, certified.long(), rest, shares, observed.gradients)


def _solved(observed: Observed, name: str, own: Context) -> Certain:
    layer = first_layer_of(observed, name)
    generator = torch.Generator().manual_seed(int(own.generator.integers(2**62)))
    count, size = observed.victims, observed.batch_size
    images = torch.zeros(count, size, *observed.image_shape)
    numbers, certified, rest = torch.zeros(count, size, dtype=torch.int64), torch.zeros(count, dtype=torch.int64), []
    shares: dict[str, float] = {str(method): 0.0 for method in exact.METHODS}
    gradients = {part: gradient.clone() for part, gradient in observed.gradients.items()}
    for victim in range(count):
        own.progress("solve exactly", victim / count)
        weight, bias = (observed.gradients[f"{name}.{part}"][victim] for part in ("weight", "bias"))
        found = exact.solve(layer, weight, bias, own.reference, exact.ROUNDS[own.effort], generator)
        number = len(found.labels)
        rest.append(torch.linalg.norm(found.rest) / torch.cat([weight, bias[:, None]], 1).norm().double().cpu())
        certified[victim] = number
        if number:
            standardised = layer.standardised(found.levels).reshape(-1, *observed.image_shape)
            images[victim, :number], numbers[victim, :number] = standardised.float(), found.labels
            for part, gradient in zip(gradients, layer.gradient(standardised, found.labels), strict=True):
                gradients[part][victim] -= gradient.to(gradients[part])
        for method in found.methods:
            shares[method] += 1 / (count * size)
    device = observed.device
    return Certain(
        images.flatten(0, 1).to(device),
        numbers.flatten().to(device),
        certified.to(device),
        torch.nan_to_num(torch.stack(rest)).to(device),
        shares,
        gradients,
    )


def filled(observed: Observed, found: Certain, search: Search) -> Reconstruction:
    """All images: the certified ones, and by `search` those left in each batch, from the gradient that is left.

    That is the search over the whole batch with the certified images held fixed: their gradient is a constant. The
    cost of a victim without a search is the rest of its gradient.
    """
    size = observed.batch_size
    images = found.images.reshape(-1, size, *observed.image_shape).clone()
    numbers = found.labels.reshape(-1, size).clone()
    cost = found.rest.clone()
    for number in sorted(set(found.certified.tolist())):
        if number == size:
            continue
        rows = torch.nonzero(found.certified == number)[:, 0]
        left = size - number
        gradients = {name: gradient[rows] * (size / left) for name, gradient in found.gradients.items()}
        known = None if observed.known is None else labels.unaccounted(observed.known[rows], numbers[rows, :number])
        searched = search(single(replace(observed, gradients=gradients, batch_size=left, known=known)))
        images[rows, number:] = searched.images.reshape(-1, left, *observed.image_shape).to(images)
        numbers[rows, number:] = searched.labels.reshape(-1, left)
        cost[rows] = searched.cost.to(cost)
    return Reconstruction(images.flatten(0, 1), numbers.flatten(), cost)


def single(observed: Observed) -> Observed:
    """The same with gradients in float32, as the searches compute."""
    return replace(observed, gradients={name: gradient.float() for name, gradient in observed.gradients.items()})


def diagnostics(found: Certain | None) -> dict[str, float]:
    """Share of all images that is certified, by what, and the median rest of the first layer's gradient."""
    if found is None:
        return {"share certified": 0.0}
    by = {f"share certified by {method}": share for method, share in found.shares.items()}
    rest = float(found.rest.clamp_max(_LARGEST).median())
    return {"share certified": sum(found.shares.values()), **by, "median rest": rest}
