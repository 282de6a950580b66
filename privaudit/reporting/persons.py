"""The worst person beside the average, and the smallest risk that could have been seen."""

from __future__ import annotations

from privaudit.record import ArmRecord, AttackRecord, ReleaseRecord, Unit
from privaudit.reporting.explanations import plant_name
from privaudit.reporting.tables import Fact, Row, Table
from privaudit.reporting.text import SPACE, count, percent, percent_interval, units
from privaudit.siblings import SHARE_NEEDS, shows_share


def few_persons(attack: AttackRecord, arm: ArmRecord) -> str | None:
    """Why an attack on siblings shows no share; None where it does, or ranks suspects."""
    found = arm.tpr_at_1pct_fpr
    if shows_share(attack.ranks, found.n_members, found.n_controls):
        return None
    side, number = min(("controls", found.n_controls), ("members", found.n_members), key=lambda one: one[1])
    return f"not assessed: {units(number, 'person')} of the {side} have another image; a share needs {SHARE_NEEDS}"


def share_words(attack: AttackRecord, arm: ArmRecord) -> str:
    """The share found at 1 % false accusations, or why there is none."""
    return few_persons(attack, arm) or percent_interval(arm.tpr_at_1pct_fpr)


def worst_words(attack: AttackRecord) -> str:
    """How many controls stand above the member ranked highest."""
    worst = attack.worst
    if worst is None:
        return "not assessed: there is no ranking of members and controls"
    tied = f", {count(worst.tied)} with the same score" if worst.tied else ""
    return f"{worst.id}: {count(worst.above)} of {count(worst.among)} controls rank above it{tied}"


def worst_fact(attack: AttackRecord, unit: Unit) -> Fact:
    """The member ranked highest, with what chance gives for the best of so many."""
    meaning = (
        "More controls above it are better. The member that this attack is surest of: an average says nothing about it."
    )
    worst, release = attack.worst, attack.arms.get("release")
    if worst is not None and release is not None:
        among = units(release.tpr_at_1pct_fpr.n_members, unit)
        meaning += (
            f" By chance the best of {among} would have {_mean(worst.chance)} controls above it on average, and as few "
            f"as here in {percent(worst.p)} of audits."
        )
    return Fact("Worst person", worst_words(attack), f"{meaning} It does not show whether this one was copied.")


def smallest_words(attack: AttackRecord, unit: Unit) -> str:
    """The smallest risk that an attack could see: its best detection limit, else the floor set by the sample."""
    found = [(limit.dose, limit.share, kind) for kind, limit in sorted(attack.detection_limit.items()) if limit]
    if found:
        (dose, share, kind), (most, _, hardest) = min(found), max(found)
        words = f"{units(dose, unit, 'planted')} ({percent(share)} of those scored), {plant_name(kind)}"
        if most > dose:
            words += f"; {count(most)}, {plant_name(hardest)}"
        blind = [
            plant_name(one)
            for one, limit in sorted(attack.detection_limit.items())
            if limit is None and attack.power.get(one)
        ]
        return words + (f"; not even 20 % of the members, {' or '.join(blind)}" if blind else "")
    if attack.fewest_visible is None:
        return "unknown: there are too few images for any number to be told from chance"
    return (
        f"unknown; with this many images not even a flawless ranking could tell fewer than "
        f"{units(attack.fewest_visible, unit)} from chance"
    )


def smallest_fact(attack: AttackRecord, unit: Unit) -> Fact:
    """The smallest risk that an attack could see."""
    floor = attack.fewest_visible
    meaning = (
        "Smaller is better: the attack is more watchful. The kind of planted members that it finds best and the one it "
        "finds worst, from how many on it finds them in 95 of 100 cases. Fewer can stay unseen."
    )
    if floor is not None:
        meaning += f" A ranking of so many members and controls cannot tell fewer than {count(floor)} from chance."
    meaning += " Identical copies are looked for apart, pixel by pixel."
    return Fact("Smallest risk it could see", smallest_words(attack, unit), meaning)


def persons_table(release: ReleaseRecord, unit: Unit) -> Table | None:
    """Average and worst person side by side, for every attack that holds the release."""
    rows = []
    for attack in release.attacks:
        share, arm = attack.exposed_share, attack.arms.get("release")
        if attack.family == "mediated" or share is None or arm is None:
            continue
        average = (
            f"{count(share.persons[0])} to {count(share.persons[1])} of {units(arm.tpr_at_1pct_fpr.n_members, unit)}"
        )
        chance = (
            "not assessed"
            if attack.worst is None
            else f"{_mean(attack.worst.chance)} controls above the best, on average"
        )
        rows.append(Row(attack.name, (average, worst_words(attack), chance)))
    if not rows:
        return None
    columns = ("Attack", "On average: members exposed", "Worst person", "By chance")
    return Table("What each attack exposes", columns, tuple(rows))


def one_in(attack: AttackRecord, unit: Unit) -> str:
    """The upper bound of the exposed share as "1 in k", with the means and the number it was measured on."""
    share, arm = attack.exposed_share, attack.arms.get("release")
    if share is None or arm is None or share.high <= 0:
        return ""
    among = units(arm.tpr_at_1pct_fpr.n_members, unit)
    k = max(1, round(1 / share.high))
    return (
        f" In this test, an attacker with these means singled out at most {count(share.persons[1])} of {among} (upper "
        f"95{SPACE}% bound {percent(share.high)}, that is about 1 in {count(k)})."
    )


def _mean(value: float) -> str:
    return f"{value:.1f}" if value < 100 else count(round(value))
