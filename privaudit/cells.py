"""What tasks run: the two halves of an attack, and the steps before it, so that none is done twice.

The attacker's half receives what was seen, and no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit import seeds
from privaudit.artifacts import read_release, with_analogue
from privaudit.attack import Attack, Context, EngineBound, Seen, suspects_at_a_time
from privaudit.calls import Call, compute, surroundings
from privaudit.closeness import VERSION as CLOSENESS
from privaudit.closeness import closeness
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.plugins import make_attack, make_synthesizer
from privaudit.record import BlindBaseline
from privaudit.store import Arrays
from privaudit.synthesizer import made
from privaudit.validity import blind_baseline

BASELINE = "privaudit.cells:baseline"
EXPOSE = "privaudit.cells:expose"
ATTACK = "privaudit.cells:attack"

KEPT = "kept: "
"""How the names begin of what the victim's half tells the runner, not the attacker."""


def context(
    arguments: Mapping[str, Any],
    *names: str,
    reference: Images | None = None,
    reference_units: NDArray[np.str_] | None = None,
    masks: Images | None = None,
) -> Context:
    """The context of a half of an attack or of a part of an engine; its randomness is derived by these names."""
    return Context(
        seeds.generator(arguments["seed"], *names),
        seed=arguments["seed"],
        device=arguments["device"],
        effort=arguments["effort"],
        reference=reference,
        progress=surroundings().report,
        reference_units=reference_units,
        weights=Path(arguments["weights"]) if "weights" in arguments else None,
        masks=masks,
    )


def what_runs(attack: Attack) -> dict[str, Any]:
    """The code that decides the result of an attacker's half, as facts for its key."""
    kind = type(attack)
    return {"version": attack.version, "class": f"{kind.__module__}:{kind.__qualname__}", "closeness": CLOSENESS}


def baseline(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """The blind baseline: inputs {'images', 'units'}, members first, to 'record' (JSON of a `BlindBaseline`, as bytes).

    Empty where a pool has too few units.
    """
    images, count = Images.from_arrays(inputs["images"]), int(arguments["members"])
    found = blind_baseline(
        images.take(slice(0, count)),
        images.take(slice(count, None)),
        inputs["units"]["units"],
        arguments["unit"],
        seeds.generator(arguments["seed"], "blind"),
    )
    if found is None:
        return {}
    auc, p, passed = found
    record = BlindBaseline(auc=auc, p=p, passed=passed).model_dump_json()
    return {"record": np.frombuffer(record.encode(), dtype=np.uint8)}


def expose(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """The victim's half: inputs {'release'} to what is seen, and to what the runner keeps (names with `KEPT`).

    arguments may ask for an `analogue` of what the candidate publishes beside its images (see `artifacts`), or name the
    `arm` of an attack that is bound to an engine, which is then run on the images first.
    """
    attacker = make_attack(arguments["attack"], dict(arguments["settings"]))
    release, world = read_release(inputs["release"]), context(arguments, attacker.name, "expose")
    if "analogue" in arguments:
        release = with_analogue(release, arguments["analogue"], world)
    if "arm" in arguments and isinstance(attacker, EngineBound):
        settings, feed = attacker.engine_run(release.images)
        seen = attacker.expose(made(make_synthesizer(attacker.engine, dict(settings)), feed, world), world)
        if arguments["arm"] == "positive":
            seen = attacker.told(seen, feed)
    else:
        seen = attacker.expose(release, world)
    taken = sorted(name for name in seen.arrays if name.startswith(KEPT))
    if taken:
        raise InputError(f"The attack '{attacker.name}' may not name what is seen '{taken[0]}': the runner does.")
    results = dict(seen.arrays)
    if seen.source is not None:
        results[f"{KEPT}rows"], results[f"{KEPT}victim"] = seen.source.rows, seen.source.victim
        for name, count in seen.source.counts.items():
            results[f"{KEPT}count {name}"] = np.asarray(count, dtype=np.int64)
    return results


def attack(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """The attacker's half: inputs {'seen', 'suspects', 'reference'} to one score per suspect, float64.

    Where the arguments ask for 'nearest' and the attack tells, also the released row behind each score, int64. Many
    suspects are shared out among tasks of their own, where the attack may be.
    """
    attacker = make_attack(arguments["attack"], dict(arguments["settings"]))
    suspects = Images.from_arrays(inputs["suspects"])
    most = suspects_at_a_time(attacker)
    # Without images of his own he may judge by the pile; and the parts' keys do not tell which backbones there are.
    if most is not None and len(suspects) > most and "reference" in inputs and "weights" not in arguments:
        return _in_parts(attacker, suspects, arguments, inputs, -(-len(suspects) // most))
    reference = Images.from_arrays(inputs["reference"]) if "reference" in inputs else None
    units = inputs.get("reference", {}).get("units")
    own = context(arguments, attacker.name, "attack", reference=reference, reference_units=units)
    evidence = attacker.attack(Seen(inputs["seen"]), suspects, own)
    scores = evidence.scores
    if evidence.recovered is not None:
        scores = closeness(suspects, evidence.recovered, reference)
    if scores is None or scores.shape != (len(suspects),):
        raise InputError(
            f"The attack '{attacker.name}' must return one score per suspect ({len(suspects)}); "
            f"found {None if scores is None else scores.shape}."
        )
    results: dict[str, NDArray[Any]] = {"scores": np.asarray(scores, dtype=np.float64)}
    if arguments.get("nearest") and evidence.nearest is not None:
        results["nearest"] = np.asarray(evidence.nearest, dtype=np.int64)
    for name, value in evidence.diagnostics.items():
        results[f"diagnostic {name}"] = np.asarray(value, dtype=np.float64)
    if evidence.assembly is not None:
        results["assembled pixels"] = evidence.assembly.images.pixels
        results["assembled start"] = np.asarray(evidence.assembly.start, dtype=np.int64)
        results["assembled block"] = np.array(evidence.assembly.block, dtype=np.int64)
    if evidence.recovered is not None:
        results["recovered pixels"] = evidence.recovered.pixels
        count = len(evidence.recovered)
        results["recovered victim"] = np.zeros(count, np.int64) if evidence.victim is None else evidence.victim
    return results


def _in_parts(
    attacker: Attack, suspects: Images, arguments: Mapping[str, Any], inputs: Mapping[str, Arrays], count: int
) -> Arrays:
    """The same, of so many parts of the suspects as equal as can be: theirs one after the other; diagnostics of one."""
    ends = np.linspace(0, len(suspects), count + 1).astype(int).tolist()
    calls = [
        Call(
            f"{attacker.name}, part {number + 1} of {count} of the suspects",
            ATTACK,
            arguments,
            {**inputs, "suspects": suspects.take(slice(ends[number], ends[number + 1])).arrays()},
            what_runs(attacker),
        )
        for number in range(count)
    ]
    parts = compute(*calls)
    joined = {
        name: np.concatenate([part[name] for part in parts]) for name in ("scores", "nearest") if name in parts[0]
    }
    return {**parts[0], **joined}
