"""The contrastive loss of self-supervised networks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def nt_xent(first: Tensor, second: Tensor, temperature: float, people: Tensor | None = None) -> Tensor:
    """Normalised-temperature cross-entropy of N pairs, rows of length 1 [N, D]: each row must know its partner.

    All other rows of both sides are its negatives (Chen et al. 2020, arXiv 2002.05709, equation 1), but those of the
    same person where `people`, int64 [N], tells who is shown in each pair.
    """
    count = len(first)
    rows = torch.cat([first, second])
    who = (torch.arange(count, device=rows.device) if people is None else people).repeat(2)
    partner = (torch.arange(2 * count, device=rows.device) + count) % (2 * count)
    hidden = who[:, None] == who[None, :]
    hidden[torch.arange(2 * count), partner] = False
    logits = (rows @ rows.T / temperature).masked_fill(hidden, float("-inf"))
    return functional.cross_entropy(logits, partner)
