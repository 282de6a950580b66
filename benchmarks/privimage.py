"""PrivImage on MNIST with grey CIFAR-10 as public images: what the guarantee costs, beside no guarantee and no
fine-tuning.

50,000 members, the other 10,000 images for tests; 40,000 public images; the setting `small`, 300 steps at an expected
batch of 512; 5,000 samples. A student is trained on them (and on 5,000 members) and tested on real images; the Fréchet
distance is between 5,000 samples and 5,000 test images in the features of a ResNet-20 trained on the members, and is no
FID. Noise is drawn from the seed.

    python -m benchmarks.privimage --store FOLDER

Every step is a task in the store, and goes on where it was stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import shared_data
from benchmarks.recording import write_result
from benchmarks.tasks import results
from privaudit import seeds
from privaudit.accounting import GaussianSteps, epsilon_spent
from privaudit.attack import Context
from privaudit.calls import surroundings
from privaudit.execution import Task
from privaudit.images import Images
from privaudit.learning import Recipe, Training, accuracy, features, trained
from privaudit.manifest import result_facts
from privaudit.piles import put_images
from privaudit.store import Arrays, Store
from privaudit.synth.privimage import PrivImage
from privaudit.synth.privimage.diffusion import Denoiser, sampled
from privaudit.synth.privimage.model import VERSION, fine_tuned, pretrained
from privaudit.utility.feature_distances import frechet_distance
from privaudit.utility.recipes import student_recipe

MEMBERS, SAMPLES, DELTA = 50_000, 5_000, 1e-5
COMMON = {"sampling_rate": 512 / MEMBERS, "divisor": 512.0, "noise": "seeded", "delta": DELTA}
KINDS: dict[str, dict[str, Any]] = {
    "epsilon 10": {"epsilon": 10.0},
    "epsilon 1": {"epsilon": 1.0},
    "no guarantee": {"epsilon": 10.0, "clip": 1e6},
    "no fine-tuning": {"epsilon": 10.0},
}
JUDGE = Recipe(network="resnet20", epochs=3, batch_size=128, precision="bfloat16")
STUDENTS = 3


def mechanisms(kind: str) -> tuple[GaussianSteps, GaussianSteps]:
    """Fine-tuning and query; without noise where there is no guarantee."""
    engine = PrivImage.model_validate(COMMON | KINDS[kind])
    training, query = engine.mechanisms()
    if kind == "no guarantee":
        return GaussianSteps(0.0, training.sampling_rate, training.steps), GaussianSteps(0.0, 1.0, 1)
    return training, query


def release(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Inputs {'members', 'public'} to 5,000 samples."""
    members, public = Images.from_arrays(inputs["members"]), Images.from_arrays(inputs["public"])
    kind, seed = arguments["kind"], arguments["seed"]
    engine = PrivImage.model_validate(COMMON | KINDS[kind])
    training, query = mechanisms(kind)
    context = Context(seeds.generator(seed, "privimage benchmark", kind), seed, progress=surroundings().report)
    model = pretrained(engine, members, public, 10, query, context)
    if kind != "no fine-tuning":
        model = fine_tuned(engine, model, members, 10, training, context)
    network = Denoiser.from_arrays(engine.shape(members, 10), model)
    labels = np.repeat(np.arange(10), SAMPLES // 10)
    steps = engine.chosen("sampling_steps")
    parts = [sampled(network, part, (28, 28), steps, context.generator, "cpu") for part in np.split(labels, 50)]
    return {"pixels": np.concatenate(parts), "labels": labels}


def study(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Inputs {'release', 'members', 'test'} to accuracies of students, and the distance to real images."""
    images, members, test = (Images.from_arrays(inputs[name]) for name in ("release", "members", "test"))
    students = [Training(student_recipe(images), images, 10, seed) for seed in range(STUDENTS)]
    *found, judge = trained([*students, Training(JUDGE, members, 10, 0)], "cpu")
    distance = frechet_distance(features(judge, images), features(judge, test.take(slice(0, SAMPLES))))
    return {
        "accuracy": np.array([accuracy(network, test) for network in found]),
        "frechet": np.array(distance),
        "judge": np.array(accuracy(judge, test)),
    }


def picture(rows: Sequence[Images], path: Path) -> None:
    """The first two images of each class, one row for each of `rows`, grey."""
    lines = []
    for images in rows:
        chosen = [row for label in range(10) for row in np.flatnonzero(images.labels == label)[:2]]
        lines.append(np.concatenate(list(images.pixels[chosen, :, :, 0]), axis=1))
    whole = Image.fromarray(np.concatenate(lines))
    whole.resize((2 * whole.width, 2 * whole.height), Image.Resampling.NEAREST).save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--picture", type=Path, default=Path("privimage.png"))
    options = parser.parse_args()
    store = Store(options.store)
    everything = shared_data.load("mnist").images
    order = np.random.default_rng(0).permutation(len(everything))
    members, test = everything.take(order[:MEMBERS]), everything.take(order[MEMBERS:])
    source = options.store / "public.npz"
    pool = shared_data.load("cifar10").images
    np.savez(source, images=pool.pixels, labels=pool.labels)
    public = PrivImage(public=str(source)).public_images(members.size)
    stored = {name: put_images(store, part) for name, part in (("members", members), ("public", public))}
    facts = {"version": VERSION, **result_facts("cpu")}
    tasks = [Task(kind, "benchmarks.privimage:release", {"kind": kind, "seed": 0}, stored, facts) for kind in KINDS]
    made = results(tasks, store, options.processes)
    releases = {kind: Images.from_arrays(arrays) for kind, arrays in zip(KINDS, made, strict=True)}
    releases["as many members"] = members.take(slice(0, SAMPLES))
    chosen = ("no fine-tuning", "epsilon 1", "epsilon 10", "no guarantee")
    picture([members, public, *(releases[kind] for kind in chosen)], options.picture)
    beside = {"members": stored["members"], "test": put_images(store, test)}
    studies = [
        Task(
            f"study of {kind}",
            "benchmarks.privimage:study",
            {},
            beside | {"release": put_images(store, images)},
            facts,
        )
        for kind, images in releases.items()
    ]
    found = dict(zip(releases, results(studies, store, options.processes), strict=True))
    table = {
        kind: {
            "accuracy": found[kind]["accuracy"].tolist(),
            "frechet_distance": float(found[kind]["frechet"]),
        }
        for kind in releases
    }
    budgets = {
        kind: {
            "query_noise": query.noise_multiplier,
            "query_epsilon": epsilon_spent([query], DELTA),
            "fine_tuning_noise": training.noise_multiplier,
            "epsilon": epsilon_spent([training, query], DELTA),
        }
        for kind in ("epsilon 10", "epsilon 1")
        for training, query in [mechanisms(kind)]
    }
    for kind, row in table.items():
        print(f"{np.mean(row['accuracy']):.4f}  {row['frechet_distance']:.2f}  {kind}")
    told = {
        "common": COMMON,
        "kinds": KINDS,
        "judge_accuracy": float(found["as many members"]["judge"]),
        "budgets": budgets,
        "table": table,
    }
    print(write_result("privimage", told, seeds=0, command="python -m benchmarks.privimage --store FOLDER"))


if __name__ == "__main__":
    main()
