"""An adversary in collaborative learning steers what the others train (Hitaj, Ateniese, Perez-Cruz 2017, doi
10.1145/3133956.3134012, arXiv 1702.07464).

A victim and an adversary train one classifier in turns and exchange its parameters, nothing else. The classifier has
one class more than there are labels. The adversary holds no images: he takes the shared model for the discriminator of
a generator, makes images that it labels as a class of the victim's, and hands in a model that was taught to label them
as the extra class, so that the victim has to teach it better what the class looks like. The paper attacks one class;
here each class has a generator of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from privaudit.attack import Progress, no_progress
from privaudit.attacks.gan_inversion.found import Found
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.learning import Network, Recipe, logits
from privaudit.learning.augmentation import augment
from privaudit.learning.batches import as_float, batches
from privaudit.learning.generator import Generator, random_latents
from privaudit.learning.training import new_network

Parameters = Mapping[str, NDArray[Any]]
"""The shared model, as it is exchanged: all its parameters and buffers by name."""

_FIRST_RATE = 3e-3
_VICTIM_RATE = 5e-2
_ADVERSARY_RATE = 3e-2
_LONGEST = 1.0
_GENERATOR_RATE = 1e-3
_FIRST_BATCHES = 100
_IMAGES_PER_CLASS = 8
_WIDTH = 16


def _adopt(network: Network, shared: Parameters) -> None:
    network.load_state_dict({name: torch.from_numpy(shared[name]) for name in network.state_dict()})


class Victim:
    """Holds images, which never leave it: of all its methods only parameters come out."""

    def __init__(
        self, images: Images, classes: int, recipe: Recipe, seed: int, rng: np.random.Generator, device: str
    ) -> None:
        self._images, self._recipe, self._rng, self._device = images, recipe, rng, device
        self._network = new_network(recipe, images, classes, seed).to(device)
        self._optimizer = torch.optim.SGD(self._network.parameters(), lr=_VICTIM_RATE)
        self._rows = self._shuffled()

    def _shuffled(self) -> Iterator[NDArray[np.int64]]:
        while True:
            yield from batches(len(self._images), self._recipe.batch_size, self._rng)

    def first(self) -> Parameters:
        """The shared model after some batches of honest training alone, in which BatchNorm finds its statistics."""
        self._network.train()
        self._train(_FIRST_BATCHES, torch.optim.Adam(self._network.parameters(), lr=_FIRST_RATE))
        self._network.eval()
        return self._network.arrays()

    def refine(self, shared: Parameters) -> Parameters:
        """The shared model after a batch of honest training."""
        _adopt(self._network, shared)
        self._train(1, self._optimizer)
        return self._network.arrays()

    def _train(self, count: int, optimizer: torch.optim.Optimizer) -> None:
        for _ in range(count):
            rows = next(self._rows)
            batch = as_float(self._images.pixels[rows], self._device)
            answers = self._network(augment(batch, self._recipe.crop, self._recipe.flip, self._rng))
            labels = torch.from_numpy(self._images.labels[rows]).to(self._device)
            _descend(functional.cross_entropy(answers, labels), optimizer)

    def right(self, shared: Parameters) -> int:
        """How many of its images the shared model classifies right."""
        return int((logits(Network.from_arrays(shared), self._images).argmax(1) == self._images.labels).sum())


class Participant:
    """The adversary among the participants: he holds the size of the images, and a generator for each target class.

    size: height, width, channels. targets: the classes that are attacked. extra: the class that no one's images have.
    """

    def __init__(
        self, size: tuple[int, int, int], targets: Sequence[int], extra: int, rng: np.random.Generator, device: str
    ) -> None:
        self.generators = {target: Generator(size, _WIDTH).to(device) for target in targets}
        self.loss = float("nan")
        self._extra, self._rng, self._device = extra, rng, device
        self._labels = torch.tensor(list(targets), device=device).repeat_interleave(_IMAGES_PER_CLASS)
        weights = [weight for generator in self.generators.values() for weight in generator.parameters()]
        self._generator_optimizer = torch.optim.Adam(weights, lr=_GENERATOR_RATE, betas=(0.5, 0.999))
        self._network: Network | None = None

    def refine(self, shared: Parameters) -> Parameters:
        """The shared model, taught that what the generators make is of the extra class; before, they learn from it."""
        if self._network is None:
            self._network = Network.from_arrays(shared).to(self._device)
            self._optimizer = torch.optim.SGD(self._network.parameters(), lr=_ADVERSARY_RATE)
        _adopt(self._network, shared)
        self._network.requires_grad_(False)
        made = self._make()
        loss = functional.cross_entropy(self._network(made), self._labels)
        _descend(loss, self._generator_optimizer)
        self._network.requires_grad_(True)
        losses = functional.cross_entropy(
            self._network(made.detach()), torch.full_like(self._labels, self._extra), reduction="none"
        )
        # Only images that still deceive: pushed further, the model would take the victim's for the extra class as well.
        deceive = (losses > math.log(2)).float()
        _descend((losses * deceive).mean(), self._optimizer)
        self.loss = float(loss.detach())
        return self._network.arrays()

    def _make(self) -> Tensor:
        parts = (
            generator(random_latents(_IMAGES_PER_CLASS, self._rng, self._device))
            for generator in self.generators.values()
        )
        return torch.cat(list(parts))


def _descend(loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    # Images like no other may give activations, and so gradients, of any size.
    nn.utils.clip_grad_norm_([weight for group in optimizer.param_groups for weight in group["params"]], _LONGEST)
    optimizer.step()


def interplay(victim: Victim, adversary: Participant, rounds: int, report: Progress = no_progress) -> Parameters:
    """The shared model after so many rounds, as the victim left it. Only parameters pass between the two.

    Raises InputError where the generators' loss is no longer finite.
    """
    shared = victim.first()
    for number in range(rounds):
        shared = victim.refine(adversary.refine(shared))
        if not math.isfinite(adversary.loss):
            raise InputError(
                f"The collaborative training diverged in round {number + 1}; choose another network for the victim, or "
                "fewer rounds."
            )
        report("collaborative training", (number + 1) / rounds)
    return shared


def sample(
    generators: Mapping[int, nn.Module],
    network: nn.Module,
    targets: NDArray[np.int64],
    draws: int,
    rng: np.random.Generator,
    device: str,
) -> Found:
    """For each target (ascending) the images of its generator that the shared model is surest of, out of `draws`."""
    images, confidence, accepted = [], [], []
    with torch.no_grad():
        for target, count in zip(*np.unique(targets, return_counts=True), strict=True):
            made = generators[int(target)](random_latents(max(draws, int(count)), rng, device))
            probability = network(made).softmax(1)
            best = probability[:, int(target)].topk(int(count)).indices
            images.append(made[best])
            confidence.append(probability[best, int(target)])
            accepted.append(probability[best].argmax(1) == int(target))
    sure = torch.cat(confidence)
    return Found(torch.cat(images), -sure.clamp_min(1e-12).log(), sure, torch.cat(accepted))
