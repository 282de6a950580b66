"""True matches are printed beside phantom matches: members a list names, and strangers who rank as high."""

from __future__ import annotations

import numpy as np
import pytest
from audit_examples import DEMO, clean_scores, evidence_of
from hypothesis import given
from hypothesis import strategies as st

from privaudit.judgement import judge
from privaudit.matches import in_words, matches
from privaudit.record import AuditRecord, Matches
from privaudit.reporting.attack_view import suspected_sentence
from privaudit.reporting.page import render_html
from privaudit.reporting.summary import summary_markdown
from privaudit.statistics.tally import placements


def test_by_hand() -> None:
    placed = placements(np.array([9.0, 7.0, 5.0, 1.0]), np.array([8.0, 6.0, 5.0, 0.0]))
    assert matches(placed, []) is None
    assert matches(placed, [0]) == Matches(members=1, strangers=0)
    assert matches(placed, [0, 1]) == Matches(members=2, strangers=1)
    assert matches(placed, [2]) == Matches(members=3, strangers=3)  # the stranger with the same score counts


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.lists(st.integers(0, 9), min_size=1, max_size=12))
def test_they_count_what_stands_at_or_above_the_lowest(members: list[int], controls: list[int]) -> None:
    mine, theirs = np.array(members, float), np.array(controls, float)
    found = matches(placements(mine, theirs), [0])
    assert found is not None
    assert found.strangers == int((theirs >= mine[0]).sum())
    assert found.members >= int((mine >= mine[0]).sum())


def test_in_words() -> None:
    assert in_words(Matches(members=1, strangers=0)) == "1 member and 0 strangers score at or above"
    assert in_words(Matches(members=12, strangers=1)) == "12 members and 1 stranger score at or above"


@pytest.fixture(scope="module")
def leaking() -> AuditRecord:
    scores = clean_scores(300, 200, 100, np.random.default_rng(0))
    scores["release members"][:40] += 20
    return judge(evidence_of({"nearest-copy": scores, "density-ratio": scores}), DEMO)


def test_a_list_of_members_comes_with_the_strangers_beside_it(leaking: AuditRecord) -> None:
    attack = leaking.releases[0].attacks[0]
    assert attack.suspected
    assert attack.listed is not None
    assert attack.listed.members >= len(attack.suspected)
    said = in_words(attack.listed)
    assert said in suspected_sentence(attack, "image")
    assert any(said in reason for reason in leaking.releases[0].reasons)  # what the terminal prints
    assert said in summary_markdown(leaking)
    page = render_html(leaking, {})
    assert said in page
    assert "20 members and 0 strangers" in page


def test_nobody_listed_nobody_counted() -> None:
    scores = clean_scores(300, 200, 100, np.random.default_rng(1))
    record = judge(evidence_of({"nearest-copy": scores, "density-ratio": scores}), DEMO)
    assert [attack.listed for attack in record.releases[0].attacks] == [None, None]
