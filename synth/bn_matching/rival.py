"""A student to compete with: trained on a draft of the release, it shows what the draft already teaches.

Images on which it disagrees with the teacher teach something else (Yin et al. 2020, arXiv 1912.08795, there with the
student that is being trained).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from privaudit.attack import Context
from privaudit.calls import Call, compute
from privaudit.images import Images, concatenate
from privaudit.learning import Network
from privaudit.store import Arrays
from privaudit.synthesizer import Synthesizer
from privaudit.utility.recipes import student_recipe


def rival(draft: Synthesizer, settings: Mapping[str, Any], members: Images, context: Context) -> Network:
    """A student of what this engine, with these settings, makes; made once for all batches."""
    inputs: dict[str, Arrays] = {"members": {"pixels": members.pixels, "labels": members.labels}}
    common = {
        "engine": draft.name,
        "settings": dict(settings),
        "seed": context.seed,
        "effort": context.effort,
        "device": context.device,
    }
    calls = [
        Call(
            f"draft: {shard.name}",
            "privaudit.synthesis:make_task",
            common | {"shard": {"name": shard.name, "count": shard.count, "arguments": dict(shard.arguments)}},
            inputs,
            {"version": draft.version},
        )
        for shard in draft.shards(members)
    ]
    images = concatenate([Images(made["pixels"], made["labels"]) for made in compute(*calls)])
    recipe = student_recipe(images).model_copy(update={"precision": settings["precision"]})
    return context.train(recipe, images, context.seed, classes=int(members.labels.max()) + 1)
