"""Whether torch can compile kernels on this machine."""

from __future__ import annotations

import importlib.util
import os
import shutil


def has_compiler(device: str) -> bool:
    """Whether torch.compile can work here: a C++ compiler for the CPU, and Triton beside it for CUDA."""
    compiler = shutil.which(os.environ.get("CXX", "g++")) is not None
    triton = device != "cuda" or importlib.util.find_spec("triton") is not None
    return device in ("cpu", "cuda") and compiler and triton
