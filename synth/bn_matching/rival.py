"""A student to compete with: trained on a draft of the release, it shows what the draft already teaches.

Images on which it disagrees with the teacher teach something else (Yin et al. 2020, arXiv 1912.08795, there with the
student that is being trained).
"""

from __future__ import annotations

from privaudit.attack import Context
from privaudit.calls import Call, compute
from privaudit.images import Images, concatenate
from privaudit.learning import Network, Precision
from privaudit.store import Arrays
from privaudit.synthesis import plan_shards
from privaudit.synthesizer import Synthesizer
from privaudit.utility.recipes import student_recipe

RIVAL = "convnet"


def rival(draft: Synthesizer, precision: Precision, members: Images, context: Context) -> Network:
    """A student of what this engine makes; made once for all batches."""
    inputs: dict[str, Arrays] = {"members": members.arrays()}
    tasks = plan_shards(draft, members, seed=context.seed, effort=context.effort, device=context.device)
    made = compute(
        *(Call(f"draft of {task.label}", task.function, task.arguments, inputs, task.facts) for task in tasks)
    )
    images = concatenate([Images.from_arrays(part) for part in made])
    recipe = student_recipe(images).model_copy(update={"network": RIVAL, "precision": precision})
    return context.train(recipe, images, context.seed, classes=int(members.labels.max()) + 1)
