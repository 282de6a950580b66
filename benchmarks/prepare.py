"""Deal a shared dataset into the files of an audit, for trying the command line on real images.

python -m benchmarks.prepare cifar10 FOLDER            members, controls, release (unseen) as .npz
python -m benchmarks.prepare mnist FOLDER --leak 30    the release holds 30 members, mirrored
python -m benchmarks.prepare chest_xray FOLDER         by patient; audit it with --policy demo --size 64
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.chest_xray import deal_persons
from benchmarks.shared_data import SHARED, deal, load
from privaudit import seeds
from privaudit.data import loading
from privaudit.images import Dataset, Images, concatenate

SIZES = (3000, 7000, 3000)


def main() -> None:
    """Write members.npz, controls.npz and release.npz."""
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset", choices=("cifar10", "mnist", "chest_xray"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--leak", type=int, default=0, help="members that are planted, mirrored")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = seeds.generator(options.seed, "prepare", options.dataset)
    parts: list[Dataset]
    if options.dataset == "chest_xray":
        members, controls, fresh, release, reference = deal_persons(
            loading.load(str(SHARED / "data" / "chest_xray.npz")), rng
        )
        parts = [members, controls, release]
        extra = {"fresh": fresh, "reference": reference}
    else:
        parts, extra = deal(load(options.dataset), SIZES, rng), {}
    rows = rng.permutation(len(parts[0]))[: options.leak]
    leaked = Images(parts[0].images.pixels[rows][:, :, ::-1], parts[0].images.labels[rows])
    images = concatenate([parts[2].images, leaked])
    images = images.take(rng.permutation(len(images)))
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, part in {"members": parts[0], "controls": parts[1], **extra}.items():
        groups: dict[str, Any] = {} if part.groups is None else {"groups": part.groups}
        np.savez_compressed(
            options.folder / f"{name}.npz",
            images=part.images.pixels,
            labels=part.images.labels,
            class_names=np.array(part.class_names),
            **groups,
        )
    np.savez_compressed(
        options.folder / "release.npz",
        images=images.pixels,
        labels=images.labels,
        class_names=np.array(parts[2].class_names),
    )


if __name__ == "__main__":
    main()
