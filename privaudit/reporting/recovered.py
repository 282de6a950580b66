"""What mediated attacks recovered: tables for the card of an attack and for the chapter of a release."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from privaudit.arms import in_order
from privaudit.record import AttackRecord, Attribution, Recovery, ReleaseRecord
from privaudit.reporting.explanations import ARMS, explain
from privaudit.reporting.tables import Row, Table
from privaudit.reporting.text import SPACE, count, decimal, decimal_interval, percent
from privaudit.utility.record import Measured

_ARMS: tuple[Literal["release", "raw", "fresh"], ...] = ("release", "raw", "fresh")
_MISSING = "not assessed"


def recovered_table(attack: AttackRecord) -> Table | None:
    """What came back in each arm; None for attacks that recover no images."""
    found = {arm: None if (one := attack.arms.get(arm)) is None else one.recovery for arm in _ARMS}
    if not any(found.values()):
        return None
    lines: list[tuple[str, str, Callable[[Recovery], str]]] = [
        ("Recovered images", "", lambda one: f"{count(one.images)}{_groups(one.victims)}"),
        _explained("own_source", lambda one: f"{share(one.own)}; chance {percent(one.own_chance)}"),
        _explained("own_psnr", lambda one: f"{_number(one.own_psnr)}{SPACE}dB"),
        _explained(
            "nearest_is_member",
            lambda one: f"{share(one.nearest_is_member)}; chance {percent(one.nearest_is_member_chance)}",
        ),
        _explained("recovered_ssim", lambda one: likeness(one, "ssim")),
        _explained("recovered_psnr", lambda one: likeness(one, "psnr")),
        _explained("recovered_lpips", lambda one: likeness(one, "lpips")),
    ]
    names = sorted({name for one in found.values() if one is not None for name in one.counts})
    lines += [(name.capitalize(), "", lambda one, name=name: _count(one, name)) for name in names]  # type: ignore[misc]
    names = sorted({name for one in found.values() if one is not None for name in one.diagnostics})
    lines += [(f"Attacker's own: {name}", "", lambda one, name=name: _own(one, name)) for name in names]  # type: ignore[misc]
    rows = [
        Row(title, tuple(_MISSING if one is None else say(one) for one in found.values()), meaning)
        for title, meaning, say in lines
    ]
    return Table("What was recovered", ("Measure", *(ARMS[arm][0] for arm in _ARMS)), tuple(rows))


def attribution_table(attack: AttackRecord) -> Table | None:
    """How well mixed images were put together again, in each arm; None for attacks that put nothing together."""
    names = in_order(attack.arms)
    found = [None if (arm := attack.arms[name]) is None else arm.attribution for name in names]
    if not any(found):
        return None
    lines: list[tuple[str, str, Callable[[Attribution], str]]] = [
        (
            "Images put together",
            "",
            lambda one: f"{count(one.images)}, blocks of {one.block[0]} x {one.block[1]} pixels",
        ),
        (
            "Blocks of their own, mixed",
            "Share of the blocks of the original that stand in the mixed image, plain ones left out.",
            lambda one: share(one.before),
        ),
        (
            "Blocks of their own, put together",
            "The same of the image that the attacker put together.",
            lambda one: share(one.after),
        ),
        (
            "Blocks that stand anywhere",
            "Share of the blocks of the original that are in the release at all, in one image or another: more cannot "
            "be put together.",
            lambda one: share(one.findable),
        ),
        ("PSNR to the original, mixed", "Higher is more alike.", lambda one: f"{_number(one.psnr_before)}{SPACE}dB"),
        ("PSNR to the original, put together", "", lambda one: f"{_number(one.psnr_after)}{SPACE}dB"),
    ]
    rows = [
        Row(title, tuple(_MISSING if one is None else say(one) for one in found), meaning)
        for title, meaning, say in lines
    ]
    return Table("What was put together again", ("Measure", *(ARMS[name][0] for name in names)), tuple(rows))


def reconstruction_table(release: ReleaseRecord) -> Table | None:
    """All mediated attacks side by side: is what comes back from training on the release unlike the originals?"""
    rows = []
    for attack in release.attacks:
        for arm, words in (("raw", "originals"), ("release", "release"), ("fresh", "strangers")):
            found = None if (one := attack.arms.get(arm)) is None else one.recovery  # type: ignore[call-overload]
            if found is not None:
                cells = (
                    f"{share(found.own)}; chance {percent(found.own_chance)}",
                    likeness(found, "ssim"),
                    f"{share(found.nearest_is_member)}; chance {percent(found.nearest_is_member_chance)}",
                )
                rows.append(Row(f"{attack.name}, trained on the {words}", cells))
    if not rows:
        return None
    columns = ("Attack", "Own source recovered", "SSIM to the nearest member", "Nearest suspect is a member")
    return Table("The same attacks after training on the originals, the release, and strangers", columns, tuple(rows))


def share(value: Measured) -> str:
    """A share with its interval."""
    return f"{percent(value.estimate)} ({percent(value.low)} to {percent(value.high)})"


def likeness(found: Recovery, metric: str) -> str:
    """The median to the nearest member, and its place among held-out real images."""
    law = found.similarity.get(metric)  # type: ignore[call-overload]
    if law is None:
        return _MISSING
    return f"median {decimal(law.release['median'])}; strangers more alike: {decimal_interval(law.place)}"


def _explained(name: str, say: Callable[[Recovery], str]) -> tuple[str, str, Callable[[Recovery], str]]:
    return explain(name).title, explain(name).text, say


def _groups(number: int) -> str:
    return "" if number == 1 else f", matched within {count(number)} victims or classes"


def _number(value: Measured) -> str:
    return f"{value.estimate:.1f} ({value.low:.1f} to {value.high:.1f})"


def _count(found: Recovery, name: str) -> str:
    return share(found.counts[name]) if name in found.counts else _MISSING


def _own(found: Recovery, name: str) -> str:
    return f"{found.diagnostics[name]:.4g}" if name in found.diagnostics else _MISSING
