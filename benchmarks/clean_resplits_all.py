"""Clean re-splits of CIFAR-10 with every attack that holds nothing but the release, quick: how often does each fail?

The data are those of `clean_resplits`. No members are planted, so that no verdict is a pass: false alarms are counted.
One line of JSON per re-split is appended to the log, so that a stopped run goes on.

    python -m benchmarks.clean_resplits_all --runs 40 --processes 2
"""

from __future__ import annotations

from typing import Any

from benchmarks import clean_resplits, resplits
from benchmarks.recording import write_result
from privaudit.attack import Sight
from privaudit.plugins import ATTACKS, attack_class, installed


def names() -> list[str]:
    """Installed attacks that see the released images and nothing else."""
    return [name for name in sorted(installed(ATTACKS)) if attack_class(name).sees == {Sight.RELEASE}]


def one(seed: int) -> dict[str, Any]:
    """One clean audit with all of them."""
    return clean_resplits.audited(seed, {name: {} for name in names()}, effort="quick", kinds=())


def main() -> None:
    """Run what is missing in the log, then summarise it."""
    done, runs = resplits.finished(one, __doc__, "clean_resplits_all.jsonl", 40)
    attacks = {
        name: {
            verdict: sum(run["attacks"].get(name, {}).get("verdict") == verdict for run in done)
            for verdict in ("pass", "inconclusive", "fail")
        }
        for name in names()
    }
    fails = sum(run["verdict"] == "fail" for run in done)
    results = {"sizes": clean_resplits.SIZES, "runs": len(done), "fail": fails, "attacks": attacks, "raw": done}
    command = f"python -m benchmarks.clean_resplits_all --runs {runs}"
    path = write_result("clean_resplits_all", results, seeds=[run["seed"] for run in done], command=command)
    print(fails, attacks, path)


if __name__ == "__main__":
    main()
