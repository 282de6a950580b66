"""The criteria of WP216, the frameworks behind them, the box on differential privacy, and who governs."""

from __future__ import annotations

import copy
from importlib.resources import files
from typing import Any

import pytest
import yaml
from report_examples import audit, failing, incomplete, inconclusive, passing, release, rule

from privaudit.errors import InputError
from privaudit.policy_metrics import METRICS
from privaudit.record import AuditRecord, ReleaseRecord, ScanFinding
from privaudit.reporting.claim import claim_box
from privaudit.reporting.criteria import criteria
from privaudit.reporting.frameworks import frameworks, read
from privaudit.reporting.governance import governance, waivers
from privaudit.reporting.summary import summary_markdown

SHIPPED = yaml.safe_load(files("privaudit.reporting").joinpath("frameworks.yaml").read_text(encoding="utf-8"))
CLAIM = {
    "epsilon": 3.0,
    "delta": 1e-5,
    "unit": "person",
    "adjacency": "add/remove",
    "sampling": "Poisson, rate 0.07",
    "mechanism": {"noise_multiplier": 1.1},
    "accountant": "prv 0.2",
    "trust_model": "curator",
}


def status(record: AuditRecord) -> list[str]:
    return [view.status.word for view in criteria(record, record.releases[0])]


def with_release(record: AuditRecord, **changes: Any) -> AuditRecord:
    return record.model_copy(update={"releases": (record.releases[0].model_copy(update=changes),)})


def test_status_of_every_verdict() -> None:
    assert status(passing()) == ["Nothing found", "Not assessed", "Not assessed"]
    assert status(failing()) == ["Leak found", "Leak found", "Not assessed"]  # its files carry EXIF
    assert status(inconclusive()) == ["Not assessed", "Not assessed", "Not assessed"]
    assert status(incomplete()) == ["Not finished", "Not assessed", "Not assessed"]


def test_nothing_is_found_only_where_the_release_passes_and_power_was_shown() -> None:
    record = passing()
    quiet = record.releases[0].attacks
    silent = tuple(one.model_copy(update={"supports_pass": False}) for one in quiet)
    assert status(with_release(record, attacks=silent))[0] == "Not assessed"
    assert status(with_release(record, verdict="inconclusive"))[0] == "Unclear"
    assert status(with_release(record, rules=(rule("waived", "pass"),)))[0] == "Unclear"
    assert status(with_release(record, rules=(rule("broken", "fail"),)))[0] == "Leak found"
    assert status(with_release(record, attacks=()))[0] == "Not assessed"


def test_an_attack_declares_what_it_informs() -> None:
    record = passing()
    first, second = record.releases[0].attacks
    linking = second.model_copy(update={"name": "linkage", "informs": ("linkability",)})
    found = criteria(record, record.releases[0].model_copy(update={"attacks": (first, linking)}))
    assert [view.attacks for view in found] == [("nearest-copy",), ("linkage",), ()]
    assert found[1].status.word == "Nothing found"
    leaking = linking.model_copy(update={"verdict": "fail"})
    assert status(with_release(record, attacks=(first, leaking)))[1] == "Leak found"


def test_traces_in_files_are_told_and_their_absence_clears_nothing() -> None:
    trace = ScanFinding(kind="metadata", sentence="Files carry EXIF data.", count=4, examples=())
    assert status(with_release(passing(), scan=(trace,)))[1] == "Leak found"
    (_, view, _) = criteria(passing(), passing().releases[0])
    assert "The released files carry nothing beside the images." in view.lines
    unread = (
        passing()
        .releases[0]
        .model_copy(update={"not_assessed": ("traces in the released files: no files were given",)})
    )
    (_, view, _) = criteria(passing(), unread)
    assert "The released files themselves were not looked at: none were given." in view.lines


