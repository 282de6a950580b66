"""Policies of schema 1, a flat list of limits: what became of each, and the same limits as rules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from privaudit.errors import InputError, suggestion
from privaudit.policy import BUILT_IN, Policy
from privaudit.policy_metrics import CONTROLS, DETECTION, EXPOSED, IDENTICAL, MEMBERS, SUSPECTED
from privaudit.validation import read_yaml, validated

_KEPT = ("name", "owner", "date", "recipient", "required_attacks")
_DEFAULTS: Mapping[str, Any] = {
    "required_plants": (),
    "plant_dose_images": 10,
    "plant_dose_share": 0.01,
    "suspected_q": 0.1,
    "left_out_share": 0.1,
    "file_findings": "fail",
    "closest_members": "chance",
}
_NEEDED = ("tpr_limit", "minimum_members", "minimum_controls")
_BECAME = {
    "tpr_limit": f"at_most of a rule on {EXPOSED}, side upper, severity fail",
    "minimum_members": "minimum_n of that rule",
    "minimum_controls": "minimum_n of that rule",
    "required_plants": f"one rule on {DETECTION}KIND for each kind",
    "plant_dose_images": "at_most of these rules",
    "plant_dose_share": "or_share of these rules",
    "suspected_q": f"a rule on {SUSPECTED}",
    "left_out_share": "a rule on left_out_share",
    "file_findings": "a rule on file_traces; ignore: no such rule",
    "closest_members": "none: a rule on closest_members, at_most 0; chance: no such rule",
}
_REASON = "Taken over from a policy of schema 1, which gave no reason: have it reviewed."


def is_schema1(values: Any) -> bool:
    """Whether these values are a policy of schema 1."""
    if not isinstance(values, dict) or "rules" in values:
        return False
    return values["schema"] == 1 if "schema" in values else any(key in values for key in _BECAME)


def outdated(values: Mapping[str, Any], path: Path) -> InputError:
    """What to say about a file of schema 1: what became of its keys, and how to write it anew."""
    lines = [f"{key}: {_BECAME[key]}" for key in values if key in _BECAME]
    return InputError(
        f"The policy '{path.name}' is of schema 1, a flat list of limits. In schema 2 each limit is a rule with its "
        f"severity and its reason. Write it anew with privaudit init --policy-from {path}, and have it reviewed:\n"
        + "\n".join(f"  - {line}." for line in (*lines, f"new: a rule on {IDENTICAL}, at_most 0, severity fail"))
    )


def converted(values: Mapping[str, Any], what: str) -> dict[str, Any]:
    """The same limits in schema 2, to be validated. Raises InputError for keys that schema 1 did not have."""
    for key in values:
        if key not in (*_KEPT, *_NEEDED, *_DEFAULTS, "schema"):
            raise InputError(f"The {what} has the unknown key '{key}'. {suggestion(str(key), (*_BECAME, *_KEPT))}")
    missing = [key for key in ("name", "required_attacks", *_NEEDED) if key not in values]
    if missing:
        raise InputError(f"The {what} lacks {', '.join(missing)}. Start from the default policy: privaudit init.")
    old = dict(_DEFAULTS) | dict(values)
    try:
        rules = _rules(old)
    except (TypeError, ValueError):
        raise InputError(f"The {what} holds a value of the wrong kind. Compare it with privaudit init.") from None
    return {"schema": 2} | {key: old[key] for key in _KEPT if key in old} | {"rules": rules}


def rewritten(path: Path) -> str:
    """The text of a policy file of schema 1, written anew. Raises InputError for any other file."""
    import yaml

    values, what = read_yaml(path, "policy"), f"policy '{path.name}'"
    if not is_schema1(values):
        raise InputError(
            f"The {what} is not of schema 1: there is nothing to write anew. Give such a file, or the name of a "
            f"shipped policy: {', '.join(BUILT_IN)}."
        )
    new = converted(values, what)
    validated(Policy, new, what)
    head = (
        "# Written anew from a policy of schema 1: the limits are the same. Give each rule its reason and its source."
    )
    return f"{head}\n\n{yaml.safe_dump(new, sort_keys=False, allow_unicode=True, width=110)}"


def _rules(old: Mapping[str, Any]) -> list[dict[str, Any]]:
    smaller = min(int(old["minimum_members"]), int(old["minimum_controls"]))
    rules: list[dict[str, Any]] = [
        _rule("identical-copies", IDENTICAL, at_most=0, severity="fail"),
        _rule("exposed-share", EXPOSED, side="upper", at_most=old["tpr_limit"], minimum_n=smaller, severity="fail"),
        _rule("suspected-list", SUSPECTED, at_most=old["suspected_q"], severity="fail"),
        _rule("left-out", "left_out_share", at_most=old["left_out_share"], severity="inconclusive"),
    ]
    for key, metric in (("minimum_members", MEMBERS), ("minimum_controls", CONTROLS)):
        if old[key] > smaller:
            rules.append(_rule(metric.replace("_", "-"), metric, at_least=old[key], severity="inconclusive"))
    if old["file_findings"] != "ignore":
        rules.append(_rule("file-traces", "file_traces", at_most=0, severity=old["file_findings"]))
    if old["closest_members"] == "none":
        rules.append(_rule("closest-members", "closest_members", at_most=0, severity="inconclusive"))
    dose = {"at_most": old["plant_dose_images"], "or_share": old["plant_dose_share"]}
    rules += [
        _rule(f"{kind}-copies", f"{DETECTION}{kind}", **dose, severity="inconclusive")
        for kind in dict.fromkeys(old["required_plants"])
    ]
    return rules


def _rule(name: str, metric: str, **values: Any) -> dict[str, Any]:
    return {"id": name, "metric": metric} | values | {"reason": _REASON}
