"""Whether to compute in bfloat16: decided by the processor and the network alone, so that a run can be repeated."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from privaudit.learning.networks import Architecture
from privaudit.manifest import instruction_sets

WORTH_IT = {"cpu": 5e7, "cuda": 1e9}
"""Operations of the convolutions for one batch, forwards, from which on bfloat16 is faster than float32.

Below it, what surrounds the products takes longest. On a CPU by `benchmarks.precision`; on GPUs a guess.
"""


@lru_cache(maxsize=64)
def bfloat16_pays(architecture: Architecture, batch_size: int, device: str) -> bool:
    """Whether a training step in bfloat16 is expected to be faster than in float32. It says the same each time.

    Networks with GroupNorm are slower in bfloat16, and so are those that are not made of convolutions.
    """
    if not _computes_bfloat16(device):
        return False
    with torch.device("meta"):
        body = architecture.body()
        images = torch.empty(2, architecture.channels, architecture.side, architecture.side)
    if any(isinstance(layer, nn.GroupNorm) for layer in body.modules()):
        return False
    with FlopCounterMode(display=False) as counter:
        body(images)
    convolutions = int(counter.get_flop_counts()["Global"].get(torch.ops.aten.convolution, 0))
    return convolutions / len(images) * batch_size >= WORTH_IT[device]


def _computes_bfloat16(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    return device == "cpu" and bool({"avx512_bf16", "amx_bf16"} & set(instruction_sets()))
