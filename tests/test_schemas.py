"""The exported JSON Schemas describe the files that privaudit writes and reads."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from privaudit.configuration import example_text
from privaudit.policy import BUILT_IN, built_in_text
from privaudit.policy_metrics import METRICS
from privaudit.schemas import SCHEMAS, editor_line, schema_text


def violations(name: str, text: str) -> list[str]:
    jsonschema: Any = pytest.importorskip("jsonschema", reason="jsonschema is not installed: pip install jsonschema")
    schema = json.loads(schema_text(name))
    checker: Any = jsonschema.Draft202012Validator
    checker.check_schema(schema)
    values = json.loads(json.dumps(yaml.safe_load(text), default=str))
    return [error.message for error in checker(schema).iter_errors(values)]


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_key_is_described(name: str) -> None:
    schema = json.loads(schema_text(name))
    assert schema["$schema"].startswith("https://json-schema.org/draft/2020-12")
    for model in (schema, *schema["$defs"].values()):
        assert model.get("additionalProperties") is False
        assert all("description" in values or "$ref" in values for values in model["properties"].values())


def test_editors_can_offer_every_metric() -> None:
    schema = json.loads(schema_text("policy.schema.json"))
    assert schema["$defs"]["PolicyRule"]["properties"]["metric"]["enum"] == list(METRICS)
    assert editor_line("policy.yaml") == "# yaml-language-server: $schema=policy.schema.json\n"


def test_the_commented_keys_of_the_example_keep_the_schema() -> None:
    """What the example shows behind '#' may be uncommented."""
    text = example_text()
    for line in ("  # - name: made-elsewhere", "  #   release: candidate", "  #   teacher: {", "  #   soft_labels:"):
        assert text.count(line) == 1
        text = text.replace(line, line.replace("# ", "", 1))
    for line in ("  #   claim: claim.yaml", "# also_released: [last-year]"):
        assert text.count(line) == 1
        text = text.replace(line, line.replace("# ", "", 1))
    values = yaml.safe_load(text)
    assert set(values["candidates"][1]) == {"name", "release", "teacher", "soft_labels", "claim"}
    assert values["also_released"] == ["last-year"]
    assert violations("audit.schema.json", text) == []
    assert violations("audit.schema.json", text.replace("trained_on: members", "trained_on: me")) != []


def test_shipped_files_keep_their_schemas() -> None:
    grid = example_text("grid.yaml")
    assert violations("grid.schema.json", grid) == []
    assert violations("grid.schema.json", grid.replace("seeds: [0, 1, 2, 3, 4]", "seeds: [0]")) != []
    assert violations("audit.schema.json", example_text()) == []
    for name in BUILT_IN:
        assert violations("policy.schema.json", built_in_text(name)) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [("at_most: 0.05", "at_mots: 0.05"), ("severity: fail", "severity: shrug"), ("metric: tpr_at", "metric: tpr")],
)
def test_wrong_files_break_the_schema(old: str, new: str) -> None:
    text = built_in_text("default")
    assert old in text
    assert violations("policy.schema.json", text.replace(old, new)) != []
