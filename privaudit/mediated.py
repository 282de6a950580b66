"""What the finding of a mediated attack says: it can fail a release; its silence is explained, and supports nothing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from privaudit.arms import Arm
from privaudit.evidence import AttackFacts
from privaudit.record import ArmRecord, Recovery
from privaudit.statistics.exposure import clopper_pearson_low
from privaudit.statistics.reach import detectable_share, detectable_share_by_rank, endpoint
from privaudit.statistics.rule import ALPHA_FAIL, Rule


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def mediated_reasons(arms: Mapping[Arm, ArmRecord | None], facts: AttackFacts, rule: Rule) -> list[str]:
    """Why a mediated attack fails the release, or what its silence could have hidden, one sentence each."""
    release, raw = arms["release"], arms[facts.arms[1]]
    if release is None:
        return ["it did not finish"]
    if release.verdict == "fail":
        hits = release.hits_at_reach
        among = "" if hits is None or facts.reach is None else f" ({_percent(hits.estimate)} of its {facts.reach} best)"
        return [f"its best-scored suspects are members more often than chance allows{among}"]
    if raw is None or raw.verdict != "fail":
        return [f"no power here: it does not find members even where the originals were used{_why(raw)}"]
    mine, originals = release.recovery, raw.recovery
    if mine is not None and originals is not None and mine.own.estimate < originals.own.estimate / 2:
        return [
            f"it did not work on this release: it recovered {_percent(mine.own.estimate)} of the images that its "
            f"victims used, against {_percent(originals.own.estimate)} of the originals; its silence says nothing"
        ]
    if facts.reach is None:
        there = raw.tpr_at_1pct_fpr
        return [
            "silent; it ranks every suspect; where originals were used in place of what is released it found "
            f"{_percent(there.estimate)} ({_percent(there.low)} to {_percent(there.high)}) of the members at 1 % false "
            "accusations, and a weaker trace than theirs may be hidden"
        ]
    if mine is not None:
        success, recovering = mine.own.estimate, "recovering its victims' images as often as it did here"
    else:
        success = _found_there(raw, facts.reach)
        recovering = "finding its victims' images as often as where originals were used"
    share = _detectable(release, success, facts.reach, rule)
    if share is None:
        return ["silent; with this reach it could not have shown a leak of any size"]
    return [
        f"silent; {recovering}, it would have found verbatim copies of members with 95 % power if they were at least "
        f"{_percent(share)} of the release"
    ]


def _found_there(raw: ArmRecord, reach: int) -> float:
    """How often it surely found a used image where only members were used.

    Found means among the best-scored, or ahead of every control where that is what the rule asks for.
    """
    hits = raw.hits_at_reach
    if hits is None:
        return 0.0
    if endpoint(reach, hits.n_members, hits.n_controls) is None:
        return float(clopper_pearson_low(np.array([min(raw.r0.members, reach)]), reach)[0])
    by_chance = hits.n_members / (hits.n_members + hits.n_controls)
    return max(0.0, (hits.low - by_chance) / (1 - by_chance))


def _why(raw: ArmRecord | None) -> str:
    found = None if raw is None else raw.recovery
    if found is None:
        return ""
    nearest = (
        f"of {found.images} recovered images {_percent(found.nearest_is_member.estimate)} lie nearer to a member than "
        f"to any control (chance {_percent(found.nearest_is_member_chance)})"
    )
    if only_class(found):
        return f"; {nearest}: they show what a class looks like, not its images"
    return f"; {nearest}"


def only_class(found: Recovery) -> bool:
    """Whether the recovered images are no nearer to their own source than chance would have them within the class."""
    return found.own.low <= found.own_chance


def _detectable(release: ArmRecord, success: float, reach: int, rule: Rule) -> float | None:
    """The least share of copies that would have been found. success: how often a used image is."""
    n_members, n_controls = release.auc.n_members, release.auc.n_controls
    if endpoint(reach, n_members, n_controls) is not None:
        return detectable_share(reach, n_members, n_controls, ALPHA_FAIL / rule.family, success)
    return detectable_share_by_rank(reach, n_members, n_controls, ALPHA_FAIL / rule.family / 3, success)
