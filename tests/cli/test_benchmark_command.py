"""`privaudit benchmark` as a process, with a small engine that is installed as a plugin would be."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from engine_examples import install
from processes import assert_one_sentence, command, environment, run, write_small_audit

GRID = """
data: {{source: all.npz, split: {{members: 50, controls: 90, fresh: 30, reference: 30}}}}
synthesizer: toy
common: {{each: 12, log: {log}}}
settings:
{lines}
seeds: [0, 1, 2]
policy: small.yaml
effort: quick
utility: false
"""


def prepare(folder: Path, settings: dict[str, str], each_seconds: float = 0.0) -> dict[str, str]:
    """Data, policy and grid; returns the environment in which the engine is found."""
    write_small_audit(folder)
    parts = [np.load(folder / f"{name}.npz") for name in ("members", "controls")]
    images, labels = (np.concatenate([part[key] for part in parts]) for key in ("images", "labels"))
    np.savez(folder / "all.npz", images=images, labels=labels)
    write_grid(folder, settings, each_seconds)
    return {"PYTHONPATH": install(folder / "plugin")}


def write_grid(folder: Path, settings: dict[str, str], each_seconds: float = 0.0) -> None:
    lines = "\n".join(f"  {name}: {{{value}}}" for name, value in settings.items())
    text = GRID.format(log=folder / "made.log", lines=lines)
    (folder / "grid.yaml").write_text(text.replace("each: 12", f"each: 12, seconds: {each_seconds}"))


def shards(folder: Path) -> list[str]:
    path = folder / "made.log"
    return path.read_text().split("\n")[:-1] if path.exists() else []


BENCHMARK = ("benchmark", "grid.yaml", "--out", "out", "--workers", "0")


def test_a_benchmark(tmp_path: Path) -> None:
    extra = prepare(tmp_path, {"base": "", "more": "each: 13"})
    done = run(tmp_path, *BENCHMARK, extra=extra)
    assert done.returncode in (0, 1), done.stderr
    assert "base" in done.stdout
    assert "tables: out/share/benchmark.html" in done.stdout
    record = json.loads((tmp_path / "out/share/benchmark.json").read_text())
    assert [line["name"] for line in record["lines"]] == ["base", "more"]
    assert len(record["cells"]) == 9
    assert len({cell["release"] for cell in record["cells"]}) == 9
    share = " ".join(path.read_text() for path in (tmp_path / "out/share").iterdir())
    assert str(tmp_path) not in share.replace(json.dumps(str(tmp_path / "made.log"))[1:-1], "")
    assert len(shards(tmp_path)) == 9 * 2


@pytest.mark.slow
def test_a_line_that_is_added_costs_that_line_alone(tmp_path: Path) -> None:
    extra = prepare(tmp_path, {"base": "", "more": "each: 13"})
    run(tmp_path, *BENCHMARK, "--no-fail", extra=extra)
    made = len(shards(tmp_path))
    write_grid(tmp_path, {"base": "", "more": "each: 13", "most": "each: 14"})
    again = run(tmp_path, *BENCHMARK, "--no-fail", extra=extra)
    assert again.returncode == 0, again.stderr
    assert len(shards(tmp_path)) == made + 3 * 2

    once_more = run(tmp_path, *BENCHMARK, "--no-fail", "--against", "out", "--json", extra=extra)
    assert once_more.returncode == 0, once_more.stderr
    assert len(shards(tmp_path)) == made + 3 * 2
    changes = json.loads(once_more.stdout)["against"]
    assert {change["difference"]["mean"] for change in changes} == {0.0}


@pytest.mark.slow
def test_a_setting_that_cannot_be_made_does_not_stop_the_others(tmp_path: Path) -> None:
    extra = prepare(tmp_path, {"base": "", "bad": "shape: few"})
    done = run(tmp_path, *BENCHMARK, extra=extra)
    assert done.returncode == 3, done.stderr
    assert "not finished: bad, seed 0: The synthesizer 'toy' made 11 images instead of 12." in done.stdout
    record = json.loads((tmp_path / "out/share/benchmark.json").read_text())
    assert [line["name"] for line in record["lines"]] == ["base"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("synthesizer: toi", "There is no synthesizer 'toi'"),
        ("common: {eech: 3}", "setting 'base': .*eech"),
        ("policy: missing.yaml", "missing.yaml"),
    ],
)
def test_mistakes_are_met_before_any_work(tmp_path: Path, text: str, said: str) -> None:
    import re

    extra = prepare(tmp_path, {"base": ""})
    key = text.partition(":")[0]
    lines = [line for line in (tmp_path / "grid.yaml").read_text().splitlines() if not line.startswith(f"{key}:")]
    (tmp_path / "grid.yaml").write_text("\n".join([*lines, text]))
    done = run(tmp_path, *BENCHMARK, extra=extra)
    assert done.returncode == 2
    assert re.search(said, assert_one_sentence(done), re.DOTALL)
    assert not shards(tmp_path)


def test_the_example_and_what_is_missing(tmp_path: Path) -> None:
    assert "settings:" in run(tmp_path, "benchmark", "--example").stdout
    done = run(tmp_path, "benchmark")
    assert done.returncode == 2
    assert "--example" in assert_one_sentence(done)
    done = run(tmp_path, "benchmark", "nowhere.yaml")
    assert done.returncode == 2
    assert "There is no grid" in assert_one_sentence(done)


@pytest.mark.slow
def test_twelve_settings_killed_again_and_again(tmp_path: Path) -> None:
    """kill -9 of the whole group at several moments: no finished cell is made twice, and the result is the same."""
    settings = {f"s{number}": f"each: {12 + number}" for number in range(12)}
    plain, killed = tmp_path / "plain", tmp_path / "killed"
    for folder in (plain, killed):
        folder.mkdir()
    extra = prepare(plain, settings)
    assert run(plain, *BENCHMARK, "--no-fail", extra=extra, seconds=900).returncode == 0
    extra = prepare(killed, settings, each_seconds=0.05)
    for delay in (6, 15, 25, 40):
        process = subprocess.Popen(
            command(*BENCHMARK, "--quiet"), cwd=killed, env=environment(killed) | extra, start_new_session=True
        )
        time.sleep(delay)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = run(killed, *BENCHMARK, "--no-fail", extra=extra, seconds=900)
    assert done.returncode == 0, done.stderr
    made = shards(killed)
    assert 3 * 13 * 2 <= len(made) <= 3 * 13 * 2 + 4  # the shard in work at each kill is begun again
    before, after = (json.loads((folder / "out/share/benchmark.json").read_text()) for folder in (plain, killed))
    assert [cell["release"] for cell in before["cells"]] == [cell["release"] for cell in after["cells"]]
    assert [cell["figures"] for cell in before["cells"]] == [cell["figures"] for cell in after["cells"]]
