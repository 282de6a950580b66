"""JUnit XML for CI dashboards: a suite per release, a case per verdict, reason, rule, gate, attack, gap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from privaudit.evidence import NO_FILES
from privaudit.record import AttackRecord, AuditRecord, ReleaseRecord, Validity, Verdict
from privaudit.reporting.text import p_value, printable
from privaudit.rule_record import RuleRecord

if TYPE_CHECKING:
    from junitparser import TestCase, TestSuite


def junit_xml(record: AuditRecord) -> bytes:
    """`fail` is a failure, `inconclusive` is skipped with a message, `incomplete` is an error."""
    from junitparser import JUnitXml

    suites: Any = JUnitXml("privaudit")
    for release in record.releases:
        suites.add_testsuite(_suite(release, record.validity))
    suites.update_statistics()
    written: bytes = suites.tostring()
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + written + b"\n"


def _suite(release: ReleaseRecord, validity: Validity) -> TestSuite:
    from junitparser import TestSuite

    suite = TestSuite(printable(release.name))
    cases = [_case(release, "verdict", release.verdict, release.sentence)]
    cases += [
        _case(release, f"reason {place:02d}", release.verdict, reason)
        for place, reason in enumerate(release.reasons, 1)
    ]
    copies = f"{len(release.identical)} members are released unchanged"
    cases.append(_case(release, "gate: identical copies", "fail" if release.identical else "pass", copies))
    found = "; ".join(one.sentence for one in release.scan) or "nothing found beside the images"
    scan: Verdict = release.verdict if release.verdict in ("fail", "inconclusive") else "pass"
    looked = NO_FILES not in release.not_assessed
    cases.append(
        _case(
            release,
            "gate: file scan",
            scan if release.scan else "pass" if looked else "inconclusive",
            found if looked else "not assessed: no files were given",
        )
    )
    cases += [_case(release, f"rule: {rule.id}", _asked(rule), rule.sentence) for rule in release.rules]
    cases += _gates(release, validity)
    cases += [_attack_case(release, attack) for attack in release.attacks]
    cases += [
        _case(release, f"not assessed {place:02d}", "inconclusive", what)
        for place, what in enumerate(release.not_assessed, 1)
    ]
    for case in cases:
        suite.add_testcase(case)
    return suite


def _asked(rule: RuleRecord) -> Verdict:
    """A waived rule is skipped with its note: it is not kept."""
    return "inconclusive" if rule.verdict == "waived" else rule.leads_to


def _gates(release: ReleaseRecord, validity: Validity) -> list[TestCase]:
    baseline = validity.blind_baseline
    if baseline is None:
        gates = [_case(release, "gate: blind baseline", "inconclusive", "not assessed")]
    else:
        verdict: Verdict = "pass" if baseline.passed else "inconclusive"
        gates = [_case(release, "gate: blind baseline", verdict, f"members against controls: {p_value(baseline.p)}")]
    for check in validity.fresh:
        verdict = "pass" if check.passed else "inconclusive"
        words = f"strangers' images told apart: {p_value(check.p_holm)}"
        gates.append(_case(release, f"gate: fresh, {check.attack}", verdict, words))
    return gates


def _attack_case(release: ReleaseRecord, attack: AttackRecord) -> TestCase:
    verdict, words = attack.verdict, "; ".join(attack.reasons)
    if verdict == "pass" and not attack.supports_pass:
        verdict = "inconclusive"
        words = "found nothing, but its silence supports no pass: " + ("; ".join(attack.no_support) or "not required")
    return _case(release, f"attack: {attack.name}", verdict, words or verdict, attack.seconds)


def _case(release: ReleaseRecord, name: str, verdict: Verdict, words: str, seconds: float = 0.0) -> TestCase:
    from junitparser import Error, Failure, Skipped, TestCase

    case = TestCase(printable(name), f"privaudit.{printable(release.name)}", round(seconds, 3))
    message = printable(words)
    if verdict == "pass":
        case.system_out = message
    elif verdict == "fail":
        case.result = [Failure(message, "fail")]
    elif verdict == "incomplete":
        case.result = [Error(message, "incomplete")]
    else:
        case.result = [Skipped(message)]
    return case
