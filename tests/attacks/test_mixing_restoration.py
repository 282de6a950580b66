"""Mixing restoration: the grid read off a release, whose block is whose, what the runner measures of it, the arms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from audit_examples import dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from privaudit.attack import Context, EngineBound, Evidence, Seen
from privaudit.attacks.mixing_restoration import MixingRestoration
from privaudit.attacks.mixing_restoration.fit import Fit, _along, _crossed, _parts
from privaudit.attacks.mixing_restoration.grid import block_size
from privaudit.attacks.mixing_restoration.matching import share_matched
from privaudit.attacks.mixing_restoration.ownership import _balanced
from privaudit.attribution import attribution, own_blocks, targets
from privaudit.audit import Candidate, collect
from privaudit.blocks import assembled, numbered
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.judgement import judge
from privaudit.plan import Plan
from privaudit.policy import load_policy
from privaudit.record import AuditRecord
from privaudit.release import Release, together
from privaudit.reporting.machine import audit_json, metrics
from privaudit.runs import drawn
from privaudit.statistics.tally import win_shares
from privaudit.store import Store
from privaudit.synth.pixel_block_mixing import PixelBlockMixing
from privaudit.synthesizer import made

SIDE = 16


def smooth(count: int, seed: int, classes: int = 2) -> Images:
    """Pictures of soft coloured clouds: neighbouring pixels are alike, and no two pictures are."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((count, SIDE, SIDE, 3))
    clouds = ndimage.gaussian_filter(noise, (0, 2, 2, 0), mode="wrap")
    clouds = 128 + 45 * clouds / clouds.std() + 2 * rng.standard_normal(clouds.shape)
    return Images(np.clip(np.rint(clouds), 0, 255).astype(np.uint8), np.arange(count) % classes)


def mixed(members: Images, seed: int = 0, **settings: int) -> Release:
    return made(PixelBlockMixing(**settings), members, Context(np.random.default_rng(0), seed=seed))


def own(reference: Images | None = None) -> Context:
    images = smooth(120, seed=9) if reference is None else reference
    return Context(np.random.default_rng(1), reference=images)


def attacked(release: Release, suspects: Images) -> Evidence:
    attack = MixingRestoration().bound_to(release)
    assert attack is not None
    return attack.attack(attack.expose(release, own()), suspects, own())


@pytest.mark.parametrize("block", [(8, 8), (4, 4), (8, 4), (16, 4), (5, 6), (4, 16)])
@pytest.mark.parametrize("in_place", [False, True])
def test_the_grid_is_read_off_the_release(block: tuple[int, int], in_place: bool) -> None:
    """Blocks of 5 x 6 are cut at the edges: 5, 5, 5, 1 rows and 6, 6, 4 columns."""
    release = mixed(smooth(300, seed=1), block_height=block[0], block_width=block[1], in_place=in_place)
    assert block_size(release.images) == block


def test_where_nothing_was_mixed_there_is_no_grid() -> None:
    images = smooth(300, seed=1)
    assert block_size(images) is None
    twice = Images(np.concatenate([images.pixels] * 2), np.concatenate([images.labels] * 2))
    assert block_size(twice) is None
    black = Images(np.zeros((50, 8, 8, 1), np.uint8), np.zeros(50, np.int64))
    assert block_size(black) is None


