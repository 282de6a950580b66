"""The record of an audit: what `audit.json` holds. Its keys are stable; `schema` rises when they change.

No path, host, user or private pixel is in it: images appear under neutral ids (`m-000123` member, `c-000045` control,
`f-000007` fresh, `r-000012` released).
"""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field

from privaudit.arms import Arm
from privaudit.attack import Criterion, Ranked, Settings
from privaudit.rule_record import RuleRecord
from privaudit.utility.record import Measured, UtilityRecord

SCHEMA = 1

Verdict = Literal["pass", "fail", "inconclusive", "incomplete"]
Unit = Literal["image", "person"]
Family = Literal["holds_release", "mediated"]
Statistic = Literal["ssim", "psnr", "lpips"]
Exchangeability = Literal["random split", "assumed", "no controls"]


_PATHS = re.compile(r"""'[^'\n]*[/\\][^'\n]*'|"[^"\n]*[/\\][^"\n]*"|(?<![\w/])(?:[A-Za-z]:\\|\\\\|~?/)[^\s'"]+""")


def without_paths(text: str) -> str:
    """A text without the paths in it: quoted ones, which may hold spaces, and absolute ones."""
    return _PATHS.sub("(a path)", text)


class Estimate(Settings):
    """A number with its interval (two-sided 95 % unless `method` says otherwise) and what it was computed from."""

    estimate: float
    low: float
    high: float
    n_members: int
    n_controls: int
    unit: Unit
    method: str
    direction: Literal["lower is safer", "higher is better", "descriptive"]


class Count(Settings):
    """How many members were met where chance would put few, with the exact probability of at least as many."""

    members: int
    among: int = Field(description="size of the set they were counted in; for R0 the number of members scored")
    p: float


class Similarity(Settings):
    """Law of a nearest-neighbour statistic for released images and for held-out real ones.

    name: the statistic with its parameters. place: share of the held-out pairs that are more alike than half of the
    released ones.
    """

    name: str
    release: dict[str, float]
    controls: dict[str, float]
    place: Estimate


class Recovery(Settings):
    """What a mediated attack recovered in one arm. It describes; the verdict comes from the ranking of suspects."""

    images: int = Field(description="recovered images")
    victims: int = Field(description="victims that they came from")
    own: Measured = Field(description="share that lies nearer to its own source than to any decoy")
    own_chance: float = Field(description="the same by chance")
    decoys: float = Field(description="mean number of decoys: images of the same class that the victim did not use")
    own_psnr: Measured = Field(description="median PSNR in dB to the own source, matched one to one within victims")
    nearest_is_member: Measured = Field(description="share whose nearest suspect is a member")
    nearest_is_member_chance: float = Field(description="the same by chance: the share of members among suspects")
    similarity: dict[Statistic, Similarity | None] = Field(description="to the nearest member, beside controls")
    counts: dict[str, Measured] = Field(description="the victim's own figures")
    diagnostics: dict[str, float] = Field(description="the attacker's own figures, chosen without the truth")


class Attribution(Settings):
    """How well an attack put mixed images together again, in one arm. It describes, and judges nothing.

    Shares are of the blocks of the images that the mixed ones were made of, leaving out plain blocks that many have.
    What an image was made of is estimated: the member most of whose blocks stand in it, which of images of eight blocks
    or fewer makes the shares some points too high.
    """

    images: int = Field(description="mixed images that were measured")
    block: tuple[int, int] = Field(description="height and width of a block in pixels")
    before: Measured = Field(description="share of their blocks that stand in the mixed images")
    after: Measured = Field(description="the same of the images that the attack put together")
    findable: Measured = Field(description="share of their blocks that stand anywhere in the release, at their place")
    psnr_before: Measured = Field(description="median PSNR in dB of the mixed images to what they were made of")
    psnr_after: Measured = Field(description="the same of the images that the attack put together")


