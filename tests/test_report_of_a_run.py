"""From an audit to both editions: pairs of changed copies, groups, hostile class names, and no picture to be shared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audit_examples import REQUIRED, audited, digits, hurry, plan_for

from privaudit import evidence as files
from privaudit.evidence import AuditEvidence
from privaudit.images import Dataset, Images, concatenate
from privaudit.record import AuditRecord
from privaudit.reporting import write_evidence_edition, write_share
from privaudit.runs import drawn

NAME = "<script>alert(1)</script>"
COPIES = 40


def hostile(data: Dataset) -> Dataset:
    return replace(data, class_names=(NAME, *data.class_names[1:]))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[AuditEvidence, AuditRecord, Path]:
    """Unseen digits among which are mirrored members, of classes the first of which has an evil name."""
    data = digits()
    some = data.members.images.take(np.arange(COPIES))
    flipped = Images(some.pixels[:, :, ::-1].copy(), some.labels)
    plan = plan_for(concatenate([data.unseen.images, flipped]), REQUIRED, effort="quick", kinds=())
    parts: dict[str, Any] = {
        part: hostile(getattr(data, part)) for part in ("members", "controls", "fresh", "reference")
    }
    root = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        hurry(patch)
        evidence, record = audited(replace(plan, **parts), root / "store")
    write_share(record, drawn(evidence), root / "share")
    write_evidence_edition(record, drawn(evidence), evidence.galleries, root / "evidence.html")
    return evidence, record, root


def test_mirrored_members_stand_beside_their_mirror_images(run: tuple[AuditEvidence, AuditRecord, Path]) -> None:
    found = run[0].galleries["candidate", "nearest-copy"][files.PAIRS]
    worst = ~found["drawn"]
    assert found["told"][worst].all()
    same = (found["released"][worst] == found["member"][worst][:, :, ::-1]).all(axis=(1, 2, 3))
    assert same.sum() >= 11
    assert (found["member"] == digits().members.images.pixels[found["member row"]]).all()
    assert (found["rank"][worst] <= 40).all()


def test_an_attack_that_does_not_tell_gets_the_nearest_in_pixels(run: tuple[AuditEvidence, AuditRecord, Path]) -> None:
    found = run[0].galleries["candidate", "density-ratio"][files.PAIRS]
    assert not found["told"].any()
    assert len(found["rank"]) == run[0].facts.releases[0].attacks[1].pairs == 18


def test_pictures_are_in_the_evidence_edition_alone(run: tuple[AuditEvidence, AuditRecord, Path]) -> None:
    root = run[2]
    page = (root / "evidence.html").read_text(encoding="utf-8")
    assert page.count("<img ") == 2 * 18 * 4
    assert len(page) < 5_000_000
    for path in (root / "share").iterdir():
        assert b"<img" not in path.read_bytes()
        assert b"data:image" not in path.read_bytes()


def test_a_class_named_like_a_script_is_text(run: tuple[AuditEvidence, AuditRecord, Path]) -> None:
    _, record, root = run
    assert record.releases[0].attacks[0].strata[0].name == NAME
    for path in (root / "evidence.html", root / "share" / "report.html", root / "share" / "summary.md"):
        text = path.read_text(encoding="utf-8")
        assert "<script" not in text, path.name
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in (root / "share" / "report.html").read_text(encoding="utf-8")


def test_saved_and_read_back(run: tuple[AuditEvidence, AuditRecord, Path], tmp_path: Path) -> None:
    files.save(run[0], tmp_path)
    again = files.load(tmp_path)
    assert again.facts == run[0].facts
    for place, arms in run[0].galleries.items():
        for name, values in arms[files.PAIRS].items():
            np.testing.assert_array_equal(again.galleries[place][files.PAIRS][name], values)


def test_groups_cover_all_members(run: tuple[AuditEvidence, AuditRecord, Path]) -> None:
    _, record, _ = run
    for attack in record.releases[0].attacks:
        assert sum(one.members for one in attack.strata) == record.data.scored_members
        assert sum(one.controls for one in attack.strata) == record.data.scored_controls + record.data.scored_fresh
        assert attack.worst is not None
        assert attack.worst.among == record.data.scored_controls + record.data.scored_fresh
