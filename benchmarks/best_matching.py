"""From plain BN matching to its best, one measured step at a time, on CIFAR-10, beside 500 real images.

Teacher: the shared ResNet-20 (a second one, where there are two: the shared ResNet-56), its class-wise statistics over
30,000 training images; soft labels are the ResNet-20's. 50 images a class, made from noise. Students: ResNet-20, only
the 500 images to learn from, tested on the 10,000 test images. Each step changes one thing and keeps what was before.
`real`: as many real images, drawn at random, with the same teacher's soft labels and the same student.

    python -m benchmarks.best_matching --log best_matching.jsonl --stores FOLDER

Images are made batch by batch in the store, students are cells of the log: a stopped run goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import shared_data
from benchmarks.cells import Cell, finished
from benchmarks.recording import write_result
from benchmarks.tasks import results
from privaudit import seeds
from privaudit.attack import Context
from privaudit.execution import Task
from privaudit.images import Images, concatenate
from privaudit.learning import Network, Recipe, accuracy, features, train
from privaudit.learning.batches import as_float
from privaudit.manifest import result_facts
from privaudit.piles import put_images
from privaudit.store import Arrays, Store
from privaudit.synth.bn_matching import BNMatching
from privaudit.synth.bn_matching.several import mean_answers
from privaudit.synth.bn_matching.statistics import collected
from privaudit.synthesizer import Shard
from privaudit.utility.feature_distances import precision_recall
from privaudit.views import drawn

COMMON = {"images_per_class": 50, "flip": True, "batch_size": 50}
IMAGES: dict[str, dict[str, Any]] = {
    "plain": {"steps": 250, "learning_rate": 0.1},
    "larger rate": {"steps": 250, "learning_rate": 0.25},
    "more steps": {"steps": 500, "learning_rate": 0.25},
    "two teachers": {"steps": 500, "learning_rate": 0.25, "more_teachers": ["resnet56"]},
}
TEMPERATURE, VIEWS = 4.0, 100
PLAIN = Recipe(
    network="resnet20",
    epochs=150,
    batch_size=100,
    optimizer="adamw",
    learning_rate=0.002,
    weight_decay=0.01,
    crop=4,
    flip=True,
    precision="bfloat16",
)
BEST = PLAIN.model_copy(update={"batch_size": 25, "learning_rate": 0.001, "decay": 2.0, "ema": 0.99})
"""Small batches, a slow decay, a moving average."""

SEEDS = range(2)


def _teachers(settings: Mapping[str, Any]) -> list[Network]:
    return [shared_data.cifar10_network(name) for name in ("resnet20", *settings.get("more_teachers", ()))]


def make(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """One batch of a release."""
    import torch

    members = Images.from_arrays(inputs["members"])
    teachers = _teachers(arguments["settings"])
    shard = Shard(**arguments["shard"])
    context = Context(seeds.generator(arguments["seed"], "best matching", shard.name))
    measured = [collected(teacher, members, 10, "cpu") for teacher in teachers]
    engine = BNMatching.model_validate(arguments["settings"])
    made = engine.match(teachers, measured, shard, members.size[:2], torch.bfloat16, context)
    return made.arrays()


def released(name: str, store: Store, members: Images, processes: int) -> Images:
    """The images of one step, from the store or made now; real ones by the name 'real'."""
    if name == "real":
        rng = seeds.generator(0, "best matching", "real")
        rows = [rng.choice(np.flatnonzero(members.labels == label), 50, False) for label in range(10)]
        return members.take(np.concatenate(rows))
    settings, stored = IMAGES[name], put_images(store, members)
    engine = BNMatching.model_validate(COMMON | settings)
    tasks = [
        Task(
            f"{name}, {shard.name}",
            "benchmarks.best_matching:make",
            {
                "settings": json.loads(json.dumps(COMMON | settings)),
                "seed": 0,
                "shard": asdict(shard),
            },
            {"members": stored},
            {"version": engine.version, **result_facts("cpu")},
        )
        for shard in engine.shards(members)
    ]
    parts = results(tasks, store, processes)
    return concatenate([Images.from_arrays(part) for part in parts])


def study(cell: Cell, stores: Path) -> dict[str, Any]:
    """One student of one release."""
    import torch

    torch.set_num_threads(1)
    members, test = shared_data.cifar10_parts()
    images = released(cell["images"], Store(stores), members, 0)
    recipe, soft, views = Recipe.model_validate(cell["recipe"]), None, None
    if cell["labels"]["kind"] == "views":
        views = drawn(VIEWS, (32, 32), True, seeds.generator(cell["seed"], "best matching", "views"))
    if cell["labels"]["kind"] != "hard":
        soft = mean_answers([shared_data.cifar10_network("resnet20")], images, views, TEMPERATURE, "cpu")
    student = train(recipe, images, 10, cell["seed"], soft_labels=soft, views=views, bfloat16=True)
    found = {"accuracy": accuracy(student, test)}
    adapted, others = _with_statistics_of(student, test.take(slice(0, 2000))), test.take(slice(2000, None))
    return found | {"with_real_statistics": accuracy(adapted, others)}


def _with_statistics_of(student: Network, images: Images) -> Network:
    """The student with its BatchNorm statistics taken on these images, which are real and have no labels here.

    Where this helps much, made images differ from real ones in what their activations are like, not in what they teach.
    """
    import torch

    norms = [module for module in student.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    student.train()
    with torch.no_grad():
        for start in range(0, len(images), 200):
            student(as_float(images.pixels[start : start + 200], "cpu"))
    return student.eval()


def looks(images: Images, test: Images) -> dict[str, Any]:
    """How made images lie among real ones in the features of the shared ResNet-56, which is a teacher of the last step
    alone; and whether the two shared networks see their classes.
    """
    judge, rng = shared_data.cifar10_network("resnet56"), seeds.generator(0, "best matching", "looks")
    real = test.take(rng.choice(len(test), len(images), replace=False))
    precision, recall = precision_recall(features(judge, images), features(judge, real))
    return {
        "precision": precision,
        "recall": recall,
        "neighbouring_pixels_differ_by": float(np.abs(np.diff(images.pixels.astype(float), axis=2)).mean()),
        "right": {name: accuracy(shared_data.cifar10_network(name), images) for name in ("resnet20", "resnet56")},
    }


def cells(names: Sequence[str]) -> list[dict[str, Any]]:
    """Soft labels of views for every kind of image; for the last one, and real images, other labels and the best recipe
    too.
    """
    plain, best = (recipe.model_dump(mode="json") for recipe in (PLAIN, BEST))
    last = names[-1]
    asked = [(name, "views", plain) for name in (*names, "real")]
    asked += [(name, labels, plain) for labels in ("hard", "soft") for name in (last, "real")]
    asked += [(name, "views", best) for name in (last, "real")]
    asked += [(names[0], "hard", plain)]
    return [
        {
            "images": name,
            "settings": COMMON | IMAGES.get(name, {}),
            "labels": {"kind": labels, "temperature": TEMPERATURE, "views": VIEWS},
            "recipe": recipe,
            "seed": seed,
        }
        for seed in SEEDS
        for name, labels, recipe in asked
    ]


def main() -> None:
    """Make the images, then train the students that are missing in the log."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", type=Path, default=Path("best_matching.jsonl"))
    parser.add_argument("--stores", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    members, test = shared_data.cifar10_parts()
    seen = {
        name: looks(released(name, Store(options.stores), members, options.processes), test)
        for name in (*IMAGES, "real")
    }
    asked = cells(list(IMAGES))
    rows = finished(partial(study, stores=options.stores), asked, options.log, options.processes)
    best = BEST.model_dump(mode="json")
    table: dict[str, list[float]] = {}
    for row in rows:
        cell = row["cell"]
        student = "best" if cell["recipe"] == best else "plain"
        name = f"{cell['images']}, {cell['labels']['kind']} labels, {student} student"
        table.setdefault(name, []).append(row["accuracy"])
    means = {name: float(np.mean(found)) for name, found in table.items()}
    for name, mean in means.items():
        print(f"{mean:.4f}  {name}")
    told = {
        "images": IMAGES,
        "common": COMMON,
        "temperature": TEMPERATURE,
        "views": VIEWS,
        "mean_accuracy": means,
        "images_as_seen": seen,
        "raw": rows,
    }
    command = "python -m benchmarks.best_matching --log best_matching.jsonl --stores FOLDER"
    print(write_result("best_matching", told, seeds=list(SEEDS), command=command))


if __name__ == "__main__":
    main()
