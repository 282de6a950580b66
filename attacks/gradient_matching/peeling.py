"""Peeling: images that alone switch on a neuron are read by division, subtracted, and others come to light.

Shariati, Alambardar Meybodi 2026, "Cascading gradient inversion via LT-code inspired peeling". Of ours: candidates are
rounded to the 8 bits that images have, so that the precision of the gradients is not lost from step to step, and an
image may be in the batch several times.
"""

from __future__ import annotations

import torch
from torch import Tensor

from privaudit.attacks.gradient_matching.exact_layer import Certificate, FirstLayer


def candidates(layer: FirstLayer, rest: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct images that neurons hold alone, grey levels uint8 [K, pixels], and their neurons, bool [K, neurons].

    rest: [neurons, pixels + 1], gradient by the layer's weights and, last, its biases. A neuron on which one image
    alone acts has a weight gradient that is this image times its bias gradient.
    """
    neurons = torch.nonzero(rest[:, -1])[:, 0]
    levels, near = layer.levels(rest[neurons, :-1] / rest[neurons, -1:])
    neurons = neurons[near]
    found, group = torch.unique(levels[near], dim=0, return_inverse=True)
    where = torch.zeros(len(found), len(rest), dtype=torch.bool)
    where[group, neurons] = True
    return found, where


def peel(layer: FirstLayer, rest: Tensor, left: int) -> tuple[Tensor, Certificate]:
    """One pass: accepted images, grey levels uint8 [K, pixels], with their certificates.

    left: images of the batch that are not explained yet.
    """
    levels, where = candidates(layer, rest)
    certificate = layer.certify(layer.standardised(levels), rest[:, -1].expand(len(levels), -1), where, left)
    return levels, certificate
