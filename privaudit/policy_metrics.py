"""The vocabulary of a policy: what a rule may limit, in which form, and how much it may decide."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from privaudit.plants import KINDS

Bound = Literal["at_most", "at_least"]
Side = Literal["estimate", "lower", "upper"]
Severity = Literal["fail", "inconclusive"]

EXPOSED, SUSPECTED, IDENTICAL = "tpr_at_1pct_fpr", "suspected_q", "identical_copies"
MEMBERS, CONTROLS = "scored_members", "scored_controls"
DETECTION, SIMILARITY = "detection_limit.", "similarity."

_BOTH: tuple[Severity, ...] = ("fail", "inconclusive")
_DOUBT: tuple[Severity, ...] = ("inconclusive",)
_ANY_SIDE: tuple[Side, ...] = ("estimate", "lower", "upper")
_POOLS = "scored members and controls, each"


@dataclass(frozen=True)
class Metric:
    """Something measured that a rule may limit.

    title, means: what it is. step: what to do where a rule on it is not kept. lowest, highest: range of the limit;
    lowest_excluded: it must lie above `lowest`. share: printed in per cent. counted: what `minimum_n` counts; empty:
    the rule takes none. binding: a part of the evidence standard, which no waiver lifts. once: at most one rule on it.
    proof: told before anything that was concluded from scores.
    """

    title: str
    means: str
    step: str | None = None
    bounds: tuple[Bound, ...] = ("at_most",)
    sides: tuple[Side, ...] = ("estimate",)
    severities: tuple[Severity, ...] = _BOTH
    lowest: float = 0.0
    highest: float = math.inf
    lowest_excluded: bool = False
    share: bool = False
    counted: str = ""
    binding: bool = False
    once: bool = False
    proof: bool = False


def _utility(title: str, means: str) -> Metric:
    return Metric(
        title,
        means,
        "Synthesise with more images or more detail, and audit again.",
        bounds=("at_least",),
        sides=_ANY_SIDE,
        share=True,
        counted="test images",
    )


METRICS: Mapping[str, Metric] = {
    IDENTICAL: Metric(
        "Members released unchanged",
        "Members whose decoded pixels are in the release. This is proof: the only limit is 0, and every policy has it.",
        "Do not publish: find out how the identical copies came in (the report lists them, private/ids.csv tells their "
        "files), and have a new candidate made. To remove them is not enough where other attacks found more.",
        severities=("fail",),
        highest=0,
        binding=True,
        once=True,
        proof=True,
    ),
    "file_traces": Metric(
        "Kinds of traces in the released files",
        "Metadata, trailing bytes, and names or an order of rows that repeat the members'. Without a rule on them they "
        "are told and decide nothing.",
        "Write the released files anew, without metadata, with neutral names in random order.",
        proof=True,
    ),
    "left_out_share": Metric(
        "Members that were not assessed",
        "Share of the members left out of scoring because other images are nearly the same.",
        "Find controls that do not repeat the members' images.",
        severities=_DOUBT,
        highest=1,
        share=True,
        proof=True,
    ),
    MEMBERS: Metric(
        "Scored members",
        "Members (persons, where these are known) that are ranked. With fewer, nothing is attacked.",
        "Collect more members or controls, or choose a policy with a larger limit.",
        bounds=("at_least",),
        severities=_DOUBT,
        binding=True,
    ),
    CONTROLS: Metric(
        "Scored controls",
        "Controls, fresh ones included, that are ranked. With fewer, nothing is attacked.",
        "Collect more members or controls, or choose a policy with a larger limit.",
        bounds=("at_least",),
        severities=_DOUBT,
        binding=True,
    ),
    EXPOSED: Metric(
        "Members found at 1 % false accusations",
        "Share of the members that an attacker picks out while accusing 1 % of strangers wrongly, for every attack "
        "that holds the release. Fail where the whole 95 % interval lies above the limit, inconclusive where its "
        "upper end does. An innocent release shows about 1 %.",
        "Audit again with more controls: a doubtful ranking by chance does not come back, a leak does.",
        sides=("upper",),
        severities=("fail",),
        lowest=0.01,
        highest=0.999,
        lowest_excluded=True,
        share=True,
        counted=_POOLS,
        once=True,
    ),
    SUSPECTED: Metric(
        "Members named at a false discovery rate",
        "False discovery rate of the list of suspected members, before it is shared among the attacks: a list that "
        "is not empty is a fail.",
        severities=("fail",),
        highest=0.1,
        lowest_excluded=True,
        share=True,
        binding=True,
        once=True,
    ),
    "exposed_share.persons": Metric(
        "Members exposed to an attack",
        "How many of the scored members (persons, where these are known) an attack singles out beyond chance at 1 % "
        "false accusations: bounds only, so side is lower or upper.",
        "Synthesise with less detail, or audit again with more controls for a sharper bound.",
        sides=("lower", "upper"),
        counted=_POOLS,
    ),
    "closest_members": Metric(
        "Members closer than every control",
        "Members that an attack ranks above every control. Chance puts some there: look at each pair.",
        "Look at these pairs in the evidence edition, and sign that they are no copies.",
        severities=_DOUBT,
    ),
    **{
        f"{DETECTION}{kind}": Metric(
            f"Planted members of the kind '{kind}'",
            f"Smallest number of planted members of the kind '{kind}' at which a required attack was alarmed in 95 % "
            "of trials. The limit is a number of images, or `or_share` of the scored members where that is more.",
            "Use more controls, a larger effort, or an attack that sees this kind.",
            severities=_DOUBT,
            counted="scored members",
        )
        for kind in KINDS
    },
    **{
        f"{SIMILARITY}{name}.place": Metric(
            f"Place of the release among real images ({name.upper()})",
            "Share of held-out real images that resemble a member more than half of the released ones do; about 50 %: "
            "as near as strangers, near 0 %: nearer. Likeness never decides alone: inconclusive at most.",
            "Look at the most alike pairs, and synthesise with less detail.",
            bounds=("at_least",),
            sides=_ANY_SIDE,
            severities=_DOUBT,
            highest=1,
            share=True,
            counted="held-out images",
        )
        for name in ("ssim", "psnr", "lpips")
    },
    "utility.ratio": _utility(
        "Accuracy kept", "Accuracy of students trained on the release, as a share of that of students of the members."
    ),
    "utility.synthetic": _utility(
        "Accuracy of students of the release", "Accuracy on real test images of students trained on the release."
    ),
    "claim.epsilon": Metric(
        "Claimed privacy loss (epsilon)",
        "The epsilon that the release claims. A release without a claim does not keep the limit. The claim is not "
        "proved by this audit.",
        "Make the candidate with a differentially private engine, and state the whole claim.",
    ),
    "claim.delta": Metric(
        "Claimed probability of more (delta)",
        "The delta that the release claims. A release without a claim does not keep the limit. The claim is not "
        "proved by this audit.",
        "Make the candidate with a differentially private engine, and state the whole claim.",
        highest=1,
    ),
    "images": Metric(
        "Released images",
        "Number of images in the release.",
        "Publish another number of images.",
        bounds=("at_most", "at_least"),
    ),
}
"""By name, as a rule writes it under `metric`."""
