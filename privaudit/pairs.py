"""Pictured pairs of an attack that holds the release: members beside the released image that their score rests on.

They are private: they show the members ranked highest, and a few drawn at random, so that "highest" has a context.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from privaudit.evidence import Gallery
from privaudit.images import Images
from privaudit.piles import Pile
from privaudit.pools import Pools
from privaudit.statistics.units import ranked_last
from privaudit.store import Arrays

WORST, DRAWN = 12, 6
"""Pairs shown of the members ranked highest, and of members drawn at random."""

PICTURED = ("scores", "nearest", "assembled pixels", "assembled start")
"""What the pairs are made of, of that which an attacker's half returns."""


def pairs(pools: Pools, released: Images, pile: Pile, found: Arrays, rng: np.random.Generator) -> Gallery:
    """The pairs of one attack on a candidate. found: what its half returned, for the shuffled suspects: 'scores', and
    where the attack tells it 'nearest'; and 'assembled pixels' and 'assembled start' (see `attack.Assembly`), of which
    the pairs get 'assembled': what was put together of the released image, which stands there itself where nothing was.
    """
    members, controls = (
        getattr(pools, part).images.take(getattr(pools, f"scored_{part}")) for part in ("members", "controls")
    )
    mine, theirs = (pile.scores(np.asarray(found["scores"]), part) for part in ("members", "controls"))
    told = None
    if "nearest" in found:
        told = pile.scores(np.asarray(found["nearest"], dtype=np.float64), "members").astype(np.int64)
    chosen = choose(released, members, controls, (mine, theirs), told, rng)
    if "assembled pixels" in found:
        restored = put_together(found["assembled pixels"], found["assembled start"], chosen)
        chosen = {**chosen, "assembled": restored}
    return {**chosen, "member row": pools.scored_members[chosen["member row"]]}


def put_together(pixels: NDArray[np.uint8], start: NDArray[np.int64], chosen: Gallery) -> NDArray[np.uint8]:
    """The image that was put together of each pair's released image; where there is none, that one."""
    place = {int(row): number for number, row in enumerate(start)}
    rows = zip(chosen["released row"].tolist(), chosen["released"], strict=True)
    return np.stack([pixels[place[row]] if row in place else image for row, image in rows])


def choose(
    released: Images,
    members: Images,
    controls: Images,
    scores: tuple[NDArray[np.float64], NDArray[np.float64]],
    nearest: NDArray[np.int64] | None,
    rng: np.random.Generator,
) -> Gallery:
    """The pairs, worst first, as arrays whose row i belongs together; all images have one size.

    scores: float64, of `members` and of `controls`, image by image. nearest: int64 [members], released row that each
    score rests on, -1: the attack does not tell; None: it tells none. Then the released image nearest in pixels is
    taken. Returns 'released', 'member', 'control' (uint8 NHWC; the control nearest to the released image in pixels),
    'member row', 'released row', 'rank' (among all suspects, 1 is surest; equals share a rank),
    'score', 'control score', 'drawn' (at random) and 'told' (by the attack).
    """
    from privaudit.similarity.neighbours import nearest_members

    mine, theirs = (ranked_last(side) for side in scores)
    order = np.argsort(-mine, kind="stable")
    drawn = np.sort(rng.permutation(order[WORST:])[:DRAWN])
    rows = np.concatenate([order[:WORST], drawn])
    told = np.full(len(rows), -1) if nearest is None else nearest[rows]
    near = np.where(told >= 0, told, nearest_members(members, rows, released).nearest)
    stranger = nearest_members(released, near, controls).nearest
    pool = np.sort(np.concatenate([mine, theirs]))
    return {
        "released": released.pixels[near],
        "member": members.pixels[rows],
        "control": controls.pixels[stranger],
        "member row": rows,
        "released row": near,
        "rank": (len(pool) - np.searchsorted(pool, mine[rows], side="right") + 1).astype(np.int64),
        "score": mine[rows],
        "control score": theirs[stranger],
        "drawn": np.arange(len(rows)) >= len(order[:WORST]),
        "told": told >= 0,
    }
