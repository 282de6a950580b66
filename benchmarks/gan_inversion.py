"""Does gan-inversion find the images that a classifier was trained on, or only what its classes look like?

Raw arm: the victim is trained on members. Digits: 700 members, of which 450 are released, 700 controls, 200 images of
the attacker's own; MNIST: 2,000 (1,000 released), 2,000 and 500. For each seed:

hits        members among the 64 best-scored suspects (32 by chance); auc: of members against controls
released    AUC of the released members alone against controls
nearer      share of recovered images that are nearer to a released member of their class than to a control of it, of
            equally many of each (0.5 by chance)
accepted    share that the victim classifies as their target; agreed: share that a ResNet-20 trained on controls and the
            attacker's images does; decoys: the same for noise that was optimised in pixels until the victim accepts it
spread      distance to the class mean, in that of real images (0 for a prototype, 1 for an image like any other)

Beside the standard attack the other losses ('margin', 'cross-entropy'), gradients without and over many transformed
copies ('one copy', 'many copies'), and what could help it: three released images per class ('few'), a victim that
overfits ('overfitted'), a generator that was trained on the members ('knows members': no attack, an upper bound for
diagnosis), all three ('all'), and the collaborative variant ('collaborative').

    python -m benchmarks.gan_inversion --part digits
    python -m benchmarks.gan_inversion --part mnist --data ../shared/data/mnist/train.npz
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.recording import write_result
from privaudit import seeds
from privaudit.attack import Context, Seen
from privaudit.attacks.gan_inversion import GanInversion
from privaudit.closeness import closeness, nearest_distance
from privaudit.data.loading import load
from privaudit.images import Images, concatenate
from privaudit.learning import Network, Recipe, accuracy, train
from privaudit.release import Release
from privaudit.statistics.reach import hits_at

SEEDS = range(5)
COUNTS = {"digits": (700, 700, 200, 450), "mnist": (2000, 2000, 500, 1000)}
FEW = 3
OVERFITTED = Recipe(
    network="convnet", epochs=200, batch_size=32, optimizer="adamw", learning_rate=3e-3, weight_decay=0.0
)
JUDGE = Recipe(network="resnet20", epochs=12, batch_size=32, optimizer="adamw", learning_rate=3e-3, weight_decay=0.01)
CASES: dict[str, dict[str, Any]] = {
    "standard": {},
    "margin": {"settings": {"loss": "margin"}},
    "cross-entropy": {"settings": {"loss": "cross-entropy"}},
    "one copy": {"settings": {"copies": 1}},
    "many copies": {"settings": {"copies": 16}},
    "few": {"few": True},
    "overfitted": {"settings": {"victim": OVERFITTED.model_dump()}},
    "knows members": {"knows": True},
    "all": {"few": True, "knows": True, "settings": {"victim": OVERFITTED.model_dump()}},
    "collaborative": {"settings": {"variant": "collaborative"}},
}


def one(seed: int, case: str, part: str, data: str, effort: Any) -> dict[str, Any]:
    """Figures of one seed and case."""
    import torch

    torch.set_num_threads(1)
    members, controls, reference, size = dealt(seed, part, data)
    setup = CASES[case]
    released = few_of(members) if setup.get("few") else members.take(slice(0, size))
    attack = GanInversion.model_validate(setup.get("settings", {}))
    world = Context(seeds.generator(seed, "expose"), seed=seed, effort=effort)
    seen = attack.expose(Release(released), world)
    prior = (released if setup.get("few") else members) if setup.get("knows") else reference
    own = Context(seeds.generator(seed, "attack"), seed=seed, effort=effort, reference=prior)
    evidence = attack.attack(Seen(seen.arrays), members.take(slice(0, 0)), own)
    if evidence.recovered is None or seen.source is None:
        raise SystemExit("gan-inversion recovered nothing")
    found = evidence.recovered
    scores = [closeness(pool, found, reference) for pool in (members, controls, released)]
    hits, p = hits_at(scores[0], scores[1], len(found), "image")
    judge = train(JUDGE, concatenate([controls, reference]), 10, seed + 1000)
    network = Network.from_arrays(
        {name.removeprefix("model: "): array for name, array in seen.arrays.items() if name.startswith("model: ")}
    )
    return {
        "seed": seed,
        "case": case,
        "recovered": len(found),
        "hits": hits.estimate * len(found),
        "p": p,
        "auc": auc(scores[0], scores[1]),
        "auc_released": auc(scores[2], scores[1]),
        "nearer_released_member": nearer(found, released, controls),
        "accepted": accuracy(network, found),
        "agreed": accuracy(judge, found),
        "decoys_accepted_and_agreed": [accuracy(part, decoys(network, found, seed)) for part in (network, judge)],
        "judge_on_members": accuracy(judge, members),
        "victim_on_released": accuracy(network, released),
        "victim_on_controls": accuracy(network, controls),
        "spread": evidence.diagnostics["distance to the class mean, in those of own images"],
        "diagnostics": dict(evidence.diagnostics),
    }


def dealt(seed: int, part: str, data: str) -> tuple[Images, Images, Images, int]:
    """Members, controls, images of the attacker's own, and how many members are released."""
    images = load(data).images
    n_members, n_controls, n_reference, size = COUNTS[part]
    order = seeds.generator(seed, "gan inversion").permutation(len(images))
    ends = np.cumsum([n_members, n_controls, n_reference])
    members, controls, reference, _ = (images.take(rows) for rows in np.split(order, ends))
    return members, controls, reference, size


