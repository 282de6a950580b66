"""`privaudit audit` from beginning to end: verdicts and exit codes, what is printed, what is shared and what is not."""

from __future__ import annotations

import json
import platform
import re
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from processes import AUDIT, run, write_images, write_small_audit

from privaudit.cli.verdict import show
from privaudit.plugins import ATTACKS, installed
from privaudit.record import AuditRecord

SHARED = ["audit.json", "junit.xml", "metrics.json", "report.html", "summary.md"]
QUICK = ("--policy", "small.yaml", "--effort", "quick", "--workers", "0", "--skip", "utility")


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A small audit, and what it printed."""
    folder = tmp_path_factory.mktemp("audited")
    write_small_audit(folder)
    return folder, run(folder, *AUDIT, "--out", "run", "--workers", "0", "--json")


def test_folder_of_the_run(audited: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = audited
    assert sorted(path.name for path in (folder / "run").iterdir()) == ["private", "share"]
    assert sorted(path.name for path in (folder / "run/share").iterdir()) == SHARED
    for private in (folder / "run/private", folder / ".privaudit"):
        assert stat.S_IMODE(private.stat().st_mode) == 0o700


def test_json_is_all_that_stdout_holds(audited: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = audited
    record = json.loads(done.stdout)
    assert done.stdout == (folder / "run/share/audit.json").read_text()
    assert {"fail": 1, "inconclusive": 4, "pass": 0}[record["verdict"]] == done.returncode
    assert [release["name"] for release in record["releases"]] == ["candidate"]


def test_plain_progress_without_a_terminal(audited: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    _, done = audited
    lines = done.stderr.splitlines()
    assert all(line.isprintable() for line in lines)
    kinds = re.compile(r"note: .*\.|[a-z].* \.\.\.|\d+ of \d+ done: .+|plan .*:|  .*: \d+ steps?; .*|  in all: .*")
    *before, last = lines
    assert [line for line in before if not kinds.fullmatch(line)] == []
    assert re.fullmatch(r"finished in \d+ seconds?(, peak memory [\d.]+ [kMG]B)?", last)
    numbers = [tuple(map(int, line.split(" done: ")[0].split(" of "))) for line in lines if " done: " in line]
    total = numbers[0][1]
    assert numbers == [(done_, total) for done_ in range(1, total + 1)]


def test_quiet(audited: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, before = audited
    done = run(folder, *AUDIT, "--out", "run", "--workers", "0", "--quiet")
    assert done.returncode == before.returncode
    assert done.stderr == ""
    assert re.match(r"(PASS|FAIL|INCONCLUSIVE): candidate \(policy: small\)\n", done.stdout)
    assert done.stdout.endswith(f"report: {Path('run/share/report.html')}\n")


def test_last_screen(
    audited: tuple[Path, subprocess.CompletedProcess[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """At most three reasons, the first of them in the sentence; what was not tested; what to do next."""
    record = AuditRecord.model_validate_json((audited[0] / "run/share/audit.json").read_text())
    reasons = tuple(f"fail: reason {number}" for number in range(5))
    (release,) = record.releases
    changed = release.model_copy(update={"reasons": reasons, "verdict": "fail", "next_steps": ("mend it",)})
    show(record.model_copy(update={"releases": (changed,)}))
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("  - ")] == [
        "  - fail: reason 1",
        "  - fail: reason 2",
        "  - and 2 more: see the report",
    ]
    assert "  not tested: utility: left out by the plan" in lines
    left_out = " and ".join(sorted(installed(ATTACKS).keys() - {"nearest-copy", "density-ratio"}))
    assert f"  not tested: what {left_out} would find: installed, but not run" in lines
    assert lines[-1] == "  next: mend it"
    passed = release.model_copy(update={"verdict": "pass", "next_steps": (), "reasons": ()})
    show(record.model_copy(update={"releases": (passed,)}))
    assert "  next: Have the report read" in capsys.readouterr().out


def test_released_members_fail(tmp_path: Path) -> None:
    """Also without controls, where nothing else could be shown; and giving the members' own folder is no mistake."""
    write_images(tmp_path / "members")
    done = run(tmp_path, "audit", "--members", "members", "--release", "members", "--workers", "0")
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith(
        "FAIL: candidate (policy: default)\n  Do not publish: rule identical-copies: 4 members are released unchanged"
    )
    assert "next: " in done.stdout


def test_without_controls_and_with_odd_images(tmp_path: Path) -> None:
    """What is converted is told; without controls the verdict is inconclusive."""
    members = write_images(tmp_path / "members", count=3)
    write_images(tmp_path / "release", seed=4)
    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    colour.save(members / "a" / "rotated.jpg", exif=exif)
    colour.convert("CMYK").save(members / "a" / "cmyk.jpg")
    see_through = colour.copy()
    see_through.putalpha(100)
    see_through.save(members / "b" / "alpha.png")
    colour.resize((12, 10)).save(members / "b" / "large.png")
    (members / "single").mkdir()
    colour.save(members / "single" / "one.png")
    done = run(tmp_path, "audit", "--members", "members", "--release", "release", "--workers", "0")
    assert done.returncode == 4, done.stderr
    assert "no controls" in done.stdout
    assert "--controls" in done.stdout
    for said in (
        "note: members: 1 image carried an EXIF rotation, which was applied.",
        "note: members: 1 image had transparent pixels, which were put on white.",
        "note: members: 1 image had CMYK colours",
        "note: members: 1 image of 11 resized once to 8 x 8 pixels (Lanczos; 2 sizes were found).",
        "note: members: Warning: 1 class has a single image.",
        "note: release: To match the members: no images of 1 of the members' 3 classes.",
    ):
        assert said in done.stderr, done.stderr


