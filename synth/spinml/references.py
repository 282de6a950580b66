"""What leaves the device: members, sanitised object by object (SpinML: Zhang, Sequeira, Psounis, PoPETs 2025(2))."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from privaudit.data import loading
from privaudit.errors import InputError
from privaudit.images import Dataset, Images
from privaudit.store import Arrays
from privaudit.synth.spinml.vision import boxes, edges, filled, foreground, near

Level = Literal["L0", "L1", "L2"]
"""Of an object: nothing but the class, its edges, its pixels."""

_EDGE = 2
"""Pixels beside a filled box in which edges may be those of the box."""

_BLEED = 3
"""Pixels that a resized image mixes, by Lanczos' filter, on each side."""


@dataclass(frozen=True, eq=False)
class References:
    """Sanitised images, and nothing else of the members; row i of all fields is the same one.

    pixels: uint8 [N, H, W, C], 0 where nothing is shown. shown: bool [N, H, W], where raw pixels are. edges: bool
    [N, H, W], edges of the objects at L1. labels: int64 [N].
    """

    pixels: NDArray[np.uint8]
    shown: NDArray[np.bool_]
    edges: NDArray[np.bool_]
    labels: NDArray[np.int64]

    def arrays(self) -> Arrays:
        """All fields by name."""
        return dict(vars(self))

    def image(self) -> NDArray[np.uint8]:
        """What a person would see of it, uint8 [N, H, W, C]: raw pixels, and edges in white where there are none."""
        drawn = (self.edges & ~self.shown)[..., None]
        return np.where(drawn, np.uint8(255), self.pixels)


def sanitised(images: Images, masks: NDArray[np.uint8], front: Level, back: Level) -> References:
    """The images with their foregrounds at one level and their backgrounds at the other.

    masks: [N, H, W], 255 for the foreground, 0 for the background, anything else for what is neither, and not shown.
    Edges are those of the object on black, as in the published program. Of a foreground at L0 nothing may be told, nor
    its outline: the background ends at the upright box around it.
    """
    shown, drawn = np.zeros(masks.shape, bool), np.zeros(masks.shape, bool)
    fronts, backs = masks == 255, masks == 0
    if front == "L0":
        hidden = boxes(~backs)
        backs = ~hidden
        ground = filled(images.pixels, hidden) if back == "L1" else images.pixels
        rim = near(hidden, _EDGE)
    else:
        ground, rim = images.pixels * backs[..., None], np.zeros(masks.shape, bool)
    if front == "L2":
        shown |= fronts
    if front == "L1":
        drawn |= edges(images.pixels * fronts[..., None])
    if back == "L2":
        shown |= backs
    if back == "L1":
        drawn |= edges(ground) & ~rim
    if front == back == "L2":
        shown[:] = True
    return References(images.pixels * shown[..., None], shown, drawn, images.labels)


def sanitise_task(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Inputs {'images': pixels and labels, and 'masks': pixels where they were given} to the arrays of references."""
    images = Images.from_arrays(inputs["images"])
    front, back = arguments["foreground"], arguments["background"]
    if "masks" in inputs:
        masks = inputs["masks"]["pixels"][..., 0]
    elif front == back == "L0" or front == back == "L2":
        masks = np.zeros(images.pixels.shape[:3], np.uint8)  # all or nothing is shown, whichever object it is
    else:
        masks = foreground(images.pixels, arguments["segmenter"]).astype(np.uint8) * 255
    return sanitised(images, masks, front, back).arrays()


def masks_of(members: Images, masks: str, masked: str) -> Images:
    """The masks of the members, pixels [N, H, W, 1]: 255 foreground, 0 background, 128 neither.

    masks: a source of masks, white on black. masked: the source that they belong to, image by image with the same
    names, in which each member is found by its pixels. Where masks have other values, as after a change of size, some
    pixels between the objects are neither: there each has something of the other.
    Raises InputError where names differ, a member has no mask or two, or a mask shows no foreground.
    """
    size = members.size
    owners = loading.load(masked, size=size[:2], channels=size[2])
    drawn = loading.load(masks, size=size[:2], channels=1)
    _check_names(owners, drawn)
    values = drawn.images.pixels[..., 0]
    if len(values) and values.max() < 255:
        raise InputError(
            f"Masks are white (255) on black (0), and the brightest value in those of masks is {values.max()}. "
            "Multiply them, so that the foreground is white."
        )
    rows = dict[bytes, int]()
    for row, digest in enumerate(owners.images.image_digests()):
        first = rows.setdefault(digest, row)
        if not np.array_equal(values[first], values[row]):
            raise InputError(
                f"'{owners.names[first]}' and '{owners.names[row]}' of masked are the same image with two masks. Keep "
                "one mask for it, of everything that is foreground."
            )
    found = [rows.get(digest, -1) for digest in members.image_digests()]
    missing = found.count(-1)
    if missing:
        raise InputError(
            f"{missing:,} of {len(members):,} members are not among the images of masked, pixel by pixel at "
            f"{size[0]} x {size[1]}, so that their masks are not known. Name the source that the members come from."
        )
    mine = values[found]
    sure = np.where(mine > 127, np.uint8(255), np.uint8(0))
    if not np.isin(mine, (0, 255)).all():
        between = near(sure > 0, _BLEED) & near(sure == 0, _BLEED)
        sure = np.where(between, np.uint8(128), sure)
    empty = int((~(mine > 127).any((1, 2))).sum())
    if empty:
        raise InputError(
            f"The masks of {empty:,} of {len(members):,} members show no foreground, so that all of these images would "
            "be background. Leave them out, or draw their masks."
        )
    return Images(np.ascontiguousarray(sure[..., None]), members.labels)


def _check_names(owners: Dataset, drawn: Dataset) -> None:
    stems = [[PurePosixPath(name).with_suffix("").as_posix() for name in one.names] for one in (owners, drawn)]
    if stems[0] != stems[1]:
        extra = sorted(set(stems[0]) ^ set(stems[1]))
        raise InputError(
            f"masks names {len(drawn):,} masks and masked {len(owners):,} images, which do not go together"
            + (f": '{extra[0]}' has no partner" if extra else "")
            + ". Give both the same names, in folders of the same names."
        )
