"""The demo: scikit-learn's handwritten digits, dealt at random, and a candidate with planted members."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from privaudit import seeds
from privaudit.audit import Candidate, Plan
from privaudit.configuration import CandidateSource, Configuration, Data, Split
from privaudit.data.loading import load
from privaudit.images import Images, concatenate
from privaudit.plants import cropped, jpeg, mirrored
from privaudit.plugins import ATTACKS, installed
from privaudit.release import Release
from privaudit.splits import random_split

PARTS = {"members": 450, "controls": 600, "fresh": 300, "reference": 150, "release": 260}
EXACT, CHANGED = 5, 40
SPLIT = {"members": 450, "controls": 600, "fresh": 300, "reference": 150, "test": 297}
TEACHER = {"network": "convnet", "epochs": 30, "batch_size": 32, "optimizer": "adamw", "learning_rate": 3e-3, "crop": 2}
ENGINE = {"teacher": TEACHER, "roll": 1, "steps": 500}


def configuration() -> Configuration:
    """The main job on digits, split at random, and a candidate made of the members by BN matching."""
    return Configuration(
        schema=1,
        data=Data(source="digits", split=Split(**SPLIT)),
        candidates=(CandidateSource(name="digits-bn-matching", synthesizer="bn-matching", settings=dict(ENGINE)),),
        policy="demo",
    )


def plan(seed: int, clean: bool = False) -> Plan:
    """An audit of unseen digits among which are 5 members unchanged and 40 mirrored, recompressed or cropped.

    clean: without these.
    """
    digits = load("digits")
    rng = seeds.generator(seed, "demo")
    members, controls, fresh, reference, unseen = random_split(digits, list(PARTS.values()), rng)
    parts = [unseen.images]
    if not clean:
        rows = rng.permutation(len(members))[: EXACT + CHANGED]
        changed = [
            (mirrored, jpeg, cropped)[number % 3](members.images.pixels[row], controls.images, rng)
            for number, row in enumerate(rows[EXACT:])
        ]
        labels = members.images.labels[rows[EXACT:]]
        parts += [members.images.take(rows[:EXACT]), Images(np.stack(changed), labels)]
    mixed = concatenate(parts)
    images = mixed.take(rng.permutation(len(mixed)))
    data = replace(unseen, images=images, names=tuple(str(row) for row in range(len(images))), groups=None)
    candidate = Candidate("digits-clean" if clean else "digits-with-planted-members", Release(images), data)
    return Plan(
        members,
        [candidate],
        {name: {} for name in installed(ATTACKS)},
        controls,
        fresh,
        reference,
        seed=seed,
        random_split=True,
        notes=digits.notes,
    )
