"""Red team: how few changed copies of members does each attack that holds the release find, with hash lists off?

CIFAR-10 and MNIST: 1,000 members, 2,000 controls, 600 images of the attacker's own, 3,000 released images of nobody,
and 100 members of every kind of plant among them. Chest X-rays, by patient: 285, 285, 50, 60 persons, 57 of each kind.
Every repeat deals the data anew and plants anew. A planting of a dose puts the scores of so many planted members in the
place of their own in the clean run, and asks the verdict rule: `fail` or `inconclusive` counts as found. Five plantings
per repeat. False alarms: the same rule on the clean run. Near-duplicates on two sides, and the surplus of one,
are left out as in an audit; released ones of suspects, too, for the release is to show nobody. So parts are a little
smaller than dealt.

    python -m benchmarks.red_team                 all cells that are not in --cells yet, then the table
    python -m benchmarks.red_team --repeats 2 --data mnist --cells /tmp/cells --no-result
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from benchmarks import chest_xray, shared_data
from benchmarks.recording import RESULTS, write_result
from benchmarks.red_team_rates import ATTACKS, BAR, PLANTINGS, summary
from privaudit import seeds
from privaudit.attack import Context, Effort, ReleaseAttack
from privaudit.calls import Call, Surroundings, inside
from privaudit.duplicates import linked, straddling, surplus
from privaudit.identical import identical_copies
from privaudit.images import Dataset, Images, concatenate
from privaudit.plants import KINDS, Planting, planted
from privaudit.plugins import make_attack
from privaudit.pools import units_of_side
from privaudit.release import Release
from privaudit.statistics.tally import Placements, placements
from privaudit.statistics.units import unit_scores
from privaudit.store import Arrays, array_digest

DATA = ("cifar10", "mnist", "chest_xray")
SIZES = {"members": 1000, "controls": 2000, "reference": 600, "release": 3000}
PLANTED = {"cifar10": 100, "mnist": 100, "chest_xray": 57}
TOGETHER = {"cifar10": 7, "mnist": 7, "chest_xray": 4}
"""Kinds planted in one candidate. All images of a run face the same release: a larger one is closer to everybody."""


@dataclass(frozen=True, eq=False)
class _Dealt:
    """members, controls, reference and release of one repeat."""

    members: Dataset
    controls: Dataset
    reference: Images
    release: Images


class _Kept(Surroundings):
    """Keeps what an attack asks for, as the store of an audit does: the descriptor is trained once per repeat."""

    def __init__(self) -> None:
        self._done: dict[str, list[Arrays]] = {}

    def compute(self, calls: Sequence[Call]) -> list[Arrays]:
        """The results of the calls, each computed once."""
        key = repr([(call.function, call.arguments, _digests(call)) for call in calls])
        if key not in self._done:
            self._done[key] = super().compute(calls)
        return self._done[key]


def _digests(call: Call) -> list[str]:
    return [array_digest(array) for part in call.inputs.values() for array in part.values()]


def _deal(name: str, seed: int) -> _Dealt:
    dealt = _dealt(name, seed)
    sides, others = [dealt.members, dealt.controls], [dealt.reference, dealt.release]
    pairs, _ = linked(concatenate([*(side.images for side in sides), *others]))
    first, suspects = len(sides[0]), sum(map(len, sides))
    units = [units_of_side(side, data) for side, data in zip("mc", sides, strict=True)]
    among = pairs[pairs[:, 1] < suspects]
    out = straddling(units, among, first)
    out |= surplus(units, among, first, out, seeds.generator(seed, "red team surplus", name))
    members, controls = (
        side.take(np.flatnonzero(~part)) for side, part in zip(sides, np.split(out, [first]), strict=True)
    )
    beside = np.zeros(sum(map(len, others)), dtype=np.bool_)
    beside[pairs[(pairs[:, 0] < suspects) & (pairs[:, 1] >= suspects), 1] - suspects] = True
    reference, release = (
        data.take(np.flatnonzero(~part)) for data, part in zip(others, np.split(beside, [len(others[0])]), strict=True)
    )
    return _Dealt(members, controls, reference, release)


def _dealt(name: str, seed: int) -> _Dealt:
    rng = seeds.generator(seed, "red team", name)
    if name == "chest_xray":
        data = shared_data.load("chest_xray")
        members, controls, fresh, release, reference = chest_xray.deal_persons(data, rng)
        pixels = concatenate([controls.images, fresh.images])
        others = Dataset(
            pixels,
            controls.class_names,
            np.concatenate([controls.units, fresh.units]),
            tuple(str(row) for row in range(len(pixels))),
            "others",
        )
        return _Dealt(members, others, reference.images, release.images)
    data = shared_data.load(name)
    members, controls, reference, release = shared_data.deal(data, list(SIZES.values()), rng)
    return _Dealt(members, controls, reference.images, release.images)


def cell(name: str, seed: int, effort: Effort, folder: Path) -> Path:
    """One repeat on one data set: placements of all members without plants, and of the planted ones, by attack.

    Also whether a single exact copy is named in `identical`, alone.
    """
    import torch

    torch.set_num_threads(1)
    path = folder / f"{name}-{effort}-{seed}.npz"
    if path.exists():
        return path
    dealt, rng = _deal(name, seed), seeds.generator(seed, "red team plants", name)
    members, controls = dealt.members, dealt.controls
    suspects = concatenate([members.images, controls.images])
    _, first = np.unique(members.units, return_index=True)
    kinds, planted_each = list(KINDS), PLANTED[name]
    plantings = []
    for start in range(0, len(kinds), TOGETHER[name]):
        some = kinds[start : start + TOGETHER[name]]
        rows = rng.permutation(first)[: TOGETHER[name] * planted_each]
        plantings.append(
            Planting({kind: rows[place * planted_each : (place + 1) * planted_each] for place, kind in enumerate(some)})
        )
    found: dict[str, NDArray[Any]] = {}
    kept = _Kept()
    attacks = {attack: cast(ReleaseAttack, make_attack(attack, {})) for attack in ATTACKS}

    def scores(attack: ReleaseAttack, release: Images) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        own = Context(seeds.generator(seed, "red team", attack.name), seed, effort=effort, reference=dealt.reference)
        with inside(kept):
            told = attack.attack(attack.expose(Release(release), own), suspects, own).scores
        if told is None:
            raise TypeError(attack.name)
        side = len(members)
        return unit_scores(told[:side], members.units)[0], unit_scores(told[side:], controls.units)[0]

    place = {unit: row for row, unit in enumerate(np.unique(members.units))}
    for attack_name, attack in attacks.items():
        clean, strangers = scores(attack, dealt.release)
        found[f"{attack_name} clean"] = _packed(placements(clean, strangers))
    for planting in plantings:
        plants = planted(planting, members.images, dealt.release, rng)
        grown = concatenate([dealt.release, plants])
        grown = grown.take(rng.permutation(len(grown)))
        for attack_name, attack in attacks.items():
            mine, strangers = scores(attack, grown)
            for kind, rows in planting.rows.items():
                units = np.array([place[unit] for unit in members.units[rows]])
                found[f"{attack_name} {kind}"] = _packed(placements(mine[units], strangers))
                found[f"rows {kind}"] = units.astype(np.uint16)
    row = int(rng.integers(len(members)))
    single = concatenate([dealt.release, members.images.take(np.array([row]))])
    named = identical_copies(members.images, [controls.images], single)
    found["identical"] = np.array([(row, len(single) - 1) in named.pairs, len(named.pairs) == 1])
    found["controls"] = np.array(len(np.unique(controls.units)))
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.npz")
    np.savez_compressed(partial, **cast(dict[str, Any], found))
    partial.rename(path)
    return path


def _packed(placed: Placements) -> NDArray[np.uint16]:
    """Controls above and tied with each member, [2, n]."""
    return np.stack([placed.above, placed.tied]).astype(np.uint16)


def main() -> None:
    """Run what is missing, then summarise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20, help="of the X-rays, which are large: a fifth as many")
    parser.add_argument("--data", choices=DATA, action="append", help="default: all")
    parser.add_argument("--effort", choices=("quick", "standard"), default="quick")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--cells", type=Path, default=Path("red_team_cells"), help="folder of finished cells")
    parser.add_argument("--no-result", action="store_true", help="print only")
    options = parser.parse_args()
    asked = {
        name: options.repeats if name != "chest_xray" else -(-options.repeats // 5) for name in options.data or DATA
    }
    wanted = [(seed, name) for seed, name in product(range(options.repeats), asked) if seed < asked[name]]
    cells: dict[tuple[str, int], Path] = {}
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(cell, name, seed, options.effort, options.cells): (name, seed) for seed, name in wanted}
        for future in as_completed(running):
            cells[running[future]] = future.result()
            print(*running[future], flush=True)
        cells = {key: cells[key] for key in sorted(cells)}
        table = summary(cells, pool)
    for name, found in table.items():
        print(name, {key: value for key, value in found.items() if key != "rates"})
        for key, rate in found["rates"].items():
            print(f"  {key}: {rate['found']} of {rate['of']} [{rate['low']:.2f}, {rate['high']:.2f}]")
    if options.no_result:
        return
    raw = {
        f"{name} {seed} {key}": value for (name, seed), path in cells.items() for key, value in np.load(path).items()
    }
    np.savez_compressed(RESULTS / "red_team.npz", **raw)
    command = f"python -m benchmarks.red_team --repeats {options.repeats} --effort {options.effort}"
    command += "".join(f" --data {name}" for name in options.data or ())
    results = {"sizes": SIZES, "planted": PLANTED, "plantings_per_repeat": PLANTINGS, "bar": list(BAR), "table": table}
    print(write_result("red_team", results, seeds=list(range(options.repeats)), command=command))


if __name__ == "__main__":
    main()
