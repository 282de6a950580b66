"""Descriptors of many images, as tasks of their own: each part is described once for all who ask for the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from privaudit.calls import Call, compute
from privaudit.images import Images
from privaudit.store import Arrays


def described(
    parts: Sequence[Images],
    task: str,
    arguments: Mapping[str, Any],
    inputs: Mapping[str, Arrays],
    facts: Mapping[str, Any],
) -> list[Tensor]:
    """The 'rows' that `task` finds for the images of each part, which it gets as input 'images' beside `inputs`."""
    calls = [
        Call(
            f"describing {len(part):,} images",
            task,
            arguments,
            {**inputs, "images": {"pixels": part.pixels}},
            facts,
        )
        for part in parts
    ]
    return [torch.from_numpy(np.array(found["rows"])) for found in compute(*calls)]
