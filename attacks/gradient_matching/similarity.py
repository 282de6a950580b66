"""How far the gradients of images are from those seen, by the fastest way that the victims allow."""

from __future__ import annotations

import torch
from torch import Tensor

from privaudit.attacks.gradient_matching.factored import FactoredNetwork
from privaudit.attacks.gradient_matching.folded import FoldedNetwork
from privaudit.attacks.gradient_matching.gradients import Observed
from privaudit.attacks.gradient_matching.objectives import Objective, Products, distance, layer_products, layers_of
from privaudit.attacks.gradient_matching.sending import update

FACTORED_PIXELS = 2**9
"""Up to so many pixels in a batch, all victims at once are faster than folded, one after the other."""


class GradientSimilarity:
    """Distance between the gradients of images and those that were seen, per victim, over all parameters.

    way: 'factored', all victims at once, for small images through plain convolutions, linear layers and BatchNorm;
    'folded', one victim after the other without BatchNorm, where it is in evaluation mode; else 'plain', through the
    automatic graph, which also follows local steps. dtype: of the folded way, the others work in float32.
    """

    def __init__(self, observed: Observed, objective: Objective = "cosine", dtype: torch.dtype = torch.float32) -> None:
        self.observed, self.objective = observed, objective
        self.factored, self.folded = FactoredNetwork(observed), FoldedNetwork(observed, dtype)
        self.lengths = observed.squared_lengths(layers_of(observed))
        pixels = observed.size[0] * observed.size[1] * observed.batch_size
        at_once = self.factored.possible and observed.local_steps == 1
        small = pixels <= FACTORED_PIXELS and dtype == torch.float32
        if self.folded.possible and not (at_once and small):
            self.way = "folded"
        else:
            self.way = "factored" if at_once else "plain"

    def distance(self, images: Tensor, labels: Tensor) -> Tensor:
        """[victims]; images [victims * batch size, C, H, W] as the body receives them; labels int64."""
        ways = {"factored": self.factored.products, "folded": self.folded.products, "plain": self._plain}
        return distance(self.objective, ways[self.way](images, labels))

    def _plain(self, images: Tensor, labels: Tensor) -> Products:
        observed, size = self.observed, self.observed.batch_size
        each = []
        for victim in range(observed.victims):
            rows = slice(victim * size, (victim + 1) * size)
            found = update(observed, images[rows], labels[rows])
            each.append(layer_products(observed, victim, dict(zip(observed.gradients, found, strict=True))))
        dots, squares = (torch.stack(parts, 1) for parts in zip(*each, strict=True))
        return Products(dots, squares, self.lengths)
