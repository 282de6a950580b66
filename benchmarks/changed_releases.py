"""All members released, all changed in the same way: which changes do the attacks that a pass rests on see through?

Each change is made of 200 members (X-rays: 120), and the release is judged against as many controls, with as many
images of the attacker's own, `quick`. AUC of each attack with its DeLong interval; beside it that of an attacker who
knows the change, makes it of every suspect, and takes the least L2 distance. `strangers`: images of nobody are released
instead. One split per seed.

    python -m benchmarks.changed_releases
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from multiprocessing import get_context
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft, ndimage
from scipy.spatial.distance import cdist

from benchmarks.recording import write_result
from benchmarks.shared_data import deal, load
from privaudit import seeds
from privaudit.attack import Context, ReleaseAttack
from privaudit.filters import blurred, coarse, rounded
from privaudit.images import Images, concatenate
from privaudit.plugins import make_attack
from privaudit.release import Release
from privaudit.statistics.exposure import auc_estimate

SIZES = {"digits": 200, "mnist": 200, "cifar10": 200, "chest_xray": 120}
ATTACKS = ("nearest-copy", "density-ratio")
SEEDS = range(2)
Pixels = NDArray[np.uint8]
Change = Callable[[Pixels], Pixels]


def _each(change: Callable[[Image.Image], Image.Image]) -> Change:
    """A change of Pillow's for every image."""

    def apply(pixels: Pixels) -> Pixels:
        found = [np.asarray(change(Image.fromarray(one[..., 0] if one.shape[2] == 1 else one))) for one in pixels]
        return np.stack(found).reshape(pixels.shape)

    return apply


