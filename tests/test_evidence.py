"""Evidence on disk: read back as written, refused when damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audit_examples import DEMO, clean_scores, evidence_of
from numpy.typing import NDArray

from privaudit import evidence as files
from privaudit.errors import InputError
from privaudit.judgement import judge


def example() -> files.AuditEvidence:
    scores = clean_scores(300, 200, 100, np.random.default_rng(0))
    scores["release members"][3] = np.nan
    return evidence_of({"nearest-copy": scores, "density-ratio": None})


def test_round_trip_and_the_same_judgement(tmp_path: Path) -> None:
    before = example()
    files.save(before, tmp_path / "evidence")
    after = files.load(tmp_path / "evidence")
    assert after.facts == before.facts
    assert set(after.scores) == set(before.scores)
    for place, scores in before.scores.items():
        assert set(after.scores[place]) == set(scores)
        for name, values in scores.items():
            np.testing.assert_array_equal(after.scores[place][name], values)
    assert judge(after, DEMO) == judge(before, DEMO)


def test_equal_evidence_gives_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        files.save(example(), tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_pairs_and_groups_come_back(tmp_path: Path) -> None:
    before = example()
    release = before.facts.releases[0]
    attacks = tuple(one.model_copy(update={"pairs": 3, "informs": ("linkability",)}) for one in release.attacks[:1])
    facts = before.facts.model_copy(
        update={
            "releases": (release.model_copy(update={"attacks": (*attacks, *release.attacks[1:])}),),
            "class_names": ("a",),
            "units": {"members": files.UnitFacts(classes=(0, -1), images=(1, 2))},
        }
    )
    pairs: dict[str, NDArray[Any]] = {"rank": np.arange(3), "member": np.zeros((3, 4, 4, 1), np.uint8)}
    galleries = {("candidate", attacks[0].name): {files.PAIRS: pairs}}
    files.save(files.AuditEvidence(facts, before.scores, galleries), tmp_path)
    after = files.load(tmp_path)
    assert after.facts == facts
    assert after.galleries["candidate", attacks[0].name][files.PAIRS]["rank"].tolist() == [0, 1, 2]


def test_evidence_of_an_older_version_is_read_and_judged(tmp_path: Path) -> None:
    """Without the keys that came later; what they tell is then not assessed."""
    files.save(example(), tmp_path)
    facts = json.loads((tmp_path / files.FACTS).read_text())
    for key in ("class_names", "units"):
        del facts[key]
    for attack in facts["releases"][0]["attacks"]:
        for key in ("informs", "pairs"):
            del attack[key]
    (tmp_path / files.FACTS).write_text(json.dumps(facts))
    record = judge(files.load(tmp_path), DEMO)
    assert record.releases[0].attacks[0].strata == ()
    assert record.releases[0].attacks[0].worst is not None


def test_units_that_are_kept_keep_their_order() -> None:
    facts = files.UnitFacts(classes=(0, 1, -1), images=(1, 2, 3))
    assert facts.kept(np.array([True, False, True])) == files.UnitFacts(classes=(0, -1), images=(1, 3))


def test_no_finished_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished run"):
        files.load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"\x80\x04pickled"])
def test_damaged_scores_are_refused(tmp_path: Path, content: bytes) -> None:
    files.save(example(), tmp_path)
    (tmp_path / "scores-00-nearest-copy.npz").write_bytes(content)
    with pytest.raises(InputError, match="missing or damaged"):
        files.load(tmp_path)


def test_flipped_bit_in_the_scores_is_refused(tmp_path: Path) -> None:
    files.save(example(), tmp_path)
    path = tmp_path / "scores-00-nearest-copy.npz"
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(InputError, match="missing or damaged"):
        files.load(tmp_path)


@pytest.mark.slow
def test_any_flipped_bit_in_the_scores_is_refused_or_harmless(tmp_path: Path) -> None:
    files.save(example(), tmp_path)
    before = files.load(tmp_path).scores["candidate", "nearest-copy"]
    path = tmp_path / "scores-00-nearest-copy.npz"
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            after = files.load(tmp_path).scores["candidate", "nearest-copy"]
        except InputError:
            continue
        assert all(np.array_equal(after[name], before[name], equal_nan=True) for name in after)


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"seed": 1, "unknown": 2}'])
def test_damaged_facts_are_refused(tmp_path: Path, content: str) -> None:
    files.save(example(), tmp_path)
    (tmp_path / files.FACTS).write_text(content)
    with pytest.raises(InputError, match="cannot be read"):
        files.load(tmp_path)


def test_lost_scores_are_refused(tmp_path: Path) -> None:
    files.save(example(), tmp_path)
    (tmp_path / "scores-00-nearest-copy.npz").unlink()
    with pytest.raises(InputError, match="missing or damaged"):
        files.load(tmp_path)
