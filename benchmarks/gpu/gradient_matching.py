"""Inverting gradients on a GPU beside breaching 0.1.2: how many victims x steps a second?

The victims of `benchmarks.gradient_matching`: this project inverts all of them at once, breaching one after the other.
Rounds in turns; the medians count.

    python -m benchmarks.gpu.gradient_matching --peer PEER/bin/python
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.gradient_matching import OURS, Peer, victims
from benchmarks.recording import write_result
from privaudit.attacks.gradient_matching import GradientMatching
from privaudit.attacks.gradient_matching.gradients import Observed, prepared
from privaudit.attacks.gradient_matching.inverting import Precision, invert
from privaudit.learning.training import seeded

COUNT, STEPS, ROUNDS = 256, 50, 5
BAR = 10.0


def ours(observed: Observed, labels: torch.Tensor, steps: int, precision: Precision) -> float:
    """Victims x steps a second."""
    with seeded(0):
        start = torch.randn(1, observed.victims, *observed.image_shape).to(observed.device)
    started = time.perf_counter()
    search = GradientMatching(precision=precision).search(steps)
    invert(observed, labels, start, search, lambda share: None).images.cpu()  # waits for the device
    return observed.victims * steps / (time.perf_counter() - started)


def measured(peer: Peer, observed: Observed, labels: torch.Tensor, steps: int, rounds: int) -> dict[str, list[float]]:
    """Victims x steps a second of every round, after one that chooses kernels."""
    rates: dict[str, list[float]] = {name: [] for name in ("breaching", *OURS)}
    for number in range(rounds + 1):
        one = {"breaching": steps / peer.run(number, steps, None)[1]}
        one |= {name: ours(observed, labels, steps, precision) for name, precision in OURS.items()}
        if number:
            for name, rate in one.items():
                rates[name].append(rate)
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True, help="python of the environment that breaching is installed in")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("skipped: this machine has no CUDA device")
        return
    seen, labels, _ = victims(COUNT)
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer(arguments.peer, seen, labels, Path(folder), "cuda")
        rates = measured(peer, on_device(seen, "cuda"), labels.to("cuda"), STEPS, ROUNDS)
        peer.close()
    found = {
        "victims at once": COUNT,
        "victims x steps a second": rates,
        "ratios": {name: float(np.median(rates[name]) / np.median(rates["breaching"])) for name in OURS},
        "bar": BAR,
    }
    command = "python -m benchmarks.gpu.gradient_matching --peer PEER/bin/python"
    print(found["ratios"], write_result("gpu_gradient_matching", found, seeds=0, command=command))


def on_device(observed: Observed, device: str) -> Observed:
    """The same on a device."""
    gradients = {name: values.to(device) for name, values in observed.gradients.items()}
    return replace(observed, network=prepared(observed.network, "evaluation", device), gradients=gradients)


if __name__ == "__main__":
    main()
