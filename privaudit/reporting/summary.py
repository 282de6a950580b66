"""The short report as Markdown, for pull requests and job summaries; in the order of the page."""

from __future__ import annotations

from collections.abc import Sequence

from privaudit.arms import in_order
from privaudit.record import AttackRecord, AuditRecord, ReleaseRecord, Unit
from privaudit.reporting.attack_view import closest_sentence, exposed_words, suspected_sentence
from privaudit.reporting.claim import claim_box
from privaudit.reporting.criteria import criteria
from privaudit.reporting.explanations import ARMS, VERDICTS, attack_words, explain
from privaudit.reporting.governance import governance
from privaudit.reporting.groups import groups
from privaudit.reporting.opening import next_steps, opening, untested
from privaudit.reporting.persons import share_words, smallest_words, worst_words
from privaudit.reporting.rules import limit_words, measured_words, verdict_words
from privaudit.reporting.text import markdown, p_value
from privaudit.reporting.worth import utility_line


def summary_markdown(record: AuditRecord) -> str:
    """Answer, reasons, what was not tested, what to do; then criteria, attacks and rules; then who answers for it."""
    words, first = VERDICTS[record.verdict], opening(record)
    lines = [
        f"# {words.symbol} Privacy audit: {words.word}",
        "",
        *([f"May this be published? **{markdown(first.answer)}.** {markdown(first.sentence)}", ""] if first else []),
        f"**{markdown(record.sentence)}**",
        "",
        words.means,
    ]
    if record.selection is not None:
        lines += ["", markdown(record.selection.sentence)]
    for release in record.releases:
        lines += _release(record, release)
    lines += ["", "## Governance", "", *(f"- {fact.name}: {markdown(fact.value)}" for fact in governance(record))]
    lines += _list("What is due in the policy", record.policy_notes)
    lines += [
        "",
        "This is evidence about risk, and no statement about the law. The full report is in `report.html`; all numbers "
        "are in `audit.json`.",
        "",
    ]
    return "\n".join(lines)


def _release(record: AuditRecord, release: ReleaseRecord) -> list[str]:
    words, unit = VERDICTS[release.verdict], record.data.unit
    lines = ["", f"## {markdown(release.name)}: {words.symbol} {words.word}", "", markdown(release.sentence)]
    lines += _list("Reasons", release.reasons)
    lines += _list("Not tested", untested(record, release))
    lines += _list("Next steps", next_steps(record, release))
    lines += _list("Published beside the images", [one.sentence for one in release.artifacts])
    lines += ["", "### Criteria (WP216)", ""]
    lines += [
        f"- {view.words.title}: {view.status.symbol} {view.status.word}. {markdown(' '.join(view.lines))}"
        for view in criteria(record, release)
    ]
    copies = len(release.identical)
    lines += ["", f"Identical copies: {copies}. {explain('identical').text}"]
    if release.attacks:
        lines += _attacks(release, unit)
    if release.rules:
        lines += _rules(release)
    lines += ["", claim_box(release).sentence]
    if release.utility is not None:
        lines += ["", f"Usefulness: {utility_line(release.utility)}. {explain('utility_ratio').text}"]
    return lines


def _attacks(release: ReleaseRecord, unit: Unit) -> list[str]:
    lines = ["", "### Attacks", "", "| Attack | Verdict | Arm | Found at 1 % false accusations | p (corrected) |"]
    lines += ["|---|---|---|---|---|"]
    lines += [row for attack in release.attacks for row in _rows(attack)]
    lines += ["", explain("tpr_at_1pct_fpr").text, "", explain("p_holm").text, ""]
    for attack in release.attacks:
        name = markdown(attack.name)
        lines.append(f"- {name}: exposed {exposed_words(attack, unit)}.")
        lines.append(f"- {name}, worst person: {markdown(worst_words(attack))}.")
        lines.append(f"- {name}, smallest risk it could see: {markdown(smallest_words(attack, unit))}.")
        if sentence := closest_sentence(attack, unit):
            lines.append(f"- {name}: {sentence}")
        if attack.suspected:
            lines.append(f"- {name}: {suspected_sentence(attack, unit)}")
        if view := groups(attack):
            lines.append(f"- {markdown(view.sentence)}")
    return [*lines, "", explain("exposed_share").text]


def _rules(release: ReleaseRecord) -> list[str]:
    lines = ["", "### Rules of the policy", "", "| Rule | Measured | Limit | Kept? |", "|---|---|---|---|"]
    lines += [
        f"| {markdown(rule.id)} | {markdown(measured_words(rule))} | {limit_words(rule)} | {verdict_words(rule)} |"
        for rule in release.rules
    ]
    lines += ["", explain("rules").text]
    waived = [rule for rule in release.rules if rule.verdict == "waived"]
    return lines + (
        ["", *(f"- rule {markdown(rule.id)}: {markdown(rule.sentence)}" for rule in waived)] if waived else []
    )


def _rows(attack: AttackRecord) -> list[str]:
    rows = []
    name, verdict = markdown(attack.name), attack_words(attack.verdict, attack.supports_pass).word
    for key in in_order(attack.arms):
        arm, title = attack.arms[key], ARMS[key][0]
        found = "not assessed" if arm is None else share_words(attack, arm)
        chance = "not assessed" if arm is None else p_value(arm.p_holm)
        rows.append(f"| {name} | {verdict} | {title} | {found} | {chance} |")
        name = verdict = ""
    return rows


def _list(title: str, lines: Sequence[str]) -> list[str]:
    return ["", f"### {title}", "", *(f"- {markdown(line)}" for line in lines)] if lines else []
