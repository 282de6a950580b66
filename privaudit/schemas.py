"""JSON Schemas of audit.yaml, policy.yaml and grids, for editors: made from the models that read these files."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import BaseModel

from privaudit.configuration import Configuration
from privaudit.grid.configuration import Grid
from privaudit.policy import Policy

SCHEMAS: Mapping[str, type[BaseModel]] = {
    "audit.schema.json": Configuration,
    "policy.schema.json": Policy,
    "grid.schema.json": Grid,
}
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_text(name: str) -> str:
    """The schema of this name (see `SCHEMAS`) as JSON text."""
    return json.dumps({"$schema": _DIALECT} | SCHEMAS[name].model_json_schema(), indent=2, sort_keys=True) + "\n"


def editor_line(file: str) -> str:
    """The line of a YAML file that tells editors which schema beside it is its own."""
    return f"# yaml-language-server: $schema={file.removesuffix('.yaml')}.schema.json\n"
