"""SpinML's small model on strokes over patches, with exact masks: what more sharing costs, and what it brings.

2,000 members and as many released images at four pairs of levels (foreground, background), of one split. No two private
images share a digit or a patch.

MI: of what is shared with the object, as a share of the image's entropy, on the canvas as published and inside the
mask; floors: with the shared image of another member, and with its pixels in random order. SIM: mean cosine of pooled
SqueezeNet features (ImageNet) of the objects on black, found by Otsu's threshold in released images and by exact masks
in members; floors: the pair (L0, L0), and real images that are no members, whose objects are found as in released ones.
Outlines: the AUC of members against controls by the best correlation of blurred edges with those of a released image, a
measure of this benchmark. Utility: students on the release, beside as many steps on the members. Privacy: the strongest
of `nearest-copy` and `density-ratio`, `quick`, by the lower bound of the exposed share.

    python -m benchmarks.spinml --log spinml.jsonl --stores FOLDER
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch.nn import functional

from benchmarks.cells import Cell, finished
from benchmarks.engines import exposed
from benchmarks.recording import write_result
from benchmarks.shared_data import IMAGENET, SHARED
from benchmarks.strokes import SIDE, grounds, strokes
from privaudit import seeds
from privaudit.attack import Context
from privaudit.audit import Candidate, collect
from privaudit.images import Dataset, Images
from privaudit.judgement import judge
from privaudit.plan import Plan
from privaudit.plugins import make_synthesizer
from privaudit.policy import load_policy
from privaudit.store import Store
from privaudit.synth.spinml import SpinML
from privaudit.synth.spinml.metrics import mutual_information, mutual_information_within, shuffled, similarity
from privaudit.synth.spinml.references import References
from privaudit.synth.spinml.vision import edges, foreground
from privaudit.synthesis import synthesize
from privaudit.torchvision_compat import import_torchvision
from privaudit.utility.feature_distances import frechet_distance

SEED = 0
PUBLIC = 10_000
COUNTS = {"members": 2000, "controls": 3000, "fresh": 1000, "reference": 1000, "test": 2000}
LEVELS = (("L0", "L0"), ("L1", "L0"), ("L2", "L0"), ("L0", "L2"))
SETTINGS = {"segmenter": "otsu", "pretraining_images": 100_000, "edges_images": 50_000}
ATTACKS: dict[str, dict[str, Any]] = {"nearest-copy": {}, "density-ratio": {}}
ENCODER = "SqueezeNet 1.1, ImageNet, features of the last layer, mean over 128 x 128 pixels"
MEASURED = 500
"""Members and released images whose MI and SIM are measured."""

PICTURED = 12


def data() -> tuple[Dataset, dict[str, tuple[Dataset, NDArray[np.bool_]]]]:
    """Public images, and the parts of the private ones with their masks."""
    rng = seeds.generator(SEED, "spinml benchmark")
    order = rng.permutation(60_000)
    public, _ = strokes("public", order[:PUBLIC], rng.choice(grounds("public"), PUBLIC), rng)
    ends, behind = np.cumsum([0, *COUNTS.values()]), rng.permutation(grounds("private"))
    digits = order[PUBLIC:]
    return public, {
        name: strokes("private", digits[start:end], behind[start:end], rng)
        for name, start, end in zip(COUNTS, ends[:-1], ends[1:], strict=True)
    }


def engine_of(levels: Sequence[str], folder: Path) -> SpinML:
    """The engine, whose sources are written into a folder."""
    public, parts = data()
    members, masks = parts["members"]
    folder.mkdir(parents=True, exist_ok=True)
    for name, pixels, labels in (
        ("public", public.images.pixels, public.images.labels),
        ("masked", members.images.pixels, members.images.labels),
        ("masks", masks[..., None].astype(np.uint8) * 255, members.images.labels),
    ):
        if not (folder / f"{name}.npz").exists():
            np.savez(folder / f"{name}.npz", images=pixels, labels=labels)
    sources = {name: str(folder / f"{name}.npz") for name in ("public", "masked", "masks")}
    found = make_synthesizer("spinml", {"foreground": levels[0], "background": levels[1], **SETTINGS, **sources})
    if not isinstance(found, SpinML):
        raise SystemExit("spinml is not installed")
    return found


def encoded(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Features of `ENCODER`, [N, 512]."""
    from safetensors.torch import load_file

    import_torchvision()
    from torchvision.models import squeezenet1_1

    network = squeezenet1_1(weights=None).features.eval()
    tensors = load_file(SHARED / "weights" / "squeezenet1_1-features.safetensors")
    network.load_state_dict({name.removeprefix("features."): value for name, value in tensors.items()})
    mean, std = (torch.tensor(part, dtype=torch.float32)[:, None, None] for part in IMAGENET)
    found = []
    with torch.no_grad():
        for batch in Images(pixels, np.zeros(len(pixels), np.int64)).batches(100):
            large = functional.interpolate(batch, (128, 128), mode="bicubic", antialias=True)
            found.append(network((large - mean) / std).mean((2, 3)).double().numpy())
    return np.concatenate(found)


