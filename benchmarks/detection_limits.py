"""Are the printed powers right? They are measured again by independent planting.

An audit computes the power at a dose from stored scores of planted members. Here the same number of members is really
planted in the candidate, the attack is run, and the whole verdict rule is asked; over many random splits of the digits
the share of alarms must agree with the mean of the printed powers, within both intervals.

    python -m benchmarks.detection_limits --splits 40
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np

from benchmarks.recording import write_result
from privaudit import seeds
from privaudit.attack import Context, ReleaseAttack, Seen
from privaudit.data.loading import load
from privaudit.images import Images, concatenate
from privaudit.plants import KINDS, plan, planted
from privaudit.plugins import make_attack
from privaudit.release import Release
from privaudit.splits import random_split
from privaudit.statistics.exposure import clopper_pearson_high, clopper_pearson_low
from privaudit.statistics.power import innocent_draws, power_curve
from privaudit.statistics.rule import Rule, apply_rule
from privaudit.statistics.tally import placements, tally

PARTS = (450, 750, 150, 300)  # members, controls, reference, release
DOSES = (5, 10)
ATTACKS = ("nearest-copy", "density-ratio")
RULE = Rule(tpr_limit=0.10, family=2)


def one(seed: int) -> list[dict[str, Any]]:
    """Printed power and one real planting, for every attack, kind and dose."""
    import torch

    torch.set_num_threads(1)
    rng = seeds.generator(seed, "detection limits")
    members, controls, reference, unseen = (part.images for part in random_split(load("digits"), PARTS, rng))
    suspects = concatenate([members, controls])
    innocent = innocent_draws(len(members), len(controls), rng)
    rows = []
    for name in ATTACKS:
        attack = make_attack(name, {})
        if not isinstance(attack, ReleaseAttack):
            raise TypeError(name)

        def scores(images: Images, attack: ReleaseAttack = attack) -> np.ndarray[Any, np.dtype[np.float64]]:
            own = Context(np.random.default_rng(seed), reference=reference)
            seen: Seen = attack.expose(Release(images), own)
            found = attack.attack(seen, suspects, own).scores
            if found is None:
                raise TypeError(attack.name)
            return found

        clean = scores(unseen)
        for planting in plan(range(len(members)), len(unseen), rng):
            grown = scores(concatenate([unseen, planted(planting, members, unseen, rng)]))
            for kind, chosen in planting.rows.items():
                placed = placements(grown[chosen], clean[len(members) :])
                printed = {point.dose: point.power for point in power_curve(placed, innocent, RULE, "image", rng)}
                for dose in DOSES:
                    again = rng.permutation(len(members))[:dose]
                    images = np.stack([KINDS[kind](members.pixels[row], unseen, rng) for row in again])
                    real = scores(concatenate([unseen, Images(images, members.labels[again])]))
                    counts = tally(placements(real[: len(members)], real[len(members) :]))
                    reasons = apply_rule(counts, RULE)
                    rows.append(
                        {
                            "seed": seed,
                            "attack": name,
                            "kind": kind,
                            "dose": dose,
                            "printed": printed[dose].estimate,
                            "printed_low": printed[dose].low,
                            "printed_high": printed[dose].high,
                            "alarm": bool(reasons.fail[0] or reasons.inconclusive[0]),
                        }
                    )
    return rows


def main() -> None:
    """All splits, then the comparison."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--splits", type=int, default=40)
    options = parser.parse_args()
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        rows = [row for part in pool.map(one, range(options.splits)) for row in part]
    table: list[dict[str, Any]] = []
    for name in ATTACKS:
        for kind in KINDS:
            for dose in DOSES:
                mine = [row for row in rows if (row["attack"], row["kind"], row["dose"]) == (name, kind, dose)]
                alarms = np.array([sum(row["alarm"] for row in mine)])
                low, high = (float(np.mean([row[key] for row in mine])) for key in ("printed_low", "printed_high"))
                measured = [float(bound(alarms, len(mine))[0]) for bound in (clopper_pearson_low, clopper_pearson_high)]
                table.append(
                    {
                        "attack": name,
                        "kind": kind,
                        "dose": dose,
                        "printed": [low, float(np.mean([row["printed"] for row in mine])), high],
                        "measured": [measured[0], float(alarms[0] / len(mine)), measured[1]],
                        "agree": measured[0] <= high and low <= measured[1],
                    }
                )
    agreeing = sum(row["agree"] for row in table)
    for row in table:
        print(row)
    print(f"{agreeing} of {len(table)} agree")
    command = f"python -m benchmarks.detection_limits --splits {options.splits}"
    results = {"parts": PARTS, "agree": agreeing, "of": len(table), "table": table, "raw": rows}
    print(write_result("detection_limits", results, seeds=list(range(options.splits)), command=command))


if __name__ == "__main__":
    main()
