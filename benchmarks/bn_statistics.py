"""What carries BN matching: class-wise, mixed or global statistics, or the labels alone; hard and soft labels.

digits    teacher trained on 450 members, a release of 450; students tested on 800 other digits; three splits
cifar10   the shared ResNet-20 as teacher, its statistics over 30,000 training images, 50 images a class made from
          noise, beside 500 real images; students tested on the 10,000 test images

    python -m benchmarks.bn_statistics --part digits --processes 2 --store STORE
    python -m benchmarks.bn_statistics --part cifar10 --processes 2 --store STORE

Every cell is a task in the store, so that a stopped run goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import shared_data
from benchmarks.recording import write_result
from benchmarks.tasks import results
from privaudit import seeds
from privaudit.attack import Context
from privaudit.data.builtin import load_digits
from privaudit.execution import Task
from privaudit.images import Images, concatenate
from privaudit.learning import Network, Recipe, Training, accuracy, probabilities, trained
from privaudit.manifest import result_facts
from privaudit.piles import put_images
from privaudit.splits import random_split
from privaudit.store import Arrays, Store
from privaudit.synth.bn_matching import BNMatching
from privaudit.synth.bn_matching.statistics import collected
from privaudit.synthesizer import Shard
from privaudit.utility import student_recipe

TEMPERATURE = 4.0
ENGINES: dict[str, dict[str, Any]] = {
    "class": {"statistics": "class"},
    "mix": {"statistics": "mix"},
    "global": {"statistics": "global"},
    "global, no labels": {"statistics": "global", "label_weight": 0},
    "labels, no statistics": {"statistics": "class", "statistics_weight": 0},
}
DIGITS_TEACHER = Recipe(
    network="convnet", epochs=30, batch_size=32, optimizer="adamw", learning_rate=3e-3, weight_decay=0.01, crop=2
)
PARTS: dict[str, dict[str, Any]] = {
    "digits": {"teacher": DIGITS_TEACHER, "roll": 1, "steps": 500},
    "cifar10": {"teacher": Recipe(network="resnet20"), "images_per_class": 50, "steps": 1000, "flip": True},
}
# What a seed of CIFAR-10 costs in an hour of two cores is spent on the comparison itself.
TRIED = {"digits": tuple(ENGINES), "cifar10": ("class", "mix", "global")}
SEEDS = {"digits": (0, 1, 2), "cifar10": (0,)}
STUDENTS = 2


def _teacher(part: str, members: Images, seed: int) -> Network:
    if part == "digits":
        return trained([Training(DIGITS_TEACHER, members, 10, seed)], "cpu")[0]
    return shared_data.cifar10_network("resnet20")


def make(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """One batch of a release."""
    members, seed = Images.from_arrays(inputs["members"]), arguments["seed"]
    engine = BNMatching.model_validate(arguments["settings"])
    teacher = _teacher(arguments["part"], members, seed)
    statistics = collected(teacher, members, 10, "cpu")
    shard = Shard(**arguments["shard"])
    context = Context(seeds.generator(seed, "bn statistics", shard.name))
    made = engine.match([teacher], [statistics], shard, members.size[:2], torch.bfloat16, context)
    return made.arrays()


def study(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Accuracies of students on the test images."""
    members, release, test = (Images.from_arrays(inputs[name]) for name in ("members", "release", "test"))
    recipe = student_recipe(release).model_copy(update={"flip": arguments["part"] == "cifar10"})
    soft = None
    if arguments["labels"] == "soft":
        teacher = _teacher(arguments["part"], members, arguments["seed"])
        soft = probabilities(teacher, release, temperature=TEMPERATURE)
    trainings = [Training(recipe, release, 10, seed, soft) for seed in range(STUDENTS)]
    return {"accuracy": np.array([accuracy(network, test) for network in trained(trainings, "cpu")])}


def data(part: str, seed: int) -> tuple[Images, Images, Images]:
    """Members, as many real images as a release has, and test images."""
    rng = seeds.generator(seed, "bn statistics")
    if part == "digits":
        dealt, rest = random_split(load_digits(), [450, 800], rng)[:2]
        return dealt.images, dealt.images, rest.images
    members, test = shared_data.cifar10_parts()
    rows = np.concatenate([rng.choice(np.flatnonzero(members.labels == label), 50, False) for label in range(10)])
    return members, members.take(rows), test


def one(part: str, seed: int, store: Store, processes: int) -> dict[str, dict[str, list[float]]]:
    """Accuracies by what the release is, and by its labels."""
    members, real, test = data(part, seed)
    stored = {"members": put_images(store, members), "test": put_images(store, test)}
    plans: dict[str, list[Task]] = {}
    for name in TRIED[part]:
        settings = ENGINES[name]
        engine = BNMatching.model_validate(PARTS[part] | settings)
        plans[name] = [
            Task(
                f"{part} {seed}: {name}, {shard.name}",
                "benchmarks.bn_statistics:make",
                {
                    "part": part,
                    "seed": seed,
                    "settings": engine.model_dump(mode="json"),
                    "shard": asdict(shard),
                },
                {"members": stored["members"]},
                {"version": engine.version, **result_facts("cpu")},
            )
            for shard in engine.shards(members)
        ]
    made = iter(results([task for plan in plans.values() for task in plan], store, processes))
    releases = {name: concatenate([Images.from_arrays(next(made)) for _ in plan]) for name, plan in plans.items()}
    releases["as many real images"] = real
    studies = {
        (name, labels): Task(
            f"{part} {seed}: students of {name}, {labels} labels",
            "benchmarks.bn_statistics:study",
            {"part": part, "seed": seed, "labels": labels},
            stored | {"release": put_images(store, release)},
            result_facts("cpu"),
        )
        for name, release in releases.items()
        for labels in ("hard", "soft")
    }
    found: dict[str, dict[str, list[float]]] = {}
    for (name, labels), arrays in zip(studies, results(list(studies.values()), store, processes), strict=True):
        found.setdefault(name, {})[labels] = [float(value) for value in arrays["accuracy"]]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, required=True)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--store", type=Path, required=True)
    arguments = parser.parse_args()
    part, store = arguments.part, Store(arguments.store)
    raw = {str(seed): one(part, seed, store, arguments.processes) for seed in SEEDS[part]}
    names = next(iter(raw.values()))
    means = {
        name: {
            labels: float(np.mean([accuracy for run_ in raw.values() for accuracy in run_[name][labels]]))
            for labels in ("hard", "soft")
        }
        for name in names
    }
    told = {
        "settings": {
            key: getattr(value, "model_dump", lambda value=value: value)() for key, value in PARTS[part].items()
        },
        "students": STUDENTS,
        "mean_accuracy": means,
        "ratio_to_real": {
            name: {labels: means[name][labels] / means["as many real images"][labels] for labels in ("hard", "soft")}
            for name in names
        },
        "raw": raw,
    }
    path = write_result(
        f"bn_statistics_{part}",
        told,
        seeds=list(SEEDS[part]),
        command=f"python -m benchmarks.bn_statistics --part {part}",
    )
    print(means, path)


if __name__ == "__main__":
    main()
