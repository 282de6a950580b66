"""What leaves the device: members, sanitised object by object (SpinML: Zhang, Sequeira, Psounis, PoPETs 2025(2))."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from privaudit.data import loading
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.store import Arrays
from privaudit.synth.spinml.vision import edges, foreground

Level = Literal["L0", "L1", "L2"]
"""Of an object: nothing but the class, its edges, its pixels."""


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


def sanitised(images: Images, masks: NDArray[np.bool_], front: Level, back: Level) -> References:
    """The images with their foregrounds at one level and their backgrounds at the other. masks: [N, H, W], the
    foregrounds. Edges are those of the object on black, as in the published program.
    """
    shown, drawn = np.zeros(masks.shape, bool), np.zeros(masks.shape, bool)
    for level, part in ((front, masks), (back, ~masks)):
        if level == "L2":
            shown |= part
        if level == "L1":
            drawn |= edges(images.pixels * part[..., None])
    return References(images.pixels * shown[..., None], shown, drawn, images.labels)


def sanitise_task(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Inputs {'images': pixels and labels, and 'masks': pixels where they were given} to the arrays of references."""
    images = Images(inputs["images"]["pixels"], inputs["images"]["labels"])
    front, back = arguments["foreground"], arguments["background"]
    if "masks" in inputs:
        masks = inputs["masks"]["pixels"][..., 0] > 0
    elif front == back == "L0" or front == back == "L2":
        masks = np.ones(images.pixels.shape[:3], bool)  # all or nothing is shown, whichever object it is
    else:
        masks = foreground(images.pixels, arguments["segmenter"])
    return sanitised(images, masks, front, back).arrays()


def masks_of(members: Images, masks: str, masked: str) -> Images:
    """The masks of the members, pixels [N, H, W, 1], 255 for the foreground.

    masks: a source of masks, white on black. masked: the source that they belong to, image by image in the same order,
    in which each member is found by its pixels. Raises InputError where numbers differ or a member has no mask.
    """
    size = members.size
    owners = loading.load(masked, size=size[:2], channels=size[2])
    drawn = loading.load(masks, size=size[:2], channels=1)
    if len(owners) != len(drawn):
        raise InputError(
            f"masks names {len(drawn):,} masks and masked {len(owners):,} images. Every image needs one, in the same "
            "order: give both the same names, in folders of the same names."
        )
    rows = {digest: row for row, digest in enumerate(owners.images.image_digests())}
    found = [rows.get(digest, -1) for digest in members.image_digests()]
    missing = found.count(-1)
    if missing:
        raise InputError(
            f"{missing:,} of {len(members):,} members are not among the images of masked, pixel by pixel at "
            f"{size[0]} x {size[1]}, so that their masks are not known. Name the source that the members come from."
        )
    return Images(np.where(drawn.images.pixels[found] > 127, np.uint8(255), np.uint8(0)), members.labels)
