"""breaching 0.1.2 as a process that answers on standard input and output: the other side of `gradient_matching`.

Runs in an environment of its own, in which nothing of this project is needed. One line of JSON per request and answer.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

_OPERATORS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def breaching() -> Any:
    """The package, also beside a torchvision whose operators do not fit the torch that is installed."""
    try:
        return importlib.import_module("breaching")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
    for name in [name for name in sys.modules if name.partition(".")[0] in ("torchvision", "breaching")]:
        del sys.modules[name]
    make: Any = torch.library.Library
    library = make("torchvision", "FRAGMENT")
    for name, schema in _OPERATORS.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)
    globals()["_declared"] = library  # operators are withdrawn with it
    return importlib.import_module("breaching")


def network(package: Any, case: Any) -> torch.nn.Module:
    """Its ConvNet of width 32, with the parameters and buffers of the file in their order, in evaluation mode."""
    made: torch.nn.Module = package.cases.models.model_preparation.ConvNet(width=32, num_classes=10, num_channels=3)
    state = made.state_dict()
    values = [case[f"state {number}"] for number in range(len(state))]
    made.load_state_dict({name: torch.from_numpy(value) for name, value in zip(state, values, strict=True)})
    return made.eval()


def reconstruct(package: Any, case: Any, request: dict[str, Any]) -> tuple[torch.Tensor, float]:
    """One victim's image by its configuration `invertinggradients`, and the seconds that it took."""
    settings = package.get_attack_config("invertinggradients")
    settings.optim.max_iterations = request["iterations"]
    if request["smoothness"] is not None:
        settings.regularization.total_variation.scale = request["smoothness"]
    device = torch.device(request["device"])
    model = network(package, case).to(device)
    setup = {"dtype": torch.float32, "device": device}
    attacker = package.attacks.prepare_attack(model, torch.nn.CrossEntropyLoss(), settings, setup)
    data = SimpleNamespace(shape=(3, 32, 32), mean=case["mean"].tolist(), std=case["std"].tolist(), modality="vision")
    victim = request["victim"]
    gradients = [
        torch.from_numpy(case[f"gradient {number}"][victim]).to(device) for number in range(request["parameters"])
    ]
    labels = torch.from_numpy(case["labels"][victim : victim + 1]).to(device)
    shared = {
        "gradients": gradients,
        "buffers": None,
        "metadata": {"num_data_points": 1, "labels": labels, "local_hyperparams": None},
    }
    state = {"parameters": list(model.parameters()), "buffers": list(model.buffers()), "metadata": data}
    torch.manual_seed(request["seed"])
    started = time.perf_counter()
    found, _ = attacker.reconstruct([state], [shared], {}, dryrun=False)
    image = found["data"].cpu()  # waits for the device
    return image, time.perf_counter() - started


def main() -> None:
    warnings.simplefilter("ignore")
    answers, sys.stdout = sys.stdout, sys.stderr  # the package prints
    torch.set_num_threads(1)
    package = breaching()
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        case = np.load(Path(request["case"]), allow_pickle=False)
        image, seconds = reconstruct(package, case, request)
        np.save(request["image"], image.numpy())
        print(json.dumps({"seconds": seconds}), file=answers, flush=True)


if __name__ == "__main__":
    main()