def told(values: NDArray[np.float64]) -> list[float]:
    """The mean, and its interval of 95 % over images."""
    kept = values[~np.isnan(values)]
    half = 1.96 * kept.std(ddof=1) / len(kept) ** 0.5
    return [float(kept.mean()), float(kept.mean() - half), float(kept.mean() + half)]


def information(references: References, members: Images, masks: NDArray[np.bool_]) -> dict[str, Any]:
    """MI of both objects, beside its floor."""
    shared, other = references.image(), np.roll(references.image(), 1, axis=0)
    rng = seeds.generator(SEED, "shuffled")
    found = {}
    for name, part in (("foreground", masks), ("background", ~masks)):
        alone = members.pixels * part[..., None]
        found[name] = {
            "published": told(mutual_information(shared, alone, members.pixels)),
            "floor": told(mutual_information(other, alone, members.pixels)),
            "within": told(mutual_information_within(shared, members.pixels, part)),
            "chance_within": told(mutual_information_within(shuffled(shared, part, rng), members.pixels, part)),
        }
    return found


def likeness(released: Images, members: Images, masks: NDArray[np.bool_]) -> dict[str, list[float]]:
    """SIM of both objects, with an interval of 95 % by resampling released images and members."""
    found = {}
    fronts = foreground(released.pixels, "otsu")
    for name, part, own in (("foreground", fronts, masks), ("background", ~fronts, ~masks)):
        first, second = encoded(released.pixels * part[..., None]), encoded(members.pixels * own[..., None])
        rng = seeds.generator(SEED, "similarity", name)
        again = [
            similarity(
                first[rng.integers(len(first), size=len(first))], second[rng.integers(len(second), size=len(second))]
            )
            for _ in range(200)
        ]
        found[name] = [similarity(first, second), *(float(value) for value in np.quantile(again, [0.025, 0.975]))]
    return found


def one(cell: Cell, stores: Path) -> dict[str, Any]:
    """One pair of levels: made, attacked, measured."""
    torch.set_num_threads(1)
    engine = engine_of(cell["levels"], stores / "sources")
    _, parts = data()
    (members, masks), controls, fresh, reference, test = (
        parts["members"],
        *(parts[name][0] for name in list(COUNTS)[1:]),
    )
    store = Store(stores / "made")
    release = synthesize(
        engine,
        members.images,
        store,
        seed=SEED,
        effort="quick",
        device="cpu",
        workers=0,
        announce=lambda what, done, total: print(what, flush=True),
        classes=10,
    )
    policy = load_policy("default")
    plan = Plan(
        members=members,
        controls=controls,
        fresh=fresh,
        reference=reference,
        test=test,
        candidates=[Candidate("spinml", release, members)],
        attacks=ATTACKS,
        measure=("utility",),
        utility_seeds=3,
        effort="quick",
        kinds=(),
        seed=SEED,
        random_split=True,
    )
    record = judge(collect(plan, policy, Store(stores / "audits")), policy)
    (found,) = record.releases
    some = slice(0, MEASURED)
    raw = members.images.take(some)
    references = engine.references(raw, Context(seeds.generator(SEED, "references"), masks=engine.member_masks(raw)))
    rows = seeds.generator(SEED, "measured").permutation(len(release.images))[:MEASURED]
    np.savez(
        stores / f"pictures-{'-'.join(cell['levels'])}.npz",
        members=raw.pixels[:PICTURED],
        shared=references.image()[:PICTURED],
        released=release.images.pixels[_one_of_each(release.images.labels, raw.labels[:PICTURED])],
    )
    return {
        "verdict": found.verdict,
        "utility": None if found.utility is None else found.utility.model_dump(mode="json"),
        "mutual_information": information(references, raw, masks[some]),
        "outlines": outlines(release.images, members.images, controls.images),
        "similarity": likeness(release.images.take(rows), raw, masks[some]),
        "frechet": frechet_distance(encoded(release.images.pixels), encoded(members.images.pixels)),
        "attacks": {
            attack.name: {
                "verdict": attack.verdict,
                "exposed": None if attack.exposed_share is None else attack.exposed_share.model_dump(mode="json"),
                "auc": None if (arm := attack.arms["release"]) is None else arm.auc.estimate,
            }
            for attack in found.attacks
        },
    }


