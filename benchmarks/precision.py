"""Is bfloat16 used where it pays? A training step of each network in both, interleaved, beside what the rule says.

python -m benchmarks.precision
"""

from __future__ import annotations

import time
from itertools import product
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from benchmarks.recording import write_result
from privaudit.learning.networks import Architecture, Network
from privaudit.learning.precision import WORTH_IT, bfloat16_pays
from privaudit.learning.training import autocast, seeded

NETWORKS = ("lenet", "mlp", "convnet", "convnet-groupnorm", "resnet20", "resnet18")
IMAGES: tuple[tuple[Any, int], ...] = ((1, 8), (1, 28), (3, 32), (3, 64))
BATCHES = (16, 64, 128)
SECONDS, FEWEST = 2.0, 4


def times_as_fast(architecture: Architecture, batch_size: int) -> float:
    """How many times as fast a step in bfloat16 is: medians, without the first step of each."""
    with seeded(0):
        network = Network(architecture).to(memory_format=torch.channels_last).train()
        images = torch.rand(batch_size, architecture.channels, architecture.side, architecture.side)
    images, labels = images.contiguous(memory_format=torch.channels_last), torch.zeros(batch_size, dtype=torch.int64)
    seconds: dict[bool, list[float]] = {False: [], True: []}
    started = time.perf_counter()
    while time.perf_counter() - started < SECONDS or len(seconds[True]) < FEWEST:
        for bfloat16, found in seconds.items():
            before = time.perf_counter()
            with autocast("cpu", bfloat16):
                logits = network(images)
            functional.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
            found.append(time.perf_counter() - before)
    return float(np.median(seconds[False][1:]) / np.median(seconds[True][1:]))


def main() -> None:
    torch.set_num_threads(1)
    rows = []
    for name, (channels, side), batch_size in product(NETWORKS, IMAGES, BATCHES):
        if name == "resnet18" and side * batch_size > 64 * 32:
            continue  # minutes
        architecture = Architecture(name=name, channels=channels, classes=10, side=side)
        rows.append(
            {
                "network": name,
                "channels": channels,
                "side": side,
                "batch_size": batch_size,
                "times_as_fast": round(times_as_fast(architecture, batch_size), 3),
                "used": bfloat16_pays(architecture, batch_size, "cpu"),
            }
        )
        print(rows[-1], flush=True)
    used, unused = ([row["times_as_fast"] for row in rows if row["used"] is taken] for taken in (True, False))
    summary = {
        "used": f"{len(used)}, median {np.median(used):.2f}, least {min(used):.2f}",
        "not used": f"{len(unused)}, median {np.median(unused):.2f}, most {max(unused):.2f}",
    }
    print(summary)
    results = {"operations": WORTH_IT["cpu"], "summary": summary, "rows": rows}
    print(write_result("precision", results, seeds=[0], command="python -m benchmarks.precision"))


if __name__ == "__main__":
    main()
