"""gradient-ranking: known candidates are compared with the gradients that were seen, and nothing is reconstructed."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from privaudit.attack import Context, Evidence, Seen, Sight
from privaudit.attacks.gradient_matching import GradientMatching, victim
from privaudit.attacks.gradient_matching.candidate_gradients import candidate_features, random_folding
from privaudit.attacks.gradient_matching.gradients import Observed
from privaudit.attacks.gradient_matching.settings import ThreatModel, VictimSettings
from privaudit.images import Images, concatenate
from privaudit.learning import Network
from privaudit.release import Release

_RIDGE = 1e-6
"""Part of the mean variance that is added to all: directions in which candidates hardly differ are rounding."""
_SMALLEST = 1e-30
_BLOCK = 128


class GradientRanking(VictimSettings):
    """Candidates ranked by the gradients of a network, as an honest-but-curious server of federated learning sees them.

    The attacker has candidates for the images of a batch. He computes the gradient that each would give alone, and asks
    how much better the gradient of the batch is explained with it than without: the logarithm of a ratio of
    likelihoods, all others being drawn from the same candidates. Clipping and noise are taken into account. After
    Hayes, Mahloujifar, Balle 2023 (arXiv 2302.07225), who rank a finite set of candidates by scalar products with noisy
    gradients.
    """

    name: ClassVar[str] = "gradient-ranking"
    version: ClassVar[int] = 1
    sees: ClassVar[frozenset[Sight]] = frozenset({Sight.GRADIENTS, Sight.PARAMETERS})
    threat_model: ClassVar[ThreatModel] = ThreatModel(
        "Someone who takes part in training, such as the server of federated learning, and who has candidates for the "
        "images. He never sees the released images; he sees a network that is trained on them, and the gradient that "
        "each of some small batches gives."
    )

    def _victims(self) -> GradientMatching:
        return GradientMatching(**self.model_dump())

    def reach(self, n_release: int) -> int:
        """All images of all batches."""
        return self._victims().reach(n_release)

    def expose(self, release: Release, world: Context) -> Seen:
        """The network and the gradient of each batch, as for `gradient-matching`."""
        return self._victims().expose(release, world)

    def attack(self, seen: Seen, suspects: Images, own: Context) -> Evidence:
        """Score every suspect. Diagnostics: how far the best are ahead, and how much of the gradients they explain."""
        observed = victim.observed(seen.arrays, self.batch_norm, own.device, self.sending)
        known = suspects if own.reference is None else concatenate([suspects, own.reference])
        network = observed.network if self.batch_norm == "evaluation" else _with_statistics(observed.network, known)
        folding = random_folding(network, torch.Generator().manual_seed(int(own.generator.integers(2**62))))

        def report(share: float) -> None:
            own.progress("gradients of the candidates", share)

        candidates = candidate_features(network.eval(), known, folding, self.clip_norm, report)
        targets = folding.features(observed.gradients)
        noise = folding.variance * (self.noise_multiplier * (self.clip_norm or 0)) ** 2 / observed.batch_size
        ratios = log_likelihood_ratios(candidates, targets, observed.batch_size, noise)[:, : len(suspects)]
        scores = torch.logsumexp(ratios, 0)
        return Evidence(
            scores=np.asarray(scores.cpu().numpy(), dtype=np.float64),
            diagnostics=_margins(ratios, candidates, targets, observed),
        )


def log_likelihood_ratios(candidates: Tensor, targets: Tensor, batch_size: int, noise: float = 0.0) -> Tensor:
    """How much likelier each batch is with each candidate in it than without, float64 [victims, candidates].

    candidates: [N, features] of the gradient of each alone. targets: [victims, features], means over the batch. The
    other images of the batch are taken for draws from a normal law with the candidates' mean and covariance, so that
    the ratio is x·t - x·x / (2 batch_size), x and t being candidate and target less the mean, in units of that
    covariance. noise: what a defence adds to each variance, times the batch size.
    """
    candidates, targets = candidates.double(), targets.double()
    mean = candidates.mean(0)
    centred = candidates - mean
    covariance = centred.T @ centred / len(centred)
    variances = covariance.diagonal()
    variances += noise + (_RIDGE * variances.mean()).clamp_min(_SMALLEST)
    factor = torch.linalg.cholesky(covariance)
    white, wanted = (torch.linalg.solve_triangular(factor, part.T, upper=False) for part in (centred, targets - mean))
    found: Tensor = wanted.T @ white - white.square().sum(0) / (2 * batch_size)
    return found


def _with_statistics(network: Network, images: Images) -> Network:
    """The network with running statistics of these images: what a batch of such images would roughly have."""
    layers = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
    with torch.no_grad():
        for batch in images.batches(_BLOCK):
            if len(batch) > 1:
                network(batch.to(network.mean.device))
    return network


def _margins(ratios: Tensor, candidates: Tensor, targets: Tensor, observed: Observed) -> dict[str, float]:
    """Of the median batch: by how much its last chosen candidate is ahead of the next; and what the chosen leave."""
    size = min(observed.batch_size, ratios.shape[1] - 1)
    if size < 1:
        return {}
    best = ratios.topk(size + 1, 1)
    margins = best.values[:, size - 1] - best.values[:, size]
    rests: list[float] = []
    for target, rows in zip(targets, best.indices[:, :size], strict=True):
        columns = candidates[rows].T.double()
        fitted = columns @ torch.linalg.lstsq(columns, target.double()[:, None]).solution
        rests.append(float((fitted[:, 0] - target).norm() / target.norm().clamp_min(1e-30)))
    return {"median margin": float(margins.median()), "median rest": _median(rests)}


def _median(values: list[float]) -> float:
    found: NDArray[np.float64] = np.asarray(values)
    return float(np.median(found))
