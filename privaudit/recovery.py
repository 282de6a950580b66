"""What a mediated attack recovered in one arm: how well its own source, and how near that comes to members.

The truth behind it (which released images a victim used) never reaches the attacker. It describes and judges nothing:
the verdict comes from the ranking of the suspects alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from privaudit import seeds
from privaudit.attack import Source
from privaudit.cells import KEPT
from privaudit.errors import InputError
from privaudit.images import Images, concatenate
from privaudit.manifest import result_facts
from privaudit.pixel_distances import squared_distances
from privaudit.record import Recovery, Similarity
from privaudit.statistics.clustered import clustered_median, clustered_share
from privaudit.store import Arrays
from privaudit.weights import stored_backbones
from privaudit.worker import Task

if TYPE_CHECKING:
    pass

_RECOVERY = "privaudit.recovery:recovery_task"
_VERSION = 1
SHOWN = 12
"""Recovered images kept for the pictures of the evidence edition: half of them the nearest to a member, half drawn."""

_PICTURE = "shown "
_PEAK = 80.0


@dataclass(frozen=True, eq=False)
class Matched:
    """Recovered images and the source images they are matched with, one to one within each victim.

    recovered, source: int64 [pairs], rows of both. squared: float64 [pairs], mean squared pixel distance, pixels in
    [0, 1]. found: bool [pairs], whether the own source is at least as near as every decoy. decoys: how many a pair
    has, on average. chance: share of pairs found if every source image and decoy were equally likely to be nearest.
    """

    recovered: NDArray[np.int64]
    source: NDArray[np.int64]
    squared: NDArray[np.float64]
    found: NDArray[np.bool_]
    decoys: float
    chance: float


def match(recovered: Images, victim: NDArray[np.int64], released: Images, source: Source, reference: Images) -> Matched:
    """The assignment of recovered images to their victim's source images with the smallest sum of squared distances.

    Decoys are the released images that the victim did not use, and the attacker's own, of the matched image's class:
    what is recovered must lie nearer to its own source than to any of them, or only its class was recovered.
    Raises InputError where no recovered image belongs to a victim with a source.
    """
    from scipy.optimize import linear_sum_assignment

    pool = concatenate([released, reference])
    distance = _squared_distances(recovered, pool)
    rows: list[tuple[int, int, bool]] = []
    chances, decoys = [], []
    for name in np.unique(victim):
        mine, used = np.flatnonzero(victim == name), np.unique(source.rows[source.victim == name])
        unused = np.ones(len(pool), dtype=bool)
        unused[used] = False
        for one, place in zip(*linear_sum_assignment(distance[np.ix_(mine, used)]), strict=True):
            image, own = int(mine[one]), int(used[place])
            alike = pool.labels == pool.labels[own]
            others = distance[image, alike & unused]
            rows.append((image, own, bool(distance[image, own] <= others.min(initial=np.inf))))
            same = int((alike & ~unused).sum())
            chances.append(same / (same + len(others)))
            decoys.append(len(others))
    if not rows:
        raise InputError("Nothing can be measured: no recovered image belongs to a victim that used released images.")
    recovered_rows, source_rows, found = (np.array(part) for part in zip(*rows, strict=True))
    return Matched(
        recovered_rows,
        source_rows,
        distance[recovered_rows, source_rows],
        found,
        float(np.mean(decoys)),
        float(np.mean(chances)),
    )


def _squared_distances(queries: Images, others: Images) -> NDArray[np.float64]:
    """Mean squared pixel distance of every query to every other image, pixels in [0, 1], [queries, others]; exact."""
    return squared_distances(queries.pixels, others.pixels) / (np.prod(queries.size) * 255.0**2)


def psnr(squared: NDArray[np.float64]) -> NDArray[np.float64]:
    """Peak signal-to-noise ratio in dB of mean squared errors of pixels in [0, 1]; at most 80."""
    return -10 * np.log10(squared + 10 ** (-_PEAK / 10))


def measurable(evidence: Mapping[str, str], seen: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The parts of what both halves of an attack stored that a measurement needs; empty where it recovers no images."""
    kept = {name: digest for name, digest in seen.items() if name.startswith(KEPT)}
    if not kept or "recovered pixels" not in evidence:
        return {}
    return {"kept": kept, "evidence": {name: digest for name, digest in evidence.items() if name != "scores"}}


