"""How well an attack put mixed images together again; measured by the runner, who knows the members."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit import seeds
from privaudit.blocks import Block, Numbers, numbered
from privaudit.images import Images
from privaudit.manifest import result_facts
from privaudit.record import Attribution
from privaudit.recovery import psnr
from privaudit.statistics.clustered import clustered_median, clustered_share
from privaudit.store import Arrays
from privaudit.worker import Task

_ATTRIBUTION = "privaudit.attribution:attribution_task"
_VERSION = 1
_MOST_IMAGES = 1000
_COMMON = 0.05


def targets(mixed: Numbers, sources: Numbers) -> tuple[Numbers, NDArray[np.float64]]:
    """For each mixed image the row of the source most of whose blocks stand in it (-1: it has none that is not plain),
    and the weight of every source's blocks, [sources, rows, columns]: 1 over how many sources have it there.

    An estimate: of images of eight blocks or fewer, it is now and then another source than the one that was mixed.
    """
    weight = np.empty(sources.shape)
    for place in np.ndindex(sources.shape[1:]):
        _, here, counts = np.unique(sources[:, *place], return_inverse=True, return_counts=True)
        weight[:, *place] = 1 / counts[here]
    flat, weights = sources.reshape(len(sources), -1), weight.reshape(len(sources), -1)
    best = np.full(len(mixed), -1, dtype=np.int64)
    for number, blocks in enumerate(mixed.reshape(len(mixed), -1)):
        shared = (weights * (flat == blocks)).sum(axis=1)
        if shared.max() >= 1:
            best[number] = shared.argmax()
    return best, weight


def own_blocks(released: Images, sources: Images, block: Block) -> Numbers:
    """The truth: for each released image at each place the row of a released image whose block there is that of the
    source it was made of, -1 where there is none. Int64 [N, rows, columns].
    """
    mixed, original = numbered([released.pixels, sources.pixels], block)
    target, _ = targets(mixed, original)
    wanted = np.where((target >= 0)[:, None, None], original[target], -1)
    found = np.full(mixed.shape, -1, dtype=np.int64)
    for place in np.ndindex(mixed.shape[1:]):
        stands, first = np.unique(mixed[:, *place], return_index=True)
        where = np.minimum(np.searchsorted(stands, wanted[:, *place]), len(stands) - 1)
        there = stands[where] == wanted[:, *place]
        found[there, *place] = first[where[there]]
    return found


def attribution(
    assembled: Images, start: Numbers, block: Block, released: Images, sources: Images, seed: int
) -> Attribution | None:
    """Measure at most 1,000 of the assembled images; None where none was made of the sources.

    start: the released row that each started from.
    """
    rng = seeds.generator(seed, "attribution")
    measured = np.sort(rng.permutation(len(assembled))[:_MOST_IMAGES])
    mixed, after, original = numbered([released.pixels, assembled.pixels[measured], sources.pixels], block)
    target, weight = targets(mixed[start[measured]], original)
    made_of_sources = target >= 0  # what was public already was made of nobody
    measured, target, after = measured[made_of_sources], target[made_of_sources], after[made_of_sources]
    if not len(measured):
        return None
    begun = start[measured]
    wanted, counted = original[target], weight[target] >= 1 / max(1.0, _COMMON * len(sources))
    image = np.broadcast_to(np.arange(len(begun))[:, None, None], wanted.shape)[counted]
    somewhere = np.empty(wanted.shape, dtype=bool)
    for place in np.ndindex(wanted.shape[1:]):
        somewhere[:, *place] = np.isin(wanted[:, *place], mixed[:, *place])

    def share(right: NDArray[np.bool_]) -> Any:
        return clustered_share(right[counted], image, "images")

    def quality(pixels: NDArray[np.uint8]) -> Any:
        error = (pixels / 255.0 - sources.pixels[target] / 255.0) ** 2
        return clustered_median(psnr(error.mean(axis=(1, 2, 3))), np.arange(len(target)), "images", rng)

    return Attribution(
        images=len(measured),
        block=block,
        before=share(mixed[begun] == wanted),
        after=share(after == wanted),
        findable=share(somewhere),
        psnr_before=quality(released.pixels[begun]),
        psnr_after=quality(assembled.pixels[measured]),
    )


def read_attribution(arrays: Arrays) -> Attribution | None:
    """The record that `attribution_task` returned."""
    return Attribution.model_validate_json(np.asarray(arrays["record"]).tobytes()) if arrays else None


def attributable(evidence: Mapping[str, str]) -> dict[str, str]:
    """The parts of what the attacker's half stored that a measurement needs; empty where it put nothing together."""
    return {name: digest for name, digest in evidence.items() if name.startswith("assembled ")}


def attribution_of(label: str, inputs: Mapping[str, Mapping[str, str]], seed: int) -> Task:
    """The task that measures; inputs as `attribution_task` takes them."""
    return Task(label, _ATTRIBUTION, {"seed": seed}, inputs, {"version": _VERSION, **result_facts("cpu")})


def attribution_task(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Inputs {'evidence' (of `attributable`), 'seen', 'sources'} to 'record', JSON of an `Attribution` as bytes;
    to nothing where no image was made of the sources.
    """
    found = inputs["evidence"]
    released, sources = (Images(inputs[part]["pixels"], inputs[part]["labels"]) for part in ("seen", "sources"))
    pixels, start = found["assembled pixels"], np.asarray(found["assembled start"])
    height, width = (int(side) for side in found["assembled block"])
    assembled = Images(pixels, released.labels[start])
    record = attribution(assembled, start, (height, width), released, sources, arguments["seed"])
    if record is None:
        return {}
    return {"record": np.frombuffer(record.model_dump_json().encode(), dtype=np.uint8)}