def _one_of_each(labels: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each wanted label the next row that has it."""
    rows = {label: iter(np.flatnonzero(labels == label)) for label in np.unique(wanted).tolist()}
    return np.array([next(rows[label]) for label in wanted.tolist()])


def picture(stores: Path, path: Path) -> None:
    """Members, what is shared of them at each pair of levels, and released images, row by row."""
    rows = list[NDArray[np.uint8]]()
    for levels in LEVELS:
        with np.load(stores / f"pictures-{'-'.join(levels)}.npz") as found:
            rows += [found["members"]] if not rows else []
            rows += [found["shared"], found["released"]]
    whole = np.concatenate([np.concatenate(list(row), axis=1) for row in rows])
    Image.fromarray(whole).resize((PICTURED * SIDE * 2, len(rows) * SIDE * 2), Image.Resampling.NEAREST).save(path)


def outlines(released: Images, members: Images, controls: Images) -> list[float]:
    """AUC of members against controls by their best correlation with a released image of their class, of blurred edges;
    with an interval of 95 % by resampling.
    """
    from sklearn.metrics import roc_auc_score

    def described(images: Images) -> NDArray[np.float64]:
        soft = np.array([gaussian_filter(one.astype(np.float64), 1.0).ravel() for one in edges(images.pixels)])
        soft -= soft.mean(1, keepdims=True)
        return np.asarray(soft / np.maximum(1e-9, np.linalg.norm(soft, axis=1, keepdims=True)))

    made = described(released)
    best = []
    for images in (members, controls):
        alike = described(images) @ made.T
        alike[images.labels[:, None] != released.labels] = -1
        best.append(alike.max(axis=1))
    rng, (first, second) = seeds.generator(SEED, "outlines"), best

    def area(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
        truth = np.repeat([1, 0], [len(one), len(other)])
        return float(roc_auc_score(truth, np.concatenate([one, other])))

    again = [area(rng.choice(first, len(first)), rng.choice(second, len(second))) for _ in range(200)]
    return [area(first, second), *(float(value) for value in np.quantile(again, [0.025, 0.975]))]


def main() -> None:
    """Run what is missing in the log, then summarise it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", type=Path, default=Path("spinml.jsonl"))
    parser.add_argument("--stores", type=Path, required=True)
    parser.add_argument("--picture", type=Path, default=Path("spinml.png"))
    options = parser.parse_args()
    cells = [{"levels": list(levels)} for levels in LEVELS]
    rows = finished(partial(one, stores=options.stores), cells, options.log, 1)
    _, parts = data()
    some = slice(0, MEASURED)
    (members, masks), (controls, _) = parts["members"], parts["controls"]
    strangers = likeness(controls.images.take(some), members.images.take(some), masks[some])
    for row in rows:
        name, low, high = exposed(row)
        print(
            row["cell"]["levels"],
            f"utility {row['utility']['ratio']['estimate']:.3f}, exposed {low:.3f} to {high:.3f} ({name}),",
            f"MI {[row['mutual_information'][part]['published'][0] for part in ('foreground', 'background')]},",
            f"SIM {[row['similarity'][part][0] for part in ('foreground', 'background')]},",
            f"outlines {row['outlines']}",
        )
    picture(options.stores, options.picture)
    results = {
        "counts": {"public": PUBLIC, **COUNTS},
        "settings": SETTINGS,
        "encoder": ENCODER,
        "similarity_of_strangers": strangers,
        "raw": rows,
    }
    print(write_result("spinml", results, seeds=SEED, command="python -m benchmarks.spinml --log FILE --stores FOLDER"))


if __name__ == "__main__":
    main()
