"""How few images per class until a single one shows in published class-wise statistics?

    python -m benchmarks.released_statistics --seeds 10

Digits (16 x 16) with 300 images of the attacker's own; statistics of pixels, and of the BatchNorm inputs of a ConvNet
that was trained on other images; 1, 2, 5, 10 and 50 images per class behind them. For each: mean AUC of these images
against 50 others of their class over the seeds, its standard error, and the share found above 99 % of the others.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from benchmarks.recording import write_result
from privaudit import seeds
from privaudit.attack import Context, Seen
from privaudit.data.loading import load
from privaudit.images import Dataset, Images, concatenate
from privaudit.learning import Network, Recipe
from privaudit.learning.training import train
from privaudit.plugins import make_attack
from privaudit.release import Release
from privaudit.released_statistics import PIXELS, class_statistics
from privaudit.statistics.tally import win_shares

COUNTS = (1, 2, 5, 10, 50)
OWN, OTHERS, TAUGHT = 300, 50, 300
RECIPE = Recipe(network="convnet", epochs=5, batch_size=32, optimizer="adamw", learning_rate=0.003)


def _take(images: Images, start: int, count: int, classes: int) -> Images:
    rows = [np.flatnonzero(images.labels == label)[start : start + count] for label in range(classes)]
    return images.take(np.concatenate(rows))


def _layers(network: Network) -> list[str]:
    import torch

    return [name for name, module in network.named_modules() if isinstance(module, torch.nn.BatchNorm2d)]


def one(data: Dataset, seed: int) -> dict[str, dict[int, dict[str, float]]]:
    """AUC and the share found at 1 % false positives, by kind of statistics and images per class."""
    rng = seeds.generator(seed, "released statistics")
    dealt = data.images.take(rng.permutation(len(data)))
    own, taught, rest = (
        dealt.take(slice(start, end)) for start, end in ((0, OWN), (OWN, OWN + TAUGHT), (OWN + TAUGHT, None))
    )
    classes = len(data.class_names)
    network = train(RECIPE, taught, classes, seed)
    found: dict[str, dict[int, dict[str, float]]] = {}
    for kind, layers, shown in (("pixels", [PIXELS], None), ("convnet", _layers(network), network)):
        found[kind] = {}
        for count in COUNTS:
            behind, others = _take(rest, 0, count, classes), _take(rest, count, OTHERS, classes)
            attack = make_attack("statistics-matching", {})
            statistics = class_statistics(behind, classes, layers, shown)
            seen = attack.expose(Release(behind, statistics=statistics, teacher=shown), Context(rng))
            pile = concatenate([behind, others])
            scores = attack.attack(Seen(seen.arrays), pile, Context(rng, reference=own)).scores
            mine, theirs = np.split(np.asarray(scores), [len(behind)])
            threshold = np.sort(theirs)[-max(1, len(theirs) // 100)]
            found[kind][count] = {
                "auc": float(win_shares(mine, theirs).mean()),
                "tpr_at_1pct_fpr": float((mine > threshold).mean()),
            }
    return found


def main() -> None:
    """All seeds, and the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    data = load("digits")
    raw = [one(data, seed) for seed in range(options.seeds)]
    table: dict[str, Any] = {}
    for kind in raw[0]:
        for count in COUNTS:
            values = {name: [row[kind][count][name] for row in raw] for name in raw[0][kind][count]}
            table[f"{kind} {count}"] = {
                name: {
                    "mean": float(np.mean(found)),
                    "standard_error": float(np.std(found, ddof=1) / len(found) ** 0.5) if len(found) > 1 else None,
                }
                for name, found in values.items()
            }
            print(kind, count, table[f"{kind} {count}"], flush=True)
    command = f"python -m benchmarks.released_statistics --seeds {options.seeds}"
    results = {"own": OWN, "others_per_class": OTHERS, "table": table, "raw": [_plain(row) for row in raw]}
    print(write_result("released_statistics", results, seeds=list(range(options.seeds)), command=command))


def _plain(row: dict[str, dict[int, dict[str, float]]]) -> dict[str, dict[str, dict[str, float]]]:
    return {kind: {str(count): values for count, values in counts.items()} for kind, counts in row.items()}


if __name__ == "__main__":
    main()
