"""Can members and controls be compared at all? A classifier that never sees the release must not tell them apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from privaudit.images import Images
from privaudit.record import Estimate, Unit

FOLDS = 5
ALPHA = 0.01
LARGEST_AUC = 0.55
"""The upper bound of the blind baseline's AUC must stay below this, where there are 1,000 members and controls."""

PERMUTATIONS = 499

_ENOUGH_FOR_BOUND = 1000
_RIDGE = 0.01


def simple_features(images: Images) -> NDArray[np.float64]:
    """What a camera, a hospital or a file format leaves in an image: float64 [N, F].

    Brightness and its quantiles, contrast, sharpness, border strips and corners, 8-px blockiness, used grey levels,
    and a 6 x 6 thumbnail.
    """
    import torch
    from torch.nn import functional

    rows = []
    for batch in images.blocks():
        luma = batch.mean(1, keepdim=True)
        flat = luma.flatten(1)
        across, down = luma.diff(dim=3).abs(), luma.diff(dim=2).abs()
        edges = torch.stack([luma[:, 0, 0], luma[:, 0, -1]], 1), torch.stack([luma[:, 0, :, 0], luma[:, 0, :, -1]], 1)
        corner = max(2, luma.shape[2] // 16)
        corners = [
            part
            for place in (
                luma[:, 0, :corner, :corner],
                luma[:, 0, :corner, -corner:],
                luma[:, 0, -corner:, :corner],
                luma[:, 0, -corner:, -corner:],
            )
            for part in (place.flatten(1).mean(1), place.flatten(1).amax(1), place.flatten(1).amin(1))
        ]
        levels = (batch * 255).round().long().flatten(1)
        used = torch.zeros(len(batch), 256).scatter_(1, levels, 1.0)
        histogram = torch.zeros(len(batch), 256).scatter_add_(1, levels, torch.ones(levels.shape)) / levels.shape[1]
        combing = (histogram[:, 2:] - 2 * histogram[:, 1:-1] + histogram[:, :-2]).abs().sum(1)
        block_edges = across[:, 0, :, 7::8].flatten(1).mean(1) if across.shape[3] >= 8 else flat.new_zeros(len(batch))
        second = across.diff(dim=3).abs().flatten(1).mean(1), down.diff(dim=2).abs().flatten(1).mean(1)
        diagonal = luma[:, 0, 1:, 1:] - luma[:, 0, :-1, 1:] - luma[:, 0, 1:, :-1] + luma[:, 0, :-1, :-1]
        sharp = (across.flatten(1).mean(1), down.flatten(1).mean(1), *second, diagonal.abs().flatten(1).mean(1))
        sharpness = torch.stack(sharp, 1)
        contrast = flat.std(1, keepdim=True)
        columns = [
            batch.flatten(2).mean(2),
            batch.flatten(2).std(2),
            torch.quantile(flat, torch.tensor([0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]), dim=1).T,
            sharpness,
            torch.log(sharpness / (contrast + 0.01) + 1e-3),
            torch.cat([edge.flatten(2).mean(2) for edge in edges], 1),
            torch.cat([edge.flatten(2).std(2) for edge in edges], 1),
            torch.stack(corners, 1),
            (block_edges / (across.flatten(1).mean(1) + 1e-3))[:, None],
            torch.stack([used.sum(1) / 256, combing], 1),
            functional.adaptive_avg_pool2d(luma, (6, 6)).flatten(1),
        ]
        rows.append(torch.cat(columns, 1).double().numpy())
    return np.concatenate(rows)


def _fold_aucs(
    features: NDArray[np.float64], labels: NDArray[np.float64], fold: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Mean AUC over folds of a ridge classifier, for each column of labels (0 or 1) [U, L]; float64 [L]."""
    from scipy import stats

    total = np.zeros(labels.shape[1])
    for number in range(FOLDS):
        test, train = fold == number, fold != number
        design = features[train]
        gram = design.T @ design + _RIDGE * train.sum() * np.eye(design.shape[1])
        score = features[test] @ np.linalg.solve(gram, design.T @ (labels[train] - labels[train].mean(axis=0)))
        truth = labels[test]
        m = truth.sum(axis=0)
        c = len(truth) - m
        ranks = stats.rankdata(score, axis=0)
        total += ((ranks * truth).sum(axis=0) - m * (m + 1) / 2) / np.maximum(1, m * c)
    return total / FOLDS


def blind_baseline(
    members: Images,
    controls: Images,
    units: NDArray[np.str_],
    unit: Unit,
    rng: np.random.Generator,
) -> tuple[Estimate, float, bool] | None:
    """AUC of a cross-validated linear classifier on simple features, its two-sided p value, and whether it passed.

    The classifier is ridge regression on the features and their squares, averaged over the images of a unit. Its law
    under exchangeability comes from permuting the units' sides, because folds of one cross-validation depend on each
    other. units: unit of each member, then of each control. None where a pool has too few units to be split.
    """
    names, number = np.unique(units, return_inverse=True)
    truth = np.zeros(len(names))
    truth[number[: len(members)]] = 1.0
    n_members, n_controls = int(truth.sum()), int(len(names) - truth.sum())
    if min(n_members, n_controls) < 4 * FOLDS:
        return None
    features = np.concatenate([simple_features(members), simple_features(controls)])
    features = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-9)
    features = np.clip(features, -5, 5)
    features = np.concatenate([features, features**2 - (features**2).mean(axis=0)], axis=1)
    of_unit = np.zeros((len(names), features.shape[1]))
    np.add.at(of_unit, number, features)
    of_unit /= np.bincount(number)[:, None]
    fold = rng.permutation(len(names)) % FOLDS
    labels = np.stack([truth, *(rng.permutation(truth) for _ in range(PERMUTATIONS))], axis=1)
    aucs = _fold_aucs(of_unit, labels, fold)
    auc, innocent = float(aucs[0]), aucs[1:]
    error = float(innocent.std(ddof=1))
    p = float((1 + np.sum(np.abs(innocent - innocent.mean()) >= abs(auc - innocent.mean()))) / (1 + PERMUTATIONS))
    estimate = Estimate(
        estimate=auc,
        low=max(0.0, auc - 1.96 * error),
        high=min(1.0, auc + 1.96 * error),
        n_members=n_members,
        n_controls=n_controls,
        unit=unit,
        method=f"{FOLDS}-fold ridge classifier on simple features; law from {PERMUTATIONS} permutations",
        direction="descriptive",
    )
    bounded = estimate.high < LARGEST_AUC or min(n_members, n_controls) < _ENOUGH_FOR_BOUND
    return estimate, p, p > ALPHA and bounded