def test_pixels_that_are_equal_by_chance_are_no_grid() -> None:
    """Few grey values: any two images have many equal pixels, at places of no order. So have images made of noise."""
    rng = np.random.default_rng(0)
    for values in (2, 8, 40):
        pixels = (rng.integers(0, values, (400, 12, 12, 1)) * (255 // values)).astype(np.uint8)
        assert block_size(Images(pixels, np.arange(400) % 2)) is None
    saturated = np.clip(rng.normal(128, 250, (400, 12, 12, 1)), 0, 255).astype(np.uint8)
    assert block_size(Images(saturated, np.arange(400) % 2)) is None


def test_blocks_pasted_anywhere_are_no_grid() -> None:
    """Regions of two images are equal here too, but they end at other places in each."""
    images = smooth(300, seed=1)
    rng, pixels = np.random.default_rng(3), images.pixels.copy()
    for row in range(len(pixels)):
        top, left = rng.integers(0, SIDE - 6, 2)
        donor = images.pixels[(row + 2) % len(pixels)]
        pixels[row, top : top + 6, left : left + 6] = donor[top : top + 6, left : left + 6]
    assert block_size(Images(pixels, images.labels)) is None


def test_a_true_neighbour_fits_better_than_a_stranger() -> None:
    fit = Fit.learned(smooth(120, seed=9), (8, 8), np.random.default_rng(0))
    images = np.divide(smooth(60, seed=2, classes=1).pixels, 255, dtype=np.float32)
    odds = fit.log_odds(images[:, :8, :8], images[:, :8, 8:])
    assert odds.shape == (60, 60)
    itself = np.eye(60, dtype=bool)
    assert win_shares(odds[itself].astype(float), odds[~itself].astype(float)).mean() > 0.95


@pytest.mark.parametrize("shape", [(4, 1), (4, 2), (3, 5)])
def test_features_of_all_pairs_are_those_of_each_pair(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    left, right = (rng.random((5, *shape, 3), dtype=np.float32) for _ in range(2))
    crossed = _crossed(_parts(left, True), _parts(right, False))
    along = _along(_parts(left, True), _parts(right, False))
    np.testing.assert_allclose(crossed[np.arange(5), np.arange(5)], along, atol=1e-3)
    np.testing.assert_allclose(along[:, 0], np.log(1e-4 + ((left[:, :, -1] - right[:, :, 0]) ** 2).mean((1, 2))), 1e-4)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_no_block_is_more_images_own_than_it_can_be(rows: int, columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = _balanced(3 * rng.standard_normal((rows, columns + 1)).astype(np.float32), np.ones(columns, np.float32))
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    assert (found[:, :-1].sum(axis=0) < 1.6).all()


def by_hand() -> tuple[Images, Images, NDArray[np.int64]]:
    """Three members of 2 x 2 blocks of one pixel, pixels 10 m + place; and whose block stands where in the release."""
    pixels = (10 * np.arange(1, 4)[:, None] + np.arange(4)).reshape(3, 2, 2, 1).astype(np.uint8)
    members = Images(pixels, np.zeros(3, np.int64))
    table = np.array([[[0, 0], [1, 0]], [[1, 0], [1, 1]], [[2, 2], [2, 1]]])
    return members, Images(assembled(pixels, table, (1, 1)), members.labels), table


def test_the_truth_is_found_by_comparing_blocks() -> None:
    """Member 0 is in released image 0 but for the block below left, which stands nowhere; nor does member 2's last."""
    members, released, table = by_hand()
    mine, theirs = numbered([released.pixels, members.pixels], (1, 1))
    np.testing.assert_array_equal(mine, theirs[table, np.array([[0, 0], [1, 1]]), np.array([[0, 1], [0, 1]])])
    target, weight = targets(mine, theirs)
    assert target.tolist() == [0, 1, 2]
    assert (weight == 1).all()
    found = own_blocks(released, members, (1, 1))
    assert found[0].tolist() == [[0, 0], [-1, 0]]
    assert found[1].tolist()[0] == [1, -1]  # its upper right block stands in no image
    assert found[1].tolist()[1][0] in (0, 1)
    assert found[2].tolist() == [[2, 2], [2, -1]]


def test_what_the_runner_measures_can_be_counted() -> None:
    """9 of 12 blocks stand where they belong; put together: one right block is lost, none won; 9 are anywhere."""
    members, released, table = by_hand()
    worse = table.copy()
    worse[2, 0, 0] = 0
    made_up = Images(assembled(members.pixels, worse, (1, 1)), members.labels)
    found = attribution(made_up, np.arange(3), (1, 1), released, members, seed=0)
    assert found is not None
    assert found.images == 3
    assert found.before.estimate == pytest.approx(9 / 12)
    assert found.after.estimate == pytest.approx(8 / 12)
    assert found.findable.estimate == pytest.approx(9 / 12)
    psnrs = [10 * np.log10(255**2 / (error / 4)) for error in (10**2, 10**2, 10**2)]
    assert found.psnr_before.estimate == pytest.approx(np.median(psnrs), abs=0.01)


def test_images_are_put_together_again() -> None:
    """Of a member 70 % of the blocks are in the release: half in its own image, most others in another one."""
    members = smooth(300, seed=1)
    release = mixed(members, block_height=4, block_width=4)
    strangers = smooth(300, seed=2)
    suspects = Images(np.concatenate([members.pixels, strangers.pixels]), np.tile(members.labels, 2))
    found = attacked(release, suspects)
    assert found.assembly is not None
    assert found.assembly.block == (4, 4)
    one = found.assembly
    record = attribution(one.images, one.start, one.block, release.images, members, seed=0)
    assert record is not None
    assert 0.45 < record.before.estimate < 0.6
    assert record.after.low > record.before.high + 0.05
    assert record.after.estimate <= record.findable.estimate
    assert record.psnr_after.low > record.psnr_before.high
    assert found.scores is not None
    assert win_shares(found.scores[:300], found.scores[300:]).mean() > 0.99


def test_who_is_told_the_truth_puts_together_all_that_is_there() -> None:
    members = smooth(200, seed=1)
    release = mixed(members, block_height=8, block_width=8)
    attack = MixingRestoration(block_height=8, block_width=8)
    seen = attack.told(attack.expose(release, own()), members)
    one = attack.attack(Seen(seen.arrays), members, own()).assembly
    assert one is not None
    record = attribution(one.images, one.start, one.block, release.images, members, seed=0)
    assert record is not None
    assert record.after.estimate == pytest.approx(record.findable.estimate)


def test_plain_blocks_belong_to_everybody() -> None:
    """Black margins are in all images: they are neither counted nor fought for, and the rest is put together."""
    pixels = smooth(300, seed=1).pixels.copy()
    pixels[:, :4] = pixels[:, -4:] = 0
    members = Images(pixels, np.zeros(300, np.int64))
    theirs = smooth(120, seed=9).pixels.copy()
    theirs[:, :4] = theirs[:, -4:] = 0
    release = mixed(members, block_height=4, block_width=4)
    attack = MixingRestoration().bound_to(release)
    assert attack is not None
    context = own(Images(theirs, np.zeros(120, np.int64)))
    one = attack.attack(attack.expose(release, context), members, context).assembly
    assert one is not None
    record = attribution(one.images, one.start, one.block, release.images, members, seed=0)
    assert record is not None
    assert record.after.low > record.before.high
    assert (one.images.pixels[:, :4] == 0).all()


def test_what_it_needs() -> None:
    release = mixed(smooth(100, seed=1), block_height=8, block_width=8)
    attack = MixingRestoration().bound_to(release)
    assert attack is not None
    assert isinstance(attack, EngineBound)
    with pytest.raises(InputError, match="mixing-restoration needs images of the attacker's own"):
        attack.attack(attack.expose(release, own()), release.images, Context(np.random.default_rng(0)))
    unmixed = Release(smooth(50, seed=2))
    assert MixingRestoration().bound_to(unmixed) is None
    silent = MixingRestoration().attack(attack.expose(unmixed, own()), release.images, own()).scores
    assert silent is not None
    assert np.isnan(silent).all()
    given = MixingRestoration(block_height=2, block_width=64).bound_to(Release(smooth(10, seed=1)))
    assert given is not None  # who gives the size of the blocks is believed
    assert MixingRestoration(block_height=99, block_width=16).bound_to(release) is None  # whole images


def test_the_engine_is_run_on_classes_that_are_large_enough() -> None:
    images, attack = smooth(40, seed=1), MixingRestoration(block_height=4, block_width=4)
    rare = Images(images.pixels, np.where(np.arange(40) < 37, images.labels, 2))
    chosen, fed = attack.engine_run(rare)
    assert chosen["sources"] == 10
    assert set(fed.labels.tolist()) == {0, 1}
    assert attack.engine_run(smooth(6, seed=1))[0]["sources"] == 3


def test_it_learns_of_own_images_of_which_no_two_are_of_a_class() -> None:
    release = mixed(smooth(100, seed=1), block_height=8, block_width=8)
    single = Images(smooth(30, seed=9).pixels, np.arange(30))
    attack = MixingRestoration(block_height=8, block_width=8)
    scores = attack.attack(attack.expose(release, own(single)), release.images, own(single)).scores
    assert scores is not None
    assert np.isfinite(scores).all()


def test_images_that_were_public_already_are_not_counted_as_mixed() -> None:
    members, public = smooth(200, seed=1), smooth(600, seed=5)
    release = mixed(members, block_height=4, block_width=4)
    shown = together(release, public)
    attack = MixingRestoration().bound_to(shown)
    assert attack is not None
    one = attack.attack(attack.expose(shown, own()), members, own()).assembly
    assert one is not None
    record = attribution(one.images, one.start, one.block, shown.images, members, seed=0)
    assert record is not None
    assert 150 < record.images <= 200
    assert 0.45 < record.before.estimate < 0.6
    assert attribution(public, np.arange(200, 800), (4, 4), shown.images, members, seed=0) is None


def audited(release: Release, members: Images, folder: Path) -> tuple[AuditRecord, set[str]]:
    plan = Plan(
        members=dataset(members),
        candidates=[Candidate("mixed", release, dataset(release.images))],
        attacks={"mixing-restoration": {}, "density-ratio": {}},
        effort="quick",
        kinds=("mirrored",),
        random_split=True,
        controls=dataset(smooth(500, 3)),
        fresh=dataset(smooth(300, 4)),
        reference=dataset(smooth(200, 5)),
    )
    policy = load_policy("demo")
    evidence = collect(plan, policy, Store(folder))
    arms = {arm for scores in drawn(evidence).values() for arm in scores.arms()}
    return judge(evidence, policy), arms


def test_its_arms_are_the_engine_run_on_members_and_on_strangers(tmp_path: Path) -> None:
    members = smooth(400, seed=1)
    record, arms = audited(mixed(members, block_height=4, block_width=4), members, tmp_path)
    attack, other = sorted(record.releases[0].attacks, key=lambda one: one.name != "mixing-restoration")
    assert set(attack.arms) == {"release", "positive", "negative"}
    assert set(other.arms) == {"release", "raw", "fresh"}
    assert arms == {"release", "raw", "fresh", "positive", "negative"}
    verdicts = {name: arm.verdict for name, arm in attack.arms.items() if arm is not None}
    assert verdicts == {"release": "fail", "positive": "fail", "negative": "pass"}
    assert not attack.supports_pass
    assert not attack.power  # planted members are not mixed
    assert attack.leakage is None
    shares = {name: arm.attribution for name, arm in attack.arms.items() if arm is not None}
    assert all(found is not None and found.after.low > found.before.high for found in shares.values())
    assert {check.attack for check in record.validity.fresh} == {"mixing-restoration", "density-ratio"}
    assert AuditRecord.model_validate_json(audit_json(record)) == record
    told = metrics(record)
    key = "releases.mixed.attacks.mixing-restoration"
    assert told[f"{key}.negative.attribution.after.estimate"] > told[f"{key}.negative.attribution.before.estimate"]  # type: ignore[operator]
    assert not any(name.startswith(f"{key}.raw") for name in told)


def test_it_is_not_run_where_nothing_was_mixed(tmp_path: Path) -> None:
    record, arms = audited(Release(smooth(300, seed=7)), smooth(400, seed=1), tmp_path)
    assert {attack.name for attack in record.releases[0].attacks} == {"density-ratio"}
    why = "mixing-restoration was not run: it undoes pixel-block-mixing, and the release shows no trace of that"
    assert why in record.releases[0].not_assessed
    assert arms == {"release", "raw", "fresh"}


def test_blocks_in_one_image_count_together_by_hand() -> None:
    """Three of a suspect's four blocks in one image and one in another: 3/4, not 4/4. A plain block counts not."""
    members, _, _ = by_hand()
    made_up = Images(
        assembled(members.pixels, np.array([[[0, 0], [0, 1]], [[1, 1], [1, 0]]]), (1, 1)), np.zeros(2, np.int64)
    )
    own_images = Images(np.full((60, 2, 2, 1), 99, np.uint8), np.zeros(60, np.int64))
    share, nearest = share_matched(members, made_up, own_images, (1, 1))
    np.testing.assert_allclose(share, [3 / 4, 3 / 4, 0])
    assert nearest.tolist() == [0, 1, -1]
    own_images.pixels[:, 0, 0] = members.pixels[0, 0, 0]  # member 0's first block is everybody's
    share, _ = share_matched(members, made_up, own_images, (1, 1))
    np.testing.assert_allclose(share, [2 / 3, 3 / 4, 0])


@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 3), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_matching_equals_comparing_all_with_all(suspects: int, images: int, values: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    theirs, made_up = (
        Images(rng.integers(0, values + 1, (count, 3, 4, 1), dtype=np.uint8), np.zeros(count, np.int64))
        for count in (suspects, images)
    )
    nobody = Images(np.full((1, 3, 4, 1), 77, np.uint8), np.zeros(1, np.int64))
    share, _ = share_matched(theirs, made_up, nobody, (2, 2))
    corners = [(row, column) for row in (0, 2) for column in (0, 2)]
    for number, one in enumerate(theirs.pixels):
        equal = [
            sum(np.array_equal(one[r : r + 2, c : c + 2], other[r : r + 2, c : c + 2]) for r, c in corners)
            for other in made_up.pixels
        ]
        assert share[number] == max(equal) / 4
