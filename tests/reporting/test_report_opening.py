"""The first screen, the worst person, the smallest risk, the groups and the glossary, in words."""

from __future__ import annotations

import re

import pytest
from report_examples import (
    RECORDS,
    attack,
    audit,
    failing,
    inconclusive,
    passing,
    power,
    quiet,
    release,
    stratum,
)

from privaudit.record import SelectionRecord, WorstMember
from privaudit.reporting.glossary import anchor, link_terms
from privaudit.reporting.groups import groups
from privaudit.reporting.opening import SHOWN, opening, untested
from privaudit.reporting.page import render_html
from privaudit.reporting.persons import one_in, persons_table, smallest_words, worst_fact, worst_words
from privaudit.reporting.terms import TERMS


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("pass", "Yes, within the limits of this audit"),
        ("fail", "Not all of them"),
        ("inconclusive", "Not on this evidence"),
        ("incomplete", "Not on this evidence"),
        ("hostile", "No"),
    ],
)
def test_the_answer_to_may_i_publish(name: str, answer: str) -> None:
    found = opening(RECORDS[name]())
    assert found is not None
    assert found.answer == answer
    for part in (found.why, found.untested, found.steps):
        assert 1 <= len(part.shown) <= SHOWN
        assert part.total >= len(part.shown)


def test_a_pass_says_what_was_found_and_what_could_not_be() -> None:
    found = opening(passing())
    assert found is not None
    assert found.why.shown == (
        "nearest-copy and density-ratio found no leak above the limits.",
        "Planted members would have been found: blurred from 150, cropped from 150, recompressed (JPEG) from 30, "
        "mirrored from 30, with noise from 600 images on.",
        "Would not have been found: members that are blended with a stranger, even 20 % of them.",
    )
    assert found.untested.shown[0] == "Linkability and inference: no attack of this kind was run."


def test_reasons_lose_rule_names_and_keep_the_gravest_first() -> None:
    leak = attack("nearest-copy", "fail", quiet(), suspected=failing().releases[0].attacks[0].suspected)
    reasons = (
        "fail: rule identical-copies: 5 members are released unchanged; the limit is none",
        "fail: nearest-copy: it ranks members above controls (p = 4.2e-23 after Holm); rule suspected-list: names",
        "incomplete: density-ratio: it did not finish: out of memory",
        "inconclusive: rules left-out, other-one: too few",
    )
    crashed = attack("density-ratio", "incomplete", quiet())
    found = opening(audit("fail", (release("a", "fail", (leak, crashed), reasons=reasons),)))
    assert found is not None
    assert found.why.total == 4
    assert found.why.shown == (
        "5 members are released unchanged; the limit is none.",
        "The attack nearest-copy can tell members from strangers, and names 160 images.",
        "density-ratio: it did not finish: out of memory.",
    )


def test_what_was_not_planted_is_not_called_invisible() -> None:
    record = inconclusive()
    assert not any("not found even at 20 %" in line for line in untested(record, record.releases[0]))


def test_an_assumed_split_is_told_on_the_first_screen() -> None:
    record = passing()
    given = record.model_copy(update={"validity": record.validity.model_copy(update={"exchangeability": "assumed"})})
    found = opening(given)
    assert found is not None
    assert found.untested.shown[0].startswith("Whether members and controls differ by chance only: assumed")
    assert "assumed" not in " ".join(untested(record, record.releases[0]))


def test_a_choice_among_candidates_is_told_on_the_first_screen() -> None:
    choice = SelectionRecord(candidates=2, chosen=None, confirmed=None, held_back_controls=0, sentence="None passes.")
    record = failing().model_copy(update={"selection": choice})
    found = opening(record)
    assert found is not None
    assert (found.selection, found.of) == ("None passes.", "cifar-planted")
    assert "None passes." in render_html(record, {})


def test_no_release_has_no_first_screen() -> None:
    record = passing().model_copy(update={"releases": ()})
    assert opening(record) is None
    assert "No release was audited." in render_html(record, {})


