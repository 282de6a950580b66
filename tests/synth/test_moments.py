"""The fused moments: values and gradients against plain autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from privaudit.compiling import has_compiler
from privaudit.synth.bn_matching.moments import EAGER, Kernels, Moments, kernels

SHAPES = st.tuples(
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.integers(0, 9)
)


def measured(y: torch.Tensor, groups: int, passes: Kernels = EAGER) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    out, mean, square = Moments.apply(y, groups, passes)  # type: ignore[no-untyped-call,unused-ignore]
    return out, mean, square


def test_by_hand() -> None:
    y = torch.tensor([[[[1.0, 3.0]]], [[[5.0, 7.0]]]], requires_grad=True)
    out, mean, square = measured(y, 2)
    assert torch.equal(out, y)
    assert mean.tolist() == [[2.0], [6.0]]
    assert square.tolist() == [[5.0], [37.0]]
    (3 * mean[0, 0] + square[1, 0]).backward()  # type: ignore[no-untyped-call]
    assert y.grad is not None
    assert y.grad.flatten().tolist() == [1.5, 1.5, 5.0, 7.0]


@settings(max_examples=60, deadline=None)
@given(SHAPES)
def test_gradient_is_that_of_plain_autograd(shape: tuple[int, ...]) -> None:
    groups, each, channels, height, width, seed = shape
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(groups * each, channels, height, width, generator=generator)
    weights = torch.randn(values.shape, generator=generator)
    factors = torch.randn(2, groups, channels, generator=generator)
    gradients = []
    for fused in (True, False):
        y = values.clone().requires_grad_()
        if fused:
            out, mean, square = measured(y, groups)
        else:
            out, flat = y, y.reshape(groups, each, channels, -1)
            mean, square = flat.mean((1, 3)), (flat**2).mean((1, 3))
        ((out * weights).sum() + (factors[0] * mean).sum() + (factors[1] * square**2).sum()).backward()  # type: ignore[no-untyped-call]
        assert y.grad is not None
        gradients.append(y.grad)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


def test_moments_alone_and_output_alone() -> None:
    y = torch.randn(4, 2, 3, 3, requires_grad=True)
    measured(y, 2)[1].sum().backward()  # type: ignore[no-untyped-call]
    assert y.grad is not None
    torch.testing.assert_close(y.grad, torch.full_like(y, 1 / 18))
    y.grad = None
    measured(y, 2)[0].sum().backward()  # type: ignore[no-untyped-call]
    assert y.grad is not None
    assert torch.equal(y.grad, torch.ones_like(y))


def test_what_was_measured_must_not_be_overwritten() -> None:
    y = torch.randn(2, 1, 2, 2, requires_grad=True)
    inner = y * 1.0
    out, mean, _ = measured(inner, 1)
    with pytest.raises(RuntimeError, match=r"inplace|in-place"):
        (out.relu_().sum() + mean.sum()).backward()  # type: ignore[no-untyped-call]


@pytest.mark.slow
@pytest.mark.skipif(not has_compiler("cpu"), reason="no C++ compiler")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compiled_kernels_agree_with_plain_ones(dtype: torch.dtype) -> None:
    compiled = kernels("cpu", dtype)
    assert compiled is not EAGER
    flat = torch.randn(3, 200, 24, generator=torch.Generator().manual_seed(0)).to(dtype)
    for found, wanted in zip(compiled.sums(flat), EAGER.sums(flat), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    constant, slope = torch.randn(3, 24), torch.randn(3, 24)
    found = compiled.add_gradient(flat, flat, constant, slope)
    torch.testing.assert_close(found, EAGER.add_gradient(flat, flat, constant, slope), rtol=1e-2, atol=1e-2)


def test_without_a_compiler_the_plain_kernels_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert not has_compiler("cpu")
    assert kernels("cpu", torch.float32) is EAGER
    assert not has_compiler("mps")


def test_large_mean_keeps_its_variance() -> None:
    """Float32 sums of squares lose digits where the mean is large beside the spread; 1e-3 of it are kept here."""
    rng = np.random.default_rng(0)
    values = (10 + rng.normal(0, 0.1, (64, 2, 16, 16))).astype(np.float32)
    _, mean, square = measured(torch.from_numpy(values), 1)
    variance = (square - mean**2).numpy()[0]
    np.testing.assert_allclose(variance, values.astype(np.float64).var((0, 2, 3)), rtol=2e-2)
