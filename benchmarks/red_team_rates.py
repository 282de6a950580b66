"""What the red team found: alarms of the verdict rule, recomputed from the placements that its cells hold."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from privaudit import seeds
from privaudit.plants import KINDS
from privaudit.statistics.rule import Rule, apply_rule
from privaudit.statistics.tally import Placements, tally

ATTACKS = ("nearest-copy", "density-ratio", "copy-descriptor")
SHARES = {"cifar10": (0.01, 0.05, 0.2), "mnist": (0.01, 0.05, 0.2), "chest_xray": (0.05, 0.2)}
MEMBERS = {"cifar10": 1000, "mnist": 1000, "chest_xray": 285}
LIMIT = {"cifar10": 0.05, "mnist": 0.05, "chest_xray": 0.1}
PLANTINGS = 5
BAR = ("mirrored", "cropped", "blurred", "jpeg", "recoloured")


def _alarm(packed: NDArray[np.uint16], controls: int, rule: Rule) -> bool:
    above, tied = packed.astype(np.int64)
    reasons = apply_rule(tally(Placements(above, tied, controls, 1.0)), rule)
    return bool(reasons.fail[0] or reasons.inconclusive[0])


def doses(name: str) -> list[int]:
    """5, 10, 1 %, 5 % and 20 % of the members dealt, persons of the X-rays (5 and 20 %)."""
    few = set() if name == "chest_xray" else {5, 10}
    return sorted(few | {round(share * MEMBERS[name]) for share in SHARES[name]})


def alarms(path: Path, name: str, seed: int) -> dict[str, list[bool]]:
    """What each attack answers to each planting of each kind and dose, and to the clean run; recomputed from a cell."""
    stored = dict(np.load(path, allow_pickle=False))
    rule, controls = Rule(LIMIT[name], len(ATTACKS)), int(stored["controls"])
    rng = seeds.generator(seed, "red team doses", name)
    answers = {f"{attack} clean": [_alarm(stored[f"{attack} clean"], controls, rule)] for attack in ATTACKS}
    n_members = stored[f"{ATTACKS[0]} clean"].shape[1]
    for kind, dose in product(KINDS, doses(name)):
        rows = stored[f"rows {kind}"]
        for _ in range(1 if dose == len(rows) else PLANTINGS):  # all of them are one planting
            chosen = rng.choice(len(rows), dose, replace=dose > len(rows))
            gone = rows[chosen] if dose <= len(rows) else rng.permutation(n_members)[:dose]
            for attack in ATTACKS:
                mixed = stored[f"{attack} clean"].copy()
                mixed[:, gone] = stored[f"{attack} {kind}"][:, chosen]
                answers.setdefault(f"{attack} {kind} {dose}", []).append(_alarm(mixed, controls, rule))
    return answers


def rate(repeats: Sequence[Sequence[bool]]) -> dict[str, Any]:
    """Share of alarms with its 95 % interval, by repeat."""
    hits, count = sum(map(sum, repeats)), sum(map(len, repeats))
    low, high = _interval([sum(one) for one in repeats], [len(one) for one in repeats])
    return {"found": hits, "of": count, "low": low, "high": high}


def _interval(hits: list[int], counts: list[int]) -> tuple[float, float]:
    """The exact binomial interval of as many independent plantings as vary so much from repeat to repeat, for those of
    one repeat share members, controls and release (Korn, Graubard 1998). Where all or none was found, nothing varies:
    the bound is then that of one exception.
    """
    total, count = sum(hits), sum(counts)
    if total == count and count > 1:
        return _interval([*hits[:-1], hits[-1] - 1], counts)[0], 1.0
    if total == 0 and count > 1:
        return 0.0, _interval([1, *hits[1:]], counts)[1]
    share, repeats, effective = total / count, len(hits), float(count)
    variance = float(np.var(np.array(hits) / counts, ddof=1)) / repeats if repeats > 1 else 0.0
    if variance > 0:
        few_repeats = (stats.t.ppf(0.975, count - 1) / stats.t.ppf(0.975, repeats - 1)) ** 2
        effective = min(effective, max(1.0, share * (1 - share) / variance * few_repeats))
    inside, outside = share * effective, (1 - share) * effective
    return (
        float(stats.beta.ppf(0.025, inside, outside + 1)) if total else 0.0,
        float(stats.beta.ppf(0.975, inside + 1, outside)) if total < count else 1.0,
    )


def summary(cells: dict[tuple[str, int], Path], pool: Executor) -> dict[str, Any]:
    """Power and false alarms by data, kind, dose and attack; `required` is the verdict of the required two."""
    table: dict[str, Any] = {}
    for name in dict.fromkeys(name for name, _ in cells):
        mine = {seed: path for (data, seed), path in cells.items() if data == name}
        answers = list(pool.map(alarms, mine.values(), [name] * len(mine), mine))
        rows: dict[str, Any] = {key: rate([one[key] for one in answers]) for key in answers[0]}
        for key in [key for key in answers[0] if key.startswith("nearest-copy")]:
            other = key.replace("nearest-copy", "density-ratio")
            both = [[a or b for a, b in zip(one[key], one[other], strict=True)] for one in answers]
            rows[key.replace("nearest-copy", "required")] = rate(both)
        identical = np.array([np.load(path)["identical"] for path in mine.values()])
        table[name] = {
            "repeats": len(mine),
            "identical names the single copy": int(identical[:, 0].sum()),
            "and nothing else": int(identical[:, 1].sum()),
            "rates": rows,
        }
    return table
