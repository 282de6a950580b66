"""Class-wise statistics that are published beside a release: means and variances of pixels, or of BatchNorm inputs.

Their arrays, by name: 'images', int64 [classes], how many images each class's statistics are of; and for each layer
'mean LAYER' and 'variance LAYER', float [classes, channels], the variance biased. LAYER is the name of a BatchNorm
layer of the network that is published with them: then mean and variance are over the images of the class and over all
places of the layer's input. Or it is 'pixels': then a channel is one pixel of one colour in [0, 1], in the order of the
image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from privaudit.data.npy import printable
from privaudit.errors import InputError
from privaudit.images import Images

if TYPE_CHECKING:
    from privaudit.learning import Network

PIXELS = "pixels"
IMAGES, MEAN, VARIANCE = "images", "mean ", "variance "

_ROWS = 256
_MOST_IMAGES = 2**53

Moments = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Mean and mean square of each channel of one image, float64 [N, channels] each."""


def layers_of(statistics: Mapping[str, NDArray[Any]]) -> tuple[str, ...]:
    """Names of the layers, sorted."""
    return tuple(sorted(name.removeprefix(MEAN) for name in statistics if name.startswith(MEAN)))


def needs_network(statistics: Mapping[str, NDArray[Any]]) -> bool:
    """Whether they can be measured only with the network that they were measured with."""
    return any(layer != PIXELS for layer in layers_of(statistics))


def checked(statistics: Mapping[str, NDArray[Any]], classes: int) -> dict[str, NDArray[Any]]:
    """The statistics as int64 and float64. Raises InputError for missing arrays, other shapes, and no numbers."""
    names = sorted(statistics)
    layers = layers_of(statistics)
    wanted = {IMAGES, *(f"{part}{layer}" for layer in layers for part in (MEAN, VARIANCE))}
    if not layers or set(names) != wanted:
        raise InputError(
            f"Statistics need the arrays 'images', and 'mean LAYER' and 'variance LAYER' for each layer; found "
            f"{', '.join(map(printable, names[:6])) or 'none'}."
        )
    images = np.asarray(statistics[IMAGES])
    is_counts = images.shape == (classes,) and images.dtype.kind in "iu"
    if not is_counts or images.min(initial=0) < 0 or images.max(initial=0) > _MOST_IMAGES:
        raise InputError(
            f"Statistics: 'images' must be one whole number per class ({classes}); found {images.dtype} {images.shape}."
        )
    found: dict[str, NDArray[Any]] = {IMAGES: images.astype(np.int64)}
    for layer in layers:
        mean, variance = (np.asarray(statistics[part + layer]) for part in (MEAN, VARIANCE))
        if mean.ndim != 2 or mean.shape != variance.shape or len(mean) != classes:
            raise InputError(
                f"Statistics: {printable(MEAN + layer)} and {printable(VARIANCE + layer)} must both be [{classes}, "
                "channels]; found "
                f"{mean.shape} and {variance.shape}."
            )
        for part, values in ((MEAN, mean), (VARIANCE, variance)):
            rows = values[images > 0]
            if values.dtype.kind != "f" or not np.isfinite(rows).all() or (part == VARIANCE and (rows < 0).any()):
                raise InputError(f"Statistics: {printable(part + layer)} must be finite floats, a variance at least 0.")
            found[part + layer] = values.astype(np.float64)
    return found


def with_classes(
    statistics: Mapping[str, NDArray[Any]], numbers: NDArray[np.int64], classes: int
) -> dict[str, NDArray[Any]]:
    """The statistics with other class numbers: row i goes to numbers[i]; no images in the others.

    Raises InputError where a class with images has no number (-1).
    """
    rows = numbers[: len(statistics[IMAGES])]
    if len(rows) < len(statistics[IMAGES]) or (statistics[IMAGES][rows < 0] > 0).any():
        raise InputError("The statistics have classes that the members do not have.")
    found = {}
    for name, values in statistics.items():
        found[name] = np.zeros((classes, *values.shape[1:]), values.dtype)
        found[name][rows[rows >= 0]] = values[rows >= 0]
    return found


def moments(images: Images, layers: Sequence[str], network: Network | None, device: str = "cpu") -> dict[str, Moments]:
    """Moments of every image by layer. network: that which has the layers; None where 'pixels' is all that is asked.

    Raises InputError where the network lacks a layer.
    """
    import torch

    found: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {layer: [] for layer in layers}
    handles = []
    if any(layer != PIXELS for layer in layers):
        modules = {} if network is None else dict(network.named_modules())
        for layer in layers:
            if layer == PIXELS:
                continue
            if not isinstance(modules.get(layer), torch.nn.modules.batchnorm._BatchNorm):
                raise InputError(
                    f"Statistics: the network that is published with them has no BatchNorm layer '{layer}'."
                )

            def note(_: Any, inputs: tuple[torch.Tensor, ...], layer: str = layer) -> None:
                values = inputs[0].flatten(2).double() if inputs[0].ndim > 2 else inputs[0][:, :, None].double()
                found[layer].append((values.mean(2).cpu(), (values**2).mean(2).cpu()))

            handles.append(modules[layer].register_forward_pre_hook(note))
    try:
        with torch.inference_mode():
            if network is not None:
                network.to(device).eval()
            for batch in images.batches(_ROWS):
                if PIXELS in found:
                    rows = batch.permute(0, 2, 3, 1).flatten(1).double()
                    found[PIXELS].append((rows, rows**2))
                if network is not None and handles:
                    network(batch.to(device))
    finally:
        for handle in handles:
            handle.remove()
    return {
        layer: (torch.cat([one for one, _ in parts]).numpy(), torch.cat([two for _, two in parts]).numpy())
        for layer, parts in found.items()
    }


def class_statistics(
    images: Images, classes: int, layers: Sequence[str], network: Network | None = None, device: str = "cpu"
) -> dict[str, NDArray[Any]]:
    """The exact statistics of these images, class by class; zeros for a class without images."""
    counts = np.bincount(images.labels, minlength=classes)
    chosen = images.labels[None] == np.arange(classes)[:, None]
    weights = chosen / np.maximum(counts, 1)[:, None]
    found: dict[str, NDArray[Any]] = {IMAGES: counts.astype(np.int64)}
    for layer, (mean, square) in moments(images, layers, network, device).items():
        found[MEAN + layer] = weights @ mean
        found[VARIANCE + layer] = np.maximum(weights @ square - (weights @ mean) ** 2, 0)
    return found
