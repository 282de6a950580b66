"""Inverting gradients beside breaching 0.1.2: the same gradients, the same seconds, one thread, in turns.

20 images of CIFAR-10, each the only one of its batch, through a fresh ConvNet of width 32 (733,642 parameters, that of
the peer) with BatchNorm in evaluation mode. Labels are given, starts are noise, and nobody has images of his own. For
every victim each tool gets the same wall seconds; how many steps these are is measured on another image just before.

breaching                 its configuration `invertinggradients`
breaching, our weight     the same with this project's weight of smoothness
float32, bfloat16         gradient-matching, with its default settings but for the start and the precision

PSNR of the clamped image, data range 1. Every victim is one line of a log, so that a stopped run goes on.

The peer needs an environment of its own, whose python is given by --peer:

    python -m venv PEER && PEER/bin/pip install torch torchvision breaching==0.1.2
    python -m benchmarks.gradient_matching --peer PEER/bin/python --log LOG
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import binomtest
from torch import Tensor, nn

from benchmarks import shared_data
from benchmarks.cells import lines_of
from benchmarks.recording import commit, write_result
from privaudit import seeds
from privaudit.attacks.gradient_matching import GradientMatching
from privaudit.attacks.gradient_matching.gradients import Observed, batch_gradient, prepared
from privaudit.attacks.gradient_matching.inverting import Precision, invert
from privaudit.images import Images
from privaudit.learning import Architecture, Network
from privaudit.learning.batches import as_float
from privaudit.learning.training import channel_moments, seeded

SEED = 0
VICTIMS = 20
SECONDS = 60.0
MEASURED = 12
"""Steps by which a tool's rate is measured."""
WEIGHT = float(GradientMatching().total_variation)
PEERS: dict[str, float | None] = {"breaching": None, "breaching, our weight": WEIGHT}
OURS: dict[str, Precision] = {"float32": "float32", "bfloat16": "bfloat16"}
BARS = {"median difference in dB": 3.0, "rate in float32": 1.15, "rate in bfloat16": 1.6}


def convnet(width: int = 32) -> nn.Sequential:
    """Eight 3x3 convolutions with BatchNorm and ReLU, two max pools by 3, one linear layer; 32 x 32 pixels."""
    layers: list[nn.Module] = []
    maps = 3
    for number, factor in enumerate((1, 2, 2, 4, 4, 4, 4, 4)):
        wider = factor * width
        layers += [nn.Conv2d(maps, wider, 3, padding=1), nn.BatchNorm2d(wider), nn.ReLU()]
        layers += [nn.MaxPool2d(3)] if number in (5, 7) else []
        maps = wider
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(9 * maps, 10))


def victims(count: int) -> tuple[Observed, Tensor, Images]:
    """What the attackers see of so many images and one more, their labels, and the images."""
    data = shared_data.load("cifar10").images
    images = data.take(seeds.generator(SEED, "gradient matching").permutation(len(data))[: count + 1])
    with seeded(SEED):
        network = Network(Architecture(name="convnet", channels=3, classes=10, side=32))
        network.body = convnet()
    network.set_standardisation(*channel_moments(data))
    ready = prepared(network.eval(), "evaluation", "cpu")
    pixels = as_float(images.pixels, "cpu").contiguous()
    standardised = (pixels - ready.mean[:, None, None]) / ready.std[:, None, None]
    labels = torch.from_numpy(images.labels)
    each = [batch_gradient(ready, standardised[row, None], labels[row, None]) for row in range(len(images))]
    names = [name for name, _ in ready.named_parameters()]
    gradients = {name: torch.stack([found[place] for found in each]) for place, name in enumerate(names)}
    return Observed(ready, gradients, 1, (32, 32, 3), "evaluation"), labels, images


