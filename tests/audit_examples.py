"""Small audits for the tests: scikit-learn's digits dealt at random, attacks made to mislead, scores made by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from privaudit import cells, judgement, plugins, seeds, validity
from privaudit.attack import Context, Evidence, ReleaseAttack, Seen, Settings, Sight, Source
from privaudit.audit import Candidate, Plan, collect
from privaudit.data.loading import load
from privaudit.evidence import AttackFacts, AuditEvidence, AuditFacts, ReleaseFacts
from privaudit.images import Dataset, Images
from privaudit.judgement import judge
from privaudit.policy import Policy, load_policy
from privaudit.record import AuditRecord, DataRecord, Estimate, Unit
from privaudit.release import Release
from privaudit.splits import random_split
from privaudit.statistics.power import innocent_draws
from privaudit.store import Store
from privaudit.utility.record import Measured, UtilityRecord

REQUIRED: dict[str, dict[str, Any]] = {"nearest-copy": {}, "density-ratio": {}}
DEMO = load_policy("demo")
FLOATS = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Digits:
    members: Dataset
    controls: Dataset
    fresh: Dataset
    reference: Dataset
    unseen: Dataset


@lru_cache(maxsize=4)
def digits(seed: int = 0) -> Digits:
    rng = seeds.generator(seed, "digits of the tests")
    return Digits(*random_split(load("digits"), [450, 600, 300, 150, 297], rng))


def changed(policy: Policy, name: str, **values: Any) -> Policy:
    """The policy with other values in the rule of this id."""
    rules = tuple(rule.model_copy(update=values) if rule.id == name else rule for rule in policy.rules)
    return policy.model_copy(update={"rules": rules})


def only_plants(policy: Policy, *kinds: str) -> Policy:
    """The policy with rules on plants of these kinds and no others."""
    others = [rule for rule in policy.rules if not rule.metric.startswith("detection_limit.")]
    one = policy.rules_on("detection_limit.mirrored")[0]
    plants = [one.model_copy(update={"id": f"{kind}-copies", "metric": f"detection_limit.{kind}"}) for kind in kinds]
    return policy.model_copy(update={"rules": (*others, *plants)})


def dataset(images: Images, groups: NDArray[np.str_] | None = None) -> Dataset:
    names = tuple(str(row) for row in range(len(images)))
    classes = tuple(str(number) for number in range(int(images.labels.max(initial=0)) + 1))
    return Dataset(images, classes, groups, names, "made by a test")


def random_images(count: int, seed: int, side: int = 8, channels: int = 1, classes: int = 2) -> Images:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, side, side, channels), dtype=np.uint8)
    return Images(pixels, np.arange(count, dtype=np.int64) % classes)


def candidate(images: Images, name: str = "candidate") -> Candidate:
    return Candidate(name, Release(images), dataset(images))


def plan_for(
    released: Images,
    attacks: Mapping[str, Mapping[str, Any]] = REQUIRED,
    seed: int = 0,
    kinds: tuple[str, ...] = ("mirrored",),
    **changes: Any,
) -> Plan:
    data = digits(seed)
    settings: dict[str, Any] = {
        "members": data.members,
        "candidates": [candidate(released)],
        "attacks": attacks,
        "controls": data.controls,
        "fresh": data.fresh,
        "reference": data.reference,
        "seed": seed,
        "kinds": kinds,
        "random_split": True,
    }
    return Plan(**(settings | changes))


_INNOCENT = lru_cache(maxsize=32)(
    lambda n_members, n_controls: innocent_draws(n_members, n_controls, np.random.default_rng(0))
)


_BASELINES: dict[tuple[str, ...], tuple[Estimate, float, bool] | None] = {}


def _remembered(
    members: Images, controls: Images, units: NDArray[np.str_], unit: Unit, rng: np.random.Generator
) -> tuple[Estimate, float, bool] | None:
    """The blind baseline, computed once for the same pools and seed."""
    key = (members.digest, controls.digest, str(units.tolist()), unit, str(rng.bit_generator.state))
    if key not in _BASELINES:
        _BASELINES[key] = validity.blind_baseline(members, controls, units, unit, rng)
    return _BASELINES[key]


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer permutations for the blind baseline; it and the innocent draws are shared by audits of the same pools."""
    monkeypatch.setattr(validity, "PERMUTATIONS", 149)
    monkeypatch.setattr(cells, "blind_baseline", _remembered)
    monkeypatch.setattr(judgement, "innocent_draws", lambda n_members, n_controls, _: _INNOCENT(n_members, n_controls))


def audited(plan: Plan, root: Path, policy: Policy = DEMO) -> tuple[AuditEvidence, AuditRecord]:
    evidence = collect(plan, policy, Store(root))
    return evidence, judge(evidence, policy)


