"""Policies of schema 1: refused with words, written anew, and the same verdicts by the rules that they became."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from audit_examples import clean_scores, evidence_of, hurry

from privaudit.errors import InputError
from privaudit.evidence import AuditEvidence
from privaudit.judgement import judge
from privaudit.policy import Policy, load_policy
from privaudit.policy_schema1 import converted, is_schema1, rewritten
from privaudit.record import IdenticalPair, ScanFinding

REQUIRED = ("nearest-copy", "density-ratio")
DEFAULT: dict[str, Any] = {
    "schema": 1,
    "name": "default",
    "owner": "",
    "date": "",
    "recipient": "public",
    "tpr_limit": 0.05,
    "minimum_members": 1000,
    "minimum_controls": 1000,
    "required_attacks": list(REQUIRED),
    "required_plants": ["mirrored", "jpeg", "cropped"],
    "plant_dose_images": 10,
    "plant_dose_share": 0.01,
    "suspected_q": 0.1,
    "left_out_share": 0.1,
    "file_findings": "fail",
    "closest_members": "chance",
}
"""As `default.yaml` was in schema 1; `demo.yaml` differed in name, limit and numbers."""

DEMO = DEFAULT | {"name": "demo", "tpr_limit": 0.10, "minimum_members": 270, "minimum_controls": 270}
POLICIES: dict[str, dict[str, Any]] = {
    "default": DEFAULT,
    "demo": DEMO,
    "lower limit": DEMO | {"tpr_limit": 0.02},
    "other numbers": DEMO | {"minimum_members": 10, "minimum_controls": 300},
    "none closest": DEMO | {"closest_members": "none"},
    "traces inconclusive": DEMO | {"file_findings": "inconclusive"},
    "traces ignored": DEMO | {"file_findings": "ignore"},
    "no plants": DEMO | {"required_plants": []},
    "dose of one": DEMO | {"plant_dose_images": 1, "plant_dose_share": 0.0},
    "none left out": DEMO | {"left_out_share": 0.0},
}
VERDICTS = {"p": "pass", "f": "fail", "x": "incomplete", "i": "inconclusive"}
ANSWERS = {
    "clean0": "iiiiiiiiii",
    "clean3": "ipipipppip",
    "exposed2-0": "ipipipppip",
    "exposed5-0": "iiiiiiiiii",
    "exposed12-1": "ffffffffff",
    "shift0.5-1": "ffffffffff",
    "ident": "ffffffffff",
    "nocontrols": "iiiiiiiiii",
    "few": "iiixiiiiii",
    "notattacked": "ixxxxxxxxx",
    "scan": "fffffipfff",
    "crashed": "xxxxxxxxxx",
    "one": "iiiiiiiiii",
    "unseen": "iiiiiiiiii",
    "left29": "ipipppppii",
    "left31": "iiiiiiiiii",
    "cropped7": "iiiiiiipii",
    "closest": "ipipipppip",
}
"""What version 0.1 of the judgement, which knew schema 1 only, said of each evidence under each of these policies."""


def clean(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {name: clean_scores(300, 200, 100, rng) for name in REQUIRED}


def exposed(count: int, seed: int) -> AuditEvidence:
    scores = clean(seed + 50)
    rows = np.random.default_rng(seed).choice(300, count, replace=False)
    scores["nearest-copy"]["release members"][rows] = 20 + np.arange(count)
    return evidence_of(scores, seed=seed)


def shifted(by: float, seed: int) -> AuditEvidence:
    scores = clean(seed + 70)
    for found in scores.values():
        found["release members"] = found["release members"] + by
    return evidence_of(scores, seed=seed)


def blind_to_crops() -> AuditEvidence:
    scores = clean(7)
    for found in scores.values():
        found["plant cropped"] -= 20
    return evidence_of(scores)


def one_on_top() -> AuditEvidence:
    scores = clean(15)
    scores["nearest-copy"]["release members"][7] = 30.0
    return evidence_of(scores)


def left_out(count: int) -> AuditEvidence:
    return evidence_of(clean(10), not_assessed_members=tuple(f"m-{row:06d}" for row in range(count)))


SCAN = (ScanFinding(kind="metadata", sentence="3 files carry EXIF.", count=3, examples=("r-000001",)),)
PAIR = (IdenticalPair(id="m-000003", release_id="r-000001"),)
EVIDENCE: dict[str, Callable[[], AuditEvidence]] = {
    "clean0": lambda: evidence_of(clean(0), seed=0),
    "clean3": lambda: evidence_of(clean(3), seed=3),
    "exposed2-0": partial(exposed, 2, 0),
    "exposed5-0": partial(exposed, 5, 0),
    "exposed12-1": partial(exposed, 12, 1),
    "shift0.5-1": partial(shifted, 0.5, 1),
    "ident": lambda: evidence_of(clean(3), identical=PAIR),
    "nocontrols": lambda: evidence_of({}, attacked=False, exchangeability="no controls", n_controls=0, n_fresh=0),
    "few": lambda: evidence_of({}, n_members=200, attacked=False),
    "notattacked": lambda: evidence_of({}, attacked=False),
    "scan": lambda: evidence_of(clean(12), scan=SCAN),
    "crashed": lambda: evidence_of(clean(4) | {"density-ratio": None}),
    "one": lambda: evidence_of({"nearest-copy": clean_scores(300, 200, 100, np.random.default_rng(6))}),
    "unseen": lambda: evidence_of(clean(10), unseen=("soft labels",)),
    "left29": partial(left_out, 29),
    "left31": partial(left_out, 31),
    "cropped7": blind_to_crops,
    "closest": one_on_top,
}


@pytest.mark.parametrize("name", ANSWERS)
def test_verdicts_on_earlier_evidence_are_what_they_were(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)
    evidence = EVIDENCE[name]()
    for (policy, values), answer in zip(POLICIES.items(), ANSWERS[name], strict=True):
        rules = Policy.model_validate(converted(values, "policy"))
        assert judge(evidence, rules).verdict == VERDICTS[answer], policy
    shipped = [judge(evidence, load_policy(policy)).verdict for policy in ("default", "demo")]
    assert shipped == [VERDICTS[answer] for answer in ANSWERS[name][:2]]


@pytest.mark.parametrize("old", [DEFAULT, DEMO], ids=["default", "demo"])
def test_shipped_policies_have_the_limits_that_they_had(old: dict[str, Any]) -> None:
    def limits(policy: Policy) -> dict[str, Any]:
        return {rule.metric: rule.model_dump(exclude={"id", "reason", "metric"}) for rule in policy.rules}

    new = load_policy(old["name"])
    assert limits(Policy.model_validate(converted(old, "policy"))) == limits(new)
    assert len(new.rules) == len(limits(new))


def test_numbers_that_differ_stay_apart() -> None:
    for members, controls in ((60, 20), (20, 60), (20, 20)):
        policy = Policy.model_validate(
            converted(DEMO | {"minimum_members": members, "minimum_controls": controls}, "policy")
        )
        assert (policy.minimum_members, policy.minimum_controls) == (members, controls)


def test_a_file_of_schema_1_is_refused_and_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "old.yaml"
    path.write_text(yaml.safe_dump(DEMO))
    with pytest.raises(InputError) as error:
        load_policy(str(path))
    said = str(error.value)
    assert f"privaudit init --policy-from {path}" in said
    assert "tpr_limit: at_most of a rule on tpr_at_1pct_fpr, side upper, severity fail." in said
    (tmp_path / "new.yaml").write_text(rewritten(path))
    new = load_policy(str(tmp_path / "new.yaml"))
    assert new == Policy.model_validate(converted(DEMO, "policy"))
    with pytest.raises(InputError, match="is not of schema 1"):
        rewritten(tmp_path / "new.yaml")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tpr_limt": 0.1}, "Did you mean 'tpr_limit'"),
        ({"tpr_limit": "much"}, "found 'much'"),
        ({"minimum_members": "many"}, "value of the wrong kind"),
        ({"file_findings": "shrug"}, "found 'shrug'"),
        ({"required_plants": ["miror"]}, "Did you mean 'detection_limit.mirrored'"),
    ],
)
def test_wrong_values_of_schema_1(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = tmp_path / "old.yaml"
    path.write_text(yaml.safe_dump(DEMO | change))
    with pytest.raises(InputError, match=said):
        rewritten(path)


def test_what_schema_1_is() -> None:
    assert is_schema1({"schema": 1})
    assert is_schema1({"tpr_limit": 0.1})
    assert not is_schema1({"schema": 2, "name": "mine"})
    assert not is_schema1({"schema": 1, "rules": []})
    assert not is_schema1(["schema"])
    with pytest.raises(InputError, match="lacks tpr_limit"):
        converted({"schema": 1, "name": "x", "required_attacks": ["a"]}, "policy")
