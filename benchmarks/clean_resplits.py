"""Clean re-splits of CIFAR-10: new members, controls and an unseen release each time; how often is each verdict given?

Every audit is whole: near-duplicates, blind baseline, three arms, plants, two attacks, default policy. One line of
JSON per re-split is appended to the log, so that a stopped run goes on; the summary is written at the end.

    python -m benchmarks.clean_resplits --runs 200 --processes 2 --log clean_resplits.jsonl
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import resplits, shared_data
from benchmarks.recording import commit, write_result
from privaudit import seeds
from privaudit.audit import Candidate, Plan, collect
from privaudit.judgement import judge
from privaudit.policy import load_policy
from privaudit.release import Release
from privaudit.store import Store

SIZES = {"members": 1200, "controls": 2700, "release": 2800, "fresh": 900, "reference": 900}
ATTACKS: dict[str, dict[str, Any]] = {"nearest-copy": {}, "density-ratio": {}}


def one(seed: int) -> dict[str, Any]:
    """One clean audit with the two required attacks."""
    return audited(seed, ATTACKS)


def audited(
    seed: int, attacks: Mapping[str, Mapping[str, Any]], sizes: Mapping[str, int] = SIZES, **options: Any
) -> dict[str, Any]:
    """One clean audit. sizes: of the parts, in the order of `SIZES`. options: further fields of the plan."""
    data = resplits.data()
    started = time.perf_counter()
    parts = shared_data.deal(data, list(sizes.values()), seeds.generator(seed, "clean re-split"))
    members, controls, released, fresh, reference = parts
    candidate = Candidate("unseen", Release(released.images), released)
    policy = load_policy("default")
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(members, [candidate], attacks, controls, fresh, reference, seed=seed, **options)
        record = judge(collect(plan, policy, Store(Path(folder))), policy)
    release = record.releases[0]
    return {
        "seed": seed,
        "commit": commit(),
        "verdict": record.verdict,
        "reasons": list(release.reasons),
        "blind_baseline_p": record.validity.blind_baseline.p if record.validity.blind_baseline else None,
        "fresh_p": {check.attack: check.p_holm for check in record.validity.fresh},
        "attacks": {
            attack.name: {
                "verdict": attack.verdict,
                "p": arm.p,
                "r0_p": arm.r0.p,
                "top20_p": arm.top20.p if arm.top20 else None,
                "auc_p": arm.auc_p,
                "tpr_high": arm.tpr_at_1pct_fpr.high,
                "suspected": len(attack.suspected),
                "limits": {kind: limit.dose if limit else None for kind, limit in attack.detection_limit.items()},
            }
            for attack in release.attacks
            if (arm := attack.arms["release"]) is not None
        },
        "seconds": round(time.perf_counter() - started, 1),
    }


def main() -> None:
    """Run what is missing in the log, then summarise it."""
    done, runs = resplits.finished(one, __doc__, "clean_resplits.jsonl", 200)
    verdicts = [run["verdict"] for run in done]
    counts = {verdict: verdicts.count(verdict) for verdict in ("pass", "inconclusive", "fail", "incomplete")}
    path = write_result(
        "clean_resplits",
        {
            "sizes": SIZES,
            "runs": len(done),
            "verdicts": counts,
            "bars": {"fail": "<= 6", "pass": ">= 170"},
            "raw": done,
        },
        seeds=[run["seed"] for run in done],
        command=f"python -m benchmarks.clean_resplits --runs {runs}",
    )
    print(counts, path)


if __name__ == "__main__":
    main()
