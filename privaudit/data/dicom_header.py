"""What a DICOM file declares about its image: read from its header, and refused where it is no single grey image.

Source: DICOM PS3.3 C.7.6.3 (image pixel), C.11.1 (modality LUT), C.11.2 (VOI LUT); PS3.10 7.1 (file meta information).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from privaudit.data.decoded import MAX_PIXELS, Window, too_large
from privaudit.errors import InputError

KEYWORDS = (
    *("SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns", "BitsAllocated"),
    *("BitsStored", "HighBit", "PixelRepresentation", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction"),
)
"""The elements that are read; no others are."""

_COLOURS = {
    name: f" ({name})" for name in ("RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_RCT")
}


@dataclass(frozen=True)
class Frame:
    """What a file declares about its one image. own: its own window, after rescaling; compressed: by RLE."""

    height: int
    width: int
    allocated: int
    stored: int
    signed: bool
    slope: float
    intercept: float
    inverted: bool
    own: Window | None
    compressed: bool

    @property
    def rescaled(self) -> bool:
        """Whether slope or intercept change the stored values."""
        return (self.slope, self.intercept) != (1.0, 0.0)

    @property
    def deep(self) -> bool:
        """Whether the values need a window: more than 8 bits, signed, or rescaled."""
        return self.stored > 8 or self.signed or self.rescaled


def transfer_syntax(file: IO[bytes]) -> str:
    """The transfer syntax from the file meta group, which is always Explicit VR Little Endian."""
    file.seek(132)
    head = file.read(2**16)
    at = 0
    while head[at : at + 2] == b"\2\0":
        element = struct.unpack_from("<H", head, at + 2)[0]
        wide = head[at + 4 : at + 6] in (b"OB", b"OW", b"UN", b"UT", b"SQ")
        length = struct.unpack_from("<I" if wide else "<H", head, at + 8 if wide else at + 6)[0]
        start = at + (12 if wide else 8)
        if element == 0x0010:
            value = head[start : start + length].rstrip(b"\0 ").decode("ascii")
            if value and set(value) <= set("0123456789."):
                return value
            raise ValueError
        at = start + length
    raise ValueError


def judged(dataset: Any, name: str, compressed: bool) -> Frame:
    """The frame that pydicom's data set declares. Raises InputError for what is not read, naming it."""
    frames = dataset.get("NumberOfFrames")
    if frames not in (None, "") and int(frames) != 1:
        raise InputError(f"'{name}' holds {int(frames)} frames. Only single images are read: save each frame alone.")
    colours = str(dataset.get("PhotometricInterpretation", "none"))
    if colours not in ("MONOCHROME1", "MONOCHROME2") or int(dataset.SamplesPerPixel) != 1:
        raise InputError(
            f"'{name}' is no grey image of one sample a pixel{_COLOURS.get(colours, '')}; read are MONOCHROME1 and "
            "MONOCHROME2. Convert it to PNG or remove it."
        )
    height, width = int(dataset.Rows), int(dataset.Columns)
    if height * width > MAX_PIXELS:
        raise too_large(name)
    if height < 1 or width < 1:
        raise InputError(f"'{name}' has no pixels ({width} x {height}). Remove it.")
    allocated, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
    high = int(dataset.get("HighBit", stored - 1))
    if allocated not in (8, 16, 32) or not 1 <= stored <= allocated or high != stored - 1:
        raise InputError(
            f"'{name}' stores {stored} of {allocated} bits, the highest at {high}; read are 8, 16 and 32 bits with the "
            "stored ones lowest. Convert it to PNG or remove it."
        )
    if dataset.get("ModalityLUTSequence"):
        raise InputError(
            f"'{name}' maps its values through a lookup table (modality LUT), which is not read. Convert it."
        )
    slope, intercept = (
        _number(dataset, key, value) for key, value in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
    )
    if not (np.isfinite([slope, intercept]).all() and slope != 0):
        raise InputError(f"'{name}' has a rescale slope or intercept that is no usable number. Repair or remove it.")
    return Frame(
        height, width, allocated, stored, int(dataset.PixelRepresentation) == 1, slope, intercept,
        colours == "MONOCHROME1", _own_window(dataset), compressed,
    )  # fmt: skip


def _number(dataset: Any, keyword: str, default: float) -> float:
    value = dataset.get(keyword)
    return default if value in (None, "") else float(value)


def _own_window(dataset: Any) -> Window | None:
    """The first linear window of the file, as the values shown as black and white (PS3.3 C.11.2.1.2)."""
    centre, width = (np.atleast_1d(dataset.get(key) or []) for key in ("WindowCenter", "WindowWidth"))
    function = str(dataset.get("VOILUTFunction") or "LINEAR")
    if not len(centre) or not len(width) or function not in ("LINEAR", "LINEAR_EXACT"):
        return None
    middle, extent = float(centre[0]), float(width[0])
    if function == "LINEAR":
        middle, extent = middle - 0.5, extent - 1
    low, high = middle - extent / 2, middle + extent / 2
    if not np.isfinite([low, high]).all() or high < low:
        return None
    return low, max(high, low + 1e-6 * max(1.0, abs(low)))  # of width 1: a threshold
