"""JSON of manifests, of release folders and of finished runs: nested, lying, or with names that lead elsewhere."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from audit_examples import clean_scores, evidence_of
from hostile_cases import (
    CANARY,
    MIB,
    Build,
    Case,
    Kind,
    Payload,
    encoded,
    file_of,
    json_of,
    noted,
    npy,
    npy_of,
    npz,
    zipped,
)

from privaudit import evidence
from privaudit.configuration import Configuration
from privaudit.policy import load_policy
from privaudit.reproduction import RunManifest

SCORES = "scores-00-nearest-copy.npz"
Change = Callable[[dict[str, Any]], object]
FACTS_FILE = Path("private") / "evidence" / evidence.FACTS


@lru_cache(1)
def manifest() -> bytes:
    asked = {"data": {"members": "a", "controls": "b"}, "candidates": [{"name": "c", "release": "r"}]}
    made = RunManifest(
        configuration=Configuration.model_validate(asked),
        policy=load_policy("default"),
        sources={},
        store="store",
        plan={},
        surroundings={},
        results={},
    )
    return json_of(made.as_json())


def good_run(folder: Path) -> Path:
    scores = clean_scores(20, 20, 10, np.random.default_rng(0))
    evidence.save(evidence_of({"nearest-copy": scores}, 20, 20, 10), folder / "run" / "private" / "evidence")
    return folder / "run"


def good_release(folder: Path) -> Path:
    (folder / "r" / "images" / "00000").mkdir(parents=True)
    (folder / "r" / "images" / "00000" / "000000000.png").write_bytes(encoded("png"))
    (folder / "r" / "release.json").write_bytes(json_of({"class_names": ["a"], "images": 1}))
    return folder / "r"


def good_manifest(folder: Path) -> Path:
    (folder / "manifest.json").write_bytes(manifest())
    return folder / "manifest.json"


def _with(good: Callable[[Path], Path], place: Path | str, change: Change) -> Build:
    """A good one, in whose JSON something is changed."""

    def build(folder: Path) -> Path:
        path = good(folder)
        content = json.loads((path / place).read_bytes())
        change(content)
        (path / place).write_bytes(json_of(content))
        return path

    return build


def _instead(good: Callable[[Path], Path], place: Path | str, content: bytes) -> Build:
    def build(folder: Path) -> Path:
        path = good(folder)
        (path / place).write_bytes(content)
        return path

    return build


def _special(good: Callable[[Path], Path], place: Path | str, make: Callable[[Path], object]) -> Build:
    def build(folder: Path) -> Path:
        path = good(folder)
        (path / place).unlink()
        make(path / place)
        return path

    return build


TEXTS: dict[str, bytes] = {
    "empty": b"",
    "half": b'{"schema": 1, "results": {',
    "a list": b"[1, 2]",
    "a number": b"7",
    "null": b"null",
    "200,000 brackets": b"[" * 200_000,
    "200,000 braces": b'{"a":' * 200_000,
    "bytes of no encoding": b"\xff\xfe\xd8",
    "NUL": bytes(99),
    "a number of 5,000 digits": b'{"schema": ' + b"9" * 5_000 + b"}",
    "half a character": b'{"schema": "\\ud800", "\\udfff": 1}',
    "40 MiB of lists": b"[" + b"[]," * (40 * MIB // 3) + b"[]]",
    "a million unknown keys": json_of({f"k{number}": 1 for number in range(MIB)}),
    "a list of a million numbers": json_of({"class_names": [1] * MIB, "sources": [1] * MIB, "member_ids": [1] * MIB}),
    "a pickle": pickle.dumps([1]),
}
SPECIAL: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "a folder": Path.mkdir,
    "nothing": lambda path: None,
}

MANIFEST: dict[str, Change] = {
    "schema 2": lambda made: made.update(schema=2),
    "no results": lambda made: made.update(results=None),
    "results in a list": lambda made: made.update(results=[1]),
    "an unknown key of escapes": lambda made: made.update({"\x1b[2J": 1}),
    "sources of numbers": lambda made: made.update(sources={"a": 1}),
    "a limit of NaN": lambda made: made["policy"]["rules"][1].update(at_most=float("nan")),
    "a limit of infinity": lambda made: made["policy"]["rules"][1].update(at_most=float("inf")),
    "a candidate that leads out": lambda made: made["configuration"]["candidates"][0].update(name="../x"),
    "a seed of 1e999": lambda made: made["configuration"].update(seed=float("inf")),
    "no policy": lambda made: made.pop("policy"),
    "a policy of schema 1": lambda made: made.update(policy={"schema": 1, "name": "x", "tpr_limit": 1}),
}
RELEASE: dict[str, Change] = {
    "version 2": lambda made: made.update(version=2),
    "another format": lambda made: made.update(format="other"),
    "no names": lambda made: made.update(class_names=[]),
    "names with escapes": lambda made: made.update(class_names=["\x1b[31mred"]),
    "names that run backwards": lambda made: made.update(class_names=["\u202egnp"]),
    "names of 10,000 letters": lambda made: made.update(class_names=["x" * 10_000]),
    "200,001 names": lambda made: made.update(class_names=[str(number) for number in range(200_001)]),
    "a name twice": lambda made: made.update(class_names=["a", "a"]),
    "more images than there are": lambda made: made.update(images=2),
    "a number of images of 1e999": lambda made: made.update(images=float("inf")),
    "artifacts in a list": lambda made: made.update(artifacts=["/etc/passwd"]),
    "views without soft labels": lambda made: made.update(views=[[0] * 8]),
    "a claim of NaN": lambda made: made.update(
        claim={"epsilon": float("nan"), "delta": 0, "unit": "image", "adjacency": "replace", "mechanism": {}}
    ),
    "half a claim": lambda made: made.update(claim={"epsilon": 1}),
    "a provenance of NaN": lambda made: made.update(provenance={"seed": float("nan")}),
}
RUN: dict[str, Change] = {
    "an attack named like a path": lambda made: made["releases"][0]["attacks"][0].update(name="x/../../../secret"),
    "an attack named like an absolute path": lambda made: made["releases"][0]["attacks"][0].update(name="/etc/passwd"),
    "an attack named with NUL": lambda made: made["releases"][0]["attacks"][0].update(name="a\0b"),
    "an attack that is not there": lambda made: made["releases"][0]["attacks"][0].update(name="other"),
    "more members than scores": lambda made: made["member_ids"].append("m-x"),
    "a seed that is a text": lambda made: made.update(seed="\x1b[2J"),
    "an unknown key": lambda made: made.update(unknown=1),
    "no releases": lambda made: made.pop("releases"),
    "pictures that are not there": lambda made: made["releases"][0]["attacks"][0].update(pairs=3),
}
_ROW = npy_of(np.zeros(20))
SCORE_FILES: dict[str, bytes] = {
    "empty": b"",
    "text": b"0.5\n",
    "another array": zipped({"x.npy": _ROW}),
    "a terabyte": zipped({"release members.npy": npy("'<f8'", f"({2**37},)")}),
    "half": zipped({"release members.npy": _ROW})[:90],
    "one number": zipped({"release members.npy": npy_of(np.float64(1))}),
    "too few": zipped({"release members.npy": npy_of(np.zeros(19))}),
    "no array": zipped({"release members": b"0.5"}),
}


def _unpickled(folder: Path) -> Path:
    run = good_run(folder)
    content = npy("'|O'", "(20,)", pickle.dumps([Payload(folder.parent / CANARY)] * 20))
    (run / "private" / "evidence" / SCORES).write_bytes(zipped({"release members.npy": content}))
    return run


def _shards(**changes: Any) -> Build:
    def build(folder: Path) -> Path:
        path = good_release(folder)
        (path / "images" / "00000.npz").write_bytes(npz(**changes))
        return path

    return build


GOOD: dict[Kind, tuple[Callable[[Path], Path], Path | str]] = {
    "release": (good_release, "release.json"),
    "run": (good_run, FACTS_FILE),
    "manifest": (good_manifest, ""),
}
CASES = (
    *(
        Case(name, kind, _instead(good, place, content), slow="million" in name or "MiB" in name)
        for kind, (good, place) in GOOD.items()
        for name, content in TEXTS.items()
    ),
    *(
        Case(f"instead of JSON, {name}", kind, _special(good, place, make))
        for kind, (good, place) in GOOD.items()
        for name, make in SPECIAL.items()
        if (kind, name) != ("release", "nothing")
    ),
    *(Case(name, "manifest", _with(good_manifest, "", change)) for name, change in MANIFEST.items()),
    *(Case(name, "release", _with(good_release, "release.json", change)) for name, change in RELEASE.items()),
    *(Case(name, "run", _with(good_run, FACTS_FILE, change)) for name, change in RUN.items()),
    *(
        Case(f"scores, {name}", "run", _instead(good_run, Path("private/evidence") / SCORES, content))
        for name, content in SCORE_FILES.items()
    ),
    Case("scores that run code", "run", _unpickled),
    Case("soft labels that run code", "release", _instead(good_release, "soft_labels.npy", npy("'|O'", "(1,)", b"x"))),
    Case("statistics of text", "release", _instead(good_release, "statistics.npz", b"x")),
    Case("labels beyond the names", "release", _shards(labels=np.array([5, 6]))),
    Case("a file instead of a run", "run", file_of("run", lambda: b"x")),
    Case(
        "artifacts that lead out, and are not followed",
        "release",
        _with(good_release, "release.json", lambda made: made.update(artifacts={"x": "../../../etc/passwd"})),
        "converted",
        noted("Not assessed: the release lists the artifact 'x', which cannot be loaded yet"),
    ),
    Case(
        "5,000 unknown keys",
        "release",
        _with(good_release, "release.json", lambda made: made.update({f"\x1b{n}": 1 for n in range(5_000)})),
        "converted",
        noted("has the unknown key '?0'", "4,980 more unknown keys"),
    ),
)
