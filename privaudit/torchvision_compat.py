"""Import torchvision, also beside a torch whose operators its binary does not fit.

With torchvision from PyPI (built for CUDA) beside a CPU-only torch, `import torchvision` ends in
`RuntimeError: operator torchvision::nms does not exist`: its compiled operators did not load, and it describes two
of them to torch nevertheless. Declaring their schemas first mends the import. The operators stay without a kernel,
so calling them is still an error; nothing in this package does.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_MISSING = tuple(f"operator torchvision::{name} does not exist" for name in _SCHEMAS)
_declared: list[Any] = []  # a torch.library.Library withdraws its operators when it is collected


def import_torchvision() -> ModuleType:
    """The torchvision module. Raises what `import torchvision` raises, except for the one error named above."""
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if not any(message in str(error) for message in _MISSING):
            raise
    for name in [name for name in sys.modules if name == "torchvision" or name.startswith("torchvision.")]:
        del sys.modules[name]
    _declare()
    return importlib.import_module("torchvision")


def _declare() -> None:
    """Declare the operators that do not exist; real ones are left alone."""
    import torch

    make: Any = torch.library.Library
    library = make("torchvision", "FRAGMENT")
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)
    _declared.append(library)


def is_mended() -> bool:
    """Whether torchvision was imported by declaring the operators that its build lacks."""
    return bool(_declared)
