"""What is published beside the images, on its way to the attacks that look at it; and its analogue in the other arms.

An attack is handed what it declares to look at (`Sight.TEACHER`, `Sight.SOFT_LABELS`) and no more. In the arms `raw`
and `fresh` it gets what a publisher without any defence would have put beside those images: a teacher of the same
architecture trained on them, its probabilities for them, and the exact class-wise statistics of them under it. Who
looks at statistics (`Sight.STATISTICS`) is handed the network that they were measured with, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit.attack import Attack, Context, EngineBound, Sight
from privaudit.images import Images, concatenate
from privaudit.release import Release
from privaudit.released_statistics import IMAGES, PIXELS, class_statistics, layers_of, needs_network
from privaudit.store import Arrays, Store

ARTIFACTS: Mapping[str, Sight] = {
    "soft_labels": Sight.SOFT_LABELS,
    "teacher": Sight.TEACHER,
    "statistics": Sight.STATISTICS,
}
"""By name in a release: what an attack declares that looks at it."""

STAND_IN = "convnet"
"""Network of the analogue where soft labels are published without the network that gave them."""

_TEACHER, _STATISTICS = "teacher: ", "statistics: "
_SMALLEST_SIDE = 8


def wanted(attack: Attack) -> tuple[str, ...]:
    """Names of the artifacts that this attack looks at."""
    return tuple(name for name, sight in ARTIFACTS.items() if sight in attack.sees)


def lacking(attack: Attack, release: Release) -> str | None:
    """Why this attack cannot be run on what this release shows, or with its settings; None where it can."""
    not_ready = getattr(attack, "not_ready", None)
    if not_ready is not None:
        return f"{attack.name} was not run: {not_ready}"
    if isinstance(attack, EngineBound) and attack.bound_to(release) is None:
        return f"{attack.name} was not run: it undoes {attack.engine}, and the release shows no trace of that"
    missing = [name.replace("_", " ") for name in wanted(attack) if name not in release.artifacts]
    if missing:
        return f"{attack.name} was not run: it looks at {' and '.join(missing)}, which it is not shown here"
    if "statistics" in wanted(attack) and release.teacher is None and needs_network(release.statistics or {}):
        return f"{attack.name} was not run: the network that the statistics were measured with is not shown here"
    if wanted(attack) and min(release.images.size[:2]) < _SMALLEST_SIDE:
        return f"{attack.name} was not run: no network can be trained on images this small, to compare with"
    return None


def put_artifacts(store: Store, attack: Attack, release: Release) -> dict[str, str]:
    """Keep what this attack looks at beside the images; the hashes by name."""
    stored = {}
    if "soft_labels" in wanted(attack) and release.soft_labels is not None:
        stored["soft_labels"] = store.put_array(release.soft_labels)
    if "statistics" in wanted(attack) and release.statistics is not None:
        stored |= {_STATISTICS + name: store.put_array(array) for name, array in release.statistics.items()}
    if _shows_teacher(attack, release) and release.teacher is not None:
        stored |= {_TEACHER + name: store.put_array(array) for name, array in release.teacher.arrays().items()}
    return stored


def _shows_teacher(attack: Attack, release: Release) -> bool:
    """Whether the attack is handed the teacher: because it looks at it, or at statistics of its layers."""
    asked = wanted(attack)
    return "teacher" in asked or ("statistics" in asked and needs_network(release.statistics or {}))


def read_release(arrays: Arrays) -> Release:
    """The release of these arrays: images, and what `put_artifacts` put beside them."""
    statistics = {
        name.removeprefix(_STATISTICS): array for name, array in arrays.items() if name.startswith(_STATISTICS)
    }
    release = Release(
        Images.from_arrays(arrays),
        soft_labels=arrays.get("soft_labels"),
        statistics=statistics or None,
    )
    parts = {name.removeprefix(_TEACHER): array for name, array in arrays.items() if name.startswith(_TEACHER)}
    if not parts:
        return release
    from privaudit.learning import Network

    return replace(release, teacher=Network.from_arrays(parts))


def analogue(attack: Attack, release: Release) -> dict[str, Any]:
    """What to make in the other arms for this attack, JSON-able; empty where it looks at images alone."""
    if not wanted(attack):
        return {}
    if release.teacher is not None:
        network, classes = release.teacher.architecture.name, release.teacher.architecture.classes
    else:
        network, classes = STAND_IN, 0 if release.soft_labels is None else release.soft_labels.shape[-1]
    asked: dict[str, Any] = {"network": network, "classes": classes, "artifacts": list(wanted(attack))}
    if "statistics" in wanted(attack) and release.statistics is not None:
        asked |= {"layers": list(layers_of(release.statistics)), "classes": len(release.statistics[IMAGES])}
        asked["artifacts"] += ["teacher"] if _shows_teacher(attack, release) and "teacher" not in wanted(attack) else []
    return asked


def with_analogue(release: Release, asked: Mapping[str, Any], world: Context) -> Release:
    """The images of an arm with what `analogue` asks for: a network trained on them, without shifts, so that it learns
    them by heart as far as it can; and its probabilities for them.
    """
    from privaudit.learning import probabilities
    from privaudit.utility.recipes import student_recipe

    classes, artifacts = int(asked["classes"]), asked["artifacts"]
    teacher = soft_labels = statistics = None
    if {"teacher", "soft_labels"} & set(artifacts):
        recipe = student_recipe(release.images).model_copy(update={"network": asked["network"], "crop": 0})
        teacher = world.train(recipe, release.images, world.seed, classes=classes)
    if teacher is not None and "soft_labels" in artifacts:
        soft_labels = probabilities(teacher, release.images, device=world.device)
    if "statistics" in artifacts:
        layers = asked.get("layers", [PIXELS])
        statistics = class_statistics(release.images, classes, layers, teacher, world.device)
    shown = teacher if "teacher" in artifacts else None
    return replace(release, soft_labels=soft_labels, teacher=shown, statistics=statistics)


def grown(release: Release, plants: Images, order: NDArray[np.int64], rng: np.random.Generator) -> Release:
    """The release with plants in it, its rows in this order. order: of released images, then plants.

    A plant takes the soft labels of a released image of its class, drawn at random: they give nothing away.
    """
    soft = release.soft_labels
    if soft is not None:
        labels, with_soft = release.images.labels, np.isfinite(soft).all(axis=1)
        donors = np.empty(len(plants), dtype=np.int64)
        for label in np.unique(plants.labels):
            mine = np.flatnonzero(plants.labels == label)
            same = np.flatnonzero(with_soft & (labels == label))
            donors[mine] = rng.choice(same if len(same) else np.flatnonzero(with_soft), len(mine))
        soft = np.concatenate([soft, soft[donors]])[order]
    return replace(release, images=concatenate([release.images, plants]).take(order), soft_labels=soft)
