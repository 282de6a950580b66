"""`privaudit run` from beginning to end: several candidates, the plan first, nothing done twice, nothing given away."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from processes import assert_one_sentence, run, write_small_audit

ENGINE = {"teacher": {"network": "convnet", "epochs": 2, "batch_size": 16}, "steps": 5, "images_per_class": 6}
SHARED = ["audit.json", "junit.xml", "metrics.json", "report.html", "summary.md"]


def write_run(folder: Path, **changes: Any) -> None:
    """study/audit.yaml: two candidates from the data of a small audit, which lie beside the folder `study`."""
    write_small_audit(folder)
    with np.load(folder / "release.npz") as release:
        rows = slice(0, 12)
        np.savez(folder / "few.npz", images=release["images"][rows], labels=release["labels"][rows])
    (folder / "study").mkdir()
    content = {
        "data": {"members": "../members.npz", "controls": "../controls.npz"},
        "candidates": [
            {"name": "Made elsewhere", "release": "../few.npz"},
            {"name": "made-here", "synthesizer": "bn-matching", "settings": ENGINE},
        ],
        "attacks": {"nearest-copy": {}, "density-ratio": {}},
        "policy": "../small.yaml",
        "effort": "quick",
    }
    (folder / "study/audit.yaml").write_text(yaml.safe_dump(content | changes))


RUN = ("run", "study/audit.yaml", "--out", "out", "--workers", "0")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A run of both candidates, with everything that is measured, and what it printed."""
    folder = tmp_path_factory.mktemp("run")
    write_run(folder)
    return folder, run(folder, *RUN)


