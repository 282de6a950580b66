"""Pipeline shadows: the attacker runs the engine again, on images that he chooses, and learns what being fed does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from privaudit import seeds
from privaudit.attack import Context, Effort, Evidence, ReleaseAttack, Seen
from privaudit.attacks.membership import scores
from privaudit.attacks.membership.networks import attacker_recipe, class_count, confidences, spending, trainings
from privaudit.attacks.membership.scores import Floats, Shadows
from privaudit.calls import Call, compute
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.learning import trained
from privaudit.plugins import make_synthesizer
from privaudit.synthesis import plan_shards
from privaudit.synthesizer import beside_members

RUNS: dict[Effort, int] = {"quick": 4, "standard": 8, "thorough": 32}
_FINISH = "privaudit.synthesis:finish_task"


def memberships(images: Images, runs: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which images each run is fed, bool [N, runs]: random halves of every class, every second run the other halves.

    So every image is in exactly half of the runs. The order of the images does not matter: they are dealt in the order
    of their hashes.
    """
    inside = np.zeros((len(images), runs), dtype=bool)
    digests = np.array(images.image_digests(), dtype=np.bytes_)
    for number in range(0, runs, 2):
        for label in np.unique(images.labels):
            rows = np.flatnonzero(images.labels == label)
            rows = rows[np.argsort(digests[rows], kind="stable")]
            first = (len(rows) + int(rng.integers(2))) // 2  # of an odd number, either half may be the larger one
            inside[rng.permutation(rows)[:first], number] = True
        inside[:, number + 1] = ~inside[:, number]
    return inside


def remade(
    engine: str, settings: dict[str, Any], feeds: Sequence[Images], seed: int, effort: Effort, device: str
) -> list[Images]:
    """What an engine makes of each of these sets of images, as `synthesize` would; all runs asked for at once."""
    maker = make_synthesizer(engine, settings)
    beside = [beside_members(maker, feed) for feed in feeds]
    plans = [
        plan_shards(
            maker,
            feed,
            seed=int(seeds.generator(seed, "pipeline shadows", number).integers(2**31)),
            effort=effort,
            device=device,
            beside=more,
        )
        for number, (feed, more) in enumerate(zip(feeds, beside, strict=True))
    ]
    inputs = [
        {name: images.arrays() for name, images in {"members": feed, **more}.items()}
        for feed, more in zip(feeds, beside, strict=True)
    ]
    calls = [
        Call(task.label, task.function, task.arguments, given, task.facts)
        for tasks, given in zip(plans, inputs, strict=True)
        for task in tasks
    ]
    made = iter(compute(*calls))
    last = []
    for tasks, given in zip(plans, inputs, strict=True):
        parts = {f"{number:06d}": next(made) for number in range(len(tasks))}
        arguments = {name: value for name, value in tasks[0].arguments.items() if name != "shard"}
        label = f"{engine}: putting the images together"
        last.append(Call(label, _FINISH, arguments, {**given, **parts}, tasks[0].facts))
    return [Images.from_arrays(found) for found in compute(*last)]


class PipelineShadows(ReleaseAttack):
    """The whole pipeline again: engine, release, student; with each suspect in half of the runs.

    The attacker holds the release and the engine that made it, with its settings. He runs the engine on random halves
    of the suspects, trains a student on each release that comes out, and compares the students of the real release
    with those whose pipeline was fed the suspect and those whose pipeline was not. Sources: LiRA online (Carlini et
    al. 2022, arXiv 2112.03570) and the Student-t score of BaVarIA (2026, arXiv 2603.11799), over pipelines.
    """

    name: ClassVar[str] = "pipeline-shadows"
    version: ClassVar[int] = 1
    trains: ClassVar[bool] = True
    threat_model: ClassVar[str] = (
        "An outsider who holds the released images and the engine that made them, with its settings. He runs the "
        "engine himself, with and without each candidate photograph, and asks which of the two the release looks like."
    )

    engine: str = Field("", description="name of the installed engine that made the release")
    engine_settings: dict[str, Any] = Field(default_factory=dict, description="its settings, as in audit.yaml")
    runs: int | None = Field(None, ge=4, multiple_of=2, description="runs of the engine; default by effort: 4, 8, 32")
    score: Literal["student-t", "lira", "lira-fixed"] = Field(
        "student-t", description="how students fed and not fed are compared"
    )
    networks: int | None = Field(None, ge=2, description="students of the real release; default by effort: 2, 4, 16")
    steps: int | None = Field(
        None, ge=1, description="steps of each training, in whole epochs; default by effort: 200, 600, 1,500"
    )

    @property
    def not_ready(self) -> str | None:
        """Why it cannot be run with these settings; None where it can."""
        if self.engine:
            return None
        return "it runs the engine again, and the setting engine does not name it"

    def attack(self, seen: Seen, suspects: Images, own: Context) -> Evidence:
        """Score: the mean over the students of the real release.

        Raises InputError without an engine, for settings that it does not know, and where there are too few suspects.
        """
        if self.not_ready:
            raise InputError(f"{self.name}: {self.not_ready}. Give attacks: pipeline-shadows: engine: NAME.")
        release, device = seen.images, own.device
        inside = memberships(suspects, self.runs or RUNS[own.effort], own.generator)
        order = np.argsort(np.array(suspects.image_digests(), dtype=np.bytes_), kind="stable")
        feeds = [suspects.take(order[column[order]]) for column in inside.T]
        if min(len(feed) for feed in feeds) < 2:
            raise InputError(f"{self.name} needs at least four suspects; found {len(suspects)}.")
        made = remade(self.engine, dict(self.engine_settings), feeds, own.seed, own.effort, device)
        spent, classes = spending(own.effort, self.networks, self.steps), class_count(release, suspects, *made)
        asked = trainings("target", attacker_recipe(release, spent.steps), release, classes, spent.networks, own.seed)
        for number, images in enumerate(made):
            recipe = attacker_recipe(images, spent.steps)
            asked += trainings(f"pipeline {number}", recipe, images, classes, 1, own.seed)
        sure = confidences(trained(asked, device), suspects, device)
        targets, shadows = sure[:, : spent.networks], Shadows(sure[:, spent.networks :], inside)
        return Evidence(scores=np.mean([self._score(target, shadows) for target in targets.T], axis=0))

    def _score(self, target: Floats, shadows: Shadows) -> Floats:
        if self.score == "student-t":
            return scores.student_t(target, shadows)
        return scores.lira(target, shadows, pooled=self.score == "lira-fixed")
