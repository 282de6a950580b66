"""The synthesizer (engine) contract: members in, release out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, cast, runtime_checkable

from pydantic import BaseModel

from privaudit.attack import Context
from privaudit.errors import InputError
from privaudit.identical import identical_copies
from privaudit.images import Images
from privaudit.release import Release


@dataclass(frozen=True)
class Shard:
    """A piece of the plan: a name (its seed is derived from it), a count, and what the engine needs to know."""

    name: str
    count: int
    arguments: Mapping[str, Any]


@runtime_checkable
class Synthesizer(Protocol):
    """An engine: a frozen settings model whose fields are its settings. Name and version are in every cache key."""

    name: ClassVar[str]
    version: ClassVar[int]

    def shards(self, members: Images) -> Sequence[Shard]:
        """The plan: no randomness, no device."""

    def make(self, shard: Shard, members: Images, context: Context) -> Images:
        """Make one shard. Pure: the same shard, members and generator give the same images."""

    def finish(self, parts: Iterable[Images], members: Images, context: Context) -> Release:
        """Put the shards together, in the order of the plan, with labels and artifacts."""


@runtime_checkable
class AsksForClasses(Protocol):
    """What an engine has besides that must not count the classes of its members, for that would tell of them."""

    classes: int | None


def told_classes(engine: Synthesizer, classes: int) -> Synthesizer:
    """The engine with as many classes as the members' source names, where it asks for them and was not told."""
    if isinstance(engine, AsksForClasses) and engine.classes is None:
        return cast(Synthesizer, cast(BaseModel, engine).model_copy(update={"classes": classes}))
    return engine


@runtime_checkable
class UsesPublicImages(Protocol):
    """What an engine has besides that uses images which are no secret: its setting `public` names them."""

    public: str | None

    def public_images(self, size: tuple[int, int, int]) -> Images | None:
        """They, in the members' size: height, width, channels. The engine finds them as `context.reference`.

        None where it does without. Raises InputError where it cannot and none are named, or they cannot be used.
        """


@runtime_checkable
class UsesMasks(Protocol):
    """What an engine has besides that treats parts of a member apart: its setting `masks` says where they are."""

    masks: str | None

    def member_masks(self, members: Images) -> Images | None:
        """What of each member is foreground, pixels [N, H, W, 1], 255 or 0. The engine finds it as `context.masks`.

        None where the engine needs none, or makes them itself. Raises InputError where one is missing.
        """


BESIDE = ("public", "masks")
"""Names of what an engine may use beside the members."""


def beside_members(engine: Synthesizer, members: Images) -> dict[str, Images]:
    """What an engine uses beside the members: 'public' images, 'masks'; nothing where it uses nothing.

    Raises InputError where public images are members: the engine would treat them as no secret.
    """
    found = {
        "public": _public(engine, members),
        "masks": engine.member_masks(members) if isinstance(engine, UsesMasks) else None,
    }
    return {name: images for name, images in found.items() if images is not None}


def _public(engine: Synthesizer, members: Images) -> Images | None:
    found = engine.public_images(members.size) if isinstance(engine, UsesPublicImages) else None
    if found is None:
        return None
    both = {released for _, released in identical_copies(members, [], found).pairs}
    if both:
        raise InputError(
            f"{len(both):,} of the public images of '{engine.name}' are members, pixel by pixel. It would use them as "
            "if they were no secret: leave them out of one of the two."
        )
    return found


def made(engine: Synthesizer, members: Images, context: Context) -> Release:
    """A release of these members, made here and now: for quick engines. Raises InputError as the engine does."""
    parts = [engine.make(shard, members, context) for shard in engine.shards(members)]
    return engine.finish(parts, members, context)
