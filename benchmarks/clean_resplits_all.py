"""Clean re-splits of CIFAR-10 with every attack that compares with the release, quick: how often does each fail?

The images are those of `clean_resplits`, few more of them than the default policy asks for, so that 200 audits take an
hour on two cores. No members are planted, so that no verdict is a pass: false alarms are counted. Attacks that train a
network on the release are in `clean_suite`. One line of JSON per re-split is appended to the log, so that a stopped
run goes on.

    python -m benchmarks.clean_resplits_all --runs 200 --processes 2
"""

from __future__ import annotations

from typing import Any

from benchmarks import clean_resplits, resplits
from benchmarks.recording import write_result
from privaudit.attack import Sight, ranks, trains
from privaudit.plugins import ATTACKS, installed, make_attack

SIZES = {"members": 1020, "controls": 1040, "release": 1040, "fresh": 300, "reference": 300}


def names() -> list[str]:
    """Installed attacks that rank suspects by the released images alone and train no network for it."""
    attacks = {name: make_attack(name, {}) for name in sorted(installed(ATTACKS))}
    return [
        name
        for name, attack in attacks.items()
        if attack.sees == {Sight.RELEASE} and ranks(attack) == "suspects" and not trains(attack)
    ]


def one(seed: int) -> dict[str, Any]:
    """One clean audit with all of them."""
    return clean_resplits.audited(seed, {name: {} for name in names()}, SIZES, effort="quick", kinds=())


def main() -> None:
    """Run what is missing in the log, then summarise it."""
    done, runs = resplits.finished(one, __doc__, "clean_resplits_all.jsonl", 200)
    attacks = resplits.verdicts(done, names())
    fails = sum(run["verdict"] == "fail" for run in done)
    results = {"sizes": SIZES, "runs": len(done), "fail": fails, "attacks": attacks, "raw": done}
    command = f"python -m benchmarks.clean_resplits_all --runs {runs}"
    path = write_result("clean_resplits_all", results, seeds=[run["seed"] for run in done], command=command)
    print(fails, attacks, path)


if __name__ == "__main__":
    main()
