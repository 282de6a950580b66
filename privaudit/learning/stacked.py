"""Several networks trained as one, which is the fastest way on a GPU: small networks alone leave it idle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional

from privaudit import seeds
from privaudit.attack import Progress, no_progress
from privaudit.errors import InputError
from privaudit.learning.batches import batches, check_soft_labels, drawn_batch
from privaudit.learning.networks import Network
from privaudit.learning.recipe import Training
from privaudit.learning.training import (
    autocast,
    new_network,
    optimizer_of,
    set_learning_rate,
    steps_per_epoch,
)


def train_together(
    trainings: Sequence[Training], *, bfloat16: bool = False, device: str = "cpu", progress: Progress = no_progress
) -> list[Network]:
    """Networks like those that `train` gives for each of these trainings: one recipe, as many images of one size, all
    with soft labels or none; layers that draw random numbers are not for this.

    Their weights are stacked, and each step is one step of all of them (torch.func.vmap). Each has the start, the
    batches and the changed images that it would have alone, so that they differ by rounding only, which long trainings
    enlarge. Raises InputError where one of them diverges.
    """
    recipe, steps = trainings[0].recipe, steps_per_epoch(trainings[0].recipe, len(trainings[0].images))
    for one in trainings:
        check_soft_labels(one)
    networks = [new_network(recipe, one.images, one.classes, one.seed).to(device).train() for one in trainings]
    parameters, buffers = stack_module_state(networks)
    model = networks[0]
    optimizer = optimizer_of(recipe, parameters.values(), stacked=True)
    state = {**parameters, **buffers}
    average: dict[str, Tensor] = {}

    def forward(own: dict[str, Tensor], moments: dict[str, Tensor], images: Tensor) -> Tensor:
        logits: Tensor = functional_call(model, (own, moments), (images,))
        return logits

    together = vmap(forward, randomness="different")
    for epoch in range(recipe.epochs):
        drawn = [seeds.generator(one.seed, "training", "batches", epoch) for one in trainings]
        orders = (batches(len(one.images), recipe.batch_size, rng) for one, rng in zip(trainings, drawn, strict=True))
        for number, rows in enumerate(zip(*orders, strict=True)):
            set_learning_rate(optimizer, recipe, (epoch * steps + number) / (recipe.epochs * steps))
            parts = [drawn_batch(one, mine, device, rng) for one, mine, rng in zip(trainings, rows, drawn, strict=True)]
            images, targets = (torch.stack(part) for part in zip(*parts, strict=True))
            with autocast(device, bfloat16):
                logits = together(parameters, buffers, images)
            losses = functional.cross_entropy(
                logits.float().flatten(0, 1),
                targets.flatten(0, 1),
                reduction="none",
                label_smoothing=recipe.label_smoothing,
            ).view(len(trainings), -1)
            optimizer.zero_grad(set_to_none=True)
            losses.mean(1).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if recipe.ema is not None:
                _follow(average, state, recipe.ema)
        if not torch.isfinite(losses).all():
            raise InputError(
                f"The training of {recipe.network} diverged in epoch {epoch + 1}. Choose a learning_rate below "
                f"{recipe.learning_rate:g}."
            )
        progress("training", (epoch + 1) / recipe.epochs)
    for place, network in enumerate(networks):
        network.load_state_dict({name: values[place].detach() for name, values in (average or state).items()})
    return [network.cpu().eval() for network in networks]


def _follow(average: dict[str, Tensor], state: Mapping[str, Tensor], decay: float) -> None:
    """The moving average of every number, in place; it starts with the state after the first step."""
    with torch.no_grad():
        for name, values in state.items():
            if name not in average:
                average[name] = values.detach().clone()
            elif values.is_floating_point():
                average[name].lerp_(values, 1 - decay)
            else:
                average[name].copy_(values)
