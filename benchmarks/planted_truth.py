"""Planted truth on CIFAR-10: 3,000 members, 7,000 controls, a release of 3,000; is the verdict what it must be?

    python -m benchmarks.planted_truth --part kinds       every kind of leak once, whole audits
    python -m benchmarks.planted_truth --part mirrored    5 % mirrored copies, 20 seeds: recall and false share
    python -m benchmarks.planted_truth --part decoys      noise, mean image, pair averages, 20 seeds: never `fail`

Finished work is kept below --store. The leaks are made here, apart from the plants that the audit makes itself.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from benchmarks import shared_data
from benchmarks.recording import write_result
from privaudit import seeds
from privaudit.audit import Candidate, Plan, collect
from privaudit.execution import cores
from privaudit.images import Dataset, Images
from privaudit.judgement import judge
from privaudit.policy import load_policy
from privaudit.record import AuditRecord
from privaudit.release import Release
from privaudit.store import Store

SIZES = {"members": 3000, "controls": 7000, "release": 3000, "fresh": 3000, "reference": 2000, "strangers": 6000}
ATTACKS: dict[str, dict[str, Any]] = {"nearest-copy": {}, "density-ratio": {}}
SEEDS = range(20)

Pixels = NDArray[np.uint8]


def exact(pixels: Pixels) -> Pixels:
    return pixels


def mirrored(pixels: Pixels) -> Pixels:
    return pixels[:, ::-1]


def blurred(pixels: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(1.0)))


def jpeg(pixels: Pixels) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=50)
    with Image.open(buffer) as picture:
        return np.asarray(picture)


def cropped(pixels: Pixels) -> Pixels:
    window = Image.fromarray(pixels).crop((3, 1, 31, 29))
    return np.asarray(window.resize((32, 32), Image.Resampling.BILINEAR))


def brightened(pixels: Pixels) -> Pixels:
    brighter: Pixels = np.clip(np.rint(pixels * 1.15 + 12), 0, 255).astype(np.uint8)
    return brighter


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "exact": exact,
    "mirrored": mirrored,
    "blurred": blurred,
    "jpeg": jpeg,
    "cropped": cropped,
    "brightened": brightened,
}


def block_mixed(members: Images, count: int, block: int, sources: int, rng: np.random.Generator) -> Images:
    """Each released block comes from the same place of one of some members of the same class."""
    side = members.size[0]
    labels = rng.choice(members.labels, count)
    pixels = np.empty((count, *members.size), dtype=np.uint8)
    for row, label in enumerate(labels):
        chosen = rng.choice(np.flatnonzero(members.labels == label), sources, replace=False)
        for top in range(0, side, block):
            for left in range(0, side, block):
                place = np.s_[top : top + block, left : left + block]
                pixels[row][place] = members.pixels[rng.choice(chosen)][place]
    return Images(pixels, labels)


class Setting:
    """The data of one seed."""

    def __init__(self, data: Dataset, seed: int) -> None:
        self.seed = seed
        self.rng = seeds.generator(seed, "planted truth")
        parts = shared_data.deal(data, list(SIZES.values()), self.rng)
        self.members, self.controls, self.unseen, self.fresh, self.reference, self.strangers = parts

    def with_copies(self, change: str, share: float) -> tuple[Images, NDArray[np.int64]]:
        """The unseen release with some members in place of its images; and their rows."""
        count = round(share * len(self.members))
        rows = self.rng.permutation(len(self.members))[:count]
        pixels, labels = self.unseen.images.pixels.copy(), self.unseen.images.labels.copy()
        places = self.rng.permutation(len(pixels))[:count]
        for place, row in zip(places, rows, strict=True):
            pixels[place] = CHANGES[change](self.members.images.pixels[row])
            labels[place] = self.members.images.labels[row]
        return Images(pixels, labels), rows

    def audit(self, name: str, images: Images, store: Store, **options: Any) -> AuditRecord:
        candidate = Candidate(name, Release(images), replace(self.unseen, images=images))
        plan = Plan(
            self.members,
            [candidate],
            ATTACKS,
            self.controls,
            self.fresh,
            self.reference,
            seed=self.seed,
            workers=cores(),
            **options,
        )
        policy = load_policy("default")
        return judge(collect(plan, policy, store), policy)


def _row(record: AuditRecord, planted: NDArray[np.int64] | None) -> dict[str, Any]:
    release = record.releases[0]
    row: dict[str, Any] = {
        "verdict": record.verdict,
        "reasons": list(release.reasons),
        "identical": len(release.identical),
        "common": release.common,
        "attacks": {},
    }
    if planted is not None:
        ids = {f"m-{int(member):06d}" for member in planted}
        assessed = ids - set(record.data.not_assessed_members)
        row["planted"], row["assessed"] = len(ids), len(assessed)
        row["identical_are_the_planted"] = {pair.id for pair in release.identical} == ids
    for attack in release.attacks:
        arm = attack.arms["release"]
        named = {member.id for member in attack.suspected}
        entry: dict[str, Any] = {
            "verdict": attack.verdict,
            "p": arm.p if arm else None,
            "auc": arm.auc.estimate if arm else None,
            "suspected": len(named),
        }
        if planted is not None:
            entry["recall"] = len(named & assessed) / len(assessed)
            entry["false_share"] = len(named - ids) / max(1, len(named))
        row["attacks"][attack.name] = entry
    return row


def kinds(data: Dataset, store: Store) -> dict[str, Any]:
    """Every kind of release once, with plants and all."""
    setting = Setting(data, 1)
    rows = {"unseen": _row(setting.audit("unseen", setting.unseen.images, store), None)}
    rows["members"] = _row(setting.audit("members", setting.members.images, store), None)
    images, planted = setting.with_copies("exact", 0.01)
    rows["exact 1 %"] = _row(setting.audit("exact", images, store, kinds=()), planted)
    for change in CHANGES:
        if change != "exact":
            images, planted = setting.with_copies(change, 0.05)
            rows[f"{change} 5 %"] = _row(setting.audit(change, images, store, kinds=()), planted)
    mixed = block_mixed(setting.members.images, len(setting.unseen), 8, 8, setting.rng)
    rows["block mixing, 8 px, 8 sources"] = _row(setting.audit("mixed", mixed, store, kinds=()), None)
    compressed = Images(np.stack([jpeg(pixels) for pixels in mixed.pixels]), mixed.labels)
    rows["the same, JPEG 50"] = _row(setting.audit("mixed-jpeg", compressed, store, kinds=()), None)
    return rows


def mirrored_seeds(data: Dataset, store: Store) -> dict[str, Any]:
    """5 % mirrored copies, 20 seeds."""
    rows = []
    for seed in SEEDS:
        setting = Setting(data, 100 + seed)
        images, planted = setting.with_copies("mirrored", 0.05)
        rows.append(_row(setting.audit("mirrored", images, store, kinds=()), planted))
        print(seed, rows[-1]["verdict"], rows[-1]["attacks"], flush=True)
    names = list(ATTACKS)
    return {
        "fails": sum(row["verdict"] == "fail" for row in rows),
        "mean_recall": {name: float(np.mean([row["attacks"][name]["recall"] for row in rows])) for name in names},
        "mean_false_share": {
            name: float(np.mean([row["attacks"][name]["false_share"] for row in rows])) for name in names
        },
        "raw": rows,
    }


def decoys(data: Dataset, store: Store) -> dict[str, Any]:
    """Releases that hold no one: uniform noise, the members' mean image, averages of pairs of strangers.

    Four splits of the data, five seeds of decoys each.
    """
    rows: dict[str, list[dict[str, Any]]] = {
        "uniform noise": [],
        "mean image": [],
        "averages of pairs of strangers": [],
    }
    rows["averages of pairs of members"] = []
    for seed in SEEDS:
        setting = Setting(data, 200 + seed // 5)
        rng = seeds.generator(seed, "decoys")
        labels = setting.unseen.images.labels
        count = len(labels)
        mean = np.rint(setting.members.images.pixels.mean(axis=0)).astype(np.uint8)

        def averages(pool: Images, rng: np.random.Generator = rng, count: int = count) -> Pixels:
            order = rng.permutation(len(pool))
            pairs = pool.pixels[np.concatenate([order, rng.permutation(order)])[: 2 * count]].astype(np.uint16)
            means: Pixels = ((pairs[:count] + pairs[count:] + 1) // 2).astype(np.uint8)
            return means

        made = {
            "uniform noise": rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8),
            "mean image": np.repeat(mean[None], count, axis=0),
            "averages of pairs of strangers": averages(setting.strangers.images),
        }
        if seed == 0:
            made["averages of pairs of members"] = averages(setting.members.images)
        for name, pixels in made.items():
            rows[name].append(_row(setting.audit(name, Images(pixels, labels), store, kinds=()), None))
            print(seed, name, rows[name][-1]["verdict"], flush=True)
    return {
        name: {"runs": len(found), "fails": sum(row["verdict"] == "fail" for row in found), "raw": found}
        for name, found in rows.items()
    }


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser()
    parts = {"kinds": kinds, "mirrored": mirrored_seeds, "decoys": decoys}
    parser.add_argument("--part", choices=parts, required=True)
    parser.add_argument("--store", type=Path, default=Path(".privaudit"))
    options = parser.parse_args()
    results = parts[options.part](shared_data.load("cifar10"), Store(options.store))
    path = write_result(
        f"planted_truth_{options.part}",
        {"sizes": SIZES, "results": results},
        seeds={"kinds": [1], "mirrored": [100 + s for s in SEEDS], "decoys": [200 + s // 5 for s in SEEDS]}[
            options.part
        ],
        command=f"python -m benchmarks.planted_truth --part {options.part}",
    )
    print(path)


if __name__ == "__main__":
    main()
