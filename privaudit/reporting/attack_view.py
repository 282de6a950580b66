"""One attack as the report shows it: facts, tables and pictures, all in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from privaudit.arms import in_order
from privaudit.evidence import PAIRS, Gallery
from privaudit.matches import in_words
from privaudit.record import ArmRecord, AttackRecord, AuditRecord, Count, Estimate, Unit
from privaudit.reporting.drawing import Plot
from privaudit.reporting.explanations import ARMS, VERDICTS, VerdictWords, attack_words, explain, plant_name
from privaudit.reporting.facts import settings_table
from privaudit.reporting.gallery import GalleryView, gallery_views
from privaudit.reporting.pair_gallery import pair_views
from privaudit.reporting.persons import few_persons, one_in, share_words, smallest_fact, worst_fact
from privaudit.reporting.plots import attack_plots
from privaudit.reporting.recovered import attribution_table, recovered_table
from privaudit.reporting.scores import ArmScores
from privaudit.reporting.tables import Fact, Row, Table
from privaudit.reporting.text import count, decimal, decimal_interval, p_value, percent, percent_interval, units

_LOWER_BOUND_NEEDS = 368


@dataclass(frozen=True)
class AttackView:
    """What the card of an attack holds. anchor: its address within the page."""

    record: AttackRecord
    anchor: str
    words: VerdictWords
    facts: tuple[Fact, ...]
    arms: Table | None
    limits: Table | None
    closest: str | None
    suspected: str
    plots: tuple[Plot, ...]
    settings: Table
    recovered: Table | None
    attribution: Table | None
    legend: tuple[tuple[str, str], ...]
    galleries: tuple[GalleryView, ...]


def attack_view(
    attack: AttackRecord,
    scores: ArmScores | None,
    gallery: Mapping[str, Gallery] | None,
    *,
    limit: float | None,
    unit: Unit,
    anchor: str,
) -> AttackView:
    """Gather all that the card of one attack says. gallery: pictures by arm, for the evidence edition only."""
    return AttackView(
        record=attack,
        anchor=anchor,
        words=attack_words(attack.verdict, attack.supports_pass),
        facts=(
            _exposed(attack, unit),
            worst_fact(attack, unit),
            _limit(limit),
            smallest_fact(attack, unit),
            _sample(attack, unit),
            _leakage(attack),
        ),
        arms=_arms_table(attack, unit),
        limits=_limits_table(attack, unit),
        closest=closest_sentence(attack, unit),
        suspected=suspected_sentence(attack, unit),
        plots=attack_plots(attack, scores, limit, unit, anchor),
        settings=settings_table("Settings", attack.settings),
        recovered=recovered_table(attack),
        attribution=attribution_table(attack),
        legend=tuple(ARMS[name] for name in in_order(attack.arms)),
        galleries=(*pair_views((gallery or {}).get(PAIRS)), *gallery_views(gallery or {})),
    )


def attackers_table(record: AuditRecord) -> Table | None:
    """Every attack that was run on any candidate, and what its attacker holds; None where none was."""
    attacks = {attack.name: attack for release in record.releases for attack in release.attacks}
    rows = tuple(
        Row(
            attack.name,
            ("the release itself" if attack.family == "holds_release" else "only something computed from the release",),
            attack.threat_model,
        )
        for attack in attacks.values()
    )
    return Table("Attackers, and what they hold", ("Attack", "Holds"), rows) if rows else None


def exposed_words(attack: AttackRecord, unit: Unit) -> str:
    """The exposed share in persons or images, or why there is none."""
    release = attack.arms.get("release")
    if release is not None and (few := few_persons(attack, release)):
        return few
    if attack.exposed_share is None or release is None:
        return "not assessed: there are no scores of members and controls to compare"
    low, high = attack.exposed_share.persons
    among = release.tpr_at_1pct_fpr.n_members
    bounds = f"{percent(attack.exposed_share.low)} to {percent(attack.exposed_share.high)}"
    return f"between {count(low)} and {count(high)} of {units(among, unit)} ({bounds})"


def limit_words(attack: AttackRecord, kind: str, unit: Unit) -> str:
    """The detection limit of one kind of plant as a sentence."""
    found = attack.detection_limit.get(kind)
    if found is not None:
        return (
            f"would have been found from {units(found.dose, unit, 'planted')} on "
            f"({percent(found.share)} of those scored), in 95 % of cases"
        )
    tried = attack.power.get(kind, ())
    if tried:
        return f"not found up to {percent(max(one.share for one in tried))}"
    return "not assessed: nothing of this kind was planted"


def closest_sentence(attack: AttackRecord, unit: Unit) -> str | None:
    """What is said about the members ahead of every control; None where there are none or no scores."""
    release = attack.arms.get("release")
    if release is None or not release.r0.members:
        return None
    noun, lie = ("member", "lies") if release.r0.members == 1 else ("members", "lie")
    whom = "" if unit == "image" else f" (counted by {unit})"
    return (
        f"{count(release.r0.members)} {noun}{whom} {lie} closer to the release than every control; "
        f"chance alone does this with probability {p_value(release.r0.p)}: look at these pairs."
    )


def suspected_sentence(attack: AttackRecord, unit: Unit) -> str:
    """How long the list of suspected members is and how much of it is expected to be innocent."""
    if attack.arms.get("release") is None:
        return "The list of suspected members was not assessed: there are no controls to hold it against."
    if not attack.suspected:
        rate = percent(attack.suspected_q)
        return f"No member is on the list of suspected members (false discovery rate at most {rate})."
    return (
        f"{units(len(attack.suspected), unit)} on the list of suspected members, at a false discovery rate of at most "
        f"{percent(attack.suspected_q)}: {_innocent(attack.suspected_q)} of them is innocent on average."
        + (f" {in_words(attack.listed)} the last of them." if attack.listed else "")
    )


def _innocent(q: float) -> str:
    words = {10: "ten", 20: "twenty", 30: "thirty", 40: "forty", 50: "fifty", 100: "a hundred"}
    one_in = round(1 / q) if q > 0 else 0
    if one_in < 2:
        return f"about {percent(q)}"
    return f"about one in {words.get(one_in, count(one_in))}"


def _exposed(attack: AttackRecord, unit: Unit) -> Fact:
    note = explain("exposed_share").text
    release = attack.arms.get("release")
    if release is not None and release.tpr_at_1pct_fpr.n_controls < _LOWER_BOUND_NEEDS:
        note += f" With fewer than {_LOWER_BOUND_NEEDS} controls no lower bound above 0 can be given."
    note += one_in(attack, unit)
    return Fact(explain("exposed_share").title, exposed_words(attack, unit), note)


def _limit(limit: float | None) -> Fact:
    value = "none" if limit is None else f"at most {percent(limit)} of the members found at 1 % false accusations"
    return Fact("Limit of the policy", value, "The upper end of the 95 % interval must keep it. It is set by people.")


def _sample(attack: AttackRecord, unit: Unit) -> Fact:
    release = attack.arms.get("release")
    value = "not assessed" if release is None else f"{_sizes(release)}, counted by {unit}"
    return Fact("Compared", value, "More are better: few images can hide a leak.")


def _leakage(attack: AttackRecord) -> Fact:
    if attack.leakage is not None:
        found = attack.leakage
        value = f"{decimal(found.estimate)} (range {decimal(found.low)} to {decimal(found.high)})"
    elif "raw" not in attack.arms:
        value = "not defined: there is nothing for this attack in the originals themselves"
    elif attack.arms.get("raw") is None or attack.arms.get("release") is None:
        value = "not assessed: the scale needs scores in the release and in the originals"
    else:
        value = "not defined: the attack barely finds the originals"
    return Fact(explain("leakage").title, value, explain("leakage").text)


def _arms_table(attack: AttackRecord, unit: Unit) -> Table | None:
    lines: list[tuple[str, Callable[[ArmRecord], str]]] = [
        ("tpr_at_1pct_fpr", lambda arm: share_words(attack, arm)),
        ("auc", lambda arm: f"{decimal_interval(arm.auc)}; {p_value(arm.auc_p)}"),
        ("r0", lambda arm: _counted(arm.r0)),
        ("top20", lambda arm: _beside_strangers(arm.top20) if arm.top20 else "not defined: too few suspects"),
        ("p", lambda arm: p_value(arm.p)),
        ("p_holm", lambda arm: p_value(arm.p_holm)),
    ]
    if attack.family == "mediated":
        lines.append(("hits_at_reach", lambda arm: _hits(arm.hits_at_reach)))
    names = in_order(attack.arms)
    arms = [attack.arms[name] for name in names]
    if not any(arms):
        return None
    rows = [Row(explain(name).title, tuple(_cell(arm, say) for arm in arms), explain(name).text) for name, say in lines]
    sizes = tuple(_cell(arm, _sizes) for arm in arms)
    rows.append(
        Row(
            "Compared",
            sizes,
            f"More are better: how many were compared, counted by {unit}. It does not show whom they stand for.",
        )
    )
    answer = tuple(_cell(arm, lambda one: VERDICTS[one.verdict].word) for arm in arms)
    meaning = (
        "The same rule applied to each arm. It should fail for the originals and not for the strangers; otherwise the "
        "silence of this attack supports nothing."
    )
    rows.append(Row("The verdict rule says", answer, meaning))
    return Table("The same attack against three releases", ("Measure", *(ARMS[name][0] for name in names)), tuple(rows))


def _limits_table(attack: AttackRecord, unit: Unit) -> Table | None:
    kinds = sorted({*attack.detection_limit, *attack.power})
    if not kinds:
        return None
    return Table(
        "Detection limits in this candidate, by kind of plant",
        ("Planted members", "From how many on they would have been found"),
        tuple(Row(plant_name(kind), (limit_words(attack, kind, unit),)) for kind in kinds),
    )


def _cell(arm: ArmRecord | None, say: Callable[[ArmRecord], str]) -> str:
    return "not assessed" if arm is None else say(arm)


def _counted(found: Count) -> str:
    return f"{count(found.members)} of {count(found.among)}; {p_value(found.p)}"


def _beside_strangers(found: Count) -> str:
    """Of the first places of a ranking: members, and strangers, who cannot be true matches."""
    strangers = found.among - found.members
    return f"{units(found.members, 'member')} and {units(strangers, 'stranger')}; {p_value(found.p)}"


def _hits(value: Estimate | None) -> str:
    if value is None:
        return "not defined: too few suspects"
    return f"{percent_interval(value)}; chance {percent(value.n_members / (value.n_members + value.n_controls))}"


def _sizes(arm: ArmRecord) -> str:
    value = arm.tpr_at_1pct_fpr
    return f"{count(value.n_members)} members, {count(value.n_controls)} controls"
