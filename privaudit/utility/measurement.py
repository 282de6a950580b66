"""Measuring how useful a release is, and the task that does it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from privaudit import seeds as named
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.release import Release
from privaudit.store import Arrays
from privaudit.utility.feature_distances import NEIGHBOURS, frechet_distance, precision_recall
from privaudit.utility.intervals import accuracies
from privaudit.utility.recipes import in_words, student_recipe
from privaudit.utility.record import Beside, Frechet, Measured, UtilityRecord

if TYPE_CHECKING:
    from privaudit.learning import Network, Recipe

FEWEST_SEEDS = 3
"""Students on each side: with fewer, nothing can be said about their spread."""

MOST_IN_DISTANCES = 5000
"""Images on each side of the feature distances."""


@dataclass(frozen=True, eq=False)
class Utility:
    """What was found, and the evidence from which accuracies and ratio can be computed again.

    synthetic_correct, real_correct: bool [seeds, test images], where each student is right. Private: row i belongs to
    test image i.
    """

    record: UtilityRecord
    synthetic_correct: NDArray[np.bool_]
    real_correct: NDArray[np.bool_]


def measure(
    release: Release,
    members: Images,
    test: Images,
    *,
    classes: int,
    recipe: Recipe | None = None,
    seeds: int = FEWEST_SEEDS,
    device: str = "cpu",
    seed: int = 0,
    units: NDArray[np.generic] | None = None,
    limit: int = MOST_IN_DISTANCES,
) -> Utility:
    """Train students on the release and on as many members, and test both on real images that neither has seen.

    Students of the release learn its soft labels where it has them; those of the members learn labels. `seeds`
    students on each side differ in initial weights, and on the members' side in the members drawn too.
    Fréchet distance, precision and recall are taken in the features of one more network trained on all members, with
    equally many released, member and test images (at most `limit`, drawn by `seed`).

    classes: number of classes. recipe: how students are trained; None: `student_recipe(release.images)`.
    units: [test images], the person that each shows; None: every test image stands for itself.
    All networks are asked for in one call: within a task the driver trains them in parallel, once per store.
    Raises InputError where sizes differ, labels are out of range, soft labels are no probabilities, there are too few
    images or seeds, or there is no test image.
    """
    from privaudit.learning import trained
    from privaudit.utility import students

    _check(release, members, test, classes, seeds, limit, units)
    students.check_soft_labels(release, classes)
    chosen = student_recipe(release.images) if recipe is None else recipe
    plan = students.plan(release, members, classes, chosen, seeds, seed)
    networks = trained(plan.trainings, device)
    correct = np.stack([students.correct(network, test, device) for network in networks[: 2 * seeds]])
    found = accuracies(correct[:seeds], correct[seeds:], units)
    frechet, precision, recall = _distances(networks[-1], release.images, members, test, limit, seed, device)
    record = UtilityRecord(
        synthetic=found.synthetic,
        real=found.real,
        ratio=found.ratio,
        chance=float(np.bincount(test.labels).max() / len(test)),
        recipe=in_words(chosen),
        seeds=seeds,
        n_release=len(release.images),
        n_real=plan.n_real,
        labels="hard" if release.soft_labels is None else "soft",
        frechet=frechet,
        precision=precision,
        recall=recall,
        notes=tuple(_notes(release, members, test, plan.n_real, found.ratio, frechet)),
    )
    return Utility(record, correct[:seeds], correct[seeds:])


def utility_task(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Inputs {'release': pixels, labels, soft_labels and views where there are any; 'members'; 'test', with
    units where known}.

    arguments: recipe (its fields, or None), classes, seeds, seed, device. Returns 'record' (JSON of a `UtilityRecord`,
    as bytes) and the private evidence 'synthetic_correct' and 'real_correct' (see `Utility`).
    """
    from privaudit.learning import Recipe

    released, tested = inputs["release"], inputs["test"]
    images, members, test = (
        Images(inputs[part]["pixels"], inputs[part]["labels"]) for part in ("release", "members", "test")
    )
    found = measure(
        Release(images, soft_labels=released.get("soft_labels"), views=released.get("views")),
        members,
        test,
        classes=arguments["classes"],
        recipe=None if arguments["recipe"] is None else Recipe.model_validate(arguments["recipe"]),
        seeds=arguments["seeds"],
        device=arguments["device"],
        seed=arguments["seed"],
        units=tested.get("units"),
    )
    return {
        "record": np.frombuffer(found.record.model_dump_json().encode(), dtype=np.uint8),
        "synthetic_correct": found.synthetic_correct,
        "real_correct": found.real_correct,
    }