class ArmRecord(Settings):
    """One attack against one arm."""

    verdict: Literal["pass", "fail", "inconclusive"]
    p: float = Field(description="3 x the smallest of the p values of R0, top 20 and AUC; not corrected for the family")
    p_holm: float = Field(description="p after Holm's correction over the declared family")
    r0: Count = Field(description="members scored above every control")
    top20: Count | None = Field(description="members among the 20 highest scores")
    auc: Estimate
    auc_p: float = Field(description="one-sided p value of the AUC")
    tpr_at_1pct_fpr: Estimate
    hits_at_reach: Estimate | None = Field(description="share of members among the k best-scored; mediated attacks")
    recovery: Recovery | None = Field(None, description="what a mediated attack recovered; None for other attacks")
    attribution: Attribution | None = Field(
        None, description="blocks of a mixed release put together again; None for other attacks"
    )


class ExposedShare(Settings):
    """Bounds of (TPR - FPR)/(1 - FPR) at 1 % FPR, and how many of the scored persons (or images) that is."""

    low: float
    high: float
    persons: tuple[int, int]


class Power(Settings):
    """Share of draws in which `dose` planted members made the verdict rule answer fail or inconclusive."""

    dose: int
    share: float = Field(description="dose as a share of the scored members")
    power: Estimate


class IdenticalPair(Settings):
    """A member whose decoded pixels are released unchanged."""

    id: str
    release_id: str


class Suspected(Settings):
    """A member on the list at this false discovery rate; some on the list are innocent."""

    id: str
    fdr: float


class WorstMember(Settings):
    """The member that an attack ranks highest in the release arm: the worst person, beside the averages."""

    id: str
    above: int = Field(description="controls ranked above it")
    tied: int = Field(description="controls with the same score")
    among: int = Field(description="controls scored")
    chance: float = Field(description="mean number of controls above the best member, if the ranking were chance")
    p: float = Field(description="probability that chance puts so few controls, ties included, above the best member")


class Stratum(Settings):
    """One group of members against the controls of that group, in the release arm. It describes and judges nothing."""

    kind: Literal["class", "images per person"]
    name: str
    members: int
    controls: int
    auc: Estimate | None = Field(description="None: too few members or controls")
    above_threshold: Estimate | None = Field(
        description="share of its members above the threshold that 1 % of all controls exceed; None: too few"
    )
    p_holm: float | None = Field(description="detection p after Holm over all groups of this attack; None: too few")
    stands_out: bool = Field(description="p_holm is at most .05")


class Matches(Settings):
    """How many score at or above a place of the ranking: members, who may be true matches, and strangers (controls),
    who cannot be: phantom matches.
    """

    members: int
    strangers: int


class AttackRecord(Settings):
    """The finding of one attack on one release."""

    name: str
    version: int
    settings: dict[str, Any]
    verdict: Verdict
    reasons: tuple[str, ...]
    family: Family
    supports_pass: bool
    no_support: tuple[str, ...] = Field(description="why the attack's silence supports no pass; empty where it does")
    threat_model: str
    seconds: float
    arms: dict[Arm, ArmRecord | None]
    exposed_share: ExposedShare | None
    leakage: Estimate | None
    detection_limit: dict[str, Power | None] = Field(description="smallest dose found with 95 % power, by kind")
    power: dict[str, tuple[Power, ...]] = Field(description="every dose tried, by kind of plant")
    identical: tuple[IdenticalPair, ...]
    suspected: tuple[Suspected, ...]
    suspected_q: float = Field(description="false discovery rate that bounds the list of suspected members")
    closest: tuple[str, ...] = Field(description="the members behind R0: closer to the release than every control")
    informs: tuple[Criterion, ...] = Field(("singling_out",), description="criteria of WP216 that it informs")
    worst: WorstMember | None = Field(None, description="the member ranked highest; None: there is no ranking")
    fewest_visible: int | None = Field(
        None, description="exposed members below which no ranking of this size can be told from chance"
    )
    strata: tuple[Stratum, ...] = Field((), description="by class, and by images per person")
    ranks: Ranked = Field(
        "suspects", description="whose images it ranks; siblings: other images of the persons, never fed to an engine"
    )
    listed: Matches | None = Field(
        None, description="at or above the last member on the list of suspected ones; None: nobody is on it"
    )


