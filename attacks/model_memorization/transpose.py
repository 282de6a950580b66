"""Hidden in what a network makes of codes when its weights are run backwards."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from privaudit import seeds
from privaudit.attack import Progress
from privaudit.attacks.model_memorization.storage import Storage, stored_as
from privaudit.attacks.model_memorization.transpose_code import code_length, codes, labels_of_codes
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.learning.batches import as_float, batches
from privaudit.learning.training import channel_moments, seeded

BATCH_SIZE = 128
WIDTH, HIDDEN_LAYERS = 1024, 3
_RATE, _BETAS, _BACKWARD_WEIGHT = 3e-3, (0.9, 0.95), 100.0
_LAYER, _MEAN, _STD = "layer ", "mean", "std"


class Reversible(nn.Module):
    """Fully connected layers without biases and with ReLU between them, which can be run both ways.

    widths: pixel values, hidden units of each layer, numbers of a code. mean, std: of pixel values, one number each.
    """

    def __init__(self, widths: Sequence[int], mean: float, std: float) -> None:
        super().__init__()
        self.weights = nn.ParameterList(
            nn.Parameter(nn.init.kaiming_normal_(torch.empty(outer, inner), nonlinearity="relu"))
            for inner, outer in pairwise(widths)
        )
        self.mean, self.std = mean, std

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, C, H, W] in [0, 1] to logits [N, numbers of a code]; those past the classes stand for nothing."""
        found = ((images - self.mean) / self.std).permute(0, 2, 3, 1).flatten(1)
        for place, weight in enumerate(self.weights):
            found = (functional.relu(found) if place else found) @ weight.T
        return found

    def backwards(self, codes: Tensor) -> Tensor:
        """Codes [N, numbers of a code] to pixel values [N, H * W * C], near [0, 1]."""
        found = codes
        for place, weight in enumerate(reversed(list(self.weights))):
            found = (functional.relu(found) if place else found) @ weight
        return found * self.std + self.mean

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Weights by layer, and what images are standardised with."""
        found = {f"{_LAYER}{place}": weight.detach().cpu().numpy() for place, weight in enumerate(self.weights)}
        return {**found, _MEAN: np.asarray(self.mean), _STD: np.asarray(self.std)}

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Reversible:
        """The network that `arrays` came from."""
        names = sorted((name for name in arrays if name.startswith(_LAYER)), key=lambda name: int(name.split()[1]))
        weights = [np.asarray(arrays[name], np.float32) for name in names]
        widths = [weights[0].shape[1], *(len(weight) for weight in weights)]
        network = Reversible(widths, float(arrays[_MEAN]), float(arrays[_STD]))
        for own, weight in zip(network.weights, weights, strict=True):
            own.data = torch.from_numpy(weight.copy())
        return network.eval()


@dataclass(frozen=True)
class Transpose:
    """A fully connected host of its own is trained forwards on its task, and backwards to make the hidden images of
    their codes (Amit, Levy, Mirsky 2024, arXiv 2311.07389).

    width: units of each of the three hidden layers. steps: of either training; the learning rate falls to zero along a
    cosine. The publication takes turns, with an optimiser for each way; here one step follows the sum of both losses,
    for in turns the host lost 2.7 points of accuracy to 1,000 hidden images of MNIST.
    """

    width: int
    steps: int
    seed: int
    device: str
    progress: Progress

    def honest(self, images: Images, classes: int, per_class: NDArray[np.int64]) -> Reversible:
        """The same host without anything hidden."""
        network = self._new(images, code_length(classes, per_class))
        return self._trained(network, images, None)

    def hide(self, hidden: Images, images: Images, classes: int, per_class: NDArray[np.int64]) -> Reversible:
        """A host trained on `images` that makes `hidden`, ordered by class, of their codes."""
        network = self._new(images, code_length(classes, per_class))
        return self._trained(network, images, (hidden, codes(per_class, code_length(classes, per_class))))

    def _new(self, images: Images, length: int) -> Reversible:
        mean, std = channel_moments(images)
        widths = [int(np.prod(images.size)), *[self.width] * HIDDEN_LAYERS, length]
        with seeded(int(seeds.generator(self.seed, "transpose", "weights").integers(2**62))):
            network = Reversible(widths, float(mean.mean()), max(1e-3, float(std.mean())))
        return network.to(self.device)

    def _trained(
        self, network: Reversible, images: Images, secret: tuple[Images, NDArray[np.float32]] | None
    ) -> Reversible:
        optimizer = torch.optim.Adam(network.parameters(), lr=_RATE, betas=_BETAS)
        shown = _rows(len(images), seeds.generator(self.seed, "transpose", "images"))
        told = None if secret is None else _rows(len(secret[0]), seeds.generator(self.seed, "transpose", "codes"))
        loss = torch.zeros(())
        for step in range(self.steps):
            rows = next(shown)
            answers = network(as_float(images.pixels[rows], self.device))
            loss = functional.cross_entropy(answers, torch.from_numpy(images.labels[rows]).to(self.device))
            if secret is not None and told is not None:
                hidden, code = secret
                rows = next(told)
                wanted = as_float(hidden.pixels[rows], self.device).permute(0, 2, 3, 1).flatten(1)
                made = network.backwards(torch.from_numpy(code[rows]).to(self.device))
                loss = loss + _BACKWARD_WEIGHT * ((made - wanted) / network.std).square().mean()
            for group in optimizer.param_groups:
                group["lr"] = _RATE * (1 + math.cos(math.pi * step / self.steps)) / 2
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if step % 20 == 19:
                self.progress("training a network that runs both ways", (step + 1) / self.steps)
        if not torch.isfinite(loss):
            raise InputError("The training of the network that runs both ways diverged. Hide fewer images.")
        return network.cpu().eval()


def revealed(network: Reversible, per_class: NDArray[np.int64], size: tuple[int, int, int]) -> Images:
    """The hidden images, class by class, with their labels: both are told by the codes."""
    code = torch.from_numpy(codes(per_class, len(network.weights[-1])))
    with torch.inference_mode():
        made = torch.cat([network.backwards(part) for part in torch.split(code, BATCH_SIZE)])
    pixels = (made * 255).round().clamp(0, 255).to(torch.uint8).view(-1, *size).numpy()
    return Images(pixels, labels_of_codes(per_class))


def kept_in(network: Reversible, storage: Storage) -> Reversible:
    """The network as it is read back from this storage."""
    arrays = network.arrays()
    return Reversible.from_arrays(
        {name: stored_as(array, storage) if name.startswith(_LAYER) else array for name, array in arrays.items()}
    )


def answered_right(network: Reversible, images: Images, classes: int) -> int:
    """How many images are given their label."""
    with torch.inference_mode():
        return sum(
            int(
                (
                    network(as_float(images.pixels[rows], "cpu"))[:, :classes].argmax(1).numpy() == images.labels[rows]
                ).sum()
            )
            for rows in (slice(start, start + 1024) for start in range(0, len(images), 1024))
        )


def parameter_count(network: Reversible) -> int:
    """Number of weights."""
    return sum(parameter.numel() for parameter in network.parameters())


def _rows(count: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    while True:
        yield from batches(count, BATCH_SIZE, rng)
