"""Numbers in words, hostile text, curves, and the contrast of the colours."""

from __future__ import annotations

import re
from importlib.resources import files

import numpy as np
import pytest
from report_examples import attack, failing, passing, quiet
from scipy.stats import norm

from privaudit.errors import InputError
from privaudit.reporting import worth
from privaudit.reporting.attack_view import suspected_sentence
from privaudit.reporting.explanations import EXPLANATIONS, attack_words, explain
from privaudit.reporting.scores import curve, law, share_found, thinned
from privaudit.reporting.text import SPACE, decimal, markdown, p_value, percent, printable, units


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0, "0 %"),
        (1, "100 %"),
        (0.00001, "< 0.01 %"),
        (0.0031, "0.31 %"),
        (0.0103, "1 %"),
        (0.0234, "2.3 %"),
        (0.099, "9.9 %"),
        (0.0996, "10 %"),
        (0.427, "43 %"),
        (0.9949, "99.5 %"),
        (0.99999, "> 99.9 %"),
        (-0.02, "-2 %"),
    ],
)
def test_percent(share: float, words: str) -> None:
    assert percent(share).replace("\xa0", " ") == words


@pytest.mark.parametrize(
    ("p", "words"),
    [(0.003, "p = 0.003"), (0.0004, "p = 0.0004"), (0.00009, "p < 0.0001"), (0.441, "p = 0.44"), (1.0, "p = 1.00")],
)
def test_p_value(p: float, words: str) -> None:
    assert p_value(p).replace("\xa0", " ") == words


def test_units_and_decimals() -> None:
    assert units(1, "person") == "1 person"
    assert units(3000, "image", "planted") == "3,000 planted images"
    assert decimal(0.5) == "0.500"
    assert decimal(float("inf")) == "inf"


def test_printable_shows_what_would_hide() -> None:
    assert printable("a\x1b[2J\u202eb\u200b\ud800\ufffe") == "a\\x1b[2J\\u202eb\\u200b\\ud800\\ufffe"
    assert printable("Grüße 猫\nx") == "Grüße 猫 x"
    assert "cut, 5,000 characters" in printable("x" * 5000)


def test_markdown_takes_no_effect() -> None:
    assert markdown("[a](http://b) <i> | `c` @d") == "\\[a\\](http&#58;//b) &lt;i&gt; \\| \\`c\\` &#64;d"


def test_curve_by_hand() -> None:
    line = curve(np.array([3.0, 2.0, 0.5, np.nan]), np.array([2.5, 1.0, 0.0, np.nan]))
    np.testing.assert_allclose(line.fpr, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(line.tpr, [0.25, 0.5, 0.75, 0.75, 1])
    assert line.at(0.25) == 0.5
    assert line.at(0.01) == 0.25


@pytest.mark.parametrize(("controls", "told"), [(1000, False), (3687, False), (3688, True)])
def test_a_share_at_a_thousandth_is_told_with_its_interval_or_not_at_all(controls: int, told: bool) -> None:
    rng = np.random.default_rng(0)
    members, others = rng.normal(2, 1, 500), rng.normal(0, 1, controls)
    found = share_found(curve(members, others), members, others, 0.001)
    assert (found is not None) is told
    if found is not None:
        share, low, high = found
        assert low < share < high
        assert low < 1 - norm.cdf(norm.ppf(0.999) - 2) < high


def test_curve_of_ties_is_chance() -> None:
    line = curve(np.zeros(5), np.zeros(7))
    np.testing.assert_allclose(line.fpr, [0, 1])
    np.testing.assert_allclose(line.tpr, [0, 1])


def test_thinned_curve_lies_on_the_full_one() -> None:
    generator = np.random.default_rng(0)
    full = curve(generator.normal(1, 1, 4000), generator.normal(size=4000))
    few = thinned(full)
    assert len(few.fpr) <= 170
    assert (few.fpr[-1], few.tpr[-1]) == (1.0, 1.0)
    assert {*zip(few.fpr, few.tpr, strict=True)} <= {*zip(full.fpr, full.tpr, strict=True)}


def test_law_shares_add_up_to_those_with_an_opinion() -> None:
    found = law(np.array([1.0, 2.0, np.nan, 4.0]), np.array([1.0, 1.0]))
    assert found is not None
    assert found.members.sum() == pytest.approx(0.75)
    assert found.controls.sum() == pytest.approx(1.0)
    assert found.silent_members == 0.25
    assert law(np.array([np.nan]), np.array([np.inf])) is None


def test_every_explanation_says_three_things() -> None:
    for name, one in EXPLANATIONS.items():
        assert re.search(r"better|best|good|beside|above|below", one.better), name
        assert re.search(r"\bnot\b|nothing|silence|without", f"{one.means} {one.not_shown}".lower()), name
        for sentence in (one.better, one.means, one.not_shown):
            assert sentence.endswith("."), name
    with pytest.raises(InputError, match="Did you mean 'leakage'"):
        explain("leakge")


def test_silence_that_supports_nothing_is_no_pass() -> None:
    assert attack_words("pass", supports_pass=False).word == "Silent"
    assert attack_words("pass", supports_pass=True).word == "Pass"
    assert attack_words("fail", supports_pass=False).word == "Fail"


def test_an_empty_list_is_said() -> None:
    assert "No member is on the list" in suspected_sentence(attack("x", "pass", quiet()), "image")


def _luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(2 * one for one in digits) if len(digits) == 3 else digits
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_contrast_in_light_dark_and_print() -> None:
    css = files("privaudit.reporting").joinpath("report.css").read_text(encoding="utf-8")
    themes = [
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]+)", block)) for block in re.findall(r":root \{(.*?)\}", css, re.S)
    ]
    assert len(themes) == 3
    for theme in themes:
        for text in ("ink", "muted", "blue", "orange"):
            for ground in ("paper", "panel", "blue-wash", "orange-wash", "grey-wash"):
                low, high = sorted((_luminance(theme[text]), _luminance(theme[ground])))
                assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground, theme)


def test_usefulness_and_similarity_in_words() -> None:
    record = passing().releases[0]
    shown = {fact.name: fact.value for fact in worth.utility_facts(record)}
    assert shown["Accuracy kept"].replace(SPACE, " ") == "89 % (87 % to 91 %)"
    assert "0.7" in worth.utility_table(record).rows[0].cells[1]  # type: ignore[union-attr]
    table = worth.similarity_table(record)
    assert table.rows[0].cells[0].replace(SPACE, " ") == "median 0.410, p95 0.580, max 0.710"
    assert table.rows[0].cells[2] == "0.480 (0.440 to 0.520)"
    assert table.rows[2].cells == ("not assessed",) * 3
    bare = failing().releases[0]
    assert worth.utility_facts(bare)[0].value == "not assessed"
    assert worth.utility_table(bare) is None
