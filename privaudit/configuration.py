"""audit.yaml: what a run does, in one reviewed file."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from privaudit.attack import Effort, Settings
from privaudit.errors import InputError
from privaudit.policy import BUILT_IN
from privaudit.release import TrainedOn
from privaudit.validation import read_yaml, validated

NAME = re.compile(r"\w(?:[\w .+-]{0,58}[\w+-])?")
ENGINE_SOURCES = ("public", "masks", "masked", "stable_diffusion", "controlnet")
"""Settings of engines that name files; relative ones lie beside the configuration."""
PARTS = ("members", "controls", "fresh", "reference", "test", "siblings")


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
    siblings: str | None = Field(
        None, description="other images of the persons in the members, never used; for attacks that link"
    )
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


class Teacher(Settings):
    """A network that is published with a candidate."""

    file: str = Field(description="its weights, a safetensors file")
    architecture: str = Field(
        description="convnet, convnet-groupnorm, resnet18, resnet34, resnet20, resnet56, lenet, mlp, or "
        "torchvision:NAME"
    )
    trained_on: TrainedOn = Field(
        description="members: on the members alone; other: on neither members nor controls; unknown"
    )


class CandidateSource(Settings):
    """A release candidate: made elsewhere (`release`), or to be made (`synthesizer` and its `settings`)."""

    name: str = Field(description="what the report calls it")
    release: str | None = Field(None, description="where it lies")
    synthesizer: str | None = Field(None, description="the engine that makes it (see: privaudit plugins)")
    settings: dict[str, Any] = Field(default_factory=dict, description="settings of the engine")
    teacher: Teacher | None = Field(None, description="a network that is published with a release made elsewhere")
    soft_labels: str | None = Field(
        None, description="probabilities published with it: .npy, float [images, classes], in the order of its images"
    )
    statistics: str | None = Field(
        None, description="class-wise statistics published with it: .npz, see the data formats in the documentation"
    )
    claim: str | None = Field(None, description="file with the claim of differential privacy that comes with it")
    repeat: int = Field(0, ge=0, description="number of a repeat: the same settings from other random numbers")

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
        if self.synthesizer is not None and (self.teacher or self.soft_labels or self.statistics or self.claim):
            raise ValueError("'teacher', 'soft_labels', 'statistics' and 'claim' belong to a 'release' made elsewhere")
        return self


class Configuration(Settings):
    """A run: the data, the candidates, what attacks them, and the limits."""

    schema_: Literal[1] = Field(1, alias="schema", description="version of this format")
    data: Data = Field(description="where the images are")
    candidates: tuple[CandidateSource, ...] = Field(min_length=1, description="what is to be judged")
    also_released: tuple[str, ...] = Field(
        (), description="what is public already; the attackers see it together with each candidate"
    )
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


def merged_settings(common: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with others over them; what is within a setting of both is merged likewise."""
    found = dict(common)
    for key, value in over.items():
        within = found.get(key)
        found[key] = merged_settings(within, value) if isinstance(within, dict) and isinstance(value, dict) else value
    return found


def check_name(name: str) -> str:
    """The name of a candidate. Raises InputError for one that would not be readable everywhere."""
    if not NAME.fullmatch(name):
        raise InputError(
            f"The name '{name[:60]}' is not usable. A name has 1 to 60 letters, digits, spaces or . + - _, begins with "
            "a letter or digit, and does not end with a space or a dot."
        )
    return name


def example_text(name: str = "audit.yaml") -> str:
    """A commented configuration, or another shipped example."""
    return resources.files("privaudit").joinpath("examples", name).read_text(encoding="utf-8")


def load_configuration(path: Path) -> Configuration:
    """The configuration in a file; its paths are relative to the file. InputError where it is wrong."""
    if not path.exists():
        raise InputError(
            f"There is no configuration '{path}'. Write one with privaudit init, or see one at work: "
            "privaudit run --demo"
        )
    found = validated(Configuration, read_yaml(path, "configuration"), f"configuration '{path.name}'")
    folder = path.parent
    data = placed_data(found.data, folder)
    update = {
        "data": data,
        "candidates": tuple(_placed_candidate(one, folder) for one in found.candidates),
        "also_released": tuple(_placed(source, folder) for source in found.also_released),
        "policy": placed_policy(found.policy, folder),
    }
    return found.model_copy(update=update)


def placed_data(data: Data, folder: Path) -> Data:
    """The data with paths that are relative to a folder."""
    update: dict[str, Any] = {part: _placed(getattr(data, part), folder) for part in (*PARTS, "source")}
    return data.model_copy(update={**update, "root": None if data.root is None else folder / data.root})


def placed_policy(policy: str, folder: Path) -> str:
    """The name of a shipped policy as it is; a file relative to a folder."""
    return policy if policy in BUILT_IN else str(folder / policy)


def _placed_candidate(one: CandidateSource, folder: Path) -> CandidateSource:
    update: dict[str, Any] = {"release": _placed(one.release, folder)}
    update |= {
        name: str(folder / file)
        for name in ("soft_labels", "statistics", "claim")
        if (file := getattr(one, name)) is not None
    }
    if one.teacher is not None:
        update["teacher"] = one.teacher.model_copy(update={"file": str(folder / one.teacher.file)})
    update["settings"] = one.settings | {
        name: _placed(source, folder) for name in ENGINE_SOURCES if isinstance(source := one.settings.get(name), str)
    }
    return one.model_copy(update=update)


def _placed(source: str | None, folder: Path) -> str | None:
    from privaudit.data.loading import is_named

    return source if source is None or is_named(source) else str(folder / source)
