"""Decode one RLE-compressed DICOM frame, never to more than its declared size (DICOM PS3.5 annex G)."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray


def decode_rle(data: bytes, height: int, width: int, sample_bytes: int) -> NDArray[np.unsignedinteger]:
    """Unsigned values [height, width] of a grey frame of `sample_bytes` (1, 2 or 4) bytes a pixel.

    Raises ValueError or struct.error where the frame is malformed or shorter than that.
    """
    count, *offsets = struct.unpack_from("<16I", data)
    if count != sample_bytes:
        raise ValueError(f"{count} segments for {sample_bytes} bytes a pixel")
    ends = [*offsets[1:count], len(data)]
    planes = [
        np.frombuffer(_unpacked(data[start:end], height * width), np.uint8)
        for start, end in zip(offsets[:count], ends, strict=True)
    ]
    big_endian: NDArray[np.unsignedinteger] = np.stack(planes, axis=-1).view(f">u{sample_bytes}")
    return big_endian.reshape(height, width)


def _unpacked(segment: bytes, length: int) -> bytes:
    """The first `length` bytes of a PackBits segment."""
    result = bytearray()
    at = 0
    while len(result) < length:
        if at >= len(segment):
            raise ValueError("the segment ends early")
        head = segment[at]
        if head < 128:
            result += segment[at + 1 : at + 2 + head]
            at += 2 + head
        else:
            if head > 128:
                result += segment[at + 1 : at + 2] * (257 - head)
            at += 2 if head > 128 else 1
    return bytes(result[:length])
