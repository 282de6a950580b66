"""audit.yaml: what a run does, in one reviewed file."""

from __future__ import annotations

import re
import unicodedata
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from privaudit.attack import Effort, Settings
from privaudit.errors import InputError
from privaudit.policy import BUILT_IN
from privaudit.validation import read_yaml, validated

NAME = re.compile(r"\w(?:[\w .+-]{0,58}[\w+-])?")
PARTS = ("members", "controls", "fresh", "reference", "test")


class Split(Settings):
    """How many images of one source go to each part; whole persons and near-duplicates stay together."""

    members: int = Field(ge=1, description="private images: the engine is fed these")
    controls: int = Field(ge=1, description="images of the same source that are never fed to it; two per member")
    fresh: int = Field(ge=1, description="more such images, released in the fresh arm")
    reference: int = Field(ge=1, description="images that the attacker has of his own")
    test: int = Field(0, ge=0, description="images for the utility; 0: the controls serve")


class Data(Settings):
    """Where the images are. Either `members` and `controls`, or `source` and `split`.

    A source is a folder of class folders, a CSV table, a .npz file, a folder of .npz files, a release folder, a folder
    written by save_to_disk of Hugging Face datasets, torchvision:NAME/train, or 'digits'.
    """

    members: str | None = Field(None, description="the private images")
    controls: str | None = Field(None, description="images of the same source that were never used")
    fresh: str | None = Field(None, description="more of these; default: 20 % of the controls")
    reference: str | None = Field(None, description="the attacker's own; default: 20 % of the controls")
    test: str | None = Field(None, description="images for the utility; default: the controls serve")
    source: str | None = Field(None, description="one source that privaudit splits at random")
    split: Split | None = Field(None, description="how many images of `source` go to each part")
    size: int | None = Field(None, ge=8, le=4096, description="resize all images to squares of this side")
    window: str | None = Field(None, description="for images of more than 8 bits: LOW,HIGH, or 'auto'")
    root: Path | None = Field(None, description="where the files of torchvision:NAME lie")

    @model_validator(mode="after")
    def _one_way(self) -> Data:
        given = [part for part in PARTS if getattr(self, part) is not None]
        if (self.source is None) != (self.split is None):
            raise ValueError("'source' and 'split' belong together")
        if self.source is not None and given:
            raise ValueError(f"give either 'source' and 'split' or '{given[0]}', not both")
        if self.source is None and self.members is None:
            raise ValueError("give 'members' and 'controls', or 'source' and 'split'")
        return self


class CandidateSource(Settings):
    """A release candidate: made elsewhere (`release`), or to be made (`synthesizer` and its `settings`)."""

    name: str = Field(description="what the report calls it")
    release: str | None = Field(None, description="where it lies")
    synthesizer: str | None = Field(None, description="the engine that makes it (see: privaudit plugins)")
    settings: dict[str, Any] = Field(default_factory=dict, description="settings of the engine")

    @field_validator("settings", mode="before")
    @classmethod
    def _left_empty(cls, settings: Any) -> Any:
        return {} if settings is None else settings

    @model_validator(mode="after")
    def _one_kind(self) -> CandidateSource:
        check_name(self.name)
        if (self.release is None) == (self.synthesizer is None):
            raise ValueError("give either 'release' or 'synthesizer'")
        if self.release is not None and self.settings:
            raise ValueError("'settings' belong to a 'synthesizer'")
        return self


class Configuration(Settings):
    """A run: the data, the candidates, what attacks them, and the limits."""

    schema_: Literal[1] = Field(1, alias="schema", description="version of this format")
    data: Data = Field(description="where the images are")
    candidates: tuple[CandidateSource, ...] = Field(min_length=1, description="what is to be judged")
    attacks: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="attacks and their settings; default: all installed ones"
    )
    policy: str = Field("default", description="the limits: a policy file, or the name of a shipped policy")
    effort: Effort = Field("standard", description="how much is spent: quick, standard or thorough")
    seed: int = Field(0, ge=0, description="number that fixes every random choice")
    max_suspects: int = Field(10_000, ge=100, description="most members, and most controls, that are scored")
    skip: tuple[Literal["utility", "similarity"], ...] = Field((), description="what is not measured")
    utility_seeds: int = Field(3, ge=3, le=20, description="students trained on each side")

    @model_validator(mode="after")
    def _distinct(self) -> Configuration:
        known: dict[str, str] = {}
        for candidate in self.candidates:
            same = unicodedata.normalize("NFKC", candidate.name).casefold()  # one folder on some file systems
            if same in known:
                raise ValueError(f"each candidate needs a name of its own: '{known[same]}' and '{candidate.name}'")
            known[same] = candidate.name
        return self

    @field_validator("attacks", mode="before")
    @classmethod
    def _settings_left_empty(cls, attacks: Any) -> Any:
        if not isinstance(attacks, dict):
            return attacks
        return {name: {} if settings is None else settings for name, settings in attacks.items()}


def check_name(name: str) -> str:
    """The name of a candidate. Raises InputError for one that would not be readable everywhere."""
    if not NAME.fullmatch(name):
        raise InputError(
            f"The name '{name}' is not usable. A name has 1 to 60 letters, digits, spaces or . + - _, begins with a "
            "letter or digit, and does not end with a space or a dot."
        )
    return name


def example_text() -> str:
    """A commented configuration."""
    return resources.files("privaudit").joinpath("examples", "audit.yaml").read_text(encoding="utf-8")


def load_configuration(path: Path) -> Configuration:
    """The configuration in a file; its paths are relative to the file. InputError where it is wrong."""
    if not path.exists():
        raise InputError(
            f"There is no configuration '{path}'. Write one with privaudit init, or see one at work: "
            "privaudit run --demo"
        )
    found = validated(Configuration, read_yaml(path, "configuration"), f"configuration '{path.name}'")
    folder = path.parent

    def placed(source: str | None) -> str | None:
        from privaudit.data.loading import is_named

        return source if source is None or is_named(source) else str(folder / source)

    data = found.data.model_copy(
        update={
            **{part: placed(getattr(found.data, part)) for part in (*PARTS, "source")},
            "root": None if found.data.root is None else folder / found.data.root,
        }
    )
    candidates = tuple(one.model_copy(update={"release": placed(one.release)}) for one in found.candidates)
    policy = found.policy if found.policy in BUILT_IN else str(folder / found.policy)
    return found.model_copy(update={"data": data, "candidates": candidates, "policy": policy})
