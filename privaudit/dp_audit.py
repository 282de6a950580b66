"""The audit of a claim of differential privacy: canaries inside the engine, tested against the claimed curve.

The engine runs its own noisy computations with m canaries mixed in, each by a coin, and says what they left in
everything that it looks at afterwards. Black-box attacks on a release cannot refute a claim of any size; this can.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit import seeds
from privaudit.accounting import GaussianSteps, epsilon_spent, privacy_curve
from privaudit.attack import Effort
from privaudit.canary_bounds import Epsilon, corrected_level, epsilon, guesses_a_side
from privaudit.cells import context
from privaudit.errors import InputError
from privaudit.execution import Failure, Task, run
from privaudit.images import Images
from privaudit.manifest import result_facts
from privaudit.piles import put_images
from privaudit.plan import Announce, settings_of, within
from privaudit.plugins import make_synthesizer
from privaudit.private_engine import PrivateEngine, PrivateStage
from privaudit.statistics.tradeoff import CanaryTest, canary_test
from privaudit.store import Arrays, Store
from privaudit.synthesis import engine_context
from privaudit.synthesizer import Synthesizer, beside_members

FEWEST, MOST = 100, 100_000
_VERSION = 1
_TOLERANCE = 1e-3
_OBSERVE = "privaudit.dp_audit:observe_task"


@dataclass(frozen=True)
class OneRun:
    """Guesses about the canaries of one run: the quarter with the highest scores in, the lowest quarter out.

    bounds: of Steinke et al. 2023, and of Mahloujifar et al. 2025 for the trade-off curves of Gaussian mechanisms.
    """

    guesses: int
    correct: int
    bounds: Epsilon


@dataclass(frozen=True, eq=False)
class StageFound:
    """What the canaries of one stage showed. epsilon: its part of the claim, alone, at the claim's delta.

    lower_of_any: holds whatever the mechanism is, where each canary had a run of its own; None: they shared one run.
    """

    name: str
    claimed: GaussianSteps
    epsilon: float
    test: CanaryTest
    lower_if_gaussian: float
    lower_of_any: float | None
    one_run: OneRun | None
    scores: NDArray[np.float64]
    inside: NDArray[np.bool_]


@dataclass(frozen=True)
class DPAudit:
    """The audit of one engine's claim, at 95 % for all stages together. counted: epsilon of all stages as claimed."""

    epsilon: float
    delta: float
    counted: float
    stages: tuple[StageFound, ...]

    @property
    def refuted(self) -> bool:
        """Whether some stage does not keep its part of the claim, or the parts cost more than it."""
        return self.miscounted or any(stage.test.refuted for stage in self.stages)

    @property
    def miscounted(self) -> bool:
        """Whether the parts together cost more than the claim, as they are counted."""
        return self.counted > self.epsilon * (1 + _TOLERANCE)

    @property
    def without_power(self) -> bool:
        """Whether no result could have refuted anything."""
        return not self.miscounted and not any(stage.test.could_refute for stage in self.stages)


def private(engine: Synthesizer) -> PrivateEngine:
    """The engine as one whose claim can be audited. Raises InputError where it cannot."""
    if not isinstance(engine, PrivateEngine):
        raise InputError(
            f"The claim of '{engine.name}' cannot be audited from within: it makes none, or does not open its noisy "
            "computations (private_stages). For what it does to the worst-off images: privaudit canaries."
        )
    engine.budget()
    return engine


def coins(count: int, seed: int, stage: str) -> NDArray[np.bool_]:
    """A fair coin for each canary of a stage."""
    return seeds.generator(seed, "dp-audit coins", stage).random(count) < 0.5


