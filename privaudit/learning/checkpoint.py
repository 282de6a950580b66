"""What a killed training needs to go on."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from privaudit.store import atomic_file

SECONDS_TO_LOSE = 5.0
"""The least time from the start, or one checkpoint, to the next: for small networks one costs more than an epoch."""

_HASH_BYTES = 16
_FORMAT = b"checkpoint 2"
"""In the hash, so that files of another format count as damaged."""


class Checkpoint:
    """Weights, average, momenta, what is done (epochs or steps) and numbers that are to be kept, in a file that starts
    with a hash of the rest; None: no file.
    """

    def __init__(
        self,
        path: Path | None,
        network: nn.Module,
        averaged: AveragedModel | None,
        optimizer: torch.optim.Optimizer,
        kept: Mapping[str, int] | None = None,
    ) -> None:
        self.path, self.network, self.averaged, self.optimizer = path, network, averaged, optimizer
        self.kept = dict(kept or {})
        self._saved = time.monotonic()

    def _parts(self) -> dict[str, Callable[[], Any]]:
        parts: dict[str, Callable[[], Any]] = {
            "network": self.network.state_dict,
            "optimizer": self.optimizer.state_dict,
        }
        return parts | ({} if self.averaged is None else {"averaged": self.averaged.state_dict})

    def save(self, done: int) -> None:
        """Write what there is after so many epochs or steps, where the last time is `SECONDS_TO_LOSE` ago."""
        if self.path is None or time.monotonic() - self._saved < SECONDS_TO_LOSE:
            return
        content = io.BytesIO()
        torch.save({"done": done, "kept": self.kept, **{name: part() for name, part in self._parts().items()}}, content)
        with atomic_file(self.path) as partial, partial.open("wb") as file:
            file.write(_hash(content.getbuffer()))
            file.write(content.getbuffer())
        self._saved = time.monotonic()

    def load(self) -> int:
        """Epochs or steps that are done already, with `kept` as it was then; 0 where there is no checkpoint, or it is
        damaged.
        """
        try:
            content = b"" if self.path is None else self.path.read_bytes()
        except OSError:
            return 0
        found, content = content[:_HASH_BYTES], content[_HASH_BYTES:]
        if found != _hash(content):
            return 0
        buffer = io.BytesIO(content)
        state = torch.load(buffer, map_location="cpu", weights_only=True)
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        self.kept = state["kept"]
        return int(state["done"])

    def remove(self) -> None:
        """Remove the file: the training is done."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _hash(content: bytes | memoryview) -> bytes:
    return hashlib.blake2b(content, digest_size=_HASH_BYTES, person=_FORMAT).digest()