class Peer:
    """breaching in its own process; one request at a time."""

    def __init__(self, python: str, observed: Observed, labels: Tensor, folder: Path, device: str = "cpu") -> None:
        self.folder, self.parameters, self.device = folder, len(observed.gradients), device
        state = observed.network.body.state_dict().values()
        case = {f"state {number}": value.numpy() for number, value in enumerate(state)}
        case |= {f"gradient {number}": value.numpy() for number, value in enumerate(observed.gradients.values())}
        case |= {"labels": labels.numpy(), "mean": observed.network.mean.numpy(), "std": observed.network.std.numpy()}
        np.savez(folder / "case.npz", **case)
        script = Path(__file__).with_name("breaching_peer.py")
        self.process = subprocess.Popen([python, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def _answer(self) -> dict[str, Any]:
        if self.process.stdout is None:
            raise SystemExit("The peer has no output.")
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("The peer ended. Is breaching 0.1.2 installed for the python given by --peer?")
        found: dict[str, Any] = json.loads(line)
        return found

    def run(self, victim: int, iterations: int, smoothness: float | None) -> tuple[Tensor, float]:
        """Its image, standardised, and its seconds."""
        image = self.folder / "image.npy"
        request = {
            "case": str(self.folder / "case.npz"),
            "image": str(image),
            "victim": victim,
            "iterations": iterations,
            "parameters": self.parameters,
            "smoothness": smoothness,
            "seed": victim,
            "device": self.device,
        }
        if self.process.stdin is None:
            raise SystemExit("The peer has no input.")
        print(json.dumps(request), file=self.process.stdin, flush=True)
        seconds = self._answer()["seconds"]
        return torch.from_numpy(np.load(image)), seconds

    def close(self) -> None:
        """End its process."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.wait()


def ours(
    observed: Observed, labels: Tensor, victim: int, iterations: int, precision: Precision
) -> tuple[Tensor, float]:
    """Our image, standardised, and our seconds."""
    one = observed.take(slice(victim, victim + 1))
    with seeded(victim):
        start = torch.randn(1, 1, *observed.image_shape)
    started = time.perf_counter()
    search = GradientMatching(precision=precision).search(iterations)
    found = invert(one, labels[victim : victim + 1], start, search, lambda share: None)
    return found.images, time.perf_counter() - started


def decibels(observed: Observed, found: Tensor, true: Images) -> float:
    """PSNR of a standardised image, clamped, data range 1."""
    mean, std = observed.network.mean[:, None, None], observed.network.std[:, None, None]
    error = ((found * std + mean).clamp(0, 1) - as_float(true.pixels, "cpu")).double().square().mean()
    return float(-10 * torch.log10(error.clamp_min(1e-10)))


def lane(numbers: list[int], count: int, seconds: float, python: str, log: Path) -> None:
    """Some victims, one after the other; each tool in turn."""
    torch.set_num_threads(1)
    observed, labels, images = victims(count)
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer(python, observed, labels, Path(folder))
        for victim in numbers:
            row: dict[str, Any] = {"victim": victim, "seconds": seconds, "commit": commit()}
            for name in (*PEERS, *OURS):

                def run(which: int, iterations: int, name: str = name) -> tuple[Tensor, float]:
                    if name in PEERS:
                        return peer.run(which, iterations, PEERS[name])
                    return ours(observed, labels, which, iterations, OURS[name])

                run(count, 2)  # chooses kernels
                iterations = max(1, int(seconds / (run(count, MEASURED)[1] / MEASURED)))
                found, took = run(victim, iterations)
                psnr = decibels(observed, found, images.take(slice(victim, victim + 1)))
                row[name] = {"psnr": psnr, "iterations": iterations, "seconds": took}
            with log.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print({name: round(row[name]["psnr"], 1) for name in (*PEERS, *OURS)}, flush=True)
        peer.close()


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians, paired differences with sign tests, and rates against the peer's."""
    psnr = {name: np.array([row[name]["psnr"] for row in rows]) for name in (*PEERS, *OURS)}
    rate = {
        name: np.array([row[name]["iterations"] / row[name]["seconds"] for row in rows]) for name in (*PEERS, *OURS)
    }
    found: dict[str, Any] = {
        "bars": BARS,
        "median psnr": {name: float(np.median(values)) for name, values in psnr.items()},
        "median steps per second": {name: float(np.median(values)) for name, values in rate.items()},
    }
    for mine in OURS:
        for theirs in PEERS:
            difference = psnr[mine] - psnr[theirs]
            better = int((difference > 0).sum())
            found[f"{mine} against {theirs}"] = {
                "median difference in dB": float(np.median(difference)),
                "better": better,
                "of": len(rows),
                "sign test p": float(binomtest(better, len(rows)).pvalue),
                "ratio of steps per second": float(np.median(rate[mine] / rate[theirs])),
            }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True, help="python of the environment that breaching is installed in")
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--victims", type=int, default=VICTIMS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    count = arguments.victims

    def read() -> list[dict[str, Any]]:
        rows = lines_of(arguments.log)
        return sorted((row for row in rows if row["seconds"] == arguments.seconds), key=lambda row: row["victim"])

    done = {row["victim"] for row in read()}
    left = [victim for victim in range(count) if victim not in done]
    lanes = [left[first :: arguments.processes] for first in range(arguments.processes)]
    with ProcessPoolExecutor(arguments.processes, mp_context=get_context("spawn")) as pool:
        work = [
            pool.submit(lane, some, count, arguments.seconds, arguments.peer, arguments.log) for some in lanes if some
        ]
        for part in work:
            part.result()
    rows = [row for row in read() if row["victim"] < count]
    results = summary(rows)
    print(json.dumps(results, indent=1))
    command = "python -m benchmarks.gradient_matching --peer PEER/bin/python --log LOG"
    if (count, arguments.seconds) == (VICTIMS, SECONDS):
        print(write_result("gradient_matching", {"summary": results, "raw": rows}, seeds=SEED, command=command))


if __name__ == "__main__":
    main()