def audit(
    engine: Synthesizer,
    members: Images,
    store: Store,
    *,
    canaries: int,
    seed: int,
    effort: Effort,
    device: str,
    workers: int,
    announce: Announce,
) -> DPAudit:
    """Run every stage of the engine with canaries, and test it against its claim. Finished stages are kept.

    Raises InputError where the engine opens nothing or canaries are fewer than 100, IncompleteError where one fails.
    """
    if not FEWEST <= canaries <= MOST:
        raise InputError(f"Between {FEWEST:,} and {MOST:,} canaries are allowed, 8,000 are usual; found {canaries:,}.")
    opened = private(engine)
    claimed, delta = opened.budget()
    given = {"seed": seed, "effort": effort, "device": device}
    beside = beside_members(engine, members)
    stages = opened.private_stages(members, context(given, engine.name, "dp-audit", reference=beside.get("public")))
    class_ = f"{type(engine).__module__}:{type(engine).__qualname__}"
    stored = {name: put_images(store, part) for name, part in {"members": members, **beside}.items()}
    tasks = [
        Task(
            f"{engine.name}: {stage.name} with {canaries:,} canaries",
            _OBSERVE,
            {**given, "engine": engine.name, "settings": settings_of(engine), "stage": stage.name, "count": canaries},
            stored,
            {
                "audit": _VERSION,
                "version": engine.version,
                "class": class_,
                **result_facts(device),
            },
        )
        for stage in stages
    ]
    scores: dict[str, NDArray[np.float64]] = {}
    announce(f"putting canaries into {engine.name}", 0, len(tasks))
    for done, (task, result) in enumerate(run(tasks, store, workers, within(announce)), 1):
        if isinstance(result, Failure):
            if result.is_input:
                raise InputError(result.message)
            raise result.incomplete(f"{task.label} failed: {result.message}. Start the same command again to go on.")
        scores[task.arguments["stage"]] = np.asarray(store.load(result.arrays)["scores"])
        announce(task.label, done, len(tasks))
    found = tuple(judged(stage, scores[stage.name], seed, delta, len(stages)) for stage in stages)
    return DPAudit(claimed, delta, epsilon_spent([stage.claimed for stage in stages], delta), found)


def observe_task(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Inputs {'members'}, and 'public' where it is used, to 'scores' of the canaries of one stage."""
    engine = private(make_synthesizer(arguments["engine"], dict(arguments["settings"])))
    members = Images.from_arrays(inputs["members"])
    own = engine_context(arguments, inputs, "dp-audit")
    (stage,) = (one for one in engine.private_stages(members, own) if one.name == arguments["stage"])
    return {"scores": observed(stage, arguments["count"], arguments["seed"])}


def observed(stage: PrivateStage, count: int, seed: int) -> NDArray[np.float64]:
    """The scores of so many canaries of a stage. Raises InputError where the engine does not give one for each."""
    scores = stage.observe(coins(count, seed, stage.name), seeds.generator(seed, "dp-audit", stage.name))
    if scores.shape != (count,) or not np.isfinite(scores).all():
        raise InputError(f"The stage '{stage.name}' must give a finite score to each of {count} canaries.")
    return np.asarray(scores, dtype=np.float64)


def judged(stage: PrivateStage, scores: NDArray[np.float64], seed: int, delta: float, stages: int) -> StageFound:
    """What the scores of one of so many stages show."""
    inside = coins(len(scores), seed, stage.name)
    level = corrected_level(stages)
    curve = privacy_curve((stage.claimed,))
    test = canary_test(scores, inside, curve, level, seeds.generator(seed, "dp-audit halves", stage.name))
    return StageFound(
        stage.name,
        stage.claimed,
        epsilon_spent([stage.claimed], delta),
        test,
        test.epsilon_if_gaussian(delta),
        None if stage.one_run else test.epsilon_of_any(delta),
        _one_run(scores, inside, delta, level) if stage.one_run else None,
        scores,
        inside,
    )


def _one_run(scores: NDArray[np.float64], inside: NDArray[np.bool_], delta: float, level: float) -> OneRun:
    count, order = guesses_a_side(len(scores)), np.argsort(-scores, kind="stable")
    correct = int(inside[order[:count]].sum() + (~inside[order[len(order) - count :]]).sum())
    return OneRun(2 * count, correct, epsilon(len(scores), 2 * count, correct, delta, level))
