"""Shadows trained as one network on a GPU, against one after the other.

python -m benchmarks.gpu.shadows
"""

from __future__ import annotations

import time

import numpy as np
import torch

from benchmarks import shared_data
from benchmarks.recording import write_result
from privaudit import seeds
from privaudit.attacks.membership.networks import attacker_recipe
from privaudit.images import Images
from privaudit.learning import Recipe, Training, accuracy, train
from privaudit.learning.stacked import train_together

POOL, SHADOWS, STEPS, TEST = 4000, 32, 750, 2000
BAR = 4.0


def halves(pool: Images, count: int, recipe: Recipe) -> list[Training]:
    """Trainings on random halves of the pool."""
    rows = (seeds.generator(number, "gpu shadows").permutation(len(pool))[: len(pool) // 2] for number in range(count))
    return [Training(recipe, pool.take(half), 10, number) for number, half in enumerate(rows)]


def measure(device: str, pool: Images, test: Images, shadows: int, steps: int) -> dict[str, object]:
    """Seconds of both ways, with bfloat16, and how often the networks of each are right."""
    asked = halves(pool, shadows, attacker_recipe(pool.take(slice(0, len(pool) // 2)), steps))
    train_together(asked[:2], bfloat16=True, device=device)  # chooses kernels
    started = time.perf_counter()
    together = train_together(asked, bfloat16=True, device=device)
    middle = time.perf_counter()
    alone = [train(one.recipe, one.images, one.classes, one.seed, bfloat16=True, device=device) for one in asked]
    seconds = {"together": middle - started, "one after the other": time.perf_counter() - middle}
    return {
        "shadows": shadows,
        "seconds": seconds,
        "times as fast": seconds["one after the other"] / seconds["together"],
        "accuracy": {
            name: float(np.mean([accuracy(network, test, device) for network in networks]))
            for name, networks in (("together", together), ("one after the other", alone))
        },
        "bar": BAR,
    }


def main() -> None:
    if not torch.cuda.is_available():
        print("skipped: this machine has no CUDA device")
        return
    images = shared_data.load("cifar10").images
    order = seeds.generator(0, "gpu shadows").permutation(len(images))
    pool, test = images.take(order[:POOL]), images.take(order[POOL : POOL + TEST])
    found = measure("cuda", pool, test, SHADOWS, STEPS)
    print(found, write_result("gpu_shadows", found, seeds=0, command="python -m benchmarks.gpu.shadows"))


if __name__ == "__main__":
    main()