def test_deep_images_through_a_window_of_the_members(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for part in ("members", "release"):
        (tmp_path / part / "a").mkdir(parents=True)
        for number in range(3):
            values = rng.integers(1000, 3000, (8, 8)).astype(np.uint16)
            Image.fromarray(values).save(tmp_path / part / "a" / f"{number}.png")
    arguments = ("audit", "--members", "members", "--release", "release", "--workers", "0")
    done = run(tmp_path, *arguments, "--window", "auto")
    assert done.returncode == 4, done.stderr
    found = re.search(r"note: --window auto: (\d+\.?\d*),(\d+\.?\d*)\n", done.stderr)
    assert found is not None
    assert 1000 <= float(found[1]) < 1100
    assert 2900 < float(found[2]) <= 3000
    assert "3 images had more than 8 bits and were mapped through the window." in done.stderr


def test_only_one_of_the_required_attacks(tmp_path: Path) -> None:
    write_small_audit(tmp_path)
    text = (tmp_path / "small.yaml").read_text()
    (tmp_path / "small.yaml").write_text(text.replace("[nearest-copy]", "[nearest-copy, density-ratio]"))
    done = run(tmp_path, *AUDIT, "--attacks", "nearest-copy", "--workers", "0", "--name", "Candidate 2.1")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "INCONCLUSIVE: Candidate 2.1" in done.stdout
    assert "the required attack density-ratio did not run" in done.stdout
    assert "next: Run with density-ratio among --attacks." in done.stdout


@pytest.mark.parametrize("attacks", ["nearest-copy,density-ratio", pytest.param("all", marks=pytest.mark.slow)])
def test_share_gives_nothing_away(tmp_path: Path, attacks: str) -> None:
    """Marks are put into everything that is private; none of them, and no picture, reaches `share/`."""
    rng = np.random.default_rng(3)
    marks = {
        "folder": "zqfolder",
        "file": "zqfile",
        "group": "zqgroup",
        "class": "zqclass",
        "suffix": "zqsuf",
        "user": "zquser",
    }
    root = tmp_path / marks["user"] / "data"
    for part, count in (("members", 40), ("controls", 80), ("release", 30)):
        place = root / f"{marks['folder']}-{part}"
        groups = ["file,group"]
        classes = [*"ab", *([marks["class"]] if part == "members" else [])]
        for label in classes:
            (place / label).mkdir(parents=True)
            for number in range(1 if label == marks["class"] else count // 2):
                name = f"{label}/{marks['file']}-{part}-{number}.png"
                coarse = rng.integers(20, 230, (4, 4)).repeat(3, 0).repeat(3, 1)
                Image.fromarray(np.clip(coarse + rng.normal(0, 15, (12, 12)), 0, 255).astype(np.uint8)).save(
                    place / name
                )
                groups.append(f"{name},{marks['group']}-{part}-{number // 2}-{label}")
        if part != "release":
            (place / "a" / f"notes.{marks['suffix']}").write_text("x")
            (place / "groups.csv").write_text("\n".join(groups) + "\n")
    (root / f"{marks['folder']}-members" / f"empty-{marks['class']}").mkdir()
    write_small_audit(root)
    sources = [
        word for part in ("members", "controls", "release") for word in (f"--{part}", f"{marks['folder']}-{part}")
    ]
    extra = {"HOME": str(tmp_path / marks["user"]), "USER": marks["user"], "LOGNAME": marks["user"]}
    places = ("--out", str(root / "run"), "--store", str(root / "store"))
    chosen = () if attacks == "all" else ("--attacks", attacks)
    done = run(root, "audit", *sources, *QUICK, *places, *chosen, extra=extra)
    assert done.returncode in (1, 4), done.stderr
    assert "done: " in done.stderr, "nothing was attacked"
    private = "".join(path.read_text(errors="replace") for path in (root / "run/private").glob("*.*"))
    assert all(mark in private for mark in (marks["folder"], marks["file"], marks["group"]))
    for path in (root / "run/share").iterdir():
        text = path.read_text(encoding="utf-8")
        for mark in (*marks.values(), str(tmp_path), str(Path.home()), sys.prefix):
            assert mark not in text, f"{mark} in {path.name}"
        if len(platform.node()) > 3:
            assert platform.node() not in text, path.name
        assert not re.search(r"data:image|base64|iVBORw0K|/9j/4AAQ|R0lGOD|<image|<img|<canvas", text), path.name
        assert not re.search(r"(?<![\w<:/])/(?:home|root|tmp|usr|work|Users|var)/", text), path.name


@pytest.mark.slow
def test_demo(tmp_path: Path) -> None:
    done = run(tmp_path, "audit", "--demo", "--skip", "utility")
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("FAIL: digits-with-planted-members (policy: demo)\n")
    assert "5 members are released unchanged" in done.stdout
    record = json.loads((tmp_path / "privaudit-report/share/audit.json").read_text())
    ran = [attack["name"] for attack in record["releases"][0]["attacks"]]
    needing_more = {"linkage", "pipeline-shadows", "soft-label-membership", "statistics-matching", "teacher-membership"}
    needing_more |= {"mixing-restoration"}  # nothing was mixed
    assert ran == sorted(installed(ATTACKS).keys() - needing_more)
