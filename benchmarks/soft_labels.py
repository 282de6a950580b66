"""What soft labels tell of a teacher's members: canaries with wrong labels, and members as they are.

canaries: 1 % of a teacher's members, and five times as many strangers, carry wrong labels. A student (mlp) learns the
teacher's answers for as many other images, the release: hard, at temperature 1, 4 or 20, or as soft-label-membership
learns those published at temperature 1 (evened). How surely do the students tell wrongly labelled members from wrongly
labelled strangers, none of which they saw; and how often do they say the wrong label of either?

members: soft-label-membership, quick, against a teacher's members, who are told from other images by its soft labels,
published at temperature 1, for images that are no members; and the same where the teacher never saw them.

    python -m benchmarks.soft_labels --log FILE
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from benchmarks.cells import Cell, finished
from benchmarks.recording import write_result
from benchmarks.shared_data import deal, load
from privaudit import seeds
from privaudit.attack import Context
from privaudit.attacks.membership import SoftLabelMembership, scores
from privaudit.attacks.membership.networks import attacker_recipe
from privaudit.attacks.membership.scores import Floats
from privaudit.attacks.membership.soft_labels import targets_of
from privaudit.images import Images, concatenate
from privaudit.learning import Network, Recipe, logits, train
from privaudit.release import Release
from privaudit.statistics.exposure import auc_estimate
from privaudit.statistics.moderated import level

STEPS = {"mnist": 1875, "cifar10": 1250}
"""Of each teacher and student."""
MEMBERS = {"mnist": 4000, "cifar10": 2000}
NETWORKS = ("mlp", "convnet")
"""Of the teacher."""
STUDENTS = ("hard", "1", "4", "20", "evened")
SEEDS = range(3)


def _dealt(data: str, seed: int, *counts: int) -> list[Images]:
    return [part.images for part in deal(load(data), counts, seeds.generator(seed, "soft labels", data))]


def _teacher(network: str, images: Images, steps: int, seed: int) -> Network:
    recipe = attacker_recipe(images, steps, network).model_copy(update={"weight_decay": 0.0})
    return train(recipe, images, 10, seed)


def _auc(values: Floats, members: int) -> dict[str, Any]:
    return auc_estimate(values[:members], values[members:], "image").model_dump(mode="json")


def canaries(data: str, network: str, seed: int) -> dict[str, Any]:
    """AUC of the canaries for the teacher and each student, and how often each says their wrong label."""
    steps, count = STEPS[data], MEMBERS[data]
    planted_count = count // 100
    sizes = count - planted_count, planted_count, 5 * planted_count, count
    members, planted, strangers, released = _dealt(data, seed, *sizes)
    rng = seeds.generator(seed, "wrong labels")
    pile = concatenate(
        [Images(part.pixels, (part.labels + rng.integers(1, 10, len(part))) % 10) for part in (planted, strangers)]
    )
    fed = concatenate([members, pile.take(slice(0, planted_count))])
    teacher = _teacher(network, fed, steps, seed)
    answers = logits(teacher, released).astype(np.float64)
    hard = Images(released.pixels, answers.argmax(axis=1).astype(np.int64))
    networks = {"teacher itself": teacher}
    for student in STUDENTS:
        soft = None
        if student != "hard":
            published = special.softmax(answers / (1.0 if student == "evened" else float(student)), axis=1)
            soft = targets_of(published.astype(np.float32), hard.labels, None if student == "evened" else 1.0, 10)
        recipe: Recipe = attacker_recipe(hard, steps, "mlp")
        networks[student] = train(recipe, hard, 10, seed + 1000, soft_labels=soft)
    found = {}
    for name, one in networks.items():
        said = logits(one, pile)
        values = scores.logit_confidence(said, pile.labels)
        wrong = said.argmax(axis=1) == pile.labels
        found[name] = {
            "auc": _auc(values, planted_count),
            "says the wrong label": float(wrong[:planted_count].mean()),
            "says the wrong label of strangers": float(wrong[planted_count:].mean()),
        }
    return found


def members(data: str, network: str, seed: int) -> dict[str, Any]:
    """AUC of the attack for members of the teacher and for images that it never saw."""
    count = MEMBERS[data] // 2
    inside, others, released, controls, reference = _dealt(data, seed, count, count, count, count, count // 2)
    pile, found = concatenate([inside, controls]), {}
    for name, learned in (("members", inside), ("strangers", others)):
        teacher = _teacher(network, learned, STEPS[data], seed)
        soft = special.softmax(logits(teacher, released).astype(np.float64), axis=1).astype(np.float32)
        own = Context(seeds.generator(seed, "attack"), seed=seed, effort="quick", reference=reference)
        attack = SoftLabelMembership()
        evidence = attack.attack(attack.expose(Release(released, soft_labels=soft), own), pile, own)
        if evidence.scores is None:
            raise SystemExit("no scores")
        said = scores.logit_confidence(logits(teacher, pile), pile.labels)
        found[f"teacher of {name}"] = {"soft labels": _auc(evidence.scores, count), "teacher itself": _auc(said, count)}
    return found


def one(cell: Cell) -> dict[str, Any]:
    """A cell of the benchmark."""
    import torch

    torch.set_num_threads(1)
    part = canaries if cell["part"] == "canaries" else members
    return {"found": part(str(cell["data"]), str(cell["teacher"]), int(cell["seed"]))}


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over the seeds with 95 % t intervals."""
    found: dict[str, Any] = {}
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        cell = row["cell"]
        groups.setdefault((cell["part"], cell["data"], f"teacher {cell['teacher']}"), []).append(row["found"])
    for key, each in groups.items():
        for name in each[0]:
            if key[0] == "members":
                found[", ".join((*key, name))] = {
                    kind: _level([one[name][kind]["estimate"] for one in each]) for kind in each[0][name]
                }
                continue
            values = [one[name]["auc"]["estimate"] for one in each]
            hard = [one["hard"]["auc"]["estimate"] for one in each]
            found[", ".join((*key, name))] = {
                "auc": _level(values),
                "more than hard labels": _level([value - other for value, other in zip(values, hard, strict=True)]),
                **{
                    kind: float(np.mean([one[name][kind] for one in each]))
                    for kind in ("says the wrong label", "says the wrong label of strangers")
                },
            }
    return found


def _level(values: Sequence[float]) -> list[float]:
    return list(level(np.array(values)))


def main() -> None:
    """Run the cells that the log lacks, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", type=Path, required=True, help="lines of finished cells; a stopped run goes on")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    cells: list[Cell] = [
        {"part": part, "data": data, "teacher": teacher, "seed": seed}
        for part in ("canaries", "members")
        for data in STEPS
        for teacher in NETWORKS
        for seed in SEEDS
    ]
    rows = finished(one, cells, options.log, options.processes)
    figures = summary(rows)
    for name, row in figures.items():
        print(name, row)
    results = {"members": MEMBERS, "steps": STEPS, "summary": figures, "raw": rows}
    print(
        write_result("soft_labels", results, seeds=list(SEEDS), command="python -m benchmarks.soft_labels --log FILE")
    )


if __name__ == "__main__":
    main()
