"""The five files of `share/`: what machines read back, and what may never be in them."""

from __future__ import annotations

import base64
import io
import json
import math
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from junitparser import Error, Failure, JUnitXml, Skipped
from report_examples import (
    HOSTILE,
    RECORDS,
    attack,
    audit,
    failing,
    galleries_of,
    passing,
    quiet,
    release,
    scores_of,
    similarity,
)

from privaudit.record import AuditRecord
from privaudit.reporting import ArmScores, write_share
from privaudit.reporting.explanations import ARMS, EXPLANATIONS, VERDICTS
from privaudit.reporting.files import write_atomic
from privaudit.reporting.gallery import data_uri
from privaudit.reporting.machine import audit_json, metrics
from privaudit.reporting.page import render_html

FILES = {"audit.json", "metrics.json", "junit.xml", "summary.md", "report.html"}


@pytest.fixture(scope="module", params=sorted(RECORDS))
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    record = RECORDS[request.param]()
    folder = tmp_path_factory.mktemp("share")
    write_share(record, scores_of(record), folder)
    return request.param, folder


class Page(HTMLParser):
    """Tags, attributes and visible text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._skip = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._skip = tag == "style"
        self._space(tag)

    def handle_endtag(self, tag: str) -> None:
        self._space(tag)

    def _space(self, tag: str) -> None:
        """Between blocks, not around the link of a term."""
        self.words.append("" if tag == "a" else " ")

    def handle_data(self, data: str) -> None:
        if not self._skip:
            self.words.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words).replace("\xa0", " "))


def test_exactly_the_five_files_and_no_leftover(shared: tuple[str, Path]) -> None:
    assert {path.name for path in shared[1].iterdir()} == FILES


def test_audit_json_reads_back_as_the_same_record(shared: tuple[str, Path]) -> None:
    name, folder = shared
    raw = (folder / "audit.json").read_bytes()
    if name == "hostile":  # a lone surrogate is no Unicode text: pydantic refuses to parse it, json does not
        assert AuditRecord.model_validate(json.loads(raw)) == RECORDS[name]()
    else:
        assert AuditRecord.model_validate_json(raw) == RECORDS[name]()
    assert json.loads(raw)["schema"] == 1


def test_infinite_numbers_stay_json_and_come_back() -> None:
    law = similarity({"median": math.inf}, {"median": -math.inf})
    record = audit("pass", (release("x", "pass", (), similarity={"psnr": law}),))
    raw = audit_json(record)
    json.loads(raw, parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))
    assert AuditRecord.model_validate_json(raw) == record


def test_metrics_are_flat_and_hold_the_documented_key(shared: tuple[str, Path]) -> None:
    flat = json.loads((shared[1] / "metrics.json").read_text())
    assert flat["verdict"] in VERDICTS
    assert all(value is None or type(value) in (int, float, str) for value in flat.values())
    assert list(flat) == sorted(flat)


def test_metric_keys_do_not_depend_on_what_was_found() -> None:
    found = metrics(audit("pass", (release("a", "pass", (attack("n", "pass", quiet()),)),)))
    nothing = {"release": None, "raw": None, "fresh": None}
    bare = attack("n", "inconclusive", quiet(), arms=nothing, exposed_share=None, leakage=None)
    assert metrics(audit("inconclusive", (release("a", "inconclusive", (bare,)),))).keys() == found.keys()
    assert found["releases.a.attacks.n.tpr_at_1pct_fpr.high"] == 0.0162
    assert found["releases.a.attacks.n.raw.tpr_at_1pct_fpr.low"] == 0.998
    assert found["releases.a.attacks.n.detection_limit.mirror.dose"] == 30
    assert found["releases.a.attacks.n.detection_limit.blend.dose"] is None


def test_junit_says_fail_skip_and_error() -> None:
    def outcome(name: str) -> dict[str, type | None]:
        from privaudit.reporting.junit import junit_xml

        suites = JUnitXml.fromstring(junit_xml(RECORDS[name]()))
        return {case.name: type(case.result[0]) if case.result else None for suite in suites for case in suite}

    failed = outcome("fail")
    assert failed["gate: identical copies"] is None  # of the second release, which has the same case names
    assert failed["attack: gradient-matching"] is Skipped  # its silence supports no pass
    assert outcome("pass")["verdict"] is None
    assert outcome("pass")["attack: nearest-copy"] is None
    assert outcome("pass")["not assessed 01"] is Skipped
    assert outcome("inconclusive")["verdict"] is Skipped
    assert outcome("inconclusive")["gate: blind baseline"] is Skipped
    assert outcome("incomplete")["attack: density-ratio"] is Error
    assert outcome("hostile")["verdict"] is Failure


def test_junit_counts_agree_with_the_cases(shared: tuple[str, Path]) -> None:
    suites = JUnitXml.fromstring((shared[1] / "junit.xml").read_bytes())
    cases = [case for suite in suites for case in suite]
    assert suites.tests == len(cases)
    assert suites.failures == sum(isinstance(one, Failure) for case in cases for one in case.result)
    assert len({(case.classname, case.name) for case in cases}) == len(cases)


def test_page_loads_nothing_and_runs_nothing(shared: tuple[str, Path]) -> None:
    text = (shared[1] / "report.html").read_text()
    page = Page(text)
    assert len(text) < 5_000_000
    assert not {"script", "link", "iframe", "object", "embed", "img", "base", "form"} & {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name not in ("href", "src") or (value or "").startswith("#")
    if shared[0] != "hostile":  # there the name itself spells an address; it is text, as the loop above shows
        assert "http://" not in text
        assert "https://" not in text
    assert "url(" not in text.replace("url(#", "")
    assert "@import" not in text


def test_page_has_a_strict_content_security_policy(shared: tuple[str, Path]) -> None:
    metas = Page((shared[1] / "report.html").read_text()).of("meta")
    policies = [meta["content"] or "" for meta in metas if meta.get("http-equiv") == "Content-Security-Policy"]
    assert len(policies) == 1
    assert policies[0].startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")


def test_page_structure_is_accessible(shared: tuple[str, Path]) -> None:
    page = Page((shared[1] / "report.html").read_text())
    assert page.of("html") == [{"lang": "en"}]
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert len(page.of("caption")) == len(page.of("table"))
    assert all(cell.get("scope") in ("row", "col") for cell in page.of("th"))
    idents = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(idents) == len(set(idents))
    named = {*idents}
    assert {(link["href"] or "")[1:] for link in page.of("a") + page.of("use")} <= named
    for picture in page.of("svg"):
        assert picture["role"] == "img"
        assert {*(picture["aria-labelledby"] or "").split()} <= named


def test_hostile_names_are_shown_and_harmless(tmp_path: Path) -> None:
    record = RECORDS["hostile"]()
    write_share(record, scores_of(record), tmp_path)
    for name in FILES:
        raw = (tmp_path / name).read_bytes()
        assert b"\x1b" not in raw
        assert "\u202e" not in raw.decode()
        if name.endswith((".html", ".xml", ".md")):
            assert b"<script" not in raw
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\x1b[31m\\u202e" in (tmp_path / "report.html").read_text()
    assert re.search(r"(?<!\\)\|`|\]\(https:|@all", (tmp_path / "summary.md").read_text()) is None
    assert HOSTILE in json.loads((tmp_path / "audit.json").read_text())["sentence"]


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write_share(failing(), scores_of(failing()), tmp_path / folder)
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_first_screen_says_verdict_reasons_untested_and_next_in_order(shared: tuple[str, Path]) -> None:
    name, folder = shared
    record, text = RECORDS[name](), Page((folder / "report.html").read_text()).text
    words = VERDICTS[record.verdict]
    wanted = ["be published?", words.symbol, f"Verdict: {words.word}", "Why", "What was not tested", "What to do next"]
    wanted += ["The verdict in full", words.means, "Reasons", "What was not tested", "What to do next"]
    wanted += ["Context", "Recipient", "What was audited", "Threat modelling", "Attackers, and what they hold"]
    wanted += ["Identifiability assessment", "Can members and controls be compared?", "Singling out", "Linkability"]
    wanted += ["Inference", "Average and worst person", "Copies", "Groups of members", "Similarity"]
    wanted += ["Adversarial testing", "Mitigation", "Differential privacy", "Usefulness", "Governance", "Owner"]
    wanted += ["How it was made", "no statement about the law", "Glossary"]
    place = 0
    for one in wanted:
        place = text.index(one, place)


def test_every_attack_card_explains_its_numbers() -> None:
    text = Page(render_html(passing(), scores_of(passing()))).text
    names = ["tpr_at_1pct_fpr", "auc", "r0", "top20", "p", "p_holm", "exposed_share", "leakage", "suspected"]
    for name in [*names, "arms", "roc"]:
        assert text.count(EXPLANATIONS[name].text) == 2, name
    for name in ("detection_limit", "power"):  # the second attack has no plants
        assert text.count(EXPLANATIONS[name].text) == 1, name
    assert text.count("What the attacker holds:") == 2
    assert text.count("Worst person") == 3  # two cards, and the table of average and worst
    assert text.count("Smallest risk it could see") == 2
    for title, meaning in (ARMS[arm] for arm in ("release", "raw", "fresh")):
        assert text.count(f"{title}. {meaning}") == 2 or text.count(meaning) == 2
    assert not any(ARMS[arm][1] in text for arm in ("positive", "negative"))  # no attack here is bound to an engine
    assert "between 0 and 19 of 3,000 images (0 % to 0.62 %)" in text
    assert "would have been found from 30 planted images on (1 % of those scored), in 95 % of cases" in text
    assert "not found up to 20 %" in text
    assert "1 member lies closer to the release than every control; chance alone does this with probability" in text


def test_the_failing_report_names_list_and_rate() -> None:
    text = Page(render_html(failing(), scores_of(failing()))).text
    assert "148 members lie closer to the release than every control" in text
    assert "160 images on the list of suspected members" in text
    assert "about one in ten of them is innocent" in text
    assert "m-000003 = r-000010" in text
    assert "not defined: the attack barely finds the originals" in text
    assert "Silent" in text


def test_what_was_recovered_stands_in_the_card_and_beside_the_originals() -> None:
    text = Page(render_html(failing(), scores_of(failing()))).text
    assert "Own source recovered" in text
    assert text.count("40 % (36 % to 44 %); chance 2 %") == 2  # in the card, and in the table of all attacks
    assert "gradient-matching, trained on the originals" in text
    assert "21.5 (20.1 to 22.9) dB" in text
    assert "Host right on held-out images" in text
    assert "Attacker's own: final cost" in text
    assert "<img" not in render_html(failing(), scores_of(failing()))


def test_the_evidence_edition_shows_pictures_and_says_so() -> None:
    record = failing()
    page = Page(render_html(record, scores_of(record), galleries_of(record)))
    pictures = page.of("img")
    assert len(pictures) == 3 * 12 * 4 + 3 * 5 * 4  # gradient-matching in three arms; pairs of three other attacks
    assert all(str(one["src"]).startswith("data:image/png;base64,") and one["alt"] for one in pictures)
    assert "Confidential: evidence edition." in page.text
    assert "holds no private image" not in page.text
    assert "m-000040 beside r-000070. Rank 1 of all suspects. Score 9.5; that of the control 0.25." in page.text
    assert page.text.count("The attack does not tell which released image: the nearest in pixels is shown.") == 3
    assert "Score 8.5; that of the control none." in page.text
    assert page.text.count("Members drawn at random, for comparison") == 2 * 3
    shareable = render_html(record, scores_of(record))
    assert "<img" not in shareable
    assert "data:image" not in shareable


def test_pictures_are_the_pixels_enlarged() -> None:
    from PIL import Image

    pixels = np.array([[[0], [255]], [[7], [9]]], dtype=np.uint8)
    with Image.open(io.BytesIO(base64.b64decode(data_uri(pixels).split(",")[1]))) as image:
        drawn = np.asarray(image)
    assert drawn.shape == (96, 96)
    assert drawn[::48, ::48].tolist() == [[0, 255], [7, 9]]
    colour = np.zeros((200, 100, 3), np.uint8)
    with Image.open(io.BytesIO(base64.b64decode(data_uri(colour).split(",")[1]))) as image:
        assert image.size == (48, 96)


def test_missing_values_are_said_in_words() -> None:
    text = Page(render_html(RECORDS["inconclusive"](), {})).text
    assert "None" not in text.replace("None is", "")
    assert "nan" not in re.findall(r"[a-z]+", text.lower())
    assert "not assessed: there are no controls" in text
    assert text.count("not assessed") > 10


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_no_promise_is_made(name: str) -> None:
    record = RECORDS[name]()
    words = {word.lower() for word in re.findall(r"[A-Za-z]+", Page(render_html(record, scores_of(record))).text)}
    assert not words & {"anonymous", "anonymised", "anonymized", "anonymity", "safe", "safer", "secure", "guaranteed"}


def test_pictures_survive_odd_scores() -> None:
    record = passing()
    key = ("cifar-synthetic-a", "nearest-copy")
    constant = {arm: np.zeros(30) for arm in ("release", "raw", "fresh")}
    silent = {arm: np.full(30, np.nan) for arm in ("release", "raw", "fresh")}
    endless = {arm: np.full(30, -np.inf) for arm in ("release", "raw", "fresh")}
    for members in (constant, silent, endless, {}, {"release": np.zeros(0)}):
        for controls in (constant, silent, endless):
            assert "</html>" in render_html(record, {key: ArmScores(members, controls)})


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "report.html"
    write_atomic(target, b"old")

    def full_disk(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_atomic(target, b"new")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]
