"""`privaudit explain`: what a word of the report, a rule, a metric, an attack or an engine means."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from privaudit.cli import completion, options
from privaudit.cli.options import Name
from privaudit.cli.terminal import errors_as_sentences
from privaudit.errors import InputError, suggestion
from privaudit.terms import EXIT_CODES, IDS, KINDS, TERMS

if TYPE_CHECKING:
    from privaudit.policy import Policy, PolicyRule
    from privaudit.policy_metrics import Metric


_KNOWN = (
    "Known are verdicts, exit codes, rules, metrics, attacks, engines, and words of the screen and the report, such "
    "as: inconclusive, 4, exposed-share, tpr_at_1pct_fpr, nearest-copy, bn-matching, controls."
)


def explain(
    name: Annotated[
        Name,
        typer.Argument(
            metavar="NAME",
            parser=Name,
            help="A word of the screen or the report, a rule, metric, attack or engine, or an exit code.",
            autocompletion=completion.explained,
        ),
    ],
    policy: options.PolicyFile = None,
) -> None:
    """Tell what a name means: verdicts, exit codes, rules, metrics, attacks, engines, and words that are printed.

    The rules are those of the default policy, or of --policy; a name that only another shipped policy has is found too.
    """
    with errors_as_sentences():
        from privaudit.policy import load_policy

        rules = load_policy(policy or "default")
        parts = _found(str(name), rules)
        if not parts:
            raise InputError(f"Nothing is called '{name}'. {_nearest(str(name), known_names(rules))}")
        for place, (head, *lines) in enumerate(parts):
            typer.echo(("\n" if place else "") + head)
            for line in lines:
                typer.echo(f"  {line}")


def known_names(rules: Policy | None = None) -> set[str]:
    """Everything that can be explained. rules: a policy whose rules are known beside those of the shipped ones."""
    from privaudit.policy import BUILT_IN, load_policy
    from privaudit.policy_metrics import METRICS
    from privaudit.reporting.explanations import EXPLANATIONS, VERDICTS

    policies = [load_policy(name) for name in BUILT_IN] + ([] if rules is None else [rules])
    ids = {rule.id for one in policies for rule in one.rules}
    codes = {str(code) for code in EXIT_CODES}
    from privaudit.reporting.terms import TERMS as GLOSSARY

    return {*GLOSSARY, *VERDICTS, *ids, *EXPLANATIONS, *METRICS, *_installed(), *TERMS, *KINDS, *codes, *BUILT_IN}


def _found(name: str, rules: Policy) -> list[list[str]]:
    """All that goes by this name: a head and its lines. Upper case, hyphens and the plural make no difference."""
    from privaudit.policy_metrics import METRICS
    from privaudit.reporting.explanations import EXPLANATIONS, VERDICTS

    parts = [[f"{verdict} (verdict): {words.means}"] for verdict, words in VERDICTS.items() if verdict == name.lower()]
    parts += _rules(name, rules)
    key = _match(name, EXPLANATIONS)
    if key is not None:
        words = EXPLANATIONS[key]
        parts.append([f"{key} (in the report): {words.title}", words.better, words.means, words.not_shown])
    if name in METRICS:
        parts.append([f"{name} (metric of a policy): {METRICS[name].title}", *_metric(METRICS[name])])
        parts[-1] += [f"limited by rule {rule.id} of the policy '{rules.name}'" for rule in rules.rules_on(name)]
    parts += _plugins(name)
    parts += _words(name)
    return parts


def _words(name: str) -> Iterator[list[str]]:
    """Words that are no metric, rule or plugin."""
    from privaudit.reporting.terms import TERMS as GLOSSARY

    term, kind, entry = _match(name, TERMS), _match(name, KINDS), _match(name, GLOSSARY)
    if term is not None:
        yield [f"{term} (word): {TERMS[term]}"]
    elif entry is not None:
        yield [f"{entry} (word of the report): {GLOSSARY[entry][1]}"]
    if kind is not None:
        yield [f"{kind} (kind of planted members): {KINDS[kind]}, put into the candidate and searched for."]
    if name.isdecimal() and int(name) in EXIT_CODES:
        yield [f"{name} (exit code): {EXIT_CODES[int(name)]}"]
    if re.fullmatch(rf"[{''.join(IDS)}]-\d{{6}}", name):
        yield [f"{name} (id): {IDS[name[0]]}."]


def _nearest(name: str, known: set[str]) -> str:
    near = suggestion(name, known)
    return near if near.startswith("Did you mean") else _KNOWN


def _plain_name(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().lower()


def _match(name: str, known: Iterable[str]) -> str | None:
    """The known name that is meant."""
    wanted = _plain_name(name)
    for key in known:
        if wanted in (_plain_name(key), f"{_plain_name(key)}s") or f"{wanted}s" == _plain_name(key):
            return key
    return None


def _rules(name: str, rules: Policy) -> list[list[str]]:
    """The rule of the policy; where it has none of this name, that of the shipped policies that have one."""
    from privaudit.policy import BUILT_IN, load_policy

    own = [_rule(rule, rules) for rule in rules.rules if rule.id == name]
    others = (load_policy(shipped) for shipped in BUILT_IN if not own)
    found = own or [_rule(rule, other) for other in others for rule in other.rules if rule.id == name]
    if name in BUILT_IN:
        shipped = load_policy(name)
        ids = ", ".join(rule.id for rule in shipped.rules)
        about = f"{shipped.minimum_members:,} members and {shipped.minimum_controls:,} controls must be scored"
        found.append([f"{name} (shipped policy): {about}", f"rules: {ids}"])
    return found


def _rule(rule: PolicyRule, policy: Policy) -> list[str]:
    from privaudit.policy_metrics import METRICS
    from privaudit.policy_rules import in_words

    limit = f"{rule.bound.replace('_', ' ')} {in_words(rule.metric, rule.limit())}"
    beside = f", or {100 * rule.or_share:g} % of the scored members" if rule.or_share is not None else ""
    lines = [
        f"{rule.id} (rule of the policy '{policy.name}'): {METRICS[rule.metric].title}, {limit}{beside}",
        f"metric: {rule.metric}; side: {rule.side}; severity: {rule.severity}; minimum n: {rule.minimum_n:,}",
        METRICS[rule.metric].means,
        f"why: {rule.reason.strip()}",
    ]
    if rule.waiver is not None:
        lines.append(f"waived by {rule.waiver.by} until {rule.waiver.until}: {rule.waiver.why}")
    return lines


def _metric(metric: Metric) -> list[str]:
    form = [f"limit: {' or '.join(bound.replace('_', ' ') for bound in metric.bounds)}"]
    form += [f"side: {' or '.join(metric.sides)}", f"severity: {' or '.join(metric.severities)}"]
    if metric.counted:
        form.append(f"minimum n counts {metric.counted}")
    return [metric.means, "; ".join(form)]


def _installed() -> set[str]:
    from privaudit.plugins import ATTACKS, SYNTHESIZERS, installed

    return {*installed(ATTACKS), *installed(SYNTHESIZERS)}


def _plugins(name: str) -> Iterator[list[str]]:
    from privaudit.plugins import ATTACKS, SYNTHESIZERS, attack_class, installed, synthesizer_class

    if name in installed(ATTACKS):
        attack = attack_class(name)
        sees = ", ".join(sorted(sight.value for sight in attack.sees))
        yield [f"{name} (attack, version {attack.version}; sees: {sees})", attack.threat_model, *_settings(attack)]
    if name in installed(SYNTHESIZERS):
        engine = synthesizer_class(name)
        about = inspect.cleandoc(engine.__doc__ or "").partition("\n\n")[0].splitlines()
        yield [f"{name} (synthesizer, version {engine.version})", " ".join(about), *_settings(engine)]


def _settings(plugin: Any) -> Iterator[str]:
    """Every setting with its default and description."""
    from pydantic import BaseModel
    from pydantic_core import PydanticUndefined

    if not (isinstance(plugin, type) and issubclass(plugin, BaseModel)):
        return
    for name, field in plugin.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = "needed" if default is PydanticUndefined else f"default {_plain(default)}"
        yield f"{field.alias or name} ({shown}): {field.description or 'not described'}"


def _plain(value: Any) -> str:
    from pydantic import BaseModel

    if isinstance(value, BaseModel):
        return ", ".join(f"{key} {_plain(one)}" for key, one in value)
    return "none" if value is None else str(value)
