"""The nearest descriptors, in blocks, are those of the whole matrix."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from privaudit import nearest_rows as module
from privaudit.nearest_rows import nearest_rows, unlikeness


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 40), st.integers(1, 12), st.integers(1, 9))
def test_as_of_the_whole_matrix(seed: int, rows: int, others: int, count: int, width: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    ours, theirs = (
        torch.nn.functional.normalize(torch.randn(number, 5, generator=generator)) for number in (rows, others)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_ROWS", 4)
        patch.setattr(module, "_OTHERS", width)
        values, places = nearest_rows(ours, theirs, count, unlikeness)
    whole = unlikeness(ours, theirs)
    right = whole.topk(min(count, others), 1, largest=False)
    torch.testing.assert_close(values, right.values)
    torch.testing.assert_close(whole.gather(1, places), values)


def test_any_distance_will_do() -> None:
    rows, others = torch.tensor([[0.0], [10.0]]), torch.tensor([[9.0], [1.0], [4.0]])
    values, places = nearest_rows(rows, others, 2, torch.cdist)
    assert values.tolist() == [[1.0, 4.0], [1.0, 6.0]]
    assert places.tolist() == [[1, 2], [0, 2]]
