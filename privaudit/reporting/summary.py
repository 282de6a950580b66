"""`summary.md`: the short form for a CI job summary."""

from __future__ import annotations

from collections.abc import Sequence

from privaudit.record import AttackRecord, AuditRecord, ReleaseRecord, Unit
from privaudit.reporting.attack_view import closest_sentence, exposed_words
from privaudit.reporting.explanations import ARMS, VERDICTS, attack_words, explain
from privaudit.reporting.rules import limit_words, measured_words, verdict_words
from privaudit.reporting.text import markdown, p_value, percent_interval
from privaudit.reporting.worth import utility_line


def summary_markdown(record: AuditRecord) -> str:
    """Verdict, reasons, tables of attacks and of rules per release, and what was not assessed."""
    words = VERDICTS[record.verdict]
    lines = [
        f"# {words.symbol} Privacy audit: {words.word}",
        "",
        f"**{markdown(record.sentence)}**",
        "",
        words.means,
    ]
    for release in record.releases:
        lines += _release(release, record.data.unit)
    lines += _list("What is due in the policy", record.policy_notes)
    lines += ["", "The full report is in `report.html`; all numbers are in `audit.json`.", ""]
    return "\n".join(lines)


def _release(release: ReleaseRecord, unit: Unit) -> list[str]:
    words = VERDICTS[release.verdict]
    lines = ["", f"## {markdown(release.name)}: {words.symbol} {words.word}", "", markdown(release.sentence)]
    lines += _list("Reasons", release.reasons)
    if release.attacks:
        lines += ["", "### Attacks", "", "| Attack | Verdict | Arm | Found at 1 % false accusations | p (corrected) |"]
        lines += ["|---|---|---|---|---|"]
        lines += [row for attack in release.attacks for row in _rows(attack)]
        lines += ["", explain("tpr_at_1pct_fpr").text, "", explain("p_holm").text, ""]
        lines += [f"- {markdown(attack.name)}: exposed {exposed_words(attack, unit)}." for attack in release.attacks]
        lines += ["", explain("exposed_share").text]
        closest = [(attack.name, closest_sentence(attack, unit)) for attack in release.attacks]
        lines += ["", *(f"- {markdown(name)}: {sentence}" for name, sentence in closest if sentence)]
    if release.rules:
        lines += ["", "### Rules of the policy", "", "| Rule | Measured | Limit | Kept? |", "|---|---|---|---|"]
        lines += [
            f"| {markdown(rule.id)} | {markdown(measured_words(rule))} | {limit_words(rule)} | {verdict_words(rule)} |"
            for rule in release.rules
        ]
        lines += ["", explain("rules").text]
        waived = [rule for rule in release.rules if rule.verdict == "waived"]
        lines += ["", *(f"- rule {markdown(rule.id)}: {markdown(rule.sentence)}" for rule in waived)] if waived else []
    copies = len(release.identical)
    lines += ["", f"Identical copies: {copies}. {explain('identical').text}"]
    if release.utility is not None:
        lines += ["", f"Usefulness: {utility_line(release.utility)}. {explain('utility_ratio').text}"]
    lines += _list("Not tested", release.not_assessed)
    lines += _list("Next steps", release.next_steps)
    return lines


def _rows(attack: AttackRecord) -> list[str]:
    rows = []
    name, verdict = markdown(attack.name), attack_words(attack.verdict, attack.supports_pass).word
    for key, (title, _) in ARMS.items():
        arm = attack.arms.get(key)  # type: ignore[call-overload]
        found = "not assessed" if arm is None else percent_interval(arm.tpr_at_1pct_fpr)
        chance = "not assessed" if arm is None else p_value(arm.p_holm)
        rows.append(f"| {name} | {verdict} | {title} | {found} | {chance} |")
        name = verdict = ""
    return rows


def _list(title: str, lines: Sequence[str]) -> list[str]:
    return ["", f"### {title}", "", *(f"- {markdown(line)}" for line in lines)] if lines else []
