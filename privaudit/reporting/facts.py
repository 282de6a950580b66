"""What the report says apart from the attacks: validity, data, copies, settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from privaudit.record import DataRecord, ReleaseRecord, Validity
from privaudit.reporting.explanations import explain
from privaudit.reporting.tables import Fact, Row, Table
from privaudit.reporting.text import count, decimal, decimal_interval, p_value, units

_SPLITS = {
    "random split": (
        "split at random by this tool",
        "The best case: members and controls differ by chance only, and every p value rests on this.",
    ),
    "assumed": (
        "assumed, not known",
        "Members and controls were given separately and are assumed exchangeable. The checks below can refute this, "
        "not prove it: a hidden difference between the two would look like a leak or hide one.",
    ),
    "no controls": (
        "not assessed: there are no controls",
        "Without images that were never fed in nothing can be compared with chance; only identical copies can be "
        "proved.",
    ),
}


def validity(found: Validity) -> tuple[Fact, ...]:
    """Whether members and controls can be compared at all."""
    split = _SPLITS[found.exchangeability]
    result = [Fact("Choice of members and controls", split[0], split[1])]
    baseline, words = found.blind_baseline, explain("blind_baseline")
    if baseline is None:
        result.append(Fact(words.title, "not assessed", words.text))
    else:
        value = f"AUC {decimal_interval(baseline.auc)}, {p_value(baseline.p)}: {_passed(baseline.passed)}"
        result.append(Fact(words.title, value, words.text))
    words = explain("fresh_check")
    if not found.fresh:
        result.append(Fact(words.title, "not assessed", words.text))
    for check in found.fresh:
        value = (
            f"whole ranking {p_value(check.auc_p)}, top 20 {p_value(check.top20_p)}, "
            f"corrected {p_value(check.p_holm)}: {_passed(check.passed)}"
        )
        result.append(Fact(f"{words.title}: {check.attack}", value, words.text))
    return tuple(result)


def data(counts: DataRecord) -> tuple[Fact, ...]:
    """What was audited, in words."""
    open_end = explain("data").not_shown
    left_out = len(counts.not_assessed_members)
    threshold, mirrored = counts.near_duplicate_threshold, counts.near_duplicate_threshold_mirrored
    near = "not assessed" if threshold is None else f"similarity of at least {decimal(threshold)}"
    if mirrored is not None:
        near += f", mirrored of at least {decimal(mirrored)}"
    return (
        Fact(
            "Members",
            f"{units(counts.members, 'image')}; {units(counts.scored_members, counts.unit)} scored",
            f"More are better. The private images that went into the release. {explain('data').means}",
        ),
        Fact(
            "Controls",
            f"{units(counts.controls, 'image')}; {units(counts.scored_controls, counts.unit)} scored",
            "More are better, at least two per member. Images of the same source that were never fed in: the measure "
            f"of chance. {open_end}",
        ),
        Fact(
            "Fresh images",
            f"{units(counts.fresh, 'image')}; {units(counts.scored_fresh, counts.unit)} scored as further controls",
            f"More are better. They are the release of strangers in the third arm. {open_end}",
        ),
        Fact(
            "Reference images",
            units(counts.reference, "image"),
            f"More are better. What the attacker has besides, from the same source. {open_end}",
        ),
        Fact(
            "Public already",
            f"{units(counts.also_released, 'image')}, {units(len(counts.already_public), 'member')} among them",
            "The attackers saw these images together with each candidate. A member that is public already, pixel by "
            "pixel, is not scored: that is no leak of this candidate. It does not show who published it, or why.",
        ),
        *(
            [
                Fact(
                    "Linked by another image",
                    f"{units(counts.linked_members, 'person')} of the members, "
                    f"{units(counts.linked_controls, 'person')} of the controls",
                    "More are better. Persons of whom another image is known that no engine was fed. It does not show "
                    "whether those without another image can be linked.",
                )
            ]
            if counts.linked_members or counts.linked_controls
            else []
        ),
        Fact(
            "Counted by",
            counts.unit,
            "By person where it is known who is shown, else by image. If one person appears in several images that are "
            "not grouped, counts by image do not show the risk of that person.",
        ),
        Fact(
            "Members left out",
            units(left_out, "image"),
            "Fewer are better. Other images are nearly the same, so no attack could be judged on them: they are not "
            "assessed, not cleared.",
        ),
        Fact(
            "Controls left out",
            units(counts.left_out_controls, "image"),
            "Fewer are better. They are nearly the same as others. Both sides of such a pair are left out; removing "
            "one side alone would look like a leak. It does not show which of the two came first.",
        ),
        Fact(
            "Near-duplicates",
            near,
            "No direction is better. From here on two images counted as nearly the same. It does not find the same "
            "person in a different picture.",
        ),
    )


def coverage(found: DataRecord) -> str:
    """Whether the figures speak of all members or of a sample of them."""
    public, left = len(found.already_public), len(found.not_assessed_members)
    scored = units(found.scored_members, found.unit)
    if found.unit == "image" and found.scored_members < found.members - left - public:
        return (
            f"Population or sample: {scored} of {count(found.members)} were drawn at random and scored; an interval "
            "tells how far a figure may lie from that of all."
        )
    out = f" {count(left + public)} are left out, and the figures do not speak of them." if left + public else ""
    return f"Population or sample: all members that can be judged were scored, {scored}.{out}"


def identical(release: ReleaseRecord) -> tuple[Fact, ...]:
    """Identical copies and matches that prove nothing."""
    return (
        Fact(explain("identical").title, count(len(release.identical)), explain("identical").text),
        Fact(explain("common").title, count(release.common), explain("common").text),
    )


def class_table(release: ReleaseRecord) -> Table:
    """Released images per class, in the order of the release."""
    rows = tuple(Row(name, (count(number),)) for name, number in release.class_counts.items())
    return Table("Released images per class", ("Class", "Images"), rows)


def settings_table(caption: str, settings: Mapping[str, Any]) -> Table:
    """Any nested settings as two columns of dotted key and value."""
    rows = tuple(Row(key, (value,)) for key, value in flat(settings))
    return Table(caption, ("Key", "Value"), rows)


def manifest_tables(manifest: Mapping[str, Any]) -> tuple[Table, ...]:
    """One table per nested part of the manifest, and one for its plain entries."""
    plain = {key: value for key, value in manifest.items() if not isinstance(value, Mapping)}
    parts = {key: value for key, value in manifest.items() if isinstance(value, Mapping)}
    tables = [settings_table("This run", plain)] if plain else []
    return (*tables, *(settings_table(key.replace("_", " "), parts[key]) for key in sorted(parts)))


def _passed(passed: bool) -> str:
    return "passed" if passed else "not passed: members and controls differ"


def flat(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as dotted keys and values in words."""
    if isinstance(value, Mapping) and value:
        for name in sorted(value, key=str):
            yield from flat(value[name], f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple) and any(isinstance(one, Mapping | list | tuple) for one in value):
        for place, one in enumerate(value, 1):
            yield from flat(one, f"{key}.{place}" if key else str(place))
    else:
        yield key, _plain(value)


def _plain(value: Any) -> str:
    if value is None:
        return "not given"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(_plain(one) for one in value) or "none"
    return str(value) or "none"
