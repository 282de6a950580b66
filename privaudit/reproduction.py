"""A finished run as one file from which it can be repeated, and what came out differently.

`private/manifest.json` holds what was asked for (configuration, policy, device), where it ran (versions, commit,
hardware), and, once the run is finished, its results: the audit's record, and hashes of images, scores and pictures.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from privaudit.attack import Settings
from privaudit.configuration import Configuration
from privaudit.errors import InputError
from privaudit.evidence import AuditEvidence
from privaudit.manifest import commit, processor, versions
from privaudit.policy import Policy
from privaudit.record import AuditRecord
from privaudit.store import array_digest
from privaudit.validation import bounded, json_of, validated

_MOST_BYTES = 2**27
_MOST_VALUES, _MOST_IN_ALL = 100_000, 5_000_000
_ANYTHING = ("plan", "surroundings", "results")
"""Keys of a manifest whose values may be any."""
_OF_THE_DAY = ("seconds", "judged_on", "manifest", "earlier_audits_of_these_members")
"""Keys of a record that differ between equal runs."""


class RunManifest(Settings):
    """What a run was, what it ran on, and what came out. results: None until it is finished."""

    schema_: Literal[1] = Field(1, alias="schema", description="version of this format")
    configuration: Configuration | None = Field(description="what was asked for; null: a built-in example")
    policy: Policy = Field(description="the limits it was judged by")
    sources: dict[str, str] = Field(description="where the images were, as given")
    store: str = Field(description="where finished work was kept")
    plan: dict[str, Any] = Field(description="what the results depend on, hashes of the data among them")
    surroundings: dict[str, Any] = Field(description="versions, commit, hardware")
    results: dict[str, Any] | None = Field(None, description="the record of the audit, and hashes of all that it found")

    def as_json(self) -> dict[str, Any]:
        """With the keys of the file."""
        return self.model_dump(mode="json", by_alias=True)


def surroundings(device: str) -> dict[str, Any]:
    """What may move the bits of a result, beside what was asked for."""
    return {"versions": versions(), "commit": commit(), "processor": processor(), "device": device}


def results(evidence: AuditEvidence, record: AuditRecord, releases: Mapping[str, str]) -> dict[str, Any]:
    """All that came out, JSON-able. releases: hashes of the candidates' images by name."""
    hashes: dict[str, str] = {f"images of {name}": digest for name, digest in releases.items()}
    for (release, attack), scores in evidence.scores.items():
        hashes |= {f"{attack} on {release}, {name}": array_digest(array) for name, array in scores.items()}
    for (release, attack), arms in evidence.galleries.items():
        for arm, gallery in arms.items():
            hashes |= {f"{attack} on {release}, {arm} {name}": array_digest(one) for name, one in gallery.items()}
    return {"record": _lasting(record.model_dump(mode="json", by_alias=True)), "hashes": hashes}


def _lasting(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _lasting(inner) for key, inner in value.items() if key not in _OF_THE_DAY}
    return [_lasting(inner) for inner in value] if isinstance(value, list | tuple) else value


def read_manifest(path: Path) -> RunManifest:
    """The manifest of a finished run. Raises InputError where it is none."""
    if path.is_dir():
        path = path / "private" / "manifest.json" if (path / "private").is_dir() else path / "manifest.json"
    try:
        values = json_of(path, _MOST_BYTES, _MOST_IN_ALL)
        if isinstance(values, dict):
            bounded({key: value for key, value in values.items() if key not in _ANYTHING}, _MOST_VALUES)
    except FileNotFoundError:
        raise InputError(
            f"There is no manifest '{path}'. Give private/manifest.json of a finished run, or the run's folder."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"The manifest '{path}' cannot be read ({str(error).partition(chr(10))[0]}).") from None
    if isinstance(values, dict) and "plan" in values and "schema" not in values:
        raise InputError(
            f"The manifest '{path}' was written by an earlier version of privaudit, which did not note what is needed "
            "to repeat a run. Start the run again from its audit.yaml."
        )
    found = validated(RunManifest, values, f"manifest '{path.name}'")
    if found.results is None:
        raise InputError(f"'{path}' is of a run that was not finished: there is nothing to compare with.")
    return found


def asked_of(manifest: RunManifest) -> Configuration:
    """What the run was asked for. Raises InputError where it was a built-in example without a configuration."""
    if manifest.configuration is None:
        raise InputError("The manifest is of a built-in example. Start it again: privaudit audit --demo")
    return manifest.configuration


def differences(before: Any, now: Any, place: str = "") -> Iterator[str]:
    """What differs between two JSON-able values, one line each, in their order."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys((*before, *now)):
            yield from differences(before.get(key, _NONE), now.get(key, _NONE), f"{place}.{key}" if place else str(key))
    elif _is_list(before) and _is_list(now):
        for row in range(max(len(before), len(now))):
            first, second = (part[row] if row < len(part) else _NONE for part in (before, now))
            yield from differences(first, second, f"{place}[{_named(before, now, row)}]")
    elif before != now:
        yield f"{place}: {_shown(before)} before, {_shown(now)} now"


_NONE = object()
_SHOWN = 100


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _named(before: Sequence[Any], now: Sequence[Any], row: int) -> str:
    """The name of an entry of two lists where both agree on one, else its number."""
    names = [one[row].get("name") for one in (before, now) if row < len(one) and isinstance(one[row], Mapping)]
    return str(names[0]) if len(names) == 2 and names[0] == names[1] and names[0] is not None else str(row)


def _shown(value: Any) -> str:
    if value is _NONE:
        return "nothing"
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
