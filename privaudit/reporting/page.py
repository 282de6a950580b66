"""The report as one HTML page: no script, no outside address, hostile names escaped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from privaudit.evidence import Gallery
from privaudit.record import AuditRecord, ReleaseRecord
from privaudit.reporting import facts, glossary, governance, rules, worth
from privaudit.reporting.attack_view import AttackView, attack_view, attackers_table
from privaudit.reporting.claim import ClaimBox, claim_box
from privaudit.reporting.criteria import CriterionView, criteria, not_scanned
from privaudit.reporting.explanations import VERDICTS, explain
from privaudit.reporting.frameworks import frameworks
from privaudit.reporting.groups import GroupsView, groups
from privaudit.reporting.opening import next_steps, opening, untested
from privaudit.reporting.persons import persons_table
from privaudit.reporting.recovered import reconstruction_table
from privaudit.reporting.scores import ArmScores
from privaudit.reporting.tables import Fact, Table
from privaudit.reporting.text import SPACE, count, p_value, percent, printable, units

if TYPE_CHECKING:
    from jinja2 import Environment

_LONGEST_LIST = 1000


@dataclass(frozen=True)
class ReleaseView:
    """What the chapters say about one release."""

    record: ReleaseRecord
    anchor: str
    untested: tuple[str, ...]
    steps: tuple[str, ...]
    criteria: tuple[CriterionView, ...]
    persons: Table | None
    coverage: str
    groups: tuple[GroupsView, ...]
    rules: Table | None
    identical: tuple[Fact, ...]
    attacks: tuple[AttackView, ...]
    reconstruction: Table | None
    similarity: Table
    utility: tuple[Fact, ...]
    distances: Table | None
    claim: ClaimBox
    unscanned: bool
    classes: Table
    pairs: tuple[str, ...]


Galleries = Mapping[tuple[str, str], Mapping[str, Gallery]]
"""Pictures by (release name, attack name) and by arm."""


def render_html(
    record: AuditRecord, scores: Mapping[tuple[str, str], ArmScores], galleries: Galleries | None = None
) -> str:
    """The whole page. galleries: for the evidence edition, which shows private images; None: the shareable one."""
    templates = environment()
    page = templates.get_template("report.html").render(
        record=record,
        evidence=galleries is not None,
        opening=opening(record),
        releases=[
            _release_view(record, release, scores, galleries or {}, f"r{place}")
            for place, release in enumerate(record.releases, 1)
        ],
        chapters={chapter.id: chapter for chapter in frameworks().chapters},
        frameworks=frameworks(),
        attackers=attackers_table(record),
        recipient=governance.recipient(record.policy),
        governance=governance.governance(record),
        waivers=governance.waivers(record),
        validity=facts.validity(record.validity),
        data=facts.data(record.data),
        policy=facts.settings_table("The policy that judged", rules.without_rules(record.policy)),
        policy_rules=rules.policy_table(record.policy),
        manifest=facts.manifest_tables(record.manifest),
        verdicts=VERDICTS,
        style=text_of("report.css"),
        place=glossary.PLACE,
    )
    before, after = page.split(glossary.PLACE)
    linked, entries = glossary.link_terms(before)
    return linked + templates.get_template("glossary.html").render(entries=entries) + after


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
        untested=tuple(untested(record, release)[:-1]),
        steps=tuple(next_steps(record, release)),
        criteria=criteria(record, release),
        persons=persons_table(release, unit),
        coverage=facts.coverage(record.data),
        groups=tuple(found for attack in release.attacks if (found := groups(attack)) is not None),
        rules=rules.rule_table(release.rules),
        identical=facts.identical(release),
        attacks=attacks,
        reconstruction=reconstruction_table(release),
        similarity=worth.similarity_table(release),
        utility=worth.utility_facts(release),
        distances=worth.utility_table(release),
        claim=claim_box(release),
        unscanned=not_scanned(release),
        classes=facts.class_table(release),
        pairs=tuple(f"{pair.id} = {pair.release_id}" for pair in release.identical),
    )


@cache
def environment() -> Environment:
    """The templates of this folder, everything escaped."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    def shown(value: Any) -> Any:
        """Every expression of the templates passes here, before escaping."""
        if value is None:
            return "not assessed"
        return value if isinstance(value, Markup) else printable(str(value)).replace(" %", f"{SPACE}%")

    made = Environment(
        loader=FunctionLoader(text_of),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters.update(count=count, percent=percent, p_value=p_value, units=units, markup=Markup)
    made.globals.update(explain=explain, longest=_LONGEST_LIST)
    return made


def text_of(name: str) -> str:
    """A file of this folder."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
