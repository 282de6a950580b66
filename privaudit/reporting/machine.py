"""What machines read: `audit.json` (the whole record) and `metrics.json` (flat keys to follow from run to run)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from privaudit.record import ArmRecord, AttackRecord, Attribution, AuditRecord, Count, Estimate, Recovery, ReleaseRecord
from privaudit.utility.record import UtilityRecord

Metric = float | int | str | None


def audit_json(record: AuditRecord) -> bytes:
    """The record by its stable keys, sorted; `AuditRecord.model_validate_json` reads it back."""
    return _dump(record.model_dump(mode="python", by_alias=True))


def metrics_json(record: AuditRecord) -> bytes:
    """The metrics as one flat object."""
    return _dump(metrics(record))


def metrics(record: AuditRecord) -> dict[str, Metric]:
    """Flat dotted key to number, string or None (not assessed, not defined).

    The same keys are there for every audit of the same releases, attacks and kinds of plants, whatever was found.
    """
    data, baseline = record.data, record.validity.blind_baseline
    result: dict[str, Metric] = {
        "verdict": record.verdict,
        **{f"data.{name}": getattr(data, name) for name in _COUNTS},
        "data.not_assessed_members": len(data.not_assessed_members),
        "data.also_released": data.also_released,
        "data.already_public": len(data.already_public),
        "validity.passed": "yes" if record.validity.passed else "no",
        "validity.exchangeability": record.validity.exchangeability,
        "validity.blind_baseline.p": None if baseline is None else baseline.p,
        **_estimate("validity.blind_baseline.auc", None if baseline is None else baseline.auc),
    }
    for check in record.validity.fresh:
        result[f"validity.fresh.{check.attack}.p_holm"] = check.p_holm
    for release in record.releases:
        result |= _release(f"releases.{release.name}", release)
    return result


_COUNTS = ("members", "controls", "fresh", "reference", "scored_members", "scored_controls", "left_out_controls")


def _release(key: str, release: ReleaseRecord) -> dict[str, Metric]:
    result: dict[str, Metric] = {
        f"{key}.verdict": release.verdict,
        f"{key}.images": release.images,
        f"{key}.identical": len(release.identical),
        f"{key}.common": release.common,
        f"{key}.scan": len(release.scan),
    }
    for rule in release.rules:
        result[f"{key}.rules.{rule.id}.verdict"] = rule.verdict
        result[f"{key}.rules.{rule.id}.limit"] = rule.limit
        for part in ("estimate", "low", "high", "n"):
            result[f"{key}.rules.{rule.id}.{part}"] = getattr(rule.value, part, None)
    for attack in release.attacks:
        result |= _attack(f"{key}.attacks.{attack.name}", attack)
    for metric, law in release.similarity.items():
        name = f"{key}.similarity.{metric}"
        sides = {} if law is None else {"release": law.release, "controls": law.controls}
        for side in ("release", "controls"):
            for place in ("median", "p95", "max"):
                result[f"{name}.{side}.{place}"] = sides.get(side, {}).get(place)
    result |= _utility(f"{key}.utility", release.utility)
    return result


def _utility(key: str, use: UtilityRecord | None) -> dict[str, Metric]:
    """The same keys whether it was measured or not."""
    result: dict[str, Metric] = {f"{key}.chance": None if use is None else use.chance}
    for name in ("synthetic", "real", "ratio"):
        value = getattr(use, name, None)
        for part in ("estimate", "low", "high"):
            result[f"{key}.{name}.{part}"] = None if value is None else getattr(value, part)
    for name in ("frechet", "precision", "recall"):
        value = getattr(use, name, None)
        for side in ("release", "members"):
            result[f"{key}.{name}.{side}"] = None if value is None else getattr(value, side)
    return result


def _attack(key: str, attack: AttackRecord) -> dict[str, Metric]:
    exposed = attack.exposed_share
    result: dict[str, Metric] = {
        f"{key}.verdict": attack.verdict,
        f"{key}.supports_pass": "yes" if attack.supports_pass else "no",
        f"{key}.identical": len(attack.identical),
        f"{key}.suspected": len(attack.suspected),
        f"{key}.exposed_share.low": exposed.low if exposed else None,
        f"{key}.exposed_share.high": exposed.high if exposed else None,
        f"{key}.exposed_share.persons.low": exposed.persons[0] if exposed else None,
        f"{key}.exposed_share.persons.high": exposed.persons[1] if exposed else None,
        f"{key}.worst.above": attack.worst.above if attack.worst else None,
        f"{key}.worst.p": attack.worst.p if attack.worst else None,
        f"{key}.fewest_visible": attack.fewest_visible,
        f"{key}.strata.stand_out": sum(one.stands_out for one in attack.strata) if attack.strata else None,
        **_estimate(f"{key}.leakage", attack.leakage),
        **_arm(key, attack.arms.get("release")),
        **{
            name: value
            for arm in sorted(attack.arms.keys() - {"release"})
            for name, value in _arm(f"{key}.{arm}", attack.arms[arm]).items()
        },
    }
    for kind in {*attack.detection_limit, *attack.power}:
        found = attack.detection_limit.get(kind)
        result[f"{key}.detection_limit.{kind}.dose"] = found.dose if found else None
        result[f"{key}.detection_limit.{kind}.share"] = found.share if found else None
    return result


def _arm(key: str, arm: ArmRecord | None) -> dict[str, Metric]:
    return {
        f"{key}.p": arm.p if arm else None,
        f"{key}.p_holm": arm.p_holm if arm else None,
        f"{key}.auc_p": arm.auc_p if arm else None,
        **_count(f"{key}.r0", arm.r0 if arm else None),
        **_count(f"{key}.top20", arm.top20 if arm else None),
        **_estimate(f"{key}.auc", arm.auc if arm else None),
        **_estimate(f"{key}.tpr_at_1pct_fpr", arm.tpr_at_1pct_fpr if arm else None),
        **_estimate(f"{key}.hits_at_reach", arm.hits_at_reach if arm else None),
        **_recovery(f"{key}.recovery", arm.recovery if arm else None),
        **_attribution(f"{key}.attribution", arm.attribution if arm else None),
    }


def _attribution(key: str, found: Attribution | None) -> dict[str, Metric]:
    """Only for attacks on mixed releases."""
    if found is None:
        return {}
    return {
        f"{key}.{name}.{part}": getattr(getattr(found, name), part)
        for name in ("before", "after", "findable", "psnr_before", "psnr_after")
        for part in ("estimate", "low", "high")
    }


def _recovery(key: str, found: Recovery | None) -> dict[str, Metric]:
    """The same keys whether anything was recovered or not."""
    result: dict[str, Metric] = {f"{key}.images": found.images if found else None}
    for name in ("own", "own_psnr", "nearest_is_member"):
        value = getattr(found, name, None)
        for part in ("estimate", "low", "high"):
            result[f"{key}.{name}.{part}"] = getattr(value, part, None)
    return result


def _estimate(key: str, value: Estimate | None) -> dict[str, Metric]:
    return {f"{key}.{part}": getattr(value, part, None) for part in ("estimate", "low", "high")}


def _count(key: str, value: Count | None) -> dict[str, Metric]:
    return {f"{key}.{part}": getattr(value, part, None) for part in ("members", "p")}


def _dump(value: Any) -> bytes:
    text = json.dumps(_finite(value), indent=2, sort_keys=True, allow_nan=False)
    return f"{text}\n".encode("ascii")


def _finite(value: Any) -> Any:
    """JSON knows no infinity and no NaN: they are written as strings, which pydantic reads back as numbers."""
    if isinstance(value, Mapping):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