def without_times(facts: Any) -> Any:
    """The facts of a run but for how long it took."""
    if isinstance(facts, Mapping):
        return {key: without_times(value) for key, value in facts.items() if key != "seconds"}
    if isinstance(facts, list | tuple):
        return [without_times(value) for value in facts]
    return facts


# Attacks that mislead, crash or answer nonsense.


def _digests(images: Images) -> list[bytes]:
    return [hashlib.sha256(np.ascontiguousarray(image).tobytes()).digest() for image in images.pixels]


class _Test(ReleaseAttack):
    version: ClassVar[int] = 1
    threat_model: ClassVar[str] = "A test."


class HashOnly(_Test):
    """2 where the bytes are in the release, else a random number: finds `raw`, blind to any change."""

    name: ClassVar[str] = "hash-only"

    def attack(self, seen: Seen, suspects: Images, own: Context) -> Evidence:
        released = set(_digests(seen.images))
        found = np.array([digest in released for digest in _digests(suspects)])
        return Evidence(scores=np.where(found, 2.0, own.generator.random(len(suspects))))


class ThreePercent(_Test):
    """Recognises one released original in fifty: a TPR of about 3 % at 1 % false positives on `raw`."""

    name: ClassVar[str] = "three-percent"

    def attack(self, seen: Seen, suspects: Images, own: Context) -> Evidence:
        released = {digest for digest in _digests(seen.images) if digest[0] < 5}
        found = np.array([digest in released for digest in _digests(suspects)])
        return Evidence(scores=np.where(found, 2.0, own.generator.random(len(suspects))))


class SizeOfRelease(_Test):
    """A random number that rises with the release's size: scores of two runs are not on one scale."""

    name: ClassVar[str] = "size-of-release"

    def attack(self, seen: Seen, suspects: Images, own: Context) -> Evidence:
        released = set(_digests(seen.images))
        found = np.array([digest in released for digest in _digests(suspects)])
        chance = own.generator.random(len(suspects)) + len(seen.images)
        return Evidence(scores=np.where(found, chance + 2.0, chance))


class Crashing(_Test):
    name: ClassVar[str] = "crashing"

    def attack(self, seen: Seen, suspects: Images, own: Context) -> Evidence:
        raise RuntimeError("out of ideas")


class WrongShape(_Test):
    name: ClassVar[str] = "wrong-shape"

    def attack(self, seen: Seen, suspects: Images, own: Context) -> Evidence:
        return Evidence(scores=np.zeros(len(suspects) + 1))


class NoOpinion(_Test):
    name: ClassVar[str] = "no-opinion"

    def attack(self, seen: Seen, suspects: Images, own: Context) -> Evidence:
        return Evidence(scores=np.full(len(suspects), np.nan))


class SeesObjects(_Test):
    """Its victim shows something that is no array of numbers."""

    name: ClassVar[str] = "sees-objects"

    def expose(self, release: Release, world: Context) -> Seen:
        return Seen({"objects": np.array([{"a": 1}], dtype=object)})

    def attack(self, seen: Seen, suspects: Images, own: Context) -> Evidence:
        return Evidence(scores=np.zeros(len(suspects)))


class Distance(_Test):
    """Minus the distance to the nearest released image, with mirroring: a small honest attack."""

    name: ClassVar[str] = "distance"

    def attack(self, seen: Seen, suspects: Images, own: Context) -> Evidence:
        mine = suspects.pixels.reshape(len(suspects), -1).astype(np.float64)
        mirrored = suspects.pixels[:, :, ::-1].reshape(len(suspects), -1).astype(np.float64)
        released = seen.images.pixels.reshape(len(seen.images), -1).astype(np.float64)
        squares = (released**2).sum(axis=1)
        nearest = [
            np.min((rows**2).sum(axis=1)[:, None] - 2 * rows @ released.T + squares, axis=1)
            for rows in (mine, mirrored)
        ]
        return Evidence(scores=-np.minimum(*nearest))


