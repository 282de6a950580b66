"""Density ratio: is the release denser around a suspect than the population is?"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch.nn import functional

from privaudit.attack import Context, Evidence, ReleaseAttack, Seen
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.nearest_rows import nearest_rows

_SIDE = 16
_ROWS_PER_BLOCK = 1024
_SMALLEST_DISTANCE = 1e-3
_NEIGHBOURS = 5


class Embedding:
    """Whitened principal components of low-resolution images, fitted on the attacker's own images and the release.

    Each image is embedded as it is and mirrored; brightness and contrast are normalised away before.
    """

    def __init__(self, images: list[Images], dimensions: int) -> None:
        rows = torch.cat([self._pixels(part) for part in images])
        self._mean = rows.mean(0)
        _, spread, axes = torch.linalg.svd(rows - self._mean, full_matrices=False)
        kept = min(dimensions, int((spread > 1e-4 * spread[0]).sum()))
        # Square-root whitening: fine detail counts more than its variance, but less than noise would make it.
        scale = (spread[:kept] / len(rows) ** 0.5).clamp_min(1e-6) ** 0.5
        self._axes = axes[:kept].T / scale

    @staticmethod
    def _pixels(images: Images) -> torch.Tensor:
        parts = []
        for batch in images.blocks():
            size = (min(_SIDE, batch.shape[2]), min(_SIDE, batch.shape[3]))
            rows = functional.adaptive_avg_pool2d(batch, size).flatten(1)
            rows = rows - rows.mean(1, keepdim=True)
            parts.append(rows / rows.norm(dim=1, keepdim=True).clamp_min(0.05 * rows.shape[1] ** 0.5))
        return torch.cat(parts)

    def __call__(self, images: Images) -> torch.Tensor:
        """Float32 [N, dimensions]."""
        rows: torch.Tensor = (self._pixels(images) - self._mean) @ self._axes
        return rows


def _distances(rows: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    return torch.cdist(rows, others, compute_mode="use_mm_for_euclid_dist").clamp_min(_SMALLEST_DISTANCE)


def log_density(rows: torch.Tensor, centres: torch.Tensor, bandwidth: float) -> torch.Tensor:
    """Log of a Gaussian kernel density at each row, float32 [N]."""
    dimensions = rows.shape[1]
    constant = -0.5 * dimensions * np.log(2 * np.pi * bandwidth**2) - np.log(len(centres))
    densities: torch.Tensor = constant + torch.cat(
        [
            torch.logsumexp(-0.5 * (_distances(block, centres) / bandwidth) ** 2, dim=1)
            for block in torch.split(rows, _ROWS_PER_BLOCK)
        ]
    )
    return densities


def silverman(rows: torch.Tensor) -> float:
    """Silverman's rule-of-thumb bandwidth for a Gaussian kernel in d dimensions."""
    count, dimensions = rows.shape
    factor = (4 / (count * (dimensions + 2))) ** (1 / (dimensions + 4))
    return max(_SMALLEST_DISTANCE, float(factor * rows.std(0).mean()))  # equal rows have no spread


def domias(suspects: torch.Tensor, release: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """log p(x | release) - log p(x | reference), Gaussian kernels (van Breugel et al. 2023, arXiv 2302.12580)."""
    bandwidth = silverman(reference)
    return log_density(suspects, release, bandwidth) - log_density(suspects, reference, bandwidth)


def gen_lra(suspects: torch.Tensor, release: torch.Tensor, reference: torch.Tensor, nearest: int) -> torch.Tensor:
    """Sum over the released points s nearest to x of log p(s | reference and x) - log p(s | reference).

    With one bandwidth the refit is closed form: p(s | R and x) = (n p(s | R) + K_h(s - x)) / (n + 1)
    (Gen-LRA, in Synth-MIA, arXiv 2509.18014).
    """
    bandwidth = silverman(reference)
    known = log_density(release, reference, bandwidth)
    count, dimensions = len(reference), suspects.shape[1]
    constant = -0.5 * dimensions * np.log(2 * np.pi * bandwidth**2)
    parts = []
    for block in torch.split(suspects, _ROWS_PER_BLOCK):
        distances, places = nearest_rows(block, release, min(nearest, len(release)), _distances)
        kernel = constant - 0.5 * (distances / bandwidth) ** 2
        before = known[places]
        after = torch.logaddexp(np.log(count) + before, kernel) - np.log(count + 1)
        parts.append((after - before).sum(1))
    return torch.cat(parts)


def neighbours(suspects: torch.Tensor, release: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Calibrated nearest neighbours: log distances to the nearest own images less those to the nearest released."""
    parts = []
    for block in torch.split(suspects, _ROWS_PER_BLOCK):
        logs = [
            nearest_rows(block, others, min(_NEIGHBOURS, len(others)), _distances)[0].log()
            for others in (release, reference)
        ]
        # The closest neighbour counts most: a copy is one image, a memorised region several.
        weights = [torch.arange(log.shape[1], 0, -1.0) ** 2 for log in logs]
        mine, own = ((log * weight).sum(1) / weight.sum() for log, weight in zip(logs, weights, strict=True))
        parts.append(own - mine)
    return torch.cat(parts)


class DensityRatio(ReleaseAttack):
    """Data-only membership: the release's density around a suspect, against the attacker's own images.

    The attacker holds the released images and images of his own from the same source (`reference`), and trains
    nothing. He compares densities in a small embedding; a suspect where the release is denser than the population is
    likely a member. Sources: DOMIAS (van Breugel et al. 2023, arXiv 2302.12580), Gen-LRA and nearest-neighbour scores
    (Synth-MIA 2025, arXiv 2509.18014); written from the descriptions, in an embedding of our own.
    """

    name: ClassVar[str] = "density-ratio"
    version: ClassVar[int] = 1
    threat_model: ClassVar[str] = (
        "An outsider who holds the released images and a set of photographs of his own from the same source. Without "
        "training anything, he asks whether the release lies closer around a candidate photograph than the population "
        "does."
    )

    score: Literal["neighbours", "gen-lra", "domias"] = Field("neighbours", description="which density score is used")
    dimensions: int = Field(96, ge=2, description="dimensions of the embedding")
    nearest: int = Field(200, ge=1, description="released points that Gen-LRA looks at around each suspect")

    def attack(self, seen: Seen, suspects: Images, own: Context) -> Evidence:
        """Score: the larger log density ratio of the suspect and of its mirror image."""
        mine = own.own_images(self.name)
        embed = Embedding([mine, seen.images], self.dimensions)
        release, reference = embed(seen.images), embed(mine)
        size = max(2, min(len(release), len(reference)))
        if self.score == "domias":  # a kernel density depends on the size of its pool
            release, reference = (
                rows[torch.from_numpy(own.generator.permutation(len(rows))[:size])] for rows in (release, reference)
            )
        best = None
        for pixels in (suspects.pixels, suspects.pixels[:, :, ::-1]):
            rows = embed(Images(pixels, suspects.labels))
            if self.score == "neighbours":
                score = neighbours(rows, release, reference)
            elif self.score == "gen-lra":
                score = gen_lra(rows, release, reference, self.nearest)
            else:
                score = domias(rows, release, reference)
            best = score if best is None else torch.maximum(best, score)
            own.progress("densities", 1.0)
        if best is None:
            raise InputError("No suspects were given.")
        return Evidence(scores=best.numpy().astype(np.float64))
