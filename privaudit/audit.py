"""An audit from plan to evidence: pools, blind baseline, the blind runner, and the facts for the judgement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit import duplicates
from privaudit.arms import arms_of, class_counts
from privaudit.artifacts import lacking, wanted
from privaudit.attack import holds_release, informs, ranks
from privaudit.cells import BASELINE
from privaudit.errors import IncompleteError, InputError
from privaudit.evidence import NO_FILES, AttackFacts, AuditEvidence, AuditFacts, ReleaseFacts, SiblingFacts
from privaudit.execution import Failure, Task, run
from privaudit.identical import identical_copies, public_already
from privaudit.images import Images, concatenate
from privaudit.manifest import commit, processor, result_facts, versions
from privaudit.measuring import measure
from privaudit.piles import put_images
from privaudit.plan import Announce, Candidate, Plan, member_id, release_id, settings_of
from privaudit.plugins import ATTACKS, installed, make_attack
from privaudit.policy import Policy
from privaudit.pools import Pools, make_pools
from privaudit.record import BlindBaseline, DataRecord, Exchangeability, IdenticalPair, Unit, without_paths
from privaudit.release import Release
from privaudit.runner import Runner
from privaudit.siblings import PARTS, Siblings, find_siblings, lacking_siblings
from privaudit.store import Arrays, Store, key_of
from privaudit.strata import unit_facts

__all__ = ["Announce", "Candidate", "Plan", "collect", "member_id", "release_id", "settings_of"]


def _data_record(plan_: Plan, pools: Pools | None) -> DataRecord:
    members, public = plan_.members, plan_.also_released
    unit: Unit = "image" if members.groups is None else "person"
    published = np.flatnonzero(public_already(members.images, public))
    common: dict[str, Any] = {
        "members": len(members),
        "also_released": 0 if public is None else len(public),
        "already_public": tuple(member_id(int(row)) for row in published),
        "notes": (*plan_.notes, *(f"{one.name}: {note}" for one in plan_.candidates for note in one.notes)),
    }
    if pools is None:
        return DataRecord(
            **common,
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
        )
    return DataRecord(
        **common,
        controls=len(pools.controls),
        fresh=len(pools.fresh),
        reference=len(pools.reference),
        unit=pools.unit,
        scored_members=pools.count("members"),
        scored_controls=pools.count("controls"),
        scored_fresh=pools.count("fresh"),
        not_assessed_members=tuple(member_id(int(row)) for row in pools.straddling_members),
        left_out_controls=pools.left_out_controls,
        near_duplicate_threshold=pools.near_duplicate_thresholds[0],
        near_duplicate_threshold_mirrored=pools.near_duplicate_thresholds[1],
        linked_members=0 if pools.siblings is None else pools.siblings.count("members"),
        linked_controls=0 if pools.siblings is None else pools.siblings.count("controls", "fresh"),
    )


def _unit_ids(pools: Pools) -> dict[str, str]:
    """Id of each scored unit of members: that of its first image; in the order of its scores."""
    names, first = np.unique(pools.units("members"), return_index=True)
    ids = [member_id(int(pools.scored_members[row])) for row in first]
    return dict(zip(names.tolist(), ids, strict=True))


def _sibling_facts(pools: Pools, seed: int, store: Store) -> SiblingFacts | None:
    found = pools.siblings
    if found is None:
        return None
    ids = _unit_ids(pools)
    return SiblingFacts(
        member_ids=tuple(ids[name] for name in found.units("members").tolist()),
        scored_controls=found.count("controls"),
        scored_fresh=found.count("fresh"),
        blind_baseline=_blind_baseline(found, pools.unit, seed, store),
    )


_VIEWS = "soft labels of views, but for the images as they are"


def _release_facts(plan_: Plan, candidate: Candidate, others: list[Images], pools: Pools | None) -> ReleaseFacts:
    release, names = candidate.release, plan_.members.class_names
    copies = identical_copies(plan_.members.images, others, release.images)
    shown = plan_.shown(release)
    attacks = [make_attack(name, dict(settings)) for name, settings in plan_.attacks.items()]
    why_not = [lacking(attack, shown) for attack in attacks]
    looked_at = {name for attack, why in zip(attacks, why_not, strict=True) if why is None for name in wanted(attack)}
    unseen = [_in_words(artifact, release) for artifact in release.artifacts if artifact not in looked_at]
    unseen += release.unread
    unseen += [_VIEWS] if release.views is not None else []
    not_assessed = [f"{artifact}: released, but no attack looks at it" for artifact in unseen]
    not_assessed += [NO_FILES] if candidate.scan is None else []
    left_out = sorted(installed(ATTACKS).keys() - set(plan_.attacks))
    not_assessed += [f"what {' and '.join(left_out)} would find: installed, but not run"] if left_out else []
    not_assessed += [why for why in why_not if why]
    if pools is not None:
        not_assessed += [why for attack in attacks if (why := lacking_siblings(attack, pools))]
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
        unseen=tuple(unseen),
        artifacts=release.artifacts,
        attacks=(),
    )


def _in_words(artifact: str, release: Release) -> str:
    if artifact == "teacher" and release.trained_on == "unknown":
        return "teacher, of which nobody knows what it was trained on"
    return artifact.replace("_", " ")


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
    history = store.root / "audits" / _members_digest(plan_)
    history.mkdir(mode=0o700, parents=True, exist_ok=True)
    mine = {candidate.release.images.digest for candidate in plan_.candidates}
    earlier = {path.name for path in history.iterdir()} - mine
    for digest in mine:
        (history / digest).touch()
    return len(earlier)


def _members_digest(plan_: Plan) -> str:
    """What tells these members from others: the same whether siblings were set aside of them or not."""
    digests = set(plan_.members.images.image_digests())
    if plan_.random_split and plan_.siblings is not None:
        theirs = plan_.siblings.take(np.flatnonzero(np.isin(plan_.siblings.units, plan_.members.units)))
        digests |= set(theirs.images.image_digests())
    return key_of({"images": sorted(digest.hex() for digest in digests)})


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
    store.sweep()
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
            random_split=plan_.random_split,
            public=plan_.also_released,
            link=lambda images: _link(images, store, plan_.workers),
        )
        found = find_siblings(pools, plan_.siblings, plan_.also_released, plan_.seed)
        pools = replace(pools, siblings=found)
    others = [] if pools is None else [part.images for part in (pools.controls, pools.fresh)]
    releases = [_release_facts(plan_, candidate, others, pools) for candidate in plan_.candidates]
    record = _data_record(plan_, pools)
    enough = policy.enough(record.scored_members, record.scored_controls + record.scored_fresh)
    manifest = _manifest(plan_, store)
    exchangeability: Exchangeability = (
        "no controls" if pools is None else "random split" if plan_.random_split else "assumed"
    )
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
    if pools is None or not enough:
        nothing = ("similarity and utility: not measured, for the data are too few to judge",)
        left = tuple(one.model_copy(update={"not_assessed": one.not_assessed + nothing}) for one in releases)
        return AuditEvidence(facts.model_copy(update={"releases": left}), {})
    announce("trying to tell members from controls without the release", 0, 1)
    baseline = _blind_baseline(pools, pools.unit, plan_.seed, store)
    announce("starting the attacks", 0, 1)
    runner = Runner(plan_, pools, store, announce)
    cells = [cell for candidate in plan_.candidates for cell in runner.cells(candidate)]
    results = runner.run(cells)
    measured = measure(plan_, pools, store, announce)
    with_attacks = []
    for facts_, candidate in zip(releases, plan_.candidates, strict=True):
        attacks = []
        for name, attack in runner.attacks.items():
            outcome = results.get((facts_.name, name))
            if outcome is None:  # it looks at what this candidate does not publish
                continue
            failure = outcome.failure
            attacks.append(
                AttackFacts(
                    name=name,
                    version=attack.version,
                    settings=settings_of(attack),
                    family="holds_release" if holds_release(attack) else "mediated",
                    threat_model=attack.threat_model,
                    reach=attack.reach(len(runner.shown[facts_.name].images)),
                    seconds=outcome.seconds,
                    recoveries=dict(outcome.recoveries),
                    attributions=dict(outcome.attributions),
                    arms=arms_of(attack),
                    failure=None if failure is None else without_paths(failure.message),
                    trace=None if failure is None else failure.trace,
                    informs=informs(attack),
                    pairs=outcome.pairs,
                    looks_at=wanted(attack),
                    ranks=ranks(attack),
                )
            )
        name = candidate.name
        told = {
            "attacks": tuple(attacks),
            "similarity": measured.similarity.get(name, {}),
            "utility": measured.utility.get(name),
            "not_assessed": (*facts_.not_assessed, *measured.notes[name]),
        }
        with_attacks.append(facts_.model_copy(update=told))
    attacked = {
        "releases": tuple(with_attacks),
        "blind_baseline": baseline,
        "member_ids": tuple(_unit_ids(pools).values()),
        "siblings": _sibling_facts(pools, plan_.seed, store),
        "class_names": plan_.members.class_names,
        "units": unit_facts(pools),
        "attacked": True,
    }
    facts = facts.model_copy(update=attacked)
    return AuditEvidence(
        facts,
        {place: outcome.scores for place, outcome in results.items() if outcome.scores is not None},
        {place: outcome.galleries for place, outcome in results.items() if outcome.galleries},
    )


def _steps(store: Store, label: str, tasks: Sequence[Task], workers: int = 0) -> Iterator[Arrays]:
    """What is done before the attacks; taken from the store where it was done before."""
    for _, result in run(tasks, store, workers):
        if isinstance(result, Failure):
            raise IncompleteError(f"The audit stopped while {label}: {result.message.rstrip('.')}.")
        yield store.load(result.arrays)


def _link(images: Images, store: Store, workers: int) -> tuple[NDArray[np.int64], duplicates.Thresholds]:
    """Near-duplicate pairs and their thresholds. Each task holds two blocks of images, and nothing holds them all."""
    blocks = duplicates.blocks_of(images)
    stored = [{"pixels": store.put_array(block)} for block in blocks]
    asked = duplicates.block_pairs([len(block) for block in blocks])
    label = "looking for near-duplicates"
    facts = {**result_facts("cpu"), "version": duplicates.VERSION}
    tasks = [
        Task(label, duplicates.PAIRS_OF, arguments, {"rows": stored[one], "columns": stored[other]}, facts)
        for (one, other), arguments in asked.items()
    ]
    at_once = workers if len(tasks) > 1 else 0  # a few images are done before processes have started
    return duplicates.accepted(_steps(store, label, tasks, at_once), len(images))


def _blind_baseline(ranked: Pools | Siblings, unit: Unit, seed: int, store: Store) -> BlindBaseline | None:
    """Whether the two sides of what is ranked, suspects or siblings, differ even without the release."""
    members, *controls = (ranked.images(part) for part in PARTS)
    parts = [np.char.add(f"{part} ", ranked.units(part)) for part in PARTS]
    label = "trying to tell members from controls without the release"
    arguments = {"members": len(members), "unit": unit, "seed": seed}
    inputs = {
        "images": put_images(store, concatenate([members, *controls])),
        "units": {"units": store.put_array(np.concatenate(parts))},
    }
    (found,) = _steps(store, label, [Task(label, BASELINE, arguments, inputs, result_facts("cpu"))])
    return BlindBaseline.model_validate_json(found["record"].tobytes()) if found else None
