"""The report as one HTML page: no script, no outside address, hostile names escaped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from privaudit.evidence import Gallery
from privaudit.record import AuditRecord, ReleaseRecord
from privaudit.reporting import facts, rules, worth
from privaudit.reporting.attack_view import AttackView, attack_view
from privaudit.reporting.explanations import ARMS, VERDICTS, explain
from privaudit.reporting.recovered import reconstruction_table
from privaudit.reporting.scores import ArmScores
from privaudit.reporting.tables import Fact, Table
from privaudit.reporting.text import SPACE, count, p_value, percent, printable, units

if TYPE_CHECKING:
    from jinja2 import Environment

_LONGEST_LIST = 1000


@dataclass(frozen=True)
class ReleaseView:
    """What the chapter of a release holds."""

    record: ReleaseRecord
    anchor: str
    rules: Table | None
    identical: tuple[Fact, ...]
    attacks: tuple[AttackView, ...]
    reconstruction: Table | None
    similarity: Table
    utility: tuple[Fact, ...]
    distances: Table | None
    claim: Table | None
    classes: Table
    pairs: tuple[str, ...]


Galleries = Mapping[tuple[str, str], Mapping[str, Gallery]]
"""Pictures by (release name, attack name) and by arm."""


def render_html(
    record: AuditRecord, scores: Mapping[tuple[str, str], ArmScores], galleries: Galleries | None = None
) -> str:
    """The whole page. galleries: for the evidence edition, which shows private images; None: the shareable one."""
    return (
        _environment()
        .get_template("report.html")
        .render(
            record=record,
            evidence=galleries is not None,
            releases=[
                _release_view(record, release, scores, galleries or {}, f"r{place}")
                for place, release in enumerate(record.releases, 1)
            ],
            validity=facts.validity(record.validity),
            data=facts.data(record.data),
            policy=facts.settings_table("The policy that judged", rules.without_rules(record.policy)),
            policy_rules=rules.policy_table(record.policy),
            manifest=facts.manifest_tables(record.manifest),
            verdicts=VERDICTS,
            arms=ARMS,
            style=_text("report.css"),
        )
    )


def _release_view(
    record: AuditRecord,
    release: ReleaseRecord,
    scores: Mapping[tuple[str, str], ArmScores],
    galleries: Galleries,
    anchor: str,
) -> ReleaseView:
    limit, unit = rules.exposed_limit(record.policy), record.data.unit
    attacks = tuple(
        attack_view(
            attack,
            scores.get((release.name, attack.name)),
            galleries.get((release.name, attack.name)),
            limit=limit,
            unit=unit,
            anchor=f"{anchor}-a{place}",
        )
        for place, attack in enumerate(release.attacks, 1)
    )
    return ReleaseView(
        record=release,
        anchor=anchor,
        rules=rules.rule_table(release.rules),
        identical=facts.identical(release),
        attacks=attacks,
        reconstruction=reconstruction_table(release),
        similarity=worth.similarity_table(release),
        utility=worth.utility_facts(release),
        distances=worth.utility_table(release),
        claim=None
        if release.claim is None
        else facts.settings_table("The claim as its maker states it", release.claim),
        classes=facts.class_table(release),
        pairs=tuple(f"{pair.id} = {pair.release_id}" for pair in release.identical),
    )


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    def shown(value: Any) -> Any:
        """Every expression of the templates passes here, before escaping."""
        if value is None:
            return "not assessed"
        return value if isinstance(value, Markup) else printable(str(value)).replace(" %", f"{SPACE}%")

    environment = Environment(
        loader=FunctionLoader(_text),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(count=count, percent=percent, p_value=p_value, units=units, markup=Markup)
    environment.globals.update(explain=explain, longest=_LONGEST_LIST)
    return environment


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