def few_of(members: Images) -> Images:
    """The first few members of each class."""
    rows = [np.flatnonzero(members.labels == label)[:FEW] for label in range(10)]
    return members.take(np.concatenate(rows))


def auc(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    """How often one of ours scores above one of theirs; ties count half."""
    return float((ours[:, None] > theirs).mean() + 0.5 * (ours[:, None] == theirs).mean())


def nearer(found: Images, released: Images, controls: Images) -> float:
    """Share of images nearer to a released member of their class than to one of equally many controls of it."""
    wins = []
    for label in np.unique(found.labels):
        pools = [pool.take(pool.labels == label) for pool in (released, controls)]
        count = min(len(pool) for pool in pools)
        mine, theirs = (
            nearest_distance(found.take(found.labels == label), pool.take(slice(0, count))) for pool in pools
        )
        wins.append((mine < theirs) + 0.5 * (mine == theirs))
    return float(np.concatenate(wins).mean())


def decoys(network: Network, found: Images, seed: int) -> Images:
    """Uniform noise, its pixels moved by Adam until the victim takes it for the targets: images of nothing."""
    import torch

    shape = (len(found), found.size[2], *found.size[:2])
    rng = seeds.generator(seed, "decoys")
    pixels = torch.from_numpy(rng.random(shape, dtype=np.float32)).requires_grad_()
    labels = torch.from_numpy(found.labels)
    optimizer = torch.optim.Adam([pixels], lr=0.02)
    for _ in range(100):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(pixels), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        with torch.no_grad():
            pixels.clamp_(0, 1)
    made = (pixels.detach() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    return Images(made, found.labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=sorted(COUNTS), required=True)
    parser.add_argument("--data", help="MNIST's training images, an .npz file; digits need none")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--effort", choices=("quick", "standard", "thorough"), default="standard")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    data = arguments.data or arguments.part
    if arguments.part == "mnist" and not Path(data).exists():
        raise SystemExit("MNIST needs --data, the file of its training images.")
    jobs = [(seed, case) for case in arguments.cases for seed in SEEDS]
    with ProcessPoolExecutor(arguments.processes, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(one, *job, arguments.part, data, arguments.effort) for job in jobs]
        rows = []
        for future in futures:
            rows.append(future.result())
            print(rows[-1], flush=True)
    keys = ("hits", "auc", "auc_released", "nearer_released_member", "accepted", "agreed", "spread")
    summary = {
        case: {key: {"mean": float(np.mean(values)), "all": values} for key in keys if (values := _of(rows, case, key))}
        for case in arguments.cases
    }
    command = f"python -m benchmarks.gan_inversion --part {arguments.part} --effort {arguments.effort}"
    name = f"gan_inversion_{arguments.part}"
    print(write_result(name, {"summary": summary, "raw": rows}, seeds=list(SEEDS), command=command))


def _of(rows: list[dict[str, Any]], case: str, key: str) -> list[float]:
    return [float(row[key]) for row in rows if row["case"] == case]


if __name__ == "__main__":
    main()
