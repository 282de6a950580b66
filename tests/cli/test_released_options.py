"""A candidate made elsewhere with all that is published beside it, and with what is public already, from the command
line and from a file.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from processes import AUDIT, assert_one_sentence, run, write_small_audit

CLAIM = {
    "epsilon": 3,
    "delta": 0.5,
    "unit": "image",
    "adjacency": "add/remove",
    "sampling": "Poisson 0.01",
    "accountant": "prv 0.2",
}
OPTIONS = (
    *("--also-released", "earlier.npz", "--also-released", "leaky.npz", "--soft-labels", "soft.npy"),
    *("--teacher", "teacher.safetensors", "--architecture", "mlp", "--trained-on", "members", "--claim", "claim.yaml"),
)


def write_all(folder: Path) -> None:
    """A small audit, and files for all options; leaky.npz holds three members as they are."""
    from privaudit.learning import Architecture, Network
    from privaudit.learning.training import seeded

    write_small_audit(folder)
    with np.load(folder / "release.npz") as whole, np.load(folder / "members.npz") as members:
        images, labels = whole["images"], whole["labels"]
        np.savez(folder / "release.npz", images=images[:20], labels=labels[:20])
        np.savez(folder / "earlier.npz", images=images[20:], labels=labels[20:])
        np.savez(folder / "leaky.npz", images=members["images"][4:7], labels=members["labels"][4:7])
    np.save(folder / "soft.npy", np.random.default_rng(0).dirichlet(np.ones(2), 20).astype(np.float32))
    for seed, name in enumerate(("teacher", "other")):
        with seeded(seed):
            network = Network(Architecture(name="mlp", channels=1, classes=2, side=12))
        network.save(folder / f"{name}.safetensors")
    (folder / "claim.yaml").write_text(yaml.safe_dump(CLAIM))


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("released")
    write_all(folder)
    return folder, run(folder, *AUDIT, *OPTIONS, "--out", "run", "--workers", "0")


def record_of(run_folder: Path) -> Any:
    return json.loads((run_folder / "share/audit.json").read_text())


def test_all_of_it_is_in_the_report(audited: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = audited
    assert done.returncode == 4, done.stderr
    record = record_of(folder / "run")
    assert record["data"]["also_released"] == 23
    assert record["data"]["already_public"] == ["m-000004", "m-000005", "m-000006"]
    assert record["data"]["scored_members"] == 47
    (release,) = record["releases"]
    assert (release["images"], release["identical"]) == (20, [])
    assert release["claim"] == CLAIM | {"epsilon": 3.0, "mechanism": {}, "trust_model": ""}
    for artifact in ("soft labels", "teacher"):
        assert f"inconclusive: {artifact}: released, but no attack looks at it" in release["reasons"]
    assert any("claimed delta of 0.5 is above 1 / 50" in note for note in record["data"]["notes"])
    assert "23 images are public already" in done.stderr
    assert "3 members are among them unchanged, and not scored" in done.stderr
    shared = "".join(path.read_text() for path in (folder / "run/share").iterdir())
    assert not any(name in shared for name in ("leaky.npz", "teacher.safetensors", "soft.npy", "claim.yaml"))


def test_controls_that_are_public_already_are_refused(tmp_path: Path) -> None:
    """Members that are public, and a release that repeats what is public, are no mistakes."""
    from privaudit.cli.inputs import ALREADY, refuse_same
    from privaudit.data.loading import load
    from privaudit.errors import InputError

    write_small_audit(tmp_path)
    members, controls, release = (load(tmp_path / f"{part}.npz") for part in ("members", "controls", "release"))
    refuse_same({"members": members, f"{ALREADY} (1)": members, ALREADY: release, "release": release})
    for part in ("controls", "fresh", "reference", "test"):
        with pytest.raises(InputError, match=f"150 images of the {part} are public already"):
            refuse_same({"members": members, part: controls, f"{ALREADY} (1)": controls})


@pytest.mark.parametrize(
    "change", ["teacher", "public", *(pytest.param(one, marks=pytest.mark.slow) for one in ("soft labels", "claim"))]
)
def test_each_of_them_makes_it_another_audit(
    audited: tuple[Path, subprocess.CompletedProcess[str]], change: str
) -> None:
    folder, _ = audited
    words = list(OPTIONS)
    if change == "teacher":
        words[words.index("teacher.safetensors")] = "other.safetensors"
    elif change == "public":
        words = words[2:]
    elif change == "claim":
        words = words[:-2]
    else:
        del words[words.index("--soft-labels") : words.index("--soft-labels") + 2]
    done = run(folder, *AUDIT, *words, "--out", "run", "--workers", "0", "--quiet")
    assert done.returncode == 2
    assert "holds another audit" in assert_one_sentence(done)


def test_a_file_says_the_same(audited: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """The plan of the command line and that of audit.yaml are one: the folder of the run goes on."""
    folder, before = audited
    content = {
        "data": {"members": "members.npz", "controls": "controls.npz"},
        "candidates": [
            {
                "name": "candidate",
                "release": "release.npz",
                "teacher": {"file": "teacher.safetensors", "architecture": "mlp", "trained_on": "members"},
                "soft_labels": "soft.npy",
                "claim": "claim.yaml",
            }
        ],
        "also_released": ["earlier.npz", "leaky.npz"],
        "attacks": {"nearest-copy": {}, "density-ratio": {}},
        "policy": "small.yaml",
        "effort": "quick",
        "skip": ["utility", "similarity"],
    }
    (folder / "audit.yaml").write_text(yaml.safe_dump(content))
    again = run(folder, "run", "--out", "run", "--workers", "0", "--quiet")
    assert (again.returncode, again.stdout) == (before.returncode, before.stdout)
