"""check, report and compare: on finished runs, without attacking again."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import AUDIT, SMALL_POLICY, assert_one_sentence, run, write_small_audit


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`clean`, and `leaky`, whose candidate holds half of the members."""
    folder = tmp_path_factory.mktemp("runs")
    write_small_audit(folder)
    with np.load(folder / "members.npz") as members, np.load(folder / "release.npz") as release:
        mixed: dict[str, Any] = {
            key: np.concatenate([release[key][:15], members[key][:25]]) for key in ("images", "labels")
        }
    np.savez(folder / "leaky.npz", **mixed)
    for name, release_file, attacks in (
        ("clean", "release.npz", "nearest-copy,density-ratio"),
        ("leaky", "leaky.npz", "nearest-copy"),
    ):
        arguments = [*AUDIT, "--out", name, "--workers", "0", "--attacks", attacks, "--name", name]
        arguments[arguments.index("release.npz")] = release_file
        done = run(folder, *arguments)
        assert done.returncode in (0, 1, 4), done.stderr
    return folder


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def finished(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    assert done.stderr == ""
    return done


def test_check_repeats_the_verdict_and_writes_nothing(runs: Path) -> None:
    before = snapshot(runs)
    done = finished(run(runs, "check", "leaky"))
    assert done.returncode == 1
    assert done.stdout.startswith("FAIL: leaky (policy: small)\n")
    assert finished(run(runs, "check", "leaky", "--no-fail")).returncode == 0
    assert finished(run(runs, "check", "leaky", "--json")).stdout == (runs / "leaky/share/audit.json").read_text()
    assert snapshot(runs) == before


def test_check_by_another_policy(runs: Path) -> None:
    done = finished(run(runs, "check", "clean", "--policy", "default"))
    assert done.returncode == 4
    assert "(policy: default)" in done.stdout
    assert "too few: a limit of 5 %" in done.stdout
    strict = SMALL_POLICY.replace("name: small", "name: strict").replace("minimum_n: 20", "minimum_n: 60")
    (runs / "strict.yaml").write_text(strict)
    record = json.loads(finished(run(runs, "check", "clean", "--policy", "strict.yaml", "--json")).stdout)
    assert record["policy"]["name"] == "strict"
    assert record["verdict"] == "inconclusive"


def test_a_run_that_was_judged_by_a_policy_of_schema_1(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "leaky", tmp_path / "leaky")
    old = {"schema": 1, "name": "small", "tpr_limit": 0.5, "minimum_members": 20, "minimum_controls": 20}
    old |= {"required_attacks": ["nearest-copy"], "required_plants": []}
    (tmp_path / "leaky/private/policy.json").write_text(json.dumps(old))
    done = finished(run(tmp_path, "check", "leaky"))
    assert done.returncode == 1
    assert done.stdout.startswith("FAIL: leaky (policy: small)\n")
    assert finished(run(tmp_path, "report", "leaky")).returncode == 0
    assert json.loads((tmp_path / "leaky/share/audit.json").read_text())["policy"]["schema"] == 2


def test_report_is_the_same_again(runs: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(runs / "leaky", tmp_path / "leaky")
    shutil.rmtree(copy / "share")
    done = finished(run(tmp_path, "report", "leaky"))
    assert done.returncode == 0
    assert done.stdout == f"report: {Path('leaky/share/report.html')}\n"
    for path in (runs / "leaky/share").iterdir():
        assert (copy / "share" / path.name).read_bytes() == path.read_bytes(), path.name


def test_compare(runs: Path) -> None:
    leakier = finished(run(runs, "compare", "clean", "leaky"))
    assert leakier.returncode == 1
    assert leakier.stdout.endswith("LEAKIER: the run gives away more than the baseline.\n")
    assert "density-ratio: not compared, for it did not finish in both runs" in leakier.stdout
    assert "verdict by the policy of the run (small): baseline" in leakier.stdout
    assert ", run fail\n" in leakier.stdout
    better = finished(run(runs, "compare", "leaky", "clean"))
    assert better.returncode == 0
    assert "LESS LEAKY" in better.stdout
    same = finished(run(runs, "compare", "clean", "clean"))
    assert same.returncode == 0
    assert "NO DIFFERENCE SHOWN" in same.stdout
    assert finished(run(runs, "compare", "clean", "leaky", "--no-fail")).returncode == 0


def test_a_run_that_fails_where_the_baseline_does_not(runs: Path, tmp_path: Path) -> None:
    """A single identical copy moves no average."""
    for name in ("clean", "copied"):
        shutil.copytree(runs / "clean", tmp_path / name)
    path = tmp_path / "copied/private/evidence/evidence.json"
    facts = json.loads(path.read_text())
    facts["releases"][0]["identical"] = [{"id": "m-000001", "release_id": "r-000002"}]
    path.write_text(json.dumps(facts))
    done = finished(run(tmp_path, "compare", "clean", "copied"))
    assert done.returncode == 1
    assert done.stdout.endswith("FAILS: the run breaks a rule of the policy that the baseline keeps. See its report.\n")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda facts: facts["manifest"]["hashes"]["data"].update(controls="0"), "the second has other data"),
        (lambda facts: facts["manifest"]["seeds"].update(run=9), "the second has another --seed"),
        (lambda facts: facts["manifest"].update(effort="thorough"), "the second has another --effort"),
        (lambda facts: facts["releases"][0]["attacks"][0].update(version=99), "has another version"),
        (lambda facts: facts.update(attacked=False), "was not attacked"),
    ],
    ids=["data", "seed", "effort", "version", "not attacked"],
)
def test_runs_that_cannot_be_compared(runs: Path, tmp_path: Path, change: object, message: str) -> None:
    for name in ("clean", "leaky"):
        shutil.copytree(runs / name, tmp_path / name)
    path = tmp_path / "leaky/private/evidence/evidence.json"
    facts = json.loads(path.read_text())
    assert callable(change)
    change(facts)
    path.write_text(json.dumps(facts))
    done = run(tmp_path, "compare", "clean", "leaky")
    assert done.returncode == 2
    assert message in assert_one_sentence(done)


def test_unknown_candidate(runs: Path) -> None:
    done = run(runs, "compare", "clean", "leaky", "--run-name", "leeky")
    assert done.returncode == 2
    assert "holds the candidates leaky; name one of them" in assert_one_sentence(done)
