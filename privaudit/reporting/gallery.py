"""Pictures of the evidence edition: what was recovered, beside its source and the nearest images. Private."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privaudit.evidence import Gallery
from privaudit.reporting.explanations import ARMS

_SIDE = 96
_COLUMNS = {
    "shown recovered": "Recovered",
    "shown source": "Its source",
    "shown member": "Nearest member",
    "shown control": "Nearest control",
}


@dataclass(frozen=True)
class Picture:
    """One image of a row. data: a data URI. words: what it shows, for those who cannot see it."""

    data: str
    words: str


@dataclass(frozen=True)
class GalleryView:
    """Rows of pictures of one arm. columns: what stands in each."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Picture, ...], ...]


def gallery_views(arms: Mapping[str, Gallery]) -> tuple[GalleryView, ...]:
    """The rows of all arms that have pictures."""
    views = []
    for arm in ARMS:
        gallery = arms.get(arm)
        if not gallery:
            continue
        rows = [
            tuple(
                Picture(data_uri(gallery[name][number]), f"{title}, {ARMS[arm][0]}, row {number + 1}")
                for name, title in _COLUMNS.items()
            )
            for number in range(len(gallery["shown recovered"]))
        ]
        views.append(GalleryView(ARMS[arm][0], tuple(_COLUMNS.values()), tuple(rows)))
    return tuple(views)


def data_uri(pixels: NDArray[np.uint8]) -> str:
    """An image [H, W, C] as PNG within the page, each pixel enlarged to whole blocks where it is small."""
    from PIL import Image

    factor = max(1, _SIDE // max(pixels.shape[:2]))
    enlarged = pixels.repeat(factor, axis=0).repeat(factor, axis=1)
    content = io.BytesIO()
    Image.fromarray(enlarged[..., 0] if enlarged.shape[2] == 1 else enlarged).save(content, "PNG")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode('ascii')}"
