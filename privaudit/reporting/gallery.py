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

_HALVES = (
    "The first half are the recovered images that lie nearest to a member, compared with controls; the others were "
    "drawn at random."
)


@dataclass(frozen=True)
class Picture:
    """One cell of a row. data: a data URI, empty where only words stand. words: what it shows."""

    data: str
    words: str


@dataclass(frozen=True)
class GalleryView:
    """Rows of pictures of one arm. columns: what stands in each."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Picture, ...], ...]
    note: str = ""


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
        views.append(GalleryView(f"Recovered: {ARMS[arm][0]}", tuple(_COLUMNS.values()), tuple(rows), _HALVES))
    return tuple(views)


def data_uri(pixels: NDArray[np.uint8]) -> str:
    """An image [H, W, C] as PNG within the page: the longer side about 96 pixels, small ones in whole blocks."""
    from PIL import Image

    factor = max(1, _SIDE // max(pixels.shape[:2]))
    enlarged = pixels.repeat(factor, axis=0).repeat(factor, axis=1)
    image = Image.fromarray(enlarged[..., 0] if enlarged.shape[2] == 1 else enlarged)
    image.thumbnail((_SIDE, _SIDE))
    content = io.BytesIO()
    image.save(content, "PNG")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode('ascii')}"
