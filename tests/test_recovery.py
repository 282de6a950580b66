"""What mediated attacks recovered: matching, decoys, and what the runner hands to whom."""

from __future__ import annotations

from typing import Any

import audit_examples as examples
import numpy as np
import pytest

from privaudit import evidence as evidence_files
from privaudit.attack import Evidence, Source
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.record import Recovery
from privaudit.recovery import match, psnr


def flat(*values: int, labels: list[int] | None = None) -> Images:
    pixels = np.array(values, dtype=np.uint8)[:, None, None, None].repeat(2, 1).repeat(2, 2)
    return Images(pixels, np.array(labels or [0] * len(values), dtype=np.int64))


def test_matching_is_one_to_one_within_victims() -> None:
    released = flat(10, 20, 200, 210, 100)
    source = Source(np.array([0, 1, 2, 3]), np.array([5, 5, 6, 6]))
    # Both of victim 5's images are nearest to 20; one of them must take 10. Victim 6's cannot take what 5 used.
    found = match(flat(18, 22, 20, 205), np.array([5, 5, 6, 6]), released, source, flat(0))
    assert dict(zip(found.recovered.tolist(), found.source.tolist(), strict=True)) == {0: 0, 1: 1, 2: 2, 3: 3}
    assert found.squared.tolist() == pytest.approx([(d / 255) ** 2 for d in (8, 2, 180, 5)])
    # 18 is as far from 10 as the nearest decoy (100) is not; 20 (of victim 6) is nearer to decoys 10, 20 than to 200.
    assert found.found.tolist() == [True, True, False, True]
    assert found.decoys == 4  # three other released images, and the attacker's own
    assert found.chance == pytest.approx(2 / 6)


def test_decoys_are_of_the_same_class() -> None:
    released = flat(100, 140, 102, labels=[0, 0, 1])
    source = Source(np.array([0]), np.array([0]))
    near = match(flat(110), np.array([0]), released, source, flat(105, labels=[1]))
    assert near.found.tolist() == [True]
    assert near.decoys == 1
    beaten = match(flat(110), np.array([0]), released, source, flat(105, labels=[0]))
    assert beaten.found.tolist() == [False]


def test_an_equal_decoy_does_not_beat_the_source() -> None:
    found = match(flat(50), np.array([0]), flat(50, 50), Source(np.array([0]), np.array([0])), flat(50))
    assert found.found.tolist() == [True]


def test_psnr_by_hand() -> None:
    assert psnr(np.array([0.01, 1.0, 0.0])) == pytest.approx([20, 0, 80], abs=1e-4)


def test_nothing_to_match_is_refused() -> None:
    with pytest.raises(InputError, match="no recovered image belongs to a victim"):
        match(flat(1), np.array([3]), flat(1), Source(np.array([0]), np.array([0])), flat(0))


@pytest.mark.parametrize(("rows", "victim"), [((3,), (2,)), ((2, 2), (2, 2))])
def test_a_source_has_one_victim_per_row(rows: tuple[int, ...], victim: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="one victim per row"):
        Source(np.zeros(rows, np.int64), np.zeros(victim, np.int64))


def test_evidence_names_one_victim_per_image() -> None:
    with pytest.raises(InputError, match="one victim per recovered image"):
        Evidence(recovered=flat(1, 2), victim=np.zeros(3, np.int64))
    with pytest.raises(InputError, match="one victim per recovered image"):
        Evidence(scores=np.zeros(2), victim=np.zeros(2, np.int64))


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        examples.install_fakes(patch)
        examples.hurry(patch)
        plan = examples.plan_for(examples.digits().unseen.images, {"channel": {}}, kinds=())
        folder = tmp_path_factory.mktemp("recovery")
        return (*examples.audited(plan, folder / "store"), folder)


def recovery(record: Any, arm: str) -> Recovery:
    found: Recovery = record.releases[0].attacks[0].arms[arm].recovery
    return found


def test_a_perfect_channel_is_seen_through(audit: Any) -> None:
    _, record, _ = audit
    for arm in ("release", "raw", "fresh"):
        found = recovery(record, arm)
        assert (found.images, found.victims) == (24, 6)
        assert found.own.estimate == 1
        assert found.own.low == pytest.approx(0.025 ** (1 / 6))  # six victims, all alike
        assert found.own_psnr.estimate > 25
        assert found.counts["wires that held"].estimate == 0.75
        assert found.diagnostics == {"noise": 3.0}
    attack = record.releases[0].attacks[0]
    assert attack.arms["raw"].verdict == "fail"
    assert attack.arms["raw"].hits_at_reach.estimate == 1
    assert recovery(record, "raw").nearest_is_member.estimate == 1
    place = recovery(record, "raw").similarity["psnr"]
    assert place is not None
    assert place.place.high < 0.2


def test_its_silence_says_what_it_would_have_found(audit: Any) -> None:
    attack = audit[1].releases[0].attacks[0]
    assert attack.verdict == "pass"
    assert not attack.supports_pass
    assert "would have found verbatim copies" in attack.reasons[0]


def test_the_attacker_is_never_told(audit: Any) -> None:
    # `Channel.attack` raises where it is handed anything beyond what the victim showed.
    assert audit[1].releases[0].attacks[0].verdict != "incomplete"


def test_pictures_go_into_the_private_half_and_back(audit: Any) -> None:
    evidence, _, folder = audit
    evidence_files.save(evidence, folder / "evidence")
    again = evidence_files.load(folder / "evidence")
    assert again.facts == evidence.facts
    arms = again.galleries["candidate", "channel"]
    assert set(arms) == {"release", "raw", "fresh"}
    assert {name: pixels.shape for name, pixels in arms["raw"].items()} == dict.fromkeys(
        ["shown recovered", "shown source", "shown member", "shown control"], (12, 16, 16, 1)
    )
    difference = arms["raw"]["shown recovered"].astype(int) - arms["raw"]["shown source"]
    assert np.abs(difference).mean() < 8
    (folder / "evidence" / "pictures-00-channel.npz").unlink()
    with pytest.raises(InputError, match="missing or damaged"):
        evidence_files.load(folder / "evidence")
