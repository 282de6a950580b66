"""The blind runner: it builds the arms and plants, shuffles the suspects, keeps the answer, and collects the scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit import seeds
from privaudit.arms import class_counts, like
from privaudit.attack import Attack, Effort, holds_release
from privaudit.cells import ATTACK, EXPOSE
from privaudit.errors import InputError
from privaudit.evidence import AttackFacts, AuditEvidence, AuditFacts, ReleaseFacts, Scores
from privaudit.execution import Failure, Task, run
from privaudit.identical import identical_copies
from privaudit.images import Dataset, Images, concatenate
from privaudit.manifest import commit, processor, result_facts, versions
from privaudit.plants import KINDS, Planting, plan, planted
from privaudit.plugins import make_attack
from privaudit.policy import Policy
from privaudit.pools import Pools, make_pools
from privaudit.record import BlindBaseline, DataRecord, Exchangeability, IdenticalPair, ScanFinding, Unit
from privaudit.release import Release
from privaudit.statistics.units import unit_scores
from privaudit.store import Entry, Store, key_of
from privaudit.validity import blind_baseline

Announce = Callable[[str, int, int], None]
"""Progress: what was done, how many steps are done, how many there are."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A release to be judged. data: its images with names and notes. scan: findings in its files; None: not scanned."""

    name: str
    release: Release
    data: Dataset
    scan: tuple[ScanFinding, ...] | None = None


@dataclass(frozen=True, eq=False)
class Plan:
    """An audit before anything is attacked. attacks: names with settings; the declared family of tests.

    kinds: kinds of plants that are tried. max_suspects: images scored per side at most.
    random_split: members and controls were split at random by privaudit.
    """

    members: Dataset
    candidates: Sequence[Candidate]
    attacks: Mapping[str, Mapping[str, Any]]
    controls: Dataset | None = None
    fresh: Dataset | None = None
    reference: Dataset | None = None
    effort: Effort = "standard"
    device: str = "cpu"
    seed: int = 0
    max_suspects: int = 10_000
    random_split: bool = False
    notes: tuple[str, ...] = ()
    workers: int = 0
    kinds: tuple[str, ...] = tuple(KINDS)

    def facts(self) -> dict[str, Any]:
        """What the result depends on, JSON-able, without paths: written down before anything is scored."""
        data = {
            name: part.images.digest
            for name in ("members", "controls", "fresh", "reference")
            if (part := getattr(self, name)) is not None
        }
        attacks = {name: make_attack(name, dict(settings)) for name, settings in self.attacks.items()}
        return {
            "data": data,
            "releases": {candidate.name: candidate.release.images.digest for candidate in self.candidates},
            "family": {
                name: {"version": attack.version, "settings": settings_of(attack)} for name, attack in attacks.items()
            },
            "effort": self.effort,
            "seed": self.seed,
            "max_suspects": self.max_suspects,
            "plants": list(self.kinds),
        }


def settings_of(attack: Attack) -> dict[str, Any]:
    """All settings of an attack, defaults included, JSON-able."""
    dump = getattr(attack, "model_dump", None)
    return dict(dump(mode="json")) if dump is not None else {}


@dataclass(frozen=True, eq=False)
class _Pile:
    """Shuffled suspects in the store, and where each part's rows went. Only the runner has this."""

    stored: dict[str, str]
    order: NDArray[np.int64]
    parts: tuple[str, ...]
    ends: NDArray[np.int64]

    def scores(self, shuffled: NDArray[np.float64], part: str) -> NDArray[np.float64]:
        """The scores of one part, in the order of its rows."""
        straight = np.empty_like(shuffled)
        straight[self.order] = shuffled
        place = self.parts.index(part)
        start = self.ends[place - 1] if place else 0
        return straight[start : self.ends[place]]


@dataclass(frozen=True, eq=False)
class _Cell:
    """One attack on one arm of one release. part: 'release', 'raw', 'fresh', or a planting."""

    release: str
    attack: str
    arm: str
    pile: _Pile
    stored: dict[str, str]
    planting: Planting | None = None


def _put_images(store: Store, images: Images) -> dict[str, str]:
    return {"pixels": store.put_array(images.pixels), "labels": store.put_array(images.labels)}


def _put_release(store: Store, release: Release) -> dict[str, str]:
    stored = _put_images(store, release.images)
    if release.soft_labels is not None:
        stored["soft_labels"] = store.put_array(release.soft_labels)
    return stored


