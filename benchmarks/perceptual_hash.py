"""nearest-copy beside a perceptual hash that platforms use (PDQ): how many changed copies lie above 99 % of strangers?

100 members of each kind of plant are mixed into a release of strangers, one kind at a time. PDQ: least Hamming distance
of a member's hash to the hashes of the released images in their eight orientations. Quick, one split per seed.

The hash needs a package that is built from source, in the environment of this project:

    pip install pdqhash && python -m benchmarks.perceptual_hash
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import shared_data
from benchmarks.recording import write_result
from privaudit import seeds
from privaudit.attack import Context, ReleaseAttack
from privaudit.images import Images, concatenate
from privaudit.plants import KINDS, Planting, planted
from privaudit.plugins import make_attack
from privaudit.release import Release

SIZES = {"members": 1000, "controls": 1000, "reference": 300, "release": 1000}
DATA = {"cifar10": 1.0, "mnist": 1.0, "chest_xray": 0.3}
"""Share of the sizes: there are fewer X-rays, and the costs grow with their pixels."""
PLANTED = 100
SEEDS = range(2)


def _hashes(images: Images, oriented: bool) -> NDArray[np.float32]:
    """Bits as 0 or 1, [N, 1 or 8, 256]."""
    import pdqhash

    found = []
    for pixels in images.pixels:
        colour = np.ascontiguousarray(np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels)
        found.append(pdqhash.compute_dihedral(colour)[0] if oriented else [pdqhash.compute(colour)[0]])
    return np.array(found, dtype=np.float32)


def by_hash(release: Images, pile: Images) -> NDArray[np.float64]:
    """Score of each image of the pile: the least distance, negative."""
    mine, theirs = _hashes(pile, False)[:, 0], _hashes(release, True).reshape(-1, 256)
    same = mine @ theirs.T + (1 - mine) @ (1 - theirs).T
    return np.asarray(same.max(axis=1) - 256, dtype=np.float64)


def by_attack(release: Images, pile: Images, reference: Images, seed: int) -> NDArray[np.float64]:
    """Scores of nearest-copy."""
    attack = make_attack("nearest-copy", {})
    if not isinstance(attack, ReleaseAttack):
        raise SystemExit("nearest-copy does not look at the release")
    own = Context(seeds.generator(seed, "attack"), seed, effort="quick", reference=reference)
    found = attack.attack(attack.expose(Release(release), own), pile, own).scores
    if found is None:
        raise SystemExit("nearest-copy ranks nothing")
    return found


def one(name: str, seed: int) -> dict[str, Any]:
    """Share of planted members above 99 % of the strangers, by kind."""
    sizes = [int(size * DATA[name]) for size in SIZES.values()]
    parts = shared_data.deal(shared_data.load(name), sizes, seeds.generator(seed, "perceptual hash", name))
    members, controls, reference, release = (part.images for part in parts)
    rng, pile, found = seeds.generator(seed, "plants"), concatenate([members, controls]), {}
    for kind in KINDS:
        rows = rng.permutation(len(members))[:PLANTED]
        mixed = concatenate([release, planted(Planting({kind: rows}), members, release, rng)])
        told = {"PDQ": by_hash(mixed, pile), "nearest-copy": by_attack(mixed, pile, reference, seed)}
        found[kind] = {
            method: float((scores[rows] > np.quantile(scores[len(members) :], 0.99)).mean())
            for method, scores in told.items()
        }
        print(name, seed, kind, found[kind], flush=True)
    return {"data": name, "seed": seed, "share": found}


def main() -> None:
    """Write the result."""
    import torch

    torch.set_num_threads(1)
    rows = [one(name, seed) for name in DATA for seed in SEEDS]
    summary = {
        f"{name}, {kind}": {
            method: float(np.mean([row["share"][kind][method] for row in rows if row["data"] == name]))
            for method in ("PDQ", "nearest-copy")
        }
        for name in DATA
        for kind in KINDS
    }
    results = {"sizes": SIZES, "share of the sizes": DATA, "planted": PLANTED, "summary": summary, "raw": rows}
    print(write_result("perceptual_hash", results, seeds=list(SEEDS), command="python -m benchmarks.perceptual_hash"))


if __name__ == "__main__":
    main()
