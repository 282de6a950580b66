"""Labels from the gradient of the last layer."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from privaudit.attacks.gradient_matching.gradients import Observed
from privaudit.errors import InputError
from privaudit.images import Images

_BLOCK = 128
_NOISE_IMAGES = 128
_ROUNDING = 1e-12


def last_layer(observed: Observed) -> str:
    """Name of the linear layer that gives the logits. Raises InputError where there is none."""
    names: list[str] = [name for name, module in observed.network.named_modules() if isinstance(module, nn.Linear)]
    if not names:
        raise InputError(
            f"The network '{observed.network.architecture.name}' ends in no linear layer, from whose gradient labels "
            "could be read. Choose another network."
        )
    return names[-1]


def labels_of(observed: Observed, reference: Images | None, rng: np.random.Generator) -> torch.Tensor:
    """int64 [victims * batch size], those that the attacker was told, or what he infers from the gradient.

    Raises InputError where that cannot be done.
    """
    if observed.known is not None:
        return observed.known.flatten()
    alone = observed.batch_size == 1
    found = single_labels(observed) if alone else batch_labels(observed, reference, rng).ravel()
    return torch.from_numpy(found).to(observed.device)


def unaccounted(known: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
    """Of known labels [victims, batch size], those that are left without `found` [victims, N], each as often."""
    left = []
    for own, gone in zip(known.tolist(), found.tolist(), strict=True):
        for label in gone:
            if label in own:
                own.remove(label)
        left.append(own[: known.shape[1] - found.shape[1]])
    return torch.tensor(left, dtype=known.dtype, device=known.device)


def single_labels(observed: Observed) -> NDArray[np.int64]:
    """Label of each victim's only image, [victims]: the entry of the bias gradient that is negative.

    That gradient is p - y, p the predicted probabilities. Without a bias: the smallest sum of a row of the weight
    gradient, which is p - y times the sum of the features. Zhao, Mopuri, Bilen 2020, arXiv 2001.02610.
    """
    name = last_layer(observed)
    bias = observed.gradients.get(f"{name}.bias")
    found = observed.gradients[f"{name}.weight"].sum(2) if bias is None else bias
    return np.asarray(found.argmin(1).cpu().numpy(), dtype=np.int64)


def batch_labels(observed: Observed, reference: Images | None, rng: np.random.Generator) -> NDArray[np.int64]:
    """Labels of each victim's images, [victims, batch size], in rising order.

    The bias gradient is the mean of p - y over the batch, so that size * (mean p - gradient) counts the labels. What
    is predicted for images of a class is known from the attacker's own (see `class_predictions`), so that the counts
    solve linear equations, in whole numbers that sum to the batch size. In the spirit of Ma, Sun, Cui, Li, Guan, Liu
    2023, "Instance-wise batch label restoration via gradients in federated learning" (ICLR).
    Raises InputError where the last layer has no bias.
    """
    bias = observed.gradients.get(f"{last_layer(observed)}.bias")
    if bias is None:
        raise InputError(
            f"The last layer of '{observed.network.architecture.name}' has no bias, from whose gradient the labels of "
            "a batch could be read. Choose another network, or batch_size 1."
        )
    expected, size = class_predictions(observed, reference, rng), observed.batch_size
    counts = [whole_counts(expected, gradient, size) for gradient in bias.double().cpu().numpy()]
    return np.stack([np.repeat(np.arange(len(expected)), count) for count in counts])


def class_predictions(observed: Observed, reference: Images | None, rng: np.random.Generator) -> NDArray[np.float64]:
    """Mean predicted probabilities of the reference images of each class, [classes, classes].

    A class without any has the mean over all; without reference images all have that of noise.
    """
    if reference is None or not len(reference):
        pixels = rng.integers(0, 256, (_NOISE_IMAGES, *observed.size), dtype=np.uint8)
        reference = Images(pixels, np.full(_NOISE_IMAGES, -1))
    mixed = reference.take(rng.permutation(len(reference)))
    blocks = max(1, len(mixed) // _BLOCK)
    with torch.no_grad():
        found = np.concatenate(
            [
                observed.network(next(block.batches(len(block))).to(observed.device)).double().softmax(1).cpu().numpy()
                for block in (mixed.take(rows) for rows in np.array_split(np.arange(len(mixed)), blocks))
            ]
        )
    means = np.tile(found.mean(0), (found.shape[1], 1))
    for label in range(len(means)):
        if (mixed.labels == label).any():
            means[label] = found[mixed.labels == label].mean(0)
    return means


def whole_counts(expected: NDArray[np.float64], gradient: NDArray[np.float64], size: int) -> NDArray[np.int64]:
    """Counts of labels, [classes], that sum to `size` and explain the mean of p - y best, by least squares.

    expected: [classes, classes], p of an image of each class. Two starts, of which the better end counts: images
    counted one by one, each where it leaves the smallest rest; and the solution in fractions, rounded so that the sum
    holds. From each, one image at a time is moved to another class while that makes the rest smaller.
    """
    effects = expected - np.eye(len(expected))
    wanted = size * gradient
    ends = [
        _moved(start, effects, wanted)
        for start in (_one_by_one(effects, wanted, size), _rounded(effects, wanted, size))
    ]
    return min(ends, key=lambda counts: float(((wanted - counts @ effects) ** 2).sum()))


def _one_by_one(effects: NDArray[np.float64], wanted: NDArray[np.float64], size: int) -> NDArray[np.int64]:
    counts = np.zeros(len(effects), dtype=np.int64)
    for _ in range(size):
        rests = wanted - counts @ effects - effects
        counts[(rests**2).sum(1).argmin()] += 1
    return counts


def _rounded(effects: NDArray[np.float64], wanted: NDArray[np.float64], size: int) -> NDArray[np.int64]:
    """The largest remainders are rounded up."""
    equations = np.vstack([effects.T, np.ones(len(effects))])
    shares = np.clip(np.linalg.lstsq(equations, np.append(wanted, size), rcond=None)[0], 0, None)
    shares = shares * size / shares.sum() if shares.sum() > 0 else np.full(len(effects), size / len(effects))
    counts: NDArray[np.int64] = np.floor(shares).astype(np.int64)
    counts[np.argsort(counts - shares, kind="stable")[: size - counts.sum()]] += 1
    return counts


def _moved(counts: NDArray[np.int64], effects: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.int64]:
    tolerance = _ROUNDING * counts.sum() ** 2
    while True:
        rest = wanted - counts @ effects
        filled = np.flatnonzero(counts)
        moved = rest + effects[filled][:, None] - effects
        losses = (moved**2).sum(2)
        source, target = np.unravel_index(losses.argmin(), losses.shape)
        if losses[source, target] >= (rest**2).sum() - tolerance:
            return counts
        counts[filled[source]] -= 1
        counts[target] += 1
