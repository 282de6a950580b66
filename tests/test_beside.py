"""What is published beside the images: what was found in it, and what leaving it out would change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from audit_examples import DEMO, clean_scores, evidence_of, only_plants

from privaudit.beside import without
from privaudit.evidence import AuditEvidence
from privaudit.judgement import judge
from privaudit.record import ArtifactRecord, ReleaseRecord
from privaudit.reporting.page import render_html
from privaudit.reporting.summary import summary_markdown

POLICY = only_plants(DEMO.model_copy(update={"required_attacks": ("plain",)}), "mirrored")


def evidence(leak: bool, artifacts: tuple[str, ...] = ("soft_labels",), unseen: tuple[str, ...] = ()) -> AuditEvidence:
    """Two attacks with power; the second looks at soft labels, and may find members by them."""
    rng = np.random.default_rng(3)
    scores = {name: clean_scores(300, 200, 100, rng) for name in ("plain", "reads-labels")}
    if leak:
        scores["reads-labels"]["release members"][:60] += 20
    found = evidence_of(scores, unseen=unseen)
    (release,) = found.facts.releases
    attacks = tuple(
        one.model_copy(update={"looks_at": ("soft_labels",) if one.name == "reads-labels" else ()})
        for one in release.attacks
    )
    told = release.model_copy(update={"attacks": attacks, "artifacts": artifacts})
    return replace(found, facts=found.facts.model_copy(update={"releases": (told,)}))


def judged(found: AuditEvidence) -> tuple[ReleaseRecord, ArtifactRecord]:
    release = judge(found, POLICY).releases[0]
    return release, release.artifacts[0]


def test_a_leak_by_soft_labels_alone_goes_with_them() -> None:
    release, soft = judged(evidence(leak=True))
    assert release.verdict == "fail"
    assert (soft.name, soft.attacks, soft.found, soft.verdict_without) == (
        "soft_labels",
        ("reads-labels",),
        "fail",
        "pass",
    )
    assert soft.sentence == (
        "Soft labels: looked at by reads-labels: a leak was found. Without them the verdict would be pass. It would "
        "rest on plain, and be confirmed by no audit: audit the candidate without."
    )


def test_silence_with_shown_power_changes_nothing() -> None:
    release, soft = judged(evidence(leak=False))
    assert release.verdict == "pass"
    assert (soft.found, soft.verdict_without) == ("silent", "pass")
    assert "nothing was found. Without them the verdict would be the same, pass." in soft.sentence


def test_what_nobody_looked_at_is_not_assessed() -> None:
    unread = "teacher, of which nobody knows what it was trained on"
    release, teacher = judged(evidence(leak=False, artifacts=("teacher",), unseen=(unread,)))
    assert release.verdict == "inconclusive"
    assert (teacher.found, teacher.verdict_without) == ("not assessed", "pass")
    assert teacher.sentence.startswith("Teacher: no attack looked at what this gives away. Without it the verdict")


def test_leaving_out_takes_the_findings_of_those_who_looked_and_no_others() -> None:
    (release,) = evidence(leak=True, artifacts=("soft_labels", "teacher"), unseen=("teacher",)).facts.releases
    left = without(release, "soft_labels")
    assert [attack.name for attack in left.attacks] == ["plain"]
    assert left.unseen == ("teacher",)
    assert left.artifacts == ("teacher",)


def test_the_report_and_the_summary_say_it() -> None:
    record = judge(evidence(leak=True), POLICY)
    sentence = record.releases[0].artifacts[0].sentence
    assert sentence in summary_markdown(record)
    page = render_html(record, {})
    assert sentence in page
    assert "What is published beside the images" in page
    plain = judge(evidence(leak=False, artifacts=()), POLICY)
    assert plain.releases[0].artifacts == ()
    assert "What is published beside the images" not in render_html(plain, {})
