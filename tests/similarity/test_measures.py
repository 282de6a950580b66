"""SSIM and PSNR: by hand, against torchmetrics, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from similarity_examples import noisy_pairs

from privaudit import weights
from privaudit.errors import InputError
from privaudit.similarity.measures import PSNR_CAP, psnr, psnr_name, ssim, ssim_kernel, ssim_name
from privaudit.similarity.perceptual import Backbone, lpips_distance
from privaudit.torchvision_compat import import_torchvision

Measure = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@pytest.mark.parametrize("side", [11, 12, 32, 64])
def test_ssim_is_that_of_torchmetrics_where_the_window_fits(side: int) -> None:
    """Both take a Gaussian window of 11 for sigma 1.5; torchmetrics also counts the 5 pixels of reflected border."""
    import_torchvision()
    from torchmetrics.functional.image import structural_similarity_index_measure

    a, b = noisy_pairs(side)
    _, everywhere = structural_similarity_index_measure(
        a, b, gaussian_kernel=True, sigma=1.5, data_range=1.0, reduction="none", return_full_image=True
    )
    inside = everywhere[..., 5 : side - 5, 5 : side - 5].mean((1, 2, 3))
    torch.testing.assert_close(ssim(a, b), inside, rtol=0, atol=1e-12)


def test_psnr_is_that_of_torchmetrics() -> None:
    """To the 1e-8 that keeps ours finite."""
    import_torchvision()
    from torchmetrics.functional.image import peak_signal_noise_ratio

    a, b = noisy_pairs(32)
    expected = peak_signal_noise_ratio(a, b, data_range=1.0, reduction="none", dim=(1, 2, 3))
    torch.testing.assert_close(psnr(a, b), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("height", "width", "kernel"), [(3, 3, 3), (4, 3, 3), (9, 8, 7), (13, 11, 11)])
def test_ssim_by_its_formula(height: int, width: int, kernel: int) -> None:
    """Gaussian weights, covariances of the window's population, mean over the places where the window fits."""
    assert ssim_kernel(height, width) == kernel
    rng = np.random.default_rng(height)
    a, b = rng.random((2, height, width))
    offsets = np.arange(kernel) - kernel // 2
    line = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2
    values = []
    for top in range(height - kernel + 1):
        for left in range(width - kernel + 1):
            x, y = (image[top : top + kernel, left : left + kernel] for image in (a, b))
            ux, uy = (window * x).sum(), (window * y).sum()
            vx, vy, vxy = (window * x**2).sum() - ux**2, (window * y**2).sum() - uy**2, (window * x * y).sum() - ux * uy
            c1, c2 = 0.01**2, 0.03**2
            values.append((2 * ux * uy + c1) * (2 * vxy + c2) / ((ux**2 + uy**2 + c1) * (vx + vy + c2)))
    found = ssim(torch.from_numpy(a)[None, None], torch.from_numpy(b)[None, None])
    assert found.item() == pytest.approx(np.mean(values), abs=1e-12)


def test_psnr_by_hand() -> None:
    black = torch.zeros(1, 3, 4, 4)
    assert psnr(black, black + 0.5).item() == pytest.approx(-10 * np.log10(0.25), abs=1e-5)
    assert psnr(black, black + 1).item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("measure", [ssim, psnr])
@pytest.mark.parametrize("channels", [1, 3])
def test_measures_keep_their_promises(measure: Measure, channels: int) -> None:
    a, b = noisy_pairs(16, channels=channels)
    values = measure(a, b)
    assert values.shape == (len(a),)
    torch.testing.assert_close(values, measure(b, a))
    torch.testing.assert_close(values, torch.cat([measure(a[:2], b[:2]), measure(a[2:], b[2:])]))
    highest = measure(a, a)
    torch.testing.assert_close(highest, torch.full_like(highest, 1.0 if measure is ssim else PSNR_CAP))
    assert (values < highest).all()


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (torch.zeros(2, 3, 16, 16), torch.zeros(1, 3, 16, 16), "two batches of one shape"),
        (torch.zeros(3, 16, 16), torch.zeros(3, 16, 16), "two batches of one shape"),
        (torch.zeros(1, 16, 16, 3), torch.zeros(1, 16, 16, 3), "two batches of one shape"),
        (torch.zeros(0, 3, 16, 16), torch.zeros(0, 3, 16, 16), "two batches of one shape"),
        (torch.zeros(1, 3, 16, 16).byte(), torch.zeros(1, 3, 16, 16).byte(), "one floating type"),
        (torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16).double(), "one floating type"),
        (torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16) - 1, r"values in \[0, 1\]; found -1 to -1"),
        (torch.full((1, 3, 16, 16), 255.0), torch.zeros(1, 3, 16, 16), r"values in \[0, 1\]"),
        (torch.full((1, 3, 16, 16), float("nan")), torch.zeros(1, 3, 16, 16), r"values in \[0, 1\]"),
    ],
)
def test_other_shapes_and_ranges_are_refused(a: torch.Tensor, b: torch.Tensor, message: str) -> None:
    unused = Backbone(weights.Stored("none", "", 0), torch.nn.Identity())
    for measure in (ssim, psnr, lambda a, b: lpips_distance(a, b, unused)):
        with pytest.raises(InputError, match=message):
            measure(a, b)


def test_ssim_needs_a_window() -> None:
    with pytest.raises(InputError, match="at least 3 pixels; found 2 x 9"):
        ssim(torch.zeros(1, 1, 2, 9), torch.zeros(1, 1, 2, 9))


def test_names_hold_the_parameters() -> None:
    assert ssim_name(32, 32) == "ssim (kernel 11, sigma 1.5, range 1)"
    assert ssim_name(8, 32) == "ssim (kernel 7, sigma 1.5, range 1)"
    assert psnr_name() == "psnr (dB, range 1, at most 80)"