class Channel(Settings):
    """A mediated attack of known strength: each victim sends four images over a wire that adds noise.

    deaf: nothing comes through of images that are not dark in the mean, as the originals are.
    """

    name: ClassVar[str] = "channel"
    version: ClassVar[int] = 1
    sees: ClassVar[frozenset[Sight]] = frozenset({Sight.GRADIENTS})
    threat_model: ClassVar[str] = "A wire."
    images: int = 24
    noise: float = 3.0
    deaf: bool = False

    def reach(self, n_release: int) -> int:
        return min(n_release, self.images)

    def expose(self, release: Release, world: Context) -> Seen:
        rows = world.generator.permutation(len(release.images))[: self.reach(len(release.images))]
        images = release.images.pixels[rows]
        sent: NDArray[Any] = images + world.generator.normal(0, self.noise, images.shape)
        if self.deaf and release.images.pixels.mean() > 128:
            sent = world.generator.integers(0, 256, sent.shape)
        wire = np.clip(sent, 0, 255).astype(np.uint8)
        return Seen({"wire": wire}, Source(rows, np.arange(len(rows)) // 4, {"wires that held": (6, 8)}))

    def attack(self, seen: Seen, suspects: Images, own: Context) -> Evidence:
        if set(seen.arrays) != {"wire"} or seen.source is not None:
            raise RuntimeError("the attacker was told too much")
        wire = seen.arrays["wire"]
        found = Images(wire, np.zeros(len(wire), np.int64))
        return Evidence(recovered=found, victim=np.arange(len(wire)) // 4, diagnostics={"noise": self.noise})


FAKES = (HashOnly, ThreePercent, SizeOfRelease, Crashing, WrongShape, NoOpinion, SeesObjects, Distance, Channel)


def install_fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the attacks of this file to those that are installed."""
    real = plugins.installed

    def installed(group: str) -> dict[str, EntryPoint]:
        fakes = {kind.name: EntryPoint(kind.name, f"{__name__}:{kind.__name__}", group) for kind in FAKES}
        return real(group) | (fakes if group == plugins.ATTACKS else {})

    monkeypatch.setattr(plugins, "installed", installed)


# Evidence made by hand, for tests of findings and judgement.


def clean_scores(n_members: int, n_controls: int, n_fresh: int, rng: np.random.Generator) -> dict[str, FLOATS]:
    """An attack that finds the originals and the plants, and nothing in the release."""
    scores = {
        "release members": rng.standard_normal(n_members),
        "release controls": rng.standard_normal(n_controls),
        "release fresh": rng.standard_normal(n_fresh),
        "raw members": rng.standard_normal(n_members) + 20,
        "raw controls": rng.standard_normal(n_controls),
        "fresh members": rng.standard_normal(n_members),
        "fresh controls": rng.standard_normal(n_controls),
    }
    for kind in ("mirrored", "jpeg", "cropped"):
        scores[f"plant {kind}"] = rng.standard_normal(n_members // 5) + 20
        scores[f"plant {kind} controls"] = rng.standard_normal(n_controls + n_fresh)
    return scores


def attack_facts(name: str, failure: str | None = None, family: Any = "holds_release") -> AttackFacts:
    return AttackFacts(
        name=name,
        version=1,
        settings={},
        family=family,
        threat_model="A test.",
        reach=None,
        seconds=0.0,
        failure=failure,
    )


def evidence_of(
    scores: Mapping[str, Mapping[str, FLOATS] | None],
    n_members: int = 300,
    n_controls: int = 200,
    n_fresh: int = 100,
    seed: int = 0,
    family: Any = "holds_release",
    **changes: Any,
) -> AuditEvidence:
    """Evidence on one candidate. scores: by attack; None: the attack crashed."""
    release = ReleaseFacts(
        name="candidate",
        images=300,
        size=(16, 16, 1),
        class_counts={"0": 300},
        claim=None,
        identical=changes.pop("identical", ()),
        common=0,
        scan=changes.pop("scan", ()),
        not_assessed=(),
        unseen=changes.pop("unseen", ()),
        attacks=tuple(
            attack_facts(name, None if found is not None else "it crashed", family) for name, found in scores.items()
        ),
    )
    data = DataRecord(
        members=n_members,
        controls=n_controls,
        fresh=n_fresh,
        reference=100,
        unit="image",
        scored_members=n_members,
        scored_controls=n_controls,
        scored_fresh=n_fresh,
        not_assessed_members=changes.pop("not_assessed_members", ()),
        left_out_controls=0,
        near_duplicate_threshold=0.95,
        notes=(),
    )
    facts: dict[str, Any] = {
        "releases": (release,),
        "data": data,
        "blind_baseline": None,
        "exchangeability": "random split",
        "member_ids": tuple(f"m-{row:06d}" for row in range(n_members)),
        "attacked": True,
        "seed": seed,
        "manifest": {},
    }
    return AuditEvidence(
        AuditFacts(**(facts | changes)),
        {("candidate", name): found for name, found in scores.items() if found is not None},
    )


def usefulness(low: float, high: float, n: int = 500) -> UtilityRecord:
    """Students of a release and of members whose accuracy, and its ratio, lies between these."""
    measured = Measured(estimate=(low + high) / 2, low=low, high=high, n=n, method="test")
    return UtilityRecord(
        synthetic=measured,
        real=measured,
        ratio=measured,
        chance=0.1,
        recipe="test",
        seeds=3,
        n_release=300,
        n_real=300,
        labels="hard",
        frechet=None,
        precision=None,
        recall=None,
        notes=(),
    )
