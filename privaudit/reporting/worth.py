"""What the report says about similarity and usefulness."""

from __future__ import annotations

from collections.abc import Mapping

from privaudit.record import ReleaseRecord
from privaudit.reporting.explanations import explain
from privaudit.reporting.tables import Fact, Row, Table
from privaudit.reporting.text import SPACE, count, decimal, decimal_interval, percent
from privaudit.utility.record import Beside, Measured, UtilityRecord

_LAW = ("median", "p95", "max", "p5", "min")


def similarity_table(release: ReleaseRecord) -> Table:
    """Nearest-neighbour laws of SSIM, PSNR and LPIPS, release beside held-out controls."""
    rows = []
    for metric in ("ssim", "psnr", "lpips"):
        words, found = explain(metric), release.similarity.get(metric)
        if found is None:
            rows.append(Row(words.title, ("not assessed",) * 3, words.text))
            continue
        cells = (_law(found.release), _law(found.controls), decimal_interval(found.place))
        rows.append(Row(words.title, cells, f"{words.text} Measured as {found.name}."))
    columns = ("Measure", "Release", "Held-out real images", "Share of these more alike than half of the release")
    return Table("Closeness to the nearest member", columns, tuple(rows))


def utility_facts(release: ReleaseRecord) -> tuple[Fact, ...]:
    """How well models learn from the release."""
    found, words = release.utility, explain("utility")
    if found is None:
        return (Fact(words.title, "not assessed", words.text),)
    students = f"{count(found.seeds)} students, {count(found.synthetic.n)} real test images"
    ratio = "not defined" if found.ratio is None else _share(found.ratio)
    return (
        Fact("Accuracy kept", ratio, f"{explain('utility_ratio').text} {students}."),
        Fact(
            "Accuracy of models trained on the release",
            f"{_share(found.synthetic)} on {count(found.n_release)} images, {found.labels} labels",
            words.text,
        ),
        Fact(
            "Accuracy of models trained on private images",
            f"{_share(found.real)} on {count(found.n_real)} images",
            "The same training on as many private images: what a perfect release could reach. Guessing the commonest "
            f"class gives {percent(found.chance)}.",
        ),
        Fact("How they were trained", found.recipe, "The same for both. Another network would give other accuracies."),
        *(Fact("Note", note, "") for note in found.notes),
    )


def utility_table(release: ReleaseRecord) -> Table | None:
    """Distances between released and real images; None where there are none."""
    found = release.utility
    if found is None or found.frechet is None:
        return None
    frechet = found.frechet
    rows = [
        Row(
            "Fr\u00e9chet distance",
            (decimal(frechet.release), decimal(frechet.members)),
            explain("frechet").text,
        ),
        *_beside("Precision", found.precision, "precision"),
        *_beside("Recall", found.recall, "recall"),
    ]
    caption = f"Distance to {count(frechet.n)} real test images, in {frechet.feature_space}"
    return Table(caption, ("Measure", "Release", "Private images"), tuple(rows))


def utility_line(found: UtilityRecord) -> str:
    """Usefulness in one line."""
    ratio = "" if found.ratio is None else f": {_share(found.ratio)} of the accuracy is kept"
    return f"{_share(found.synthetic)} accuracy from the release, {_share(found.real)} from private images{ratio}"


def _beside(title: str, found: Beside | None, name: str) -> list[Row]:
    return [] if found is None else [Row(title, (decimal(found.release), decimal(found.members)), explain(name).text)]


def _share(value: Measured) -> str:
    return f"{percent(value.estimate)} ({percent(value.low)} to {percent(value.high)})"


def _law(values: Mapping[str, float]) -> str:
    named = ", ".join(f"{name}{SPACE}{decimal(values[name])}" for name in _LAW if name in values)
    return f"{named} of {count(int(values['n']))}" if "n" in values else named
