"""`privaudit explain`: what a word of the report, a rule, a metric, an attack or an engine means."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from privaudit.cli import options
from privaudit.cli.run import Name
from privaudit.cli.terminal import errors_as_sentences
from privaudit.errors import InputError, suggestion

if TYPE_CHECKING:
    from privaudit.policy import Policy, PolicyRule
    from privaudit.policy_metrics import Metric


def explain(
    name: Annotated[
        Name, typer.Argument(metavar="NAME", parser=Name, help="A rule, metric, word of the report, attack or engine.")
    ],
    policy: options.PolicyFile = None,
) -> None:
    """Tell what a name in a report or a policy means: metrics, verdicts, rules, attacks and engines.

    The rules are those of the default policy, or of --policy.
    """
    with errors_as_sentences():
        from privaudit.policy import load_policy
        from privaudit.policy_metrics import METRICS
        from privaudit.reporting.explanations import EXPLANATIONS, VERDICTS

        rules = load_policy(policy or "default")
        parts: list[list[str]] = []
        parts += [[f"{name} (verdict): {words.means}"] for verdict, words in VERDICTS.items() if verdict == name]
        parts += [_rule(rule, rules) for rule in rules.rules if rule.id == name]
        if name in EXPLANATIONS:
            words = EXPLANATIONS[name]
            parts.append([f"{name} (in the report): {words.title}", words.better, words.means, words.not_shown])
        if name in METRICS:
            parts.append([f"{name} (metric of a policy): {METRICS[name].title}", *_metric(METRICS[name])])
            parts[-1] += [f"limited by rule {rule.id} of the policy '{rules.name}'" for rule in rules.rules_on(name)]
        parts += _plugins(name)
        if not parts:
            known = {*VERDICTS, *(rule.id for rule in rules.rules), *EXPLANATIONS, *METRICS, *_installed()}
            raise InputError(f"Nothing is called '{name}'. {suggestion(name, known)}")
        for place, (head, *lines) in enumerate(parts):
            typer.echo(("\n" if place else "") + head)
            for line in lines:
                typer.echo(f"  {line}")


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
