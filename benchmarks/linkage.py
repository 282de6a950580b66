"""Linkage on chest X-rays by patient: what power has it when the members' own images are released?

    python -m benchmarks.linkage --seeds 10 --effort standard

Half of the persons are members, a fifth strangers' release and attacker's own, the others controls; every person with
two images gives one sibling. Arms: the members' images released, and those of strangers. AUC of the members' siblings
against the controls', by seed, with the mean and its standard error.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from benchmarks import shared_data
from benchmarks.recording import write_result
from privaudit import seeds
from privaudit.attack import Context, Effort, Seen
from privaudit.images import Dataset, concatenate
from privaudit.plugins import make_attack
from privaudit.siblings import one_each
from privaudit.statistics.tally import win_shares

SHARES = {"members": 0.35, "controls": 0.35, "strangers": 0.1, "own": 0.2}


def one(data: Dataset, seed: int, effort: Effort) -> dict[str, Any]:
    """AUC where members, and where strangers are released."""
    rng = seeds.generator(seed, "linkage benchmark")
    persons = rng.permutation(np.unique(data.units))
    ends = np.cumsum([int(share * len(persons)) for share in SHARES.values()])
    parts = [data.take(np.flatnonzero(np.isin(data.units, some))) for some in np.split(persons, ends)[: len(SHARES)]]
    members, controls, strangers, own = parts
    drawn = [one_each(part, rng) for part in (members, controls)]
    fed = members.take(np.setdiff1d(np.arange(len(members)), drawn[0]))
    pile = concatenate([members.images.take(drawn[0]), controls.images.take(drawn[1])])
    row: dict[str, Any] = {"seed": seed, "persons": [len(drawn[0]), len(drawn[1])], "own": len(own)}
    for name, release in (("members", fed), ("strangers", strangers)):
        seen = Seen(release.images.arrays())
        context = Context(rng, seed=seed, effort=effort, reference=own.images, reference_units=own.units)
        scores = make_attack("linkage", {}).attack(seen, pile, context).scores
        mine, theirs = np.split(np.asarray(scores), [len(drawn[0])])
        row[name] = float(win_shares(mine, theirs).mean())
    return row


def main() -> None:
    """All seeds, and the mean."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--effort", choices=("quick", "standard", "thorough"), default="standard")
    options = parser.parse_args()
    data = shared_data.load("chest_xray")
    rows = []
    for seed in range(options.seeds):
        rows.append(one(data, seed, options.effort))
        print(rows[-1], flush=True)
    means = {
        name: {
            "mean": float(np.mean([row[name] for row in rows])),
            "standard_error": float(np.std([row[name] for row in rows], ddof=1) / len(rows) ** 0.5)
            if len(rows) > 1
            else None,
        }
        for name in ("members", "strangers")
    }
    print(means)
    command = f"python -m benchmarks.linkage --seeds {options.seeds} --effort {options.effort}"
    print(write_result("linkage", {"auc": means, "raw": rows}, seeds=list(range(options.seeds)), command=command))


if __name__ == "__main__":
    main()
