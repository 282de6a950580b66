"""Frameworks, criteria and chapters of the report: data in `frameworks.yaml`, validated when it is read."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from privaudit.attack import Criterion, Settings
from privaudit.validation import validated

FILE = "frameworks.yaml"
Text = Annotated[str, Field(min_length=1), BeforeValidator(lambda value: str(value) if value is not None else value)]


class Framework(Settings):
    """An opinion, a standard or a ruling that the report leans on."""

    id: Text = Field(description="name within the file, and anchor in the report")
    name: Text = Field(description="as it is cited")
    date: Text = Field(description="of its publication, as precisely as it is known")
    meaning: Text = Field(description="what it asks, in one or two sentences")


class CriterionWords(Settings):
    """A criterion of WP216, and what informs it."""

    id: Criterion = Field(description="singling_out, linkability or inference")
    title: Text
    question: Text = Field(description="the question behind it, in plain words")
    framework: Text = Field(description="id of the framework that it comes from")
    attacks: tuple[str, ...] = Field(description="attacks that inform it, beside those that declare it themselves")
    metrics: tuple[str, ...] = Field(description="metrics of policy rules that inform it; with a final dot: all such")
    not_assessed: Text = Field(description="what is said where nothing informs it")


class Chapter(Settings):
    """A chapter of the report."""

    id: Literal[
        "context", "threat-modelling", "identifiability-assessment", "adversarial-testing", "mitigation", "governance"
    ]
    title: Text
    meaning: Text = Field(description="what it tells, in one sentence")


class Frameworks(Settings):
    """All of the file."""

    schema_: Literal[1] = Field(alias="schema", description="version of this format")
    as_of: Text = Field(description="day on which the file was last checked")
    chapters: tuple[Chapter, ...] = Field(min_length=6, max_length=6)
    criteria: tuple[CriterionWords, ...] = Field(min_length=3, max_length=3)
    frameworks: tuple[Framework, ...]

    @model_validator(mode="after")
    def _whole(self) -> Frameworks:
        for part in (self.chapters, self.criteria, self.frameworks):
            ids = [one.id for one in part]
            for name in ids:
                if ids.count(name) > 1:
                    raise ValueError(f"'{name}' stands there twice; each id may stand there once")
        known = {one.id for one in self.frameworks}
        for criterion in self.criteria:
            if criterion.framework not in known:
                raise ValueError(f"the criterion '{criterion.id}' names the unknown framework '{criterion.framework}'")
        return self


def read(values: Any) -> Frameworks:
    """The content of such a file. Raises InputError where it is wrong."""
    return validated(Frameworks, values, FILE)


@cache
def frameworks() -> Frameworks:
    """Those that are shipped."""
    import yaml

    return read(yaml.safe_load(files(__package__).joinpath(FILE).read_text(encoding="utf-8")))
