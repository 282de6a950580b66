"""Exact inversion of batches, and known candidates ranked by a gradient: cases of one gradient of a network.

`inversion`: 3072-1000-10 ReLU network (`mlp`), CIFAR-10, the gradient of one batch of 1 to 128 images, with inputs in
[0, 1] or standardised, in float64 or float32. By peeling alone, by SPEAR with columns drawn as published alone, and by
all that gradient-matching does. Certified images, false accepts (certified, but not in the batch), images certified
with the right label, seconds on one core. Also once with the first layer of the peeling paper: weights N(0, 0.5^2), no
biases.

`ranking`: the gradient of one batch of 64 of 1,000 released members; 3,000 suspects, half of them members; how many of
the 64 are among the 64 best-scored suspects, by gradient-ranking, and by gradient-matching and closeness to what it
recovers.

    python -m benchmarks.exact_inversion --log LOG

One line per cell is appended to the log, so that a stopped run goes on. `--smoke` tries the smallest cells.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.cells import lines_of
from benchmarks.recording import commit, write_result
from benchmarks.shared_data import load
from privaudit import seeds
from privaudit.attack import Context, Seen
from privaudit.attacks.gradient_matching import GradientMatching, exact, exact_layer, spear, victim
from privaudit.attacks.gradient_matching.ranking import GradientRanking
from privaudit.attacks.gradient_matching.sending import Precision, Sending
from privaudit.closeness import closeness
from privaudit.images import Images
from privaudit.learning import Architecture, Network
from privaudit.learning.training import channel_moments, seeded
from privaudit.release import Release
from privaudit.statistics.clustered import clustered_share

SEEDS = range(3)
SIZES = (1, 8, 16, 32, 64, 128)
PUBLISHED_SAMPLING = 16
"""Largest batch that columns drawn as published are tried on."""
OWN = 1000
LAYER = "body.hidden"
SUSPECTS, RELEASED, BATCH = 3000, 1000, 64
Cell = dict[str, Any]


def cells() -> Iterator[Cell]:
    for seed in SEEDS:
        for size in SIZES:
            for inputs in ("unit", "standardised"):
                for precision in ("float64", "float32"):
                    common = {"part": "inversion", "seed": seed, "size": size, "inputs": inputs, "precision": precision}
                    yield {**common, "method": "peeling", "layer": "default"}
                    if inputs == "standardised" and 1 < size <= PUBLISHED_SAMPLING:
                        yield {**common, "method": "sampled", "layer": "default"}
                    if size <= BATCH:
                        yield {**common, "method": "all", "layer": "default"}
                    if inputs == "unit":
                        yield {**common, "method": "peeling", "layer": "paper"}
        for network in ("mlp", "convnet"):
            yield {"part": "ranking", "seed": seed, "network": network}


def first_network(cell: Cell, images: Images) -> Network:
    with seeded(cell["seed"]):
        network = Network(Architecture(name="mlp", channels=3, classes=10, side=32))
        if cell["layer"] == "paper":
            layer = network.body.get_submodule("hidden")
            torch.nn.init.normal_(layer.get_parameter("weight"), 0, 0.5)
            torch.nn.init.zeros_(layer.get_parameter("bias"))
    mean, std = (np.zeros(3), np.ones(3)) if cell["inputs"] == "unit" else channel_moments(images)
    network.set_standardisation(mean, std)
    return network.eval()


def inversion(cell: Cell, images: Images) -> dict[str, Any]:
    """One gradient and one method."""
    order = seeds.generator(cell["seed"], "exact inversion", cell["size"]).permutation(len(images))
    batch, own = images.take(order[: cell["size"]]), images.take(order[-OWN:])
    network = first_network(cell, own)
    precision: Precision = cell["precision"]
    sending = Sending(precision=precision)
    seen = victim.observed(
        victim.exposed(network, batch, len(batch), "evaluation", "cpu", sending), "evaluation", "cpu", sending
    )
    weight, bias = (seen.gradients[f"{LAYER}.{part}"][0] for part in ("weight", "bias"))
    layer = exact_layer.first_layer_of(seen, LAYER)
    draw = torch.Generator().manual_seed(cell["seed"])
    started = time.perf_counter()
    if cell["method"] == "sampled":
        found = _sampled(layer, weight, bias, draw)
    else:
        methods = exact.METHODS if cell["method"] == "all" else (cell["method"],)
        solved = exact.solve(layer, weight, bias, own, exact.ROUNDS["standard"], draw, methods)
        found = solved.levels, solved.labels
    seconds = time.perf_counter() - started
    left = [(image.transpose(2, 0, 1).tobytes(), int(label)) for image, label in zip(*_parts(batch), strict=True)]
    true = {image for image, _ in left}
    false = right = 0
    for image, label in zip(found[0].numpy(), found[1].tolist(), strict=True):
        false += image.tobytes() not in true
        if (image.tobytes(), label) in left:
            left.remove((image.tobytes(), label))
            right += 1
    return {"certified": len(found[1]), "false_accepts": false, "right_with_label": right, "seconds": seconds}


def _parts(batch: Images) -> tuple[Any, Any]:
    return batch.pixels, batch.labels


def _sampled(
    layer: exact_layer.FirstLayer, weight: torch.Tensor, bias: torch.Tensor, draw: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """SPEAR with columns drawn as published, at most 400,000 sets of neurons."""
    rest = torch.cat([weight, bias[:, None]], 1).double()
    floor = float(layer.epsilon**0.75 * torch.linalg.norm(rest))
    basis = spear.column_basis(rest, layer.batch_size, floor, draw)
    known, silent = torch.zeros(0, basis.shape[1]).double(), torch.zeros(0, dtype=torch.int64)
    for _ in range(100):
        more, quiet = spear.refined(basis, spear.sampled(basis, 4000, draw), layer.tolerance)
        known, silent = spear.chosen(torch.cat([known, more]), torch.cat([silent, quiet]))
        if len(known) == basis.shape[1]:
            levels, certificate = spear.images_of(layer, rest, basis, known, layer.batch_size)
            rows = certificate.count > 0
            if rows.all() and len(rows):
                return levels[rows], certificate.label[rows]
    return torch.zeros(0, weight.shape[1], dtype=torch.uint8), torch.zeros(0, dtype=torch.int64)


def ranking(cell: Cell, images: Images) -> dict[str, Any]:
    """One gradient of 64 images; both attackers get the same network and batch."""
    order = seeds.generator(cell["seed"], "candidates").permutation(len(images))
    half = SUSPECTS // 2
    suspects, own = images.take(order[:SUSPECTS]), images.take(order[SUSPECTS : SUSPECTS + OWN])
    release = Release(suspects.take(slice(0, RELEASED)))
    result: dict[str, Any] = {}
    attacks: dict[str, GradientRanking | GradientMatching] = {
        "gradient-ranking": GradientRanking(network=cell["network"], victims=1, batch_size=BATCH),
        "gradient-matching": GradientMatching(network=cell["network"], victims=1, batch_size=BATCH),
    }
    for name, attack in attacks.items():
        seen = attack.expose(release, Context(seeds.generator(cell["seed"], "expose"), seed=cell["seed"]))
        if seen.source is None:
            raise SystemExit(f"{name} tells no source")
        context = Context(seeds.generator(cell["seed"], "attack"), seed=cell["seed"], effort="quick", reference=own)
        started = time.perf_counter()
        evidence = attack.attack(Seen(seen.arrays), suspects, context)
        scores = evidence.scores
        if evidence.recovered is not None:
            scores = closeness(suspects, evidence.recovered, own)
        if scores is None:
            raise SystemExit(f"{name} gives no scores")
        best = np.argsort(-scores, kind="stable")[:BATCH]
        result[name] = {
            "of_the_batch": int(np.isin(best, seen.source.rows).sum()),
            "members": int((best < half).sum()),
            "seconds": time.perf_counter() - started,
            "diagnostics": dict(evidence.diagnostics),
        }
    return result


def _summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    inverted: dict[str, list[Mapping[str, Any]]] = {}
    ranked: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["part"] == "ranking":
            for name in ("gradient-ranking", "gradient-matching"):
                ranked.setdefault(f"{name}, {row['network']}", []).append(row[name])
        else:
            names = ("method", "layer", "inputs", "precision", "size")
            inverted.setdefault(", ".join(str(row[name]) for name in names), []).append(row)
    summary: dict[str, Any] = {"inversion": {}, "ranking": {}}
    for name, some in inverted.items():
        right = np.concatenate([np.arange(row["size"]) < row["right_with_label"] for row in some])
        batches = np.repeat(np.arange(len(some)), [row["size"] for row in some])
        share = clustered_share(right, batches, "batches")
        summary["inversion"][name] = {
            "recovered": share.estimate,
            "low": share.low,
            "high": share.high,
            "batches": [row["right_with_label"] for row in some],
            "false_accepts": sum(row["false_accepts"] for row in some),
            "median_seconds": float(np.median([row["seconds"] for row in some])),
        }
    for name, some in ranked.items():
        summary["ranking"][name] = {
            "of_the_batch_in_the_best_64": [row["of_the_batch"] for row in some],
            "members_in_the_best_64": [row["members"] for row in some],
            "median_seconds": float(np.median([row["seconds"] for row in some])),
        }
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", type=Path, required=True, help="finished cells, one a line")
    parser.add_argument("--smoke", action="store_true", help="the smallest cells only; writes no result")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    images = load("cifar10").images
    code, done = commit(), {}
    for line in lines_of(arguments.log):
        if line["commit"] == code:
            done[json.dumps(line["cell"])] = line["row"]
    wanted = [cell for cell in cells() if not arguments.smoke or (cell["seed"] == 0 and cell.get("size", 99) <= 8)]
    rows = []
    for cell in wanted:
        key = json.dumps(cell)
        if key not in done:
            done[key] = {**cell, **(inversion if cell["part"] == "inversion" else ranking)(cell, images)}
            with arguments.log.open("a") as log:
                log.write(json.dumps({"commit": code, "cell": cell, "row": done[key]}) + "\n")
            print(done[key], flush=True)
        rows.append(done[key])
    results = {"summary": _summary(rows), "raw": rows}
    print(json.dumps(results["summary"], indent=1))
    if not arguments.smoke:
        command = "python -m benchmarks.exact_inversion --log LOG"
        print(write_result("exact_inversion", results, seeds=list(SEEDS), command=command))


if __name__ == "__main__":
    main()
