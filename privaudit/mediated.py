"""What the finding of a mediated attack says: it can fail a release; its silence is explained, and supports nothing."""

from __future__ import annotations

from collections.abc import Mapping

from privaudit.arms import Arm
from privaudit.evidence import AttackFacts
from privaudit.record import ArmRecord, Recovery
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
        return [
            "silent; it ranks every suspect, and found members where originals were used in place of what is released"
        ]
    if mine is None:
        return [
            "silent; how often it finds the images of its victims was not measured, so that nobody knows what its "
            "silence hides"
        ]
    share = _detectable(release, mine, facts.reach, rule)
    if share is None:
        return ["silent; with this reach it could not have shown a leak of any size"]
    return [
        "silent; recovering its victims' images as often as it did here, it would have found verbatim copies of "
        f"members with 95 % power if they were at least {_percent(share)} of the release"
    ]


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


def _detectable(release: ArmRecord, found: Recovery, reach: int, rule: Rule) -> float | None:
    n_members, n_controls = release.auc.n_members, release.auc.n_controls
    success = found.own.estimate
    if endpoint(reach, n_members, n_controls) is not None:
        return detectable_share(reach, n_members, n_controls, ALPHA_FAIL / rule.family, success)
    return detectable_share_by_rank(reach, n_members, n_controls, ALPHA_FAIL / rule.family / 3, success)
