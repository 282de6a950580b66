"""Whether bfloat16 pays for a network on this machine: a trial of about one second."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch.nn import functional

from privaudit.learning.networks import Architecture, Network
from privaudit.learning.training import autocast, seeded

MARGIN = 1.2
"""bfloat16 must be this much faster, so that a close call is not decided by chance."""

_SECONDS = 1.0
_MOST_PIXELS = 2**16


def bfloat16_pays(architecture: Architecture, batch_size: int, device: str) -> bool:
    """Whether a training step in bfloat16 is faster than in float32 by `MARGIN`: medians of interleaved steps."""
    if device == "mps":
        return False
    side = architecture.side
    size = max(2, min(batch_size, _MOST_PIXELS // side**2))
    with seeded(0):
        network = Network(architecture).to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        images = torch.rand(size, architecture.channels, side, side)
    images = images.to(device, memory_format=torch.channels_last)
    labels = torch.zeros(size, dtype=torch.int64, device=device)
    seconds: dict[bool, list[float]] = {False: [], True: []}
    started = time.perf_counter()
    while time.perf_counter() - started < _SECONDS or len(seconds[True]) < 3:
        for bfloat16, found in seconds.items():
            before = time.perf_counter()
            with autocast(device, bfloat16):
                logits = network(images)
            functional.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
            if device == "cuda":
                torch.cuda.synchronize()
            found.append(time.perf_counter() - before)
    first = 1  # the first step of each also chooses its kernels
    return float(np.median(seconds[False][first:])) > MARGIN * float(np.median(seconds[True][first:]))