def _check(
    release: Release,
    members: Images,
    test: Images,
    classes: int,
    seeds: int,
    limit: int,
    units: NDArray[np.generic] | None,
) -> None:
    if seeds < FEWEST_SEEDS or limit < 2 or classes < 2:
        raise InputError(
            f"Usefulness needs at least {FEWEST_SEEDS} seeds, two classes and a limit of 2; found {seeds}, {classes} "
            f"and {limit}."
        )
    parts = {"released": (release.images, 2), "member": (members, 2), "test": (test, 1)}
    for name, (images, least) in parts.items():
        if len(images) < least:
            raise InputError(f"Usefulness needs at least {least} {name} images; found {len(images)}.")
        if images.labels.min() < 0 or images.labels.max() >= classes:
            raise InputError(
                f"Labels of {name} images must be 0 to {classes - 1}; found {images.labels.min()} to "
                f"{images.labels.max()}."
            )
    sizes = {images.size for images, _ in parts.values()}
    if len(sizes) != 1:
        text = ", ".join(f"{name} {' x '.join(map(str, images.size))}" for name, (images, _) in parts.items())
        raise InputError(f"Students can be compared on images of one size only; found {text}.")
    count = len(test) if units is None else len(np.unique(units))
    if (units is not None and units.shape != (len(test),)) or count < 2:
        raise InputError(
            f"Usefulness needs two test images, or persons, and one person per test image; found {len(test)} images "
            f"and {count} to count by."
        )


def _distances(
    network: Network, release: Images, members: Images, test: Images, limit: int, seed: int, device: str
) -> tuple[Frechet | None, Beside | None, Beside | None]:
    """Fréchet distance, precision and recall of the release and of members; None for too few images."""
    from privaudit.learning import features
    from privaudit.utility.students import by_block

    n = min(len(release), len(members), len(test), limit)
    if n <= NEIGHBOURS:
        return None, None, None
    seen = []
    for name, images in (("release", release), ("members", members), ("test", test)):
        rows = np.sort(named.generator(seed, "utility", "distances", name).choice(len(images), n, replace=False))
        seen.append(by_block(images, rows, lambda block: features(network, block, device)))
    released, owned, real = seen
    (precision, recall), (own_precision, own_recall) = precision_recall(released, real), precision_recall(owned, real)
    return (
        Frechet(
            release=frechet_distance(released, real),
            members=frechet_distance(owned, real),
            feature_space=f"features of {network.architecture.name} trained on the members ({real.shape[1]})",
            features=real.shape[1],
            n=n,
        ),
        Beside(release=precision, members=own_precision),
        Beside(release=recall, members=own_recall),
    )


def _notes(
    release: Release, members: Images, test: Images, n_real: int, ratio: Measured | None, frechet: Frechet | None
) -> Iterator[str]:
    """What a reader of the numbers should know, one sentence each."""
    images = release.images
    yield "The intervals hold for this release and these members, not for other draws of them."
    missing = np.setdiff1d(np.union1d(members.labels, test.labels), images.labels).tolist()
    if missing:
        yield f"The release has no image of class {_listed(missing)}: its students cannot learn that class."
    if release.soft_labels is not None:
        yield "Students of the release learn its soft labels, students of the members plain labels."
    if release.views is not None:
        yield f"They see released images through {len(release.views)} published views instead of the recipe's shifts."
    if n_real < len(images):
        yield (
            f"There are too few members for {len(images):,} images in the release's classes: students of the members "
            f"learn {n_real:,} images, in as many steps."
        )
    if ratio is None:
        yield "Students of the members are never right, so there is no ratio."
    if frechet is None:
        yield "Too few images for Fréchet distance, precision and recall."
    else:
        yield (
            f"Fréchet distance, precision and recall compare {frechet.n:,} images on each side, whatever their labels. "
            "They have no interval; read them beside the same for members. The network behind the features has "
            "learned the members."
        )
        if frechet.n <= frechet.features:
            yield "There are no more images than features: the Fréchet distance is mostly that of small samples."


def _listed(labels: list[int]) -> str:
    shown = ", ".join(map(str, labels[:5]))
    return shown if len(labels) <= 5 else f"{shown} and {len(labels) - 5} more"