def plan_of(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """What the plan says, by what is to be done."""
    lines = done.stderr.splitlines()
    start = lines.index("plan (what is in the store is not done again):")
    assert not any("done: " in line or line.startswith("making") for line in lines[:start])
    found = {}
    for line in lines[start + 1 :]:
        if not line.startswith("  "):
            break
        what, _, rest = line.strip().partition(": ")
        found[what] = rest
    return found


def test_both_candidates_are_judged(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = finished
    assert done.returncode in (0, 1, 4), done.stderr
    record = json.loads((folder / "out/share/audit.json").read_text())
    assert [release["name"] for release in record["releases"]] == ["Made elsewhere", "made-here"]
    assert [release["images"] for release in record["releases"]] == [12, 12]
    for release in record["releases"]:
        assert f"{release['verdict'].upper()}: {release['name']} (policy: small)\n" in done.stdout
    assert done.stdout.splitlines()[-1] == f"report: {Path('out/share/report.html')}"
    one = "each alone" if record["verdict"] == "pass" else "the worst of them"
    assert f"2 candidates, {one}; publishing several was not tested" in done.stdout


def test_the_plan_comes_first(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    plan = plan_of(finished[1])
    assert list(plan) == [
        "make made-here with bn-matching",
        "attack with density-ratio",
        "attack with nearest-copy",
        "measure utility",
        "measure similarity",
        "check the data, judge and report",
        "in all",
    ]
    known = re.compile(r"(\d+ steps?; )?about \d+ (second|minute)s?( \((one process|\d processes at a time)\))?")
    assert [text for text in plan.values() if not known.fullmatch(text)] == []
    assert plan["make made-here with bn-matching"].startswith("2 steps; ")
    assert not any(re.search(r"\babout 1 \w+s\b", text) for text in plan.values())


def test_measurements_in_the_files(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = finished
    record = json.loads((folder / "out/share/audit.json").read_text())
    metrics = json.loads((folder / "out/share/metrics.json").read_text())
    for release in record["releases"]:
        key = f"releases.{release['name']}"
        assert release["similarity"]["lpips"] is None
        for name in ("ssim", "psnr"):
            found = release["similarity"][name]
            assert found["name"].startswith(name)
            assert found["place"]["low"] <= found["place"]["estimate"] <= found["place"]["high"]
            for side in ("release", "controls"):
                assert found[side]["p95"] == metrics[f"{key}.similarity.{name}.{side}.p95"]
        for name in ("synthetic", "real", "ratio"):
            found = release["utility"][name]
            assert found["low"] <= found["estimate"] <= found["high"]
            assert found["n"] > 0
            for part in ("estimate", "low", "high"):
                assert metrics[f"{key}.utility.{name}.{part}"] == found[part]
        assert any("LPIPS" in note and "privaudit weights add" in note for note in release["not_assessed"])
    first, second = ({key.split(".", 2)[2] for key in metrics if key.startswith(f"releases.{name}.")} for name in NAMES)
    assert first == second, "each candidate has the same keys"


NAMES = ("Made elsewhere", "made-here")


def test_the_candidate_that_was_made(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    from privaudit.data.loading import load_release

    folder, done = finished
    made = folder / "out/private/releases/made-here"
    release, data = load_release(made)
    assert len(release.images) == 12
    assert np.bincount(release.images.labels).tolist() == [6, 6]
    assert release.provenance["engine"] == "bn-matching"
    assert data.images.size == (12, 12, 1)
    assert sorted(path.name for path in (folder / "out/private/releases").iterdir()) == ["made-here"]
    assert str(Path("out/private/releases/made-here")) in done.stdout


def test_share_holds_no_paths_and_no_images(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = finished
    assert sorted(path.name for path in (folder / "out/share").iterdir()) == SHARED
    for path in (folder / "out/share").iterdir():
        text = path.read_text(encoding="utf-8")
        for mark in (str(folder), "members.npz", "few.npz", "private/releases", "study", "data:image"):
            assert mark not in text, f"{mark} in {path.name}"


def test_again_it_does_nothing_and_says_the_same(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, first = finished
    before = {name: (folder / "out/share" / name).read_bytes() for name in SHARED}
    entries = sorted((folder / ".privaudit/entries").rglob("*.json"))
    again = run(folder, *RUN)
    assert again.returncode == first.returncode
    assert again.stdout == first.stdout
    assert {name: (folder / "out/share" / name).read_bytes() for name in SHARED} == before
    assert sorted((folder / ".privaudit/entries").rglob("*.json")) == entries
    plan = plan_of(again)
    for what in list(plan)[:-2]:
        assert plan[what].endswith("in the store"), what


def test_another_seed_in_the_folder_is_refused_before_anything_is_made(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = finished
    done = run(folder, *RUN, "--seed", "1")
    assert done.returncode == 2
    assert "holds another audit" in assert_one_sentence(done)
    assert "making" not in done.stderr


def test_the_engine_is_declared_before_it_is_made(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    declared = json.loads((finished[0] / "out/private/plan.json").read_text())["declared"]
    assert declared["releases"]["made-here"]["settings"]["steps"] == 5
    assert re.fullmatch(r"[0-9a-f]{32}", declared["releases"]["Made elsewhere"])
    assert set(declared["family"]) == {"nearest-copy", "density-ratio"}


def test_options_go_before_the_file(finished: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    """The path alone, with everything said otherwise; --policy is relative to here, not to the file."""
    folder, _ = finished
    content = yaml.safe_load((folder / "study/audit.yaml").read_text())
    content |= {"candidates": content["candidates"][:1], "attacks": {"nearest-copy": {"block_sizes": [4]}}}
    content |= {"skip": ["similarity"], "policy": "nowhere.yaml", "effort": "thorough"}
    (folder / "study/other.yaml").write_text(yaml.safe_dump(content))
    options = ("--skip", "utility,similarity", "--attacks", "nearest-copy", "--seed", "3", "--effort", "quick")
    arguments = ("run", "study/other.yaml", "--policy", "small.yaml", "--out", str(tmp_path / "out"), "--workers", "0")
    done = run(folder, *arguments, *options, "--json", "--no-fail")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["manifest"]["seeds"]["run"], record["manifest"]["effort"]) == (3, "quick")
    assert record["policy"]["name"] == "small"
    (attack,) = record["releases"][0]["attacks"]
    assert (attack["name"], attack["settings"]["block_sizes"]) == ("nearest-copy", [4])
    assert record["releases"][0]["utility"] is None
    assert not any("measure" in what for what in plan_of(done))


def test_one_source_is_split(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (240, 12, 12), dtype=np.uint8)
    np.savez(tmp_path / "all.npz", images=pixels, labels=np.arange(240) % 2)
    write_run(tmp_path)
    content = yaml.safe_load((tmp_path / "study/audit.yaml").read_text())
    split = {"members": 50, "controls": 80, "fresh": 30, "reference": 20}
    content |= {"data": {"source": "../all.npz", "split": split}, "skip": ["utility", "similarity"]}
    content |= {"candidates": content["candidates"][:1]}
    (tmp_path / "study/audit.yaml").write_text(yaml.safe_dump(content))
    done = run(tmp_path, *RUN, "--attacks", "nearest-copy", "--json", "--no-fail")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["validity"]["exchangeability"] == "random split"
    assert {part: record["data"][part] for part in split} == split
    done = run(tmp_path, *RUN, "--out", "too-few", "--policy", "default")
    assert done.returncode == 4, done.stderr
    assert "not attacked, not measured: the policy 'default' asks for 1,000 members and 1,000 controls" in done.stderr
    content["data"]["split"]["members"] = 500
    (tmp_path / "study/audit.yaml").write_text(yaml.safe_dump(content))
    done = run(tmp_path, *RUN, "--out", "other")
    assert done.returncode == 2
    assert "needs 630 images; found 240" in assert_one_sentence(done)
    content["data"]["split"]["members"] = 50
    (tmp_path / "study/audit.yaml").write_text(yaml.safe_dump(content))
    np.savez(tmp_path / "all.npz", images=pixels[:1].repeat(240, 0), labels=np.arange(240) % 2)
    done = run(tmp_path, *RUN, "--out", "other")
    assert done.returncode == 2
    assert "source: Nothing is left for controls, fresh, reference: " in assert_one_sentence(done)
    assert not (tmp_path / "other").exists()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where nothing may be made."""
    folder = tmp_path_factory.mktemp("refused")
    write_run(folder)
    before = sorted(path.name for path in folder.rglob("*"))
    yield folder
    assert sorted(path.name for path in folder.rglob("*") if path.suffix != ".wrong") == before


def one(**changes: Any) -> dict[str, Any]:
    return {"candidates": [{"name": "a", "synthesizer": "bn-matching"} | changes]}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"polcy": "default"}, "Did you mean 'policy'?"),
    "unknown engine": (one(synthesizer="bn-machting"), "Did you mean 'bn-matching'?"),
    "unknown setting": (one(settings={"stpes": 3}), "Did you mean 'steps'?"),
    "unknown setting of the teacher": (one(settings={"teacher": {"epoch": 3}}), "Did you mean 'epochs'?"),
    "setting of another type": (one(settings={"steps": "many"}), "found 'many'"),
    "both kinds": (one(release="x"), "either 'release' or 'synthesizer'"),
    "two of one name": ({"candidates": [{"name": name, "release": "../few.npz"} for name in "aA"]}, "'a' and 'A'"),
    "a name with a slash": (one(name="../a"), "The name '../a' is not usable"),
    "unknown attack": ({"attacks": {"nearest-copi": {}}}, "Did you mean 'nearest-copy'?"),
    "unknown setting of an attack": ({"attacks": {"nearest-copy": {"blocks": 3}}}, "Did you mean 'block_sizes'?"),
    "missing policy": ({"policy": "none.yaml"}, "does not exist"),
    "missing data": ({"data": {"members": "../nowhere.npz"}}, "does not exist"),
    "missing release": ({"candidates": [{"name": "a", "release": "nowhere"}]}, "release: "),
    "batches too small": (one(settings={"statistics": "mix", "batch_size": 1}), "batch_size must be at least 2"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(place: Path, case: str) -> None:
    changes, said = REFUSED[case]
    content = yaml.safe_load((place / "study/audit.yaml").read_text()) | changes
    (place / "study/case.wrong").write_text(yaml.safe_dump(content))
    done = run(place, "run", "study/case.wrong", "--out", "out", "--store", "../store of refused", "--workers", "0")
    assert done.returncode == 2, done.stderr
    assert said in assert_one_sentence(done)
    assert "making" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run",), "audit.yaml"),
        (("run", "nowhere.yaml"), "nowhere.yaml"),
        (("run", "study"), "cannot be read"),
        (("run", "study/audit.yaml", "--demo"), "--demo brings its own configuration"),
        (("run", "study/audit.yaml", "--skip", "utilty"), "Did you mean 'utility'?"),
        (("run", "study/audit.yaml", "--attacks", ","), "No attack is named"),
        (("run", "study/audit.yaml", "--attacks", "x"), "There is no attack 'x'"),
        (("run", "study/audit.yaml", "--out", "members.npz"), "is a file"),
        (("run", "study/audit.yaml", "--out", "."), "holds other files"),
    ],
)
def test_command_lines(place: Path, arguments: tuple[str, ...], said: str) -> None:
    done = run(place, *arguments)
    assert done.returncode == 2
    assert said in assert_one_sentence(done)


def test_what_takes_too_long_is_not_started(tmp_path: Path) -> None:
    write_run(tmp_path)
    done = run(tmp_path, *RUN, "--time-limit", "0.1")
    assert done.returncode == 2
    assert "expected to take about" in assert_one_sentence(done)
    assert "making" not in done.stderr
    assert not (tmp_path / "out").exists()
    assert not [path for path in (tmp_path / ".privaudit").rglob("*") if path.is_file()]


def test_a_batch_that_does_not_fit_leaves_the_folder_free(tmp_path: Path) -> None:
    write_run(tmp_path)
    content = yaml.safe_load((tmp_path / "study/audit.yaml").read_text())
    large = ENGINE | {"images_per_class": 10**8, "batch_size": 10**8}
    content["candidates"] = [
        {"name": "fits", "synthesizer": "bn-matching", "settings": ENGINE},
        {"name": "large", "synthesizer": "bn-matching", "settings": large},
    ]
    (tmp_path / "study/audit.yaml").write_text(yaml.safe_dump(content))
    done = run(tmp_path, *RUN, "--skip", "utility,similarity")
    assert done.returncode == 2, done.stderr
    assert re.search(r"The largest batch_size that fits is \d+\.", assert_one_sentence(done))
    private = tmp_path / "out/private"
    assert not (private / "plan.json").exists()
    assert not (private / "releases").exists()


@pytest.mark.slow
def test_demo(tmp_path: Path) -> None:
    done = run(tmp_path, "run", "--demo", seconds=1500)
    assert done.returncode in (0, 4), done.stderr + done.stdout
    record = json.loads((tmp_path / "privaudit-report/share/audit.json").read_text())
    assert record["verdict"] in ("pass", "inconclusive")
    assert record["releases"][0]["utility"]["ratio"]["estimate"] > 0.9
    begun = time.monotonic()
    again = run(tmp_path, "run", "--demo")
    assert time.monotonic() - begun < 60
    assert (again.returncode, again.stdout) == (done.returncode, done.stdout)


def test_a_damaged_candidate_is_told_and_written_anew(
    finished: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """It lies in the run's own folder, and all its parts are in the store."""
    folder = Path(shutil.copytree(finished[0], tmp_path / "copy"))
    made = folder / "out/private/releases/made-here"
    before = {path.relative_to(made): path.read_bytes() for path in made.rglob("*") if path.is_file()}
    sorted(made.rglob("*.png"))[0].unlink()
    done = run(folder, *RUN)
    assert done.returncode == 2
    assert "is damaged" in assert_one_sentence(done)
    assert "Delete that folder, and start again" in done.stderr
    shutil.rmtree(made)
    again = run(folder, *RUN)
    assert again.returncode == finished[1].returncode
    assert {path.relative_to(made): path.read_bytes() for path in made.rglob("*") if path.is_file()} == before