def _resampled(factor: int) -> Change:
    def change(image: Image.Image) -> Image.Image:
        small = image.resize((image.width // factor, image.height // factor), Image.Resampling.BICUBIC)
        return small.resize(image.size, Image.Resampling.BICUBIC)

    return _each(change)


def _recompressed(quality: int) -> Change:
    def change(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file)

    return _each(change)


def _filtered(filter_: Callable[..., NDArray[Any]], *size: Any, **options: Any) -> Change:
    return lambda pixels: rounded(filter_(pixels.astype(np.float32), *size, mode="nearest", **options))


def _turned(degrees: float) -> Change:
    return _each(lambda image: image.rotate(degrees, Image.Resampling.BILINEAR))


def _centre(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[1:3]
    part = pixels[:, height // 4 : -(height // 4), width // 4 : -(width // 4)]
    grown = [
        np.asarray(Image.fromarray(one.squeeze()).resize((width, height), Image.Resampling.BICUBIC)) for one in part
    ]
    return np.stack(grown).reshape(pixels.shape)


def _permuted(pixels: Pixels) -> Pixels:
    flat = pixels.reshape(len(pixels), -1, pixels.shape[3])
    return flat[:, np.random.default_rng(7).permutation(flat.shape[1])].reshape(pixels.shape)


def _low_pass(count: int) -> Change:
    def apply(pixels: Pixels) -> Pixels:
        found = fft.dctn(pixels.astype(np.float64), axes=(1, 2), norm="ortho")
        found[:, count:] = 0
        found[:, :, count:] = 0
        return rounded(fft.idctn(found, axes=(1, 2), norm="ortho"))

    return apply


def _edges(pixels: Pixels) -> Pixels:
    values = pixels.astype(np.float32)
    return rounded(np.hypot(ndimage.sobel(values, 1), ndimage.sobel(values, 2)) / 3)


def _levels(count: int) -> Change:
    return lambda pixels: rounded(np.floor(pixels / 256 * count) * (255 / (count - 1)))


def _looked_up(pixels: Pixels) -> Pixels:
    table: Pixels = np.random.default_rng(7).permutation(256).astype(np.uint8)
    return table[pixels]


def _after(first: Change, second: Change) -> Change:
    return lambda pixels: second(first(pixels))


def _negative(pixels: Pixels) -> Pixels:
    return 255 - pixels


CHANGES: dict[str, Change] = {
    "none": lambda pixels: pixels,
    "negative": _negative,
    "upside down": lambda pixels: pixels[:, ::-1],
    "turned by 33 degrees": _turned(33),
    "turned by 33 degrees and mirrored": _after(_turned(33), lambda pixels: pixels[:, :, ::-1]),
    "the middle quarter alone": _centre,
    "4 levels of grey": _levels(4),
    "JPEG at quality 5": _recompressed(5),
    "blurred by 2 pixels": partial(blurred, radius=2),
    "blurred by 4 pixels": partial(blurred, radius=4),
    "blurred by 4 pixels, negative": _after(partial(blurred, radius=4), _negative),
    "box of 7 pixels": _filtered(ndimage.uniform_filter, (1, 7, 7, 1)),
    "motion of 9 pixels": _filtered(ndimage.uniform_filter1d, 9, axis=2),
    "median of 5 pixels": _filtered(ndimage.median_filter, (1, 5, 5, 1)),
    "a quarter of the resolution": _resampled(4),
    "an eighth of the resolution": _resampled(8),
    "coarse pixels of 4": partial(coarse, cell=4),
    "coarse pixels of 4, from the second on": partial(coarse, cell=4, start=2),
    "coarse pixels of 8": partial(coarse, cell=8),
    "coarse pixels of 8, upside down": _after(partial(coarse, cell=8), lambda pixels: pixels[:, ::-1]),
    "coarse pixels of 8, 4 levels of grey": _after(partial(coarse, cell=8), _levels(4)),
    "3 x 3 cosine components": _low_pass(3),
    "pixels permuted": _permuted,
    "edges": _edges,
    "grey values through a random table": _looked_up,
}


def one(name: str, seed: int) -> list[dict[str, Any]]:
    """All changes of one split, and strangers unchanged."""
    import torch

    torch.set_num_threads(1)
    count = SIZES[name]
    parts = deal(load(name), [count] * 4, seeds.generator(seed, "changed releases", name))
    members, controls, own, strangers = (part.images for part in parts)
    suspects, rows = concatenate([members, controls]), []
    told = {**dict.fromkeys(CHANGES, members), "strangers": strangers}
    for change, source in told.items():
        apply = CHANGES.get(change, CHANGES["none"])
        release = np.ascontiguousarray(apply(source.pixels))
        known = apply(suspects.pixels).reshape(2 * count, -1).astype(np.float32)
        nearest = -cdist(known, release.reshape(count, -1).astype(np.float32)).min(axis=1)
        found = {"who knows the change": nearest}
        for attack_name in ATTACKS:
            attack = make_attack(attack_name, {})
            if not isinstance(attack, ReleaseAttack):
                raise SystemExit(f"{attack_name} does not look at the release")
            context = Context(seeds.generator(seed, "attack"), seed, effort="quick", reference=own)
            seen = attack.expose(Release(Images(release, source.labels)), context)
            scores = attack.attack(seen, suspects, context).scores
            if scores is None:
                raise SystemExit(f"{attack_name} ranks nothing")
            found[attack_name] = scores
        aucs = {who: auc_estimate(values[:count], values[count:], "image") for who, values in found.items()}
        row = {who: [value.estimate, value.low, value.high] for who, value in aucs.items()}
        rows.append({"data": name, "seed": seed, "change": change, "auc": row})
    return rows


def main() -> None:
    """Write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    cells = list(product(SIZES, SEEDS))
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        rows = [row for part in pool.map(one, *zip(*cells, strict=True)) for row in part]
    summary: dict[str, dict[str, dict[str, float]]] = {}
    for change in [*CHANGES, "strangers"]:
        for name in SIZES:
            mine = [row["auc"] for row in rows if (row["change"], row["data"]) == (change, name)]
            means = {who: float(np.mean([auc[who][0] for auc in mine])) for who in mine[0]}
            summary.setdefault(change, {})[name] = means
        print(
            change,
            {name: {who: round(value, 2) for who, value in row.items()} for name, row in summary[change].items()},
        )
    versions = {name: make_attack(name, {}).version for name in ATTACKS}
    results = {"members": SIZES, "versions": versions, "summary": summary, "raw": rows}
    print(write_result("changed_releases", results, seeds=list(SEEDS), command="python -m benchmarks.changed_releases"))


if __name__ == "__main__":
    main()
