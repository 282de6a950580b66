"""The synthesizer (engine) contract: members in, release out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from privaudit.attack import Context
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


def made(engine: Synthesizer, members: Images, context: Context) -> Release:
    """A release of these members, made here and now: for quick engines. Raises InputError as the engine does."""
    parts = [engine.make(shard, members, context) for shard in engine.shards(members)]
    return engine.finish(parts, members, context)
