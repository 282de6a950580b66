"""A network: a body by name, with the standardisation of its inputs; kept as named arrays or as a safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from privaudit.attack import Settings
from privaudit.errors import InputError, suggestion
from privaudit.learning.bodies import MLP, RESIDUAL, Coloured, ConvNet, LeNet, residual
from privaudit.store import atomic_file
from privaudit.torchvision_compat import import_torchvision

TORCHVISION = "torchvision:"
SQUARE = {"lenet": LeNet, "mlp": MLP}
"""Bodies for square images only."""

GROUPNORM = "convnet-groupnorm"
_GROUPS = 8

NAMES = ("convnet", GROUPNORM, *SQUARE, *RESIDUAL)
SIDES = (8, 1024)
_METADATA = "privaudit network"


def check_name(name: str) -> None:
    """Raise InputError for a network that is neither of this project nor asked of torchvision."""
    if name not in NAMES and not name.startswith(TORCHVISION):
        raise InputError(f"There is no network '{name}'. {suggestion(name, (*NAMES, 'torchvision:NAME'))}")


class Architecture(Settings):
    """What a network is before it has weights.

    name: 'convnet', and the same with GroupNorm, 'convnet-groupnorm'; 'resnet18', 'resnet34' (CIFAR stem); 'resnet20',
    'resnet56' (CIFAR, option A); 'lenet', 'mlp' (no BatchNorm, square images only); 'torchvision:NAME', any classifier
    of torchvision, for three channels (grey is repeated).
    """

    name: str = Field(
        description="convnet, convnet-groupnorm, resnet18, resnet34, resnet20, resnet56, lenet, mlp, or "
        "torchvision:NAME"
    )
    channels: Literal[1, 3] = Field(description="channels of the images")
    classes: int = Field(ge=1, description="number of classes")
    side: int = Field(ge=SIDES[0], le=SIDES[1], description="smaller side of the images in pixels")

    def body(self) -> nn.Module:
        """A body with new weights, drawn from torch's global generator.

        Raises InputError for an unknown name, and for images that are too small for it.
        """
        if self.name == "convnet":
            return ConvNet(self.channels, self.classes, self.side)
        if self.name == GROUPNORM:
            return ConvNet(self.channels, self.classes, self.side, groups=_GROUPS)
        if self.name in SQUARE:
            return SQUARE[self.name](self.channels, self.classes, self.side)
        if self.name in RESIDUAL:
            return residual(self.name, self.channels, self.classes)
        check_name(self.name)
        models = import_torchvision().models
        wanted, known = self.name.removeprefix(TORCHVISION), models.list_models(module=models)
        if wanted not in known:
            raise InputError(f"torchvision has no classifier '{wanted}'. {suggestion(wanted, known)}")
        extra = {"aux_logits": False} if wanted in ("googlenet", "inception_v3") else {}
        if extra:  # both warn that their slow initialisation will change
            extra["init_weights"] = True
        body = models.get_model(wanted, weights=None, num_classes=self.classes, **extra)
        body = Coloured(body) if self.channels == 1 else body
        _try_size(body, self)
        return body


def _try_size(body: nn.Module, architecture: Architecture) -> None:
    """Raise InputError where the body cannot take the images; nothing is computed, for meta tensors have no content."""
    named = {name: tensor.to("meta") for name, tensor in (*body.named_parameters(), *body.named_buffers())}
    side = architecture.side
    images = torch.empty(2, architecture.channels, side, side, device="meta")
    try:
        torch.func.functional_call(body.eval(), named, (images,))
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise InputError(
            f"The network '{architecture.name}' cannot take images of {side} x {side} pixels ({reason}). "
            "Choose another network."
        ) from None
    body.train()


class Network(nn.Module):
    """A classifier of images in [0, 1]: float32 [N, channels, H, W] to logits [N, classes].

    mean, std: [channels], what its inputs are standardised with.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.body = architecture.body()
        self.register_buffer("mean", torch.full((architecture.channels,), 0.5))
        self.register_buffer("std", torch.full((architecture.channels,), 0.5))

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes]."""
        logits: Tensor = self.body((images - self.mean[:, None, None]) / self.std[:, None, None])
        return logits

    def set_standardisation(self, mean: NDArray[np.floating], std: NDArray[np.floating]) -> None:
        """Fix what inputs are standardised with, one number per channel of images in [0, 1]."""
        self.mean.copy_(torch.as_tensor(np.asarray(mean, np.float32)))
        self.std.copy_(torch.as_tensor(np.asarray(std, np.float32)).clamp_min(1e-3))

    @property
    def parameter_count(self) -> int:
        """Number of trained parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All weights and buffers by name, and the architecture, for the store."""
        named = {name: value.detach().cpu().numpy().copy() for name, value in self.state_dict().items()}
        text = self.architecture.model_dump_json().encode()
        return {**named, _METADATA: np.frombuffer(text, dtype=np.uint8)}

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Network:
        """The network that `arrays` came from, in evaluation mode."""
        network = Network(Architecture.model_validate_json(arrays[_METADATA].tobytes()))
        named = {name: torch.from_numpy(np.array(value)) for name, value in arrays.items() if name != _METADATA}
        network.load_state_dict(named)
        return network.eval()

    def save(self, path: Path) -> None:
        """Write a safetensors file that holds weights and architecture."""
        from safetensors.torch import save_file

        tensors = {name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()}
        with atomic_file(path) as partial:
            save_file(tensors, partial, metadata={_METADATA: self.architecture.model_dump_json()})


def last_linear(network: nn.Module) -> nn.Linear | None:
    """The linear layer that is defined last: in a classifier, the one that gives the logits."""
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    return linear[-1] if linear else None


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file. Raises InputError where it is none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except FileNotFoundError:
        raise InputError(f"The weights '{path}' do not exist.") from None
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"'{path.name}' is no readable safetensors file ({error}). Give weights as safetensors."
        ) from None


def load_network(path: Path) -> Network:
    """A network that `Network.save` wrote, in evaluation mode. Raises InputError for any other file."""
    tensors, metadata = read_safetensors(path)
    try:
        network = Network(Architecture.model_validate(json.loads(metadata[_METADATA])))
    except (KeyError, ValueError):
        raise InputError(f"'{path.name}' does not say which network its weights belong to.") from None
    return _fill(network, network, tensors, path)


def load_body(network: Network, path: Path) -> Network:
    """Fill the body of `network` with weights from another program (a safetensors file, names as in the body).

    Buffers that only count batches may be missing. Returns the network in evaluation mode; raises InputError where
    names or shapes differ.
    """
    tensors, _ = read_safetensors(path)
    return _fill(network, network.body, tensors, path)


def _fill(network: Network, part: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> Network:
    wrong = misfits(
        {name: tuple(value.shape) for name, value in part.state_dict().items()},
        {name: tuple(value.shape) for name, value in tensors.items()},
    )
    if wrong:
        raise InputError(f"The weights in '{path.name}' do not fit the network '{network.architecture.name}': {wrong}.")
    part.load_state_dict(dict(tensors), strict=False)
    return network.eval()


def misfits(wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> str:
    """What keeps tensors of the shapes `found` from being the state `wanted`, in words; empty where they are.

    Buffers that only count batches may be missing.
    """
    needed = {name for name in wanted if not name.endswith("num_batches_tracked")}
    wrong = [
        *sorted(f"{name} is missing" for name in needed - found.keys()),
        *sorted(f"{name} is not known" for name in found.keys() - wanted.keys()),
        *sorted(
            f"{name} is {found[name]} instead of {wanted[name]}"
            for name in wanted.keys() & found.keys()
            if found[name] != wanted[name]
        ),
    ]
    more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    return "; ".join(wrong[:3]) + more
