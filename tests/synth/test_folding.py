"""The matched network: same logits, same statistics, same gradient as plain hooks on the network itself."""

from __future__ import annotations

import pytest
import torch
from matching_examples import inputs_of_norms, network
from torch import Tensor, nn

from privaudit.errors import InputError
from privaudit.learning import Architecture, Network
from privaudit.synth.bn_matching.folding import MatchedNetwork
from privaudit.synth.bn_matching.moments import EAGER

NAMES = [
    "convnet",
    "resnet20",
    "resnet18",
    "torchvision:resnet18",
    "torchvision:densenet121",
    "torchvision:mobilenet_v2",
]


def compared(found: Network, side: int, groups: int = 2) -> None:
    channels = found.architecture.channels
    standardised = torch.randn(4, channels, side, side, generator=torch.Generator().manual_seed(1))
    matched = MatchedNetwork(found, "cpu", torch.float32, EAGER)
    gradients, values = [], []
    for mine in (True, False):
        leaf = standardised.clone().requires_grad_()
        if mine:
            logits, mean, variance = matched(leaf, groups)
        else:
            logits, seen = inputs_of_norms(found, leaf)
            grouped = [seen[layer].reshape(groups, 4 // groups, seen[layer].shape[1], -1) for layer in matched.layers]
            mean = torch.cat([part.mean((1, 3)) for part in grouped], 1)
            variance = torch.cat([part.var((1, 3), unbiased=False) for part in grouped], 1)
        (logits.square().mean() + mean.abs().sum() + variance.square().sum()).backward()  # type: ignore[no-untyped-call]
        assert leaf.grad is not None
        gradients.append(leaf.grad)
        values.append((logits.detach(), mean.detach(), variance.detach()))
    for found_, wanted in zip(*values, strict=True):
        torch.testing.assert_close(found_, wanted, rtol=2e-3, atol=2e-3)
    assert torch.norm(gradients[0] - gradients[1]) < 1e-2 * torch.norm(gradients[1])


@pytest.mark.parametrize("name", NAMES)
def test_agrees_with_plain_hooks(name: str) -> None:
    side = 32 if name.startswith("torchvision") else 16
    compared(network(name, side=side), side)


def test_grey_images_in_a_colour_network() -> None:
    compared(network("torchvision:resnet18", channels=1, side=32), 32)


def norms(found: Network) -> list[nn.BatchNorm2d]:
    return [module for module in found.modules() if isinstance(module, nn.BatchNorm2d)]


@pytest.mark.parametrize("factor", [0.0, 1e-9])
def test_channels_that_cannot_be_inverted_are_measured_in_front(factor: float) -> None:
    found = network("convnet")
    norms(found)[1].weight.data[3] = factor
    compared(found, 16)


def test_batch_norm_is_folded_where_it_can_be() -> None:
    matched = MatchedNetwork(network("resnet20"), "cpu", torch.float32, EAGER)
    kinds = [type(module) for module in matched._graph.modules()]
    assert nn.BatchNorm2d not in kinds
    assert len(matched.layers) == 19


def test_given_network_is_left_as_it_is() -> None:
    found = network("convnet")
    before = {name: value.clone() for name, value in found.state_dict().items()}
    MatchedNetwork(found, "cpu", torch.bfloat16, EAGER)
    assert all(torch.equal(value, before[name]) for name, value in found.state_dict().items())
    assert all(parameter.requires_grad for parameter in found.parameters())


def test_bfloat16_is_near() -> None:
    found = network("resnet20")
    standardised = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    exact = MatchedNetwork(found, "cpu", torch.float32, EAGER)(standardised, 1)
    near = MatchedNetwork(found, "cpu", torch.bfloat16, EAGER)(standardised, 1)
    for wanted, got in zip(exact[1:], near[1:], strict=True):
        assert torch.norm(wanted - got) < 0.03 * torch.norm(wanted)


class _Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(images) if images.sum() > 0 else images


def test_networks_that_cannot_serve_are_refused() -> None:
    plain = Network(Architecture(name="torchvision:vgg11", channels=3, classes=2, side=32))
    with pytest.raises(InputError, match="no BatchNorm"):
        MatchedNetwork(plain, "cpu", torch.float32, EAGER)
    found = network("convnet")
    found.body = _Branching()
    with pytest.raises(InputError, match="cannot be traced"):
        MatchedNetwork(found, "cpu", torch.float32, EAGER)
