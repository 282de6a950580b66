"""Controls from elsewhere on CIFAR-10: an innocent release must end `inconclusive`, never `fail` and never `pass`.

python -m benchmarks.shifted_controls
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks import shared_data
from benchmarks.recording import write_result
from privaudit import seeds
from privaudit.audit import Candidate, Plan, collect
from privaudit.execution import cores
from privaudit.images import Dataset, Images
from privaudit.judgement import judge
from privaudit.policy import load_policy
from privaudit.release import Release
from privaudit.store import Store

SIZES = (1200, 2700, 1200, 900, 900)
Pixels = NDArray[np.uint8]


def corner_marker(pixels: Pixels) -> Pixels:
    """Three white pixels a side in the upper left corner."""
    marked = pixels.copy()
    marked[:, :3, :3] = 255
    return marked


def resampled(pixels: Pixels) -> Pixels:
    """To 30 pixels a side and back."""
    return np.stack([np.asarray(Image.fromarray(image).resize((30, 30)).resize((32, 32))) for image in pixels])


def gamma(pixels: Pixels) -> Pixels:
    """Gamma 1.1."""
    return np.rint(255 * (pixels / 255.0) ** 1.1).astype(np.uint8)


SHIFTS: dict[str, Callable[[Pixels], Pixels]] = {"corner marker": corner_marker, "resampled": resampled, "gamma": gamma}


def _shift(data: Dataset, change: Callable[[Pixels], Pixels]) -> Dataset:
    return replace(data, images=Images(change(data.images.pixels), data.images.labels))


def main() -> None:
    """One audit a shift; the fresh and reference images are split off the shifted controls, as a user's would be."""
    data, policy, results = shared_data.load("cifar10"), load_policy("default"), dict[str, Any]()
    for name, change in SHIFTS.items():
        parts = shared_data.deal(data, SIZES, seeds.generator(0, "shifted controls"))
        members, released = parts[0], parts[2]
        controls, fresh, reference = (_shift(parts[place], change) for place in (1, 3, 4))
        plan = Plan(
            members,
            [Candidate(name, Release(released.images), released)],
            {"nearest-copy": {}, "density-ratio": {}},
            controls,
            fresh,
            reference,
            workers=cores(),
            kinds=(),
        )
        with tempfile.TemporaryDirectory() as folder:
            record = judge(collect(plan, policy, Store(Path(folder))), policy)
        baseline = record.validity.blind_baseline
        results[name] = {
            "verdict": record.verdict,
            "blind_baseline_auc": baseline.auc.estimate if baseline else None,
            "fresh_p": {check.attack: check.p_holm for check in record.validity.fresh},
            "reasons": list(record.releases[0].reasons),
        }
        print(name, results[name])
    command = "python -m benchmarks.shifted_controls"
    print(write_result("shifted_controls", {"sizes": SIZES, "results": results}, seeds=[0], command=command))


if __name__ == "__main__":
    main()
