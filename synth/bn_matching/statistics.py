"""Statistics of every BatchNorm layer, class by class, by exact accumulation in one pass over the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from privaudit.calls import Call, compute
from privaudit.images import Images
from privaudit.learning import Network
from privaudit.learning.batches import as_float
from privaudit.store import Arrays
from privaudit.synth.bn_matching.folding import batch_norms

VERSION = 1
_CHUNK_PIXELS = 2**18


@dataclass(frozen=True)
class Law:
    """Mean and biased variance of the inputs of BatchNorm layers, float32 [rows, columns]; the columns are the channels
    of all layers, one after the other.
    """

    mean: Tensor
    variance: Tensor

    def mixed(self) -> Law:
        """The law of equally many values of every row, one row."""
        mean = self.mean.mean(0, keepdim=True)
        return Law(mean, (self.variance + self.mean**2).mean(0, keepdim=True) - mean**2)

    def to(self, device: str) -> Law:
        """The same on a device."""
        return Law(self.mean.to(device), self.variance.to(device))


class LayerStatistics:
    """Sums over all images and places, per class: numbers, values and squares of the input of every BatchNorm layer.

    arrays: 'images' [classes]; for each layer 'sum NAME' and 'square NAME', float64 [classes, channels], and
    'places NAME', the pixels per image there.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.arrays = arrays

    @property
    def images(self) -> NDArray[np.int64]:
        """Images per class."""
        return np.asarray(self.arrays["images"])

    def of_classes(self, layers: Sequence[str], classes: Sequence[int]) -> Law:
        """The law within each of these classes, a row each."""
        return self._law(layers, [np.array([number]) for number in classes])

    def pooled(self, layers: Sequence[str]) -> Law:
        """The law over all images, one row."""
        return self._law(layers, [np.arange(len(self.images))])

    def _law(self, layers: Sequence[str], rows: Sequence[NDArray[np.int64]]) -> Law:
        means, variances = [], []
        for layer in layers:
            count = np.array([self.images[row].sum() for row in rows])[:, None] * int(self.arrays[f"places {layer}"])
            mean = np.stack([self.arrays[f"sum {layer}"][row].sum(0) for row in rows]) / count
            square = np.stack([self.arrays[f"square {layer}"][row].sum(0) for row in rows]) / count
            means.append(mean)
            variances.append(np.maximum(square - mean**2, 0))
        return Law(*(torch.from_numpy(np.concatenate(parts, 1)).float() for parts in (means, variances)))


def collect(network: Network, images: Images, classes: int, device: str = "cpu") -> LayerStatistics:
    """Statistics of the network's BatchNorm inputs in evaluation mode over all images; float64 sums."""
    norms = batch_norms(network)
    network.to(device).eval()
    arrays: dict[str, NDArray[Any]] = {"images": np.bincount(images.labels, minlength=classes)}
    for name, norm in norms.items():
        for what in ("sum", "square"):
            arrays[f"{what} {name}"] = np.zeros((classes, norm.num_features))
    label = 0

    def measure(name: str, values: Tensor) -> None:
        doubled = values.flatten(2).double()
        arrays[f"sum {name}"][label] += doubled.sum((0, 2)).cpu().numpy()
        arrays[f"square {name}"][label] += doubled.square_().sum((0, 2)).cpu().numpy()
        arrays[f"places {name}"] = np.asarray(values.shape[2] * values.shape[3])

    def hook(name: str) -> Any:
        def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            measure(name, inputs[0])

        return before

    handles = [norm.register_forward_pre_hook(hook(name)) for name, norm in norms.items()]
    chunk = max(1, _CHUNK_PIXELS // (images.size[0] * images.size[1]))
    try:
        with torch.inference_mode():
            for label in range(classes):
                rows = np.flatnonzero(images.labels == label)
                for start in range(0, len(rows), chunk):
                    network(as_float(images.pixels[rows[start : start + chunk]], device))
    finally:
        for handle in handles:
            handle.remove()
    return LayerStatistics(arrays)


def collected(network: Network, images: Images, classes: int, device: str) -> LayerStatistics:
    """`collect` as a task of its own, done once for all shards."""
    inputs: dict[str, Arrays] = {
        "network": network.arrays(),
        "images": images.arrays(),
    }
    function = "privaudit.synth.bn_matching.statistics:collect_task"
    arguments = {"classes": classes, "device": device}
    label = f"statistics of {len(images):,} images"
    (arrays,) = compute(Call(label, function, arguments, inputs, {"version": VERSION}))
    return LayerStatistics(arrays)


def collect_task(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Inputs {'network', 'images'} to the arrays of `LayerStatistics`."""
    images = Images.from_arrays(inputs["images"])
    network = Network.from_arrays(inputs["network"])
    return dict(collect(network, images, arguments["classes"], arguments["device"]).arrays)