def test_the_worst_person_in_words() -> None:
    worst = WorstMember(id="m-000007", above=2, tied=1, among=900, chance=2.0, p=0.71)
    found = attack("x", "pass", quiet(), worst=worst)
    assert worst_words(found) == "m-000007: 2 of 900 controls rank above it, 1 with the same score"
    fact = worst_fact(found, "person")
    assert "By chance the best of 3,000 persons would have 2.0 controls above it on average" in fact.meaning
    assert "71\xa0% of audits" in fact.meaning
    assert worst_words(attack("x", "pass", quiet(), worst=None)).startswith("not assessed")
    table = persons_table(passing().releases[0], "image")
    assert table is not None
    assert [row.head for row in table.rows] == ["nearest-copy", "density-ratio"]
    assert persons_table(release("a", "pass", ()), "image") is None


def test_the_smallest_risk_in_words() -> None:
    words = smallest_words(attack("x", "pass", quiet()), "image").replace("\xa0", " ")
    assert words == (
        "30 planted images (1 % of those scored), recompressed (JPEG); 600, with noise; not even 20 % of the members, "
        "blended with a stranger"
    )
    bare = attack("x", "pass", quiet(), detection_limit={}, power={})
    assert "fewer than 3 persons from chance" in smallest_words(bare, "person")
    nothing = attack("x", "pass", quiet(), detection_limit={"blur": None}, power={}, fewest_visible=None)
    assert smallest_words(nothing, "image").startswith("unknown: there are too few images")
    missed = attack("x", "pass", quiet(), detection_limit={"blend": None}, power={"blend": power("blend")})
    assert smallest_words(missed, "image").startswith("unknown; with this many images")


def test_one_in_k_names_means_and_number() -> None:
    words = one_in(attack("x", "pass", quiet()), "person").replace("\xa0", " ")
    assert words == (
        " In this test, an attacker with these means singled out at most 19 of 3,000 persons (upper 95 % bound 0.62 %, "
        "that is about 1 in 161)."
    )
    assert one_in(attack("x", "pass", quiet(), exposed_share=None), "image") == ""


def test_groups_in_words() -> None:
    found = groups(attack("x", "pass", quiet()))
    assert found is not None
    assert found.notable
    assert found.sentence == (
        "x finds more than chance would in: class 1. 1 has too few members or controls to be assessed."
    )
    assert found.table.rows[1].cells[-1] == "! stands out"
    assert found.table.rows[2].cells[2:] == ("too few", "too few", "too few", "–")
    even = groups(attack("x", "pass", quiet(), strata=(stratum("a"),)))
    assert even is not None
    assert even.sentence == "x: no group stands out."
    small = groups(attack("x", "pass", quiet(), strata=(stratum("a", members=3),)))
    assert small is not None
    assert small.sentence == "x: every group has too few members or controls to be assessed."
    assert groups(attack("x", "pass", quiet(), strata=())) is None


def test_the_first_use_of_a_term_is_linked_and_no_other() -> None:
    page, entries = link_terms("<h2>AUC</h2><p title='AUC'>An AUC, no AUC; members &lt; members</p><a>arm</a>")
    assert page == (
        '<h2>AUC</h2><p title=\'AUC\'>An <a class="term" href="#term-auc">AUC</a>, no AUC; '
        '<a class="term" href="#term-member">members</a> &lt; members</p><a>arm</a>'
    )
    assert [entry.term for entry in entries] == ["AUC", "member"]


def test_parts_of_words_are_no_terms() -> None:
    text = "<p>remembers alarms p-arm membership AUCs</p>"
    assert link_terms(text) == (text, ())


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_every_term_that_is_linked_stands_in_the_glossary(name: str) -> None:
    page = render_html(RECORDS[name](), {})
    linked = re.findall(r'<a class="term" href="#(term-[a-z0-9-]+)">', page)
    assert len(linked) == len(set(linked)) > 15
    listed = re.findall(r'<div id="(term-[a-z0-9-]+)">', page)
    assert sorted(listed) == sorted(linked)


def test_terms_have_addresses_of_their_own() -> None:
    assert len({anchor(name) for name in TERMS}) == len(TERMS)
    for name, (pattern, meaning) in TERMS.items():
        assert re.search(pattern, name) or name in ("95 % interval", "Holm's correction"), name
        assert meaning.endswith((".", "?")), name