def recovery(label: str, inputs: Mapping[str, Mapping[str, str]], seed: int, weights: Path | None) -> Task:
    """The task that measures what was recovered. weights: folder of the weight store, for LPIPS."""
    arguments = {"seed": seed, "weights": None if weights is None else str(weights)}
    facts = {"version": _VERSION, "backbones": stored_backbones(weights), **result_facts("cpu")}
    return Task(label, _RECOVERY, arguments, inputs, facts)


def recovery_task(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Inputs {'evidence' (what `cells.attack` returned), 'kept', 'released', 'reference', 'members', 'controls'}.

    Returns 'record' (JSON of a `Recovery`, as bytes) and pictures (private): 'shown recovered', 'shown source',
    'shown member', 'shown control' pixels, row i of each belongs together.
    """
    from privaudit.similarity import similarity
    from privaudit.similarity.neighbours import nearest_members

    found, kept = inputs["evidence"], inputs["kept"]
    released, reference, members, controls = (
        Images(inputs[part]["pixels"], inputs[part]["labels"])
        for part in ("released", "reference", "members", "controls")
    )
    pixels, victim = found["recovered pixels"], np.asarray(found["recovered victim"])
    recovered = Images(pixels, np.zeros(len(pixels), np.int64))
    counts = {name.removeprefix(f"{KEPT}count "): value for name, value in kept.items() if " count " in name}
    source = Source(np.asarray(kept[f"{KEPT}rows"]), np.asarray(kept[f"{KEPT}victim"]))
    rng = seeds.generator(arguments["seed"], "recovery")
    matched = match(recovered, victim, released, source, reference)
    of_victim = victim[matched.recovered]
    everything = np.arange(len(recovered))
    nearest, stranger = (nearest_members(recovered, everything, pool) for pool in (members, controls))
    alike = similarity(recovered, members, controls, _folder(arguments), rng)
    record = Recovery(
        images=len(recovered),
        victims=len(np.unique(victim)),
        own=clustered_share(matched.found, of_victim, "victims"),
        own_chance=matched.chance,
        decoys=matched.decoys,
        own_psnr=clustered_median(psnr(matched.squared), of_victim, "victims", rng),
        nearest_is_member=clustered_share(nearest.distance < stranger.distance, victim, "victims"),
        nearest_is_member_chance=len(members) / (len(members) + len(controls)),
        similarity={
            name: None
            if one is None
            else Similarity(name=one.name, release=one.release_law, controls=one.controls_law, place=one.place)
            for name, one in alike.compared.items()
        },
        counts={name: clustered_share(*_outcomes(value), "victims") for name, value in sorted(counts.items())},
        diagnostics={
            name.removeprefix("diagnostic "): float(value)
            for name, value in sorted(found.items())
            if name.startswith("diagnostic ")
        },
    )
    shown = _shown(nearest.distance - stranger.distance, matched, rng)
    rows = matched.recovered[shown]
    return {
        "record": np.frombuffer(record.model_dump_json().encode(), dtype=np.uint8),
        "shown recovered": recovered.pixels[rows],
        "shown source": released.pixels[matched.source[shown]],
        "shown member": members.pixels[nearest.nearest[rows]],
        "shown control": controls.pixels[stranger.nearest[rows]],
    }


def read_recovery(arrays: Arrays) -> tuple[Recovery, Arrays]:
    """The record and the pictures that `recovery_task` returned."""
    pictures = {name: pixels for name, pixels in arrays.items() if name.startswith(_PICTURE)}
    return Recovery.model_validate_json(np.asarray(arrays["record"]).tobytes()), pictures


def _folder(arguments: Mapping[str, Any]) -> Path | None:
    return None if arguments["weights"] is None else Path(arguments["weights"])


def _outcomes(count: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """So many of so many, written out."""
    right, total = int(count[0]), int(count[1])
    return np.arange(total) < right, np.zeros(total, np.int64)


def _shown(nearer: NDArray[np.float64], matched: Matched, rng: np.random.Generator) -> NDArray[np.int64]:
    """Pairs that are pictured: those that lie nearest to a member against strangers, then others drawn at random."""
    order = np.argsort(nearer[matched.recovered], kind="stable")
    first, rest = order[: SHOWN // 2], order[SHOWN // 2 :]
    return np.concatenate([first, np.sort(rng.permutation(rest)[: SHOWN - len(first)])])
