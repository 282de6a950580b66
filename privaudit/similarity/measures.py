"""SSIM and PSNR of pairs of images, by piq: one value per pair, every convention said aloud."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

from privaudit.errors import InputError
from privaudit.torchvision_compat import import_torchvision

if TYPE_CHECKING:
    import torch

SMALLEST_SIDE = 3
"""Least height and width, in pixels, for which SSIM has a window to look through."""

PSNR_CAP = 80.0
"""PSNR of identical images in dB: piq adds 1e-8 to the mean squared error."""

_SIGMA = 1.5


def ssim_kernel(height: int, width: int) -> int:
    """Side of the Gaussian window: 11 pixels, or the largest odd number that fits into a smaller image."""
    side = min(11, height, width)
    return side if side % 2 else side - 1


def ssim_name(height: int, width: int) -> str:
    """The statistic with its parameters, for images of this size."""
    return f"ssim (kernel {ssim_kernel(height, width)}, sigma {_SIGMA}, range 1)"


def ssim(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Structural similarity of each pair, [N] in [-1, 1]; 1 for identical images, higher = more alike.

    a, b: float [N, C, H, W], C in {1, 3}, in [0, 1], sides of at least 3 pixels.
    A Gaussian window (`ssim_kernel`, sigma 1.5) at every place where it fits whole, K1 = .01, K2 = .03, data range
    1; never downsampled; mean over places and channels. Raises InputError for other shapes or values.

    Wang, Bovik, Sheikh, Simoncelli 2004, doi 10.1109/TIP.2003.819861. Values of different windows, paddings or
    libraries cannot be compared.
    """
    check_pairs(a, b)
    height, width = a.shape[2:]
    if min(height, width) < SMALLEST_SIDE:
        raise InputError(f"SSIM needs sides of at least {SMALLEST_SIDE} pixels; found {height} x {width}.")
    values: torch.Tensor = _piq().ssim(
        a,
        b,
        kernel_size=ssim_kernel(height, width),
        kernel_sigma=_SIGMA,
        data_range=1.0,
        reduction="none",
        downsample=False,
    )
    return values


def psnr_name() -> str:
    """The statistic with its parameters."""
    return f"psnr (dB, range 1, at most {PSNR_CAP:g})"


def psnr(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Peak signal-to-noise ratio of each pair in dB, [N] in [0, 80]; higher = more alike.

    -10 log10(mean squared error over all channels + 1e-8): identical images give 80 dB, not infinity.
    a, b: float [N, C, H, W], C in {1, 3}, in [0, 1]. Raises InputError for other shapes or values.
    """
    check_pairs(a, b)
    values: torch.Tensor = _piq().psnr(a, b, data_range=1.0, reduction="none")
    return values


def check_pairs(a: torch.Tensor, b: torch.Tensor) -> None:
    """Raise InputError unless both are batches of one shape [N, 1 or 3, H, W], floating, within [0, 1]."""
    if a.shape != b.shape or a.ndim != 4 or a.shape[1] not in (1, 3) or not a.numel():
        raise InputError(
            f"Pairs of images need two batches of one shape [N, 1 or 3, H, W]; found {list(a.shape)} and "
            f"{list(b.shape)}."
        )
    for batch in (a, b):
        if not batch.is_floating_point() or a.dtype != b.dtype:
            raise InputError(f"Pairs of images need one floating type; found {a.dtype} and {b.dtype}.")
        low, high = float(batch.amin()), float(batch.amax())
        if not (low >= 0 and high <= 1):
            raise InputError(f"Pairs of images need values in [0, 1]; found {low:g} to {high:g}.")


def _piq() -> ModuleType:
    import_torchvision()
    import piq

    module: ModuleType = piq
    return module
