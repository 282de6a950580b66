"""Clean re-splits of the digits with the whole suite, quick: how often does an audit, and each attack, say `fail`?

The release is images of nobody, and with it a network trained on them, its soft labels and its class-wise statistics,
so that attacks on these have something to look at. No members are planted, so that no verdict is a pass: false alarms
are counted. linkage, which needs persons, and pipeline-shadows, which needs an engine, are not run. One line of JSON
per re-split is appended to the log, so that a stopped run goes on.

    python -m benchmarks.clean_suite --runs 40
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from scipy import special

from benchmarks import resplits
from benchmarks.recording import commit, write_result
from privaudit import demo
from privaudit.audit import Candidate, collect
from privaudit.judgement import judge
from privaudit.learning import Recipe, logits, train
from privaudit.plugins import ATTACKS, installed
from privaudit.policy import load_policy
from privaudit.release import Release
from privaudit.released_statistics import PIXELS, class_statistics
from privaudit.store import Store

NOT_RUN = ("linkage", "pipeline-shadows")


def one(seed: int) -> dict[str, Any]:
    """One clean audit with everything published."""
    import torch

    torch.set_num_threads(1)
    started = time.perf_counter()
    plan, policy = demo.plan(seed, clean=True), load_policy("demo")
    (candidate,) = plan.candidates
    images = candidate.release.images
    classes = int(images.labels.max()) + 1
    teacher = train(Recipe.model_validate(demo.TEACHER), images, classes, seed)
    release = Release(
        images,
        soft_labels=special.softmax(logits(teacher, images), axis=1),
        teacher=teacher,
        trained_on="members",
        statistics=class_statistics(images, classes, [PIXELS]),
    )
    attacks: dict[str, dict[str, Any]] = {name: {} for name in sorted(installed(ATTACKS)) if name not in NOT_RUN}
    with tempfile.TemporaryDirectory() as folder:
        plan = replace(
            plan, candidates=[Candidate("clean", release, candidate.data)], attacks=attacks, effort="quick", kinds=()
        )
        record = judge(collect(plan, policy, Store(Path(folder))), policy)
    found = record.releases[0]
    return {
        "seed": seed,
        "commit": commit(),
        "verdict": record.verdict,
        "reasons": list(found.reasons),
        "blind_baseline_p": record.validity.blind_baseline.p if record.validity.blind_baseline else None,
        "attacks": {
            attack.name: {
                "verdict": attack.verdict,
                "reasons": list(attack.reasons),
                "p": arm.p,
                "r0_p": arm.r0.p,
                "auc_p": arm.auc_p,
                "seconds": attack.seconds,
            }
            for attack in found.attacks
            if (arm := attack.arms["release"]) is not None
        },
        "not run": [attack.name for attack in found.attacks if attack.arms["release"] is None],
        "seconds": round(time.perf_counter() - started, 1),
    }


def main() -> None:
    """Run what is missing in the log, then summarise it."""
    done, runs = resplits.finished(one, __doc__, "clean_suite.jsonl", 40)
    attacks = resplits.verdicts(done, sorted({name for run in done for name in run["attacks"]}))
    verdicts = dict(Counter(run["verdict"] for run in done))
    results = {"runs": len(done), "verdicts": verdicts, "bar": {"fail": "<= 2"}, "attacks": attacks, "raw": done}
    command = f"python -m benchmarks.clean_suite --runs {runs}"
    print(verdicts, attacks)
    print(write_result("clean_suite", results, seeds=[run["seed"] for run in done], command=command))


if __name__ == "__main__":
    main()