class _Runner:
    """The state of one audit while it runs."""

    def __init__(self, plan_: Plan, pools: Pools, store: Store, announce: Announce) -> None:
        self.plan, self.pools, self.store, self.announce = plan_, pools, store, announce
        self.attacks = {name: make_attack(name, dict(settings)) for name, settings in plan_.attacks.items()}
        self.reference = _put_images(store, pools.reference.images)
        self.piles = {
            True: self._pile(("members", "controls", "fresh")),
            False: self._pile(("members", "controls")),
        }

    def _rows(self, part: str) -> NDArray[np.int64]:
        rows: NDArray[np.int64] = getattr(self.pools, f"scored_{part}")
        return rows

    def _pile(self, parts: tuple[str, ...]) -> _Pile:
        images = [getattr(self.pools, part).images.take(self._rows(part)) for part in parts]
        pooled = concatenate(images)
        # The order depends on the answer too, so that knowing the seed does not give it away.
        order = seeds.generator(self.plan.seed, "shuffle", *parts, pooled.digest).permutation(len(pooled))
        return _Pile(
            _put_images(self.store, pooled.take(order)), order, parts, np.cumsum([len(part) for part in images])
        )

    def cells(self, candidate: Candidate) -> list[_Cell]:
        """All runs that one candidate needs."""
        pools, seed, released = self.pools, self.plan.seed, candidate.release.images
        shape = class_counts(released)
        raw_pool = pools.members.images.take(pools.scored_members)
        fresh_pool = pools.fresh.images
        arms = {
            "release": (_put_release(self.store, candidate.release), self.piles[True]),
            "raw": (
                _put_images(self.store, raw_pool.take(like(raw_pool, shape, seeds.generator(seed, "raw")))),
                self.piles[False],
            ),
            "fresh": (
                _put_images(self.store, fresh_pool.take(like(fresh_pool, shape, seeds.generator(seed, "fresh")))),
                self.piles[False],
            ),
        }
        cells = [
            _Cell(candidate.name, name, arm, pile, stored)
            for name in self.attacks
            for arm, (stored, pile) in arms.items()
        ]
        for number, planting in enumerate(self._plantings(len(released))):
            grown = concatenate(
                [
                    released,
                    planted(
                        planting, pools.members.images, pools.reference.images, seeds.generator(seed, "plants", number)
                    ),
                ]
            )
            mixed = grown.take(seeds.generator(seed, "plant places", number).permutation(len(grown)))
            stored = _put_images(self.store, mixed)
            cells += [
                _Cell(candidate.name, name, f"plants {number + 1}", self.piles[True], stored, planting)
                for name, attack in self.attacks.items()
                if holds_release(attack)
            ]
        return cells

    def _plantings(self, n_release: int) -> list[Planting]:
        rows = self.pools.scored_members
        _, first = np.unique(self.pools.units("members"), return_index=True)
        one_each = [int(row) for row in rows[np.sort(first)]]
        return plan(one_each, n_release, seeds.generator(self.plan.seed, "planting"), self.plan.kinds)

    def _task(self, cell: _Cell, function: str, inputs: dict[str, dict[str, str]]) -> Task:
        attack = self.attacks[cell.attack]
        return Task(
            f"{cell.attack} on {cell.arm}",
            function,
            {
                "attack": cell.attack,
                "settings": settings_of(attack),
                "seed": self.plan.seed,
                "effort": self.plan.effort,
                "device": self.plan.device,
            },
            inputs,
            {"version": attack.version, "class": f"{type(attack).__module__}:{type(attack).__qualname__}"}
            | result_facts(self.plan.device),
        )

    def run(self, cells: list[_Cell]) -> dict[tuple[str, str], tuple[Scores | None, float, str | None]]:
        """Both halves of every cell: by release and attack, the scores per unit, seconds, and the failure if any."""
        exposures = [self._task(cell, EXPOSE, {"release": cell.stored}) for cell in cells]
        seen: dict[str, Entry | Failure] = {}
        for task, result in run(exposures, self.store, self.plan.workers):
            seen[task.key] = result
        tasks: dict[str, list[_Cell]] = {}
        todo: list[Task] = []
        failures: dict[tuple[str, str], str] = {}
        for cell, exposure in zip(cells, exposures, strict=True):
            shown = seen[exposure.key]
            if isinstance(shown, Failure):
                failures[cell.release, cell.attack] = shown.message
                continue
            inputs = {"seen": dict(shown.arrays), "suspects": cell.pile.stored, "reference": self.reference}
            task = self._task(cell, ATTACK, inputs)
            if task.key not in tasks:
                todo.append(task)
            tasks.setdefault(task.key, []).append(cell)
        scores: dict[tuple[str, str], dict[str, NDArray[np.float64]]] = {}
        seconds: dict[tuple[str, str], float] = {}
        done = 0
        for task, result in run(todo, self.store, self.plan.workers):
            done += 1
            self.announce(task.label, done, len(todo))
            for cell in tasks[task.key]:
                place = cell.release, cell.attack
                if isinstance(result, Failure):
                    failures[place] = result.message
                    continue
                seconds[place] = seconds.get(place, 0.0) + float(result.facts["seconds"])
                found = self.store.load({"scores": result.arrays["scores"]})["scores"]
                scores.setdefault(place, {}).update(self._by_unit(cell, np.asarray(found)))
        places = {(cell.release, cell.attack) for cell in cells}
        return {
            place: (
                None if place in failures else dict(sorted(scores[place].items())),
                round(seconds.get(place, 0.0), 2),
                failures.get(place),
            )
            for place in sorted(places)
        }

    def _by_unit(self, cell: _Cell, shuffled: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        if cell.planting is None:
            return {
                f"{cell.arm} {part}": unit_scores(cell.pile.scores(shuffled, part), self.pools.units(part))[0]
                for part in cell.pile.parts
            }
        units = self.pools.units("members")
        by_unit, names, _ = unit_scores(cell.pile.scores(shuffled, "members"), units)
        place = {row: number for number, row in enumerate(self.pools.scored_members.tolist())}
        # Plants are compared with the controls of their own run: scores of two runs need not be on one scale.
        strangers = np.concatenate(
            [
                unit_scores(cell.pile.scores(shuffled, part), self.pools.units(part))[0]
                for part in cell.pile.parts
                if part != "members"
            ]
        )
        found: dict[str, NDArray[np.float64]] = {}
        for kind, rows in cell.planting.rows.items():
            found[f"plant {kind}"] = by_unit[np.searchsorted(names, units[[place[int(row)] for row in rows]])]
            found[f"plant {kind} controls"] = strangers
        return found


def _data_record(plan_: Plan, pools: Pools | None) -> DataRecord:
    members = plan_.members
    unit: Unit = "image" if members.groups is None else "person"
    if pools is None:
        return DataRecord(
            members=len(members),
            controls=0 if plan_.controls is None else len(plan_.controls),
            fresh=0,
            reference=0,
            unit=unit,
            scored_members=0,
            scored_controls=0,
            scored_fresh=0,
            not_assessed_members=(),
            left_out_controls=0,
            near_duplicate_threshold=None,
            notes=plan_.notes,
        )
    return DataRecord(
        members=len(members),
        controls=len(pools.controls),
        fresh=len(pools.fresh),
        reference=len(pools.reference),
        unit=pools.unit,
        scored_members=pools.count("members"),
        scored_controls=pools.count("controls"),
        scored_fresh=pools.count("fresh"),
        not_assessed_members=tuple(member_id(int(row)) for row in pools.straddling_members),
        left_out_controls=pools.left_out_controls,
        near_duplicate_threshold=pools.near_duplicate_threshold,
        notes=plan_.notes,
    )


def member_id(row: int) -> str:
    """Neutral id of a member."""
    return f"m-{row:06d}"


def release_id(row: int) -> str:
    """Neutral id of a released image."""
    return f"r-{row:06d}"


def _unit_ids(pools: Pools) -> tuple[str, ...]:
    """Id of each scored unit of members: that of its first image; in the order of its scores."""
    _, first = np.unique(pools.units("members"), return_index=True)
    return tuple(member_id(int(pools.scored_members[row])) for row in first)


def _release_facts(plan_: Plan, candidate: Candidate, others: list[Images]) -> ReleaseFacts:
    release, names = candidate.release, plan_.members.class_names
    copies = identical_copies(plan_.members.images, others, release.images)
    looked_at = {sight.value for name in plan_.attacks for sight in make_attack(name, dict(plan_.attacks[name])).sees}
    unseen = [artifact for artifact in release.artifacts if artifact not in looked_at]
    not_assessed = [f"{artifact.replace('_', ' ')}: released, but no attack looks at it" for artifact in unseen]
    not_assessed += [note for note in candidate.data.notes if "not assessed" in note.lower()]
    not_assessed += ["traces in the released files: no files were given"] if candidate.scan is None else []
    not_assessed += ["similarity (SSIM, PSNR, LPIPS)", "utility"]
    return ReleaseFacts(
        name=candidate.name,
        images=len(release.images),
        size=release.images.size,
        class_counts={names[label]: count for label, count in class_counts(release.images).items()},
        claim=None if release.claim is None else dict(vars(release.claim)),
        identical=tuple(IdenticalPair(id=member_id(a), release_id=release_id(b)) for a, b in copies.pairs),
        common=copies.common,
        scan=candidate.scan or (),
        not_assessed=tuple(not_assessed),
        attacks=(),
    )


def _manifest(plan_: Plan, store: Store) -> dict[str, Any]:
    facts = plan_.facts()
    return {
        "versions": versions(),
        "commit": commit(),
        "hardware": {"processor": processor(), "device": plan_.device, "threads_per_task": 1},
        "seeds": {"run": plan_.seed},
        "hashes": {"data": facts["data"], "releases": facts["releases"], "plan": key_of(facts)},
        "family": facts["family"],
        "effort": plan_.effort,
        "max_suspects": plan_.max_suspects,
        "earlier_audits_of_these_members": _earlier(plan_, store),
    }


def _earlier(plan_: Plan, store: Store) -> int:
    """How many other candidates of the same members were audited with this store before: choosing the best of many
    candidates on the same suspects is optimistic.
    """
    history = store.root / "audits" / plan_.members.images.digest
    history.mkdir(mode=0o700, parents=True, exist_ok=True)
    mine = {candidate.release.images.digest for candidate in plan_.candidates}
    earlier = {path.name for path in history.iterdir()} - mine
    for digest in mine:
        (history / digest).touch()
    return len(earlier)


def _quiet(what: str, done: int, total: int) -> None:
    """Ignore progress."""


def collect(plan_: Plan, policy: Policy, store: Store, announce: Announce = _quiet) -> AuditEvidence:
    """Run the audit: everything but the judgement. The policy only tells whether attacking is worth while.

    Raises InputError for data that cannot be audited, IncompleteError when the disk is full; attacks that crash are
    recorded, and everything that finished is kept in the store.
    """
    if not plan_.candidates:
        raise InputError("There is nothing to audit: no release candidate was given.")
    names = [candidate.name for candidate in plan_.candidates]
    if len(set(names)) < len(names):
        raise InputError(f"Each release candidate needs a name of its own; found {', '.join(sorted(names))}.")
    pools = None
    if plan_.controls is not None:
        announce("looking for near-duplicates", 0, 1)
        pools = make_pools(
            plan_.members,
            plan_.controls,
            plan_.fresh,
            plan_.reference,
            max_suspects=plan_.max_suspects,
            seed=plan_.seed,
        )
    others = [] if pools is None else [part.images for part in (pools.controls, pools.fresh, pools.reference)]
    releases = [_release_facts(plan_, candidate, others) for candidate in plan_.candidates]
    record = _data_record(plan_, pools)
    enough = (
        record.scored_members >= policy.minimum_members
        and record.scored_controls + record.scored_fresh >= policy.minimum_controls
    )
    manifest = _manifest(plan_, store)
    exchangeability: Exchangeability = (
        "no controls" if pools is None else "random split" if plan_.random_split else "assumed"
    )
    if pools is None or not enough:
        facts = AuditFacts(
            releases=tuple(releases),
            data=record,
            blind_baseline=None,
            exchangeability=exchangeability,
            member_ids=(),
            attacked=False,
            seed=plan_.seed,
            manifest=manifest,
        )
        return AuditEvidence(facts, {})
    announce("blind baseline", 0, 1)
    baseline = _blind_baseline(pools, plan_.seed)
    runner = _Runner(plan_, pools, store, announce)
    cells = [cell for candidate in plan_.candidates for cell in runner.cells(candidate)]
    results = runner.run(cells)
    with_attacks = []
    for facts_, candidate in zip(releases, plan_.candidates, strict=True):
        attacks = []
        for name, attack in runner.attacks.items():
            _, seconds, failure = results[facts_.name, name]
            attacks.append(
                AttackFacts(
                    name=name,
                    version=attack.version,
                    settings=settings_of(attack),
                    family="holds_release" if holds_release(attack) else "mediated",
                    threat_model=attack.threat_model,
                    reach=attack.reach(len(candidate.release.images)),
                    seconds=seconds,
                    failure=failure,
                )
            )
        with_attacks.append(facts_.model_copy(update={"attacks": tuple(attacks)}))
    facts = AuditFacts(
        releases=tuple(with_attacks),
        data=record,
        blind_baseline=baseline,
        exchangeability=exchangeability,
        member_ids=_unit_ids(pools),
        attacked=True,
        seed=plan_.seed,
        manifest=manifest,
    )
    return AuditEvidence(facts, {place: scores for place, (scores, _, _) in results.items() if scores is not None})


def _blind_baseline(pools: Pools, seed: int) -> BlindBaseline | None:
    members = pools.members.images.take(pools.scored_members)
    controls = concatenate(
        [pools.controls.images.take(pools.scored_controls), pools.fresh.images.take(pools.scored_fresh)]
    )
    parts = [np.char.add(f"{part} ", pools.units(part)) for part in ("members", "controls", "fresh")]
    found = blind_baseline(members, controls, np.concatenate(parts), pools.unit, seeds.generator(seed, "blind"))
    if found is None:
        return None
    auc, p, passed = found
    return BlindBaseline(auc=auc, p=p, passed=passed)
