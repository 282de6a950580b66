"""Several networks beside each other: each has a standardisation of its own, and they answer together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from privaudit.images import Images
from privaudit.learning import Network, probabilities
from privaudit.views import Views


def mean_answers(
    teachers: Sequence[Network], images: Images, views: Views | None, temperature: float, device: str
) -> NDArray[np.float32]:
    """Soft labels: the teachers' mean probabilities; of views rounded to 16 bits, in which they are stored."""
    found = probabilities(teachers[0], images, views, temperature, device)
    for teacher in teachers[1:]:
        found += probabilities(teacher, images, views, temperature, device)
    found /= len(teachers)
    return found if views is None else found.astype(np.float16).astype(np.float32)


def restandardised(loss: Callable[[Tensor], Tensor], given: Network, own: Network) -> Callable[[Tensor], Tensor]:
    """A loss of images standardised for `own`, as one of images standardised for `given`; all on one device."""
    if torch.equal(own.mean, given.mean) and torch.equal(own.std, given.std):
        return loss
    plain, mean, std = in_pixels(given), _column(own.mean), _column(own.std)
    return lambda images: loss((plain(images) - mean) / std)


def of_standardised(network: Network, given: Network) -> Callable[[Tensor], Tensor]:
    """A network's logits of images standardised for `given`."""
    plain = in_pixels(given)
    return lambda images: network(plain(images))


def in_pixels(given: Network) -> Callable[[Tensor], Tensor]:
    """From images standardised for a network to pixels in [0, 1]."""
    mean, std = _column(given.mean), _column(given.std)
    return lambda images: images * std + mean


def _column(part: Tensor) -> Tensor:
    return part[:, None, None]
