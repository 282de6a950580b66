"""The box on differential privacy: a claim is shown whole, or not at all (NIST SP 800-226)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from privaudit.record import ReleaseRecord
from privaudit.release import stated
from privaudit.reporting.facts import flat
from privaudit.reporting.tables import Row, Table

_PARTS: Mapping[str, tuple[str, str]] = {
    "unit": ("Unit", "Whom the claim is about: one image, or all images of one person."),
    "epsilon": ("Epsilon (ε)", "Smaller is better: how much one unit may change what is seen."),
    "delta": ("Delta (δ)", "Smaller is better: how often that limit may fail."),
    "adjacency": ("Adjacency", "What counts as a change: a unit added or removed, or replaced."),
    "sampling": ("Sampling", "How the images of each step were drawn; the accounting depends on it."),
    "mechanism": ("Mechanism", "What was noised, and how."),
    "accountant": ("Accountant", "What added up the budget, and its version."),
    "trust_model": ("Trust model", "Who saw the data without noise."),
}


@dataclass(frozen=True)
class ClaimBox:
    """sentence: what is said; table: the whole claim, None where there is none or it is incomplete."""

    sentence: str
    table: Table | None


def claim_box(release: ReleaseRecord) -> ClaimBox:
    """The claim of a release, complete or absent."""
    claim = release.claim
    if claim is None:
        return ClaimBox("No claim of differential privacy is made.", None)
    parts = stated(claim)
    missing = [words[0].lower() for name, words in _PARTS.items() if name not in parts]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        names = f"{', '.join(missing[:-1])} and {missing[-1]}" if len(missing) > 1 else missing[0]
        return ClaimBox(
            f"Claim incomplete: {names} {verb} missing; no statement on differential privacy is made.", None
        )
    rows = [
        Row(title, ("; ".join(f"{key} {value}".strip() for key, value in flat(parts[name])),), meaning)
        for name, (title, meaning) in _PARTS.items()
    ]
    measured = "The largest ε that an attack would have shown here. Without it the claim rests on its maker's word."
    rows.append(Row("Measured lower bound of ε", ("not measured",), measured))
    return ClaimBox(
        "The claim as its maker states it. The attacks above do not prove it.",
        Table("Differential-privacy claim", ("Part", "Stated"), tuple(rows)),
    )