def test_the_shipped_frameworks_name_what_exists() -> None:
    known = frameworks()
    assert [chapter.title for chapter in known.chapters] == [
        "Context",
        "Threat modelling",
        "Identifiability assessment",
        "Adversarial testing",
        "Mitigation",
        "Governance",
    ]
    for criterion in known.criteria:
        for metric in criterion.metrics:
            assert metric in METRICS or any(name.startswith(metric) for name in METRICS if metric.endswith(".")), metric


def changed(path: tuple[Any, ...], value: Any) -> Any:
    values = copy.deepcopy(SHIPPED)
    place = values
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (changed(("criterai",), []), "unknown key 'criterai'. Did you mean 'criteria'"),
        (changed(("frameworks", 0, "year"), 2014), "unknown key 'frameworks.0.year'"),
        (changed(("criteria", 0, "framework"), "wp999"), "unknown framework 'wp999'"),
        (changed(("criteria", 0, "id"), "linkability"), "'linkability' stands there twice"),
        (changed(("criteria", 0, "title"), None), "criteria.0.title"),
        (changed(("schema",), 2), "schema"),
        ([], "must hold keys and values"),
    ],
)
def test_a_wrong_file_is_refused_in_one_message(values: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(values)


def with_claim(claim: dict[str, Any] | None) -> ReleaseRecord:
    return release("a", "pass", (), claim=claim)


def test_a_claim_is_shown_whole() -> None:
    box = claim_box(with_claim(CLAIM))
    assert box.table is not None
    shown = {row.head: row.cells[0] for row in box.table.rows}
    assert shown["Epsilon (ε)"] == "3"
    assert shown["Sampling"] == "Poisson, rate 0.07"
    assert shown["Mechanism"] == "noise_multiplier 1.1"
    assert shown["Measured lower bound of ε"] == "not measured"
    in_mechanism = {**CLAIM, "sampling": "", "mechanism": {"sampling_rate": 0.07}}
    assert claim_box(with_claim(in_mechanism)).table is not None


@pytest.mark.parametrize("part", sorted(CLAIM))
@pytest.mark.parametrize("nothing", [None, "", {}, float("nan"), float("inf")])
def test_a_claim_without_any_part_is_no_claim(part: str, nothing: Any) -> None:
    box = claim_box(with_claim({**CLAIM, part: nothing}))
    assert box.table is None
    assert box.sentence.startswith("Claim incomplete: ")
    assert box.sentence.endswith(" missing; no statement on differential privacy is made.")


def test_incomplete_claims_name_what_is_missing_and_no_figure() -> None:
    box = claim_box(with_claim({"epsilon": 8.0, "delta": 1e-5, "unit": "image", "mechanism": {"sigma": 1.9}}))
    missing = "adjacency, sampling, accountant and trust model are missing"
    assert box.sentence == f"Claim incomplete: {missing}; no statement on differential privacy is made."
    assert claim_box(with_claim(None)).sentence == "No claim of differential privacy is made."


def test_governance_says_what_was_not_given() -> None:
    facts = {fact.name: fact.value for fact in governance(passing())}
    assert facts["Owner"] == "not given"
    assert facts["Policy"] == "default"
    policy = {
        "owner": "Ada",
        "recipient": "a university",
        "review_by": "2027-01-31",
        "rules": [{"id": "left-out", "waiver": {"by": "Bo", "until": "2026-12-31", "why": "a trial"}}, "odd"],
    }
    record = audit("pass", passing().releases, policy=policy, judged_on="2026-11-21")
    facts = {fact.name: fact.value for fact in governance(record)}
    assert (facts["Owner"], facts["Recipient"], facts["Next review"]) == ("Ada", "a university", "2027-01-31")
    assert facts["Judged on"] == "2026-11-21"
    table = waivers(record)
    assert table is not None
    assert [(row.head, row.cells) for row in table.rows] == [("left-out", ("Bo", "2026-12-31", "a trial"))]
    assert waivers(passing()) is None
    assert "- Owner: Ada" in summary_markdown(record)