class ArtifactRecord(Settings):
    """What is published beside the images, what attacks that look at it found, and what leaving it out would change.

    found: 'fail' or 'inconclusive' where an attack says so, 'silent' where those that looked say nothing, else 'not
    assessed'. verdict_without: the verdict on the same candidate without it.
    """

    name: str
    attacks: tuple[str, ...] = Field(description="those that looked at it")
    found: Literal["fail", "inconclusive", "silent", "not assessed"]
    verdict_without: Verdict
    sentence: str


class ScanFinding(Settings):
    """Something in the released files beyond the images themselves."""

    kind: Literal["metadata", "trailing_bytes", "name_repeats_member", "order_repeats_members", "unexpected_file"]
    sentence: str
    count: int
    examples: tuple[str, ...] = Field(description="neutral ids of released images, at most five")


class ReleaseRecord(Settings):
    """The verdict on one candidate."""

    name: str
    verdict: Verdict
    sentence: str
    reasons: tuple[str, ...]
    next_steps: tuple[str, ...]
    claim: dict[str, Any] | None
    images: int
    size: tuple[int, int, int]
    class_counts: dict[str, int]
    identical: tuple[IdenticalPair, ...]
    common: int = Field(
        description="released images that equal a member, but are flat or equal a control too: no proof"
    )
    scan: tuple[ScanFinding, ...]
    not_assessed: tuple[str, ...]
    attacks: tuple[AttackRecord, ...]
    similarity: dict[Statistic, Similarity | None]
    utility: UtilityRecord | None
    rules: tuple[RuleRecord, ...] = Field((), description="every rule of the policy, in its order")
    artifacts: tuple[ArtifactRecord, ...] = Field((), description="what is published beside the images")


class BlindBaseline(Settings):
    """A classifier that never sees the release tries to tell members from controls."""

    auc: Estimate
    p: float
    passed: bool


class FreshCheck(Settings):
    """Two-sided test of one attack on the fresh arm, where members and controls must look alike."""

    attack: str
    auc_p: float
    top20_p: float
    p_holm: float
    passed: bool


class Validity(Settings):
    """Whether members and controls can be compared at all."""

    blind_baseline: BlindBaseline | None
    fresh: tuple[FreshCheck, ...]
    exchangeability: Exchangeability
    passed: bool


class DataRecord(Settings):
    """What was audited, in counts."""

    members: int
    controls: int
    fresh: int
    reference: int
    unit: Unit
    scored_members: int = Field(description="units of members that were suspects")
    scored_controls: int = Field(description="units of controls that were suspects, fresh ones not counted")
    scored_fresh: int
    not_assessed_members: tuple[str, ...] = Field(description="members left out: other images are nearly the same")
    left_out_controls: int
    near_duplicate_threshold: float | None
    near_duplicate_threshold_mirrored: float | None = Field(
        None, description="correlation from which on an image and a mirrored one count as near-duplicates"
    )
    notes: tuple[str, ...]
    also_released: int = Field(
        0, description="images that were public already; the attacks saw them with each candidate"
    )
    already_public: tuple[str, ...] = Field(
        (), description="members that are public already, pixel by pixel: not scored, and no leak of a candidate"
    )
    linked_members: int = Field(0, description="persons of the members with another image that no engine was fed")
    linked_controls: int = Field(0, description="the same of the controls, fresh ones included")


class SelectionRecord(Settings):
    """What choosing one of several candidates rests on."""

    candidates: int
    chosen: str | None = Field(description="the most useful of those that pass; None: none passes")
    confirmed: bool | None = Field(description="whether it passes on the held-back controls too; None: not tried")
    held_back_controls: int = Field(description="controls that took no part in the choice; 0: too few to hold any back")
    sentence: str


class AuditRecord(Settings):
    """Everything that an audit found, in shareable form."""

    model_config = Settings.model_config | {"populate_by_name": True}

    schema_: int = Field(SCHEMA, alias="schema")
    verdict: Verdict
    sentence: str
    releases: tuple[ReleaseRecord, ...]
    selection: SelectionRecord | None = Field(None, description="None: one candidate alone, nothing was chosen")
    validity: Validity
    data: DataRecord
    policy: dict[str, Any]
    judged_on: str = Field("", description="day that waivers and reviews were held against, as 2027-01-31")
    policy_notes: tuple[str, ...] = Field((), description="what is due in the policy itself; decides nothing")
    manifest: dict[str, Any]
