"""Words of the program: verdicts, exit codes, metrics, rules, the glossary and the frameworks."""

from __future__ import annotations

from page_markup import cell, table

from privaudit.policy import load_policy
from privaudit.policy_metrics import METRICS
from privaudit.policy_rules import in_words
from privaudit.reporting.explanations import VERDICTS
from privaudit.reporting.frameworks import frameworks as load_frameworks
from privaudit.reporting.terms import TERMS as REPORT_TERMS
from privaudit.terms import EXIT_CODES, KINDS, TERMS


def verdicts() -> str:
    """The four verdicts."""
    rows = [(f"{words.symbol} **{words.word}**", cell(words.means)) for words in VERDICTS.values()]
    return table(("verdict", "what it means"), rows)


def exit_codes() -> str:
    """What a command's exit code says."""
    rows = [(f"`{code}`", cell(text).replace("`", "")) for code, text in EXIT_CODES.items()]
    return table(("exit code", "what it means"), rows)


def metrics() -> str:
    """Everything that a rule may limit."""
    rows = [
        (
            f"`{name}`",
            f"{cell(metric.title)}. {cell(metric.means)}<br><small>limit: "
            f"{', '.join(f'`{bound}`' for bound in metric.bounds)}; side: {', '.join(metric.sides)}; "
            f"severity: {', '.join(metric.severities)}</small>",
        )
        for name, metric in METRICS.items()
    ]
    return table(("metric", "what it is"), rows)


def rules(policy: str) -> str:
    """The rules of a shipped policy."""
    rows = []
    for rule in load_policy(policy).rules:
        limit = f"{rule.bound.replace('_', ' ')} {in_words(rule.metric, rule.limit())}"
        if rule.or_share is not None:
            limit += f", or {100 * rule.or_share:g} % of the scored members"
        few = f"; needs {rule.minimum_n:,}" if rule.minimum_n else ""
        about = f"**{cell(limit)}** <small>({rule.side}{few}; broken: {rule.severity})</small><br>{cell(rule.reason)}"
        rows.append((f"`{rule.id}`", about))
    return table(("rule", "limit, and why"), rows)


def glossary() -> str:
    """Words of the report, then those of the screen that are not among them, in one alphabet."""
    found = {name: meaning for name, (_, meaning) in REPORT_TERMS.items()}
    known = {name.lower().rstrip("s") for name in found}
    found |= {name: text for name, text in TERMS.items() if name.lower().rstrip("s") not in known}
    ordered = sorted(found.items(), key=lambda one: one[0].lower())
    return table(("word", "meaning"), [(f"**{cell(name)}**", cell(text).replace("`", "")) for name, text in ordered])


def frameworks() -> str:
    """The frameworks that the report leans on."""
    found = load_frameworks()
    rows = [(f"{cell(one.name)}<br><small>{cell(one.date)}</small>", cell(one.meaning)) for one in found.frameworks]
    return f"Last checked: {found.as_of}.\n\n" + table(("framework", "what it asks"), rows)


def criteria() -> str:
    """The three questions of WP216, and what informs them."""
    rows = [
        (
            f"**{cell(one.title)}**",
            f"{cell(one.question)}<br>Informed by: {', '.join(one.attacks) or 'no attack'}."
            f"<br>Where nothing informs it, the report says: {cell(one.not_assessed)}",
        )
        for one in load_frameworks().criteria
    ]
    return table(("criterion", "question"), rows)


def kinds_of_plants() -> str:
    """How planted members are changed."""
    return table(("kind", "how it is changed"), [(f"`{name}`", cell(text)) for name, text in KINDS.items()])
