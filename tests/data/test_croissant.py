"""croissant.json and DATASHEET.md in a release folder: what they say, what they keep to themselves, and their scan."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privaudit.data import release_writing
from privaudit.data.croissant import CROISSANT, NOT_ASSESSED
from privaudit.data.datasheet import DATASHEET, OWNER, escaped
from privaudit.data.filescan import scan
from privaudit.data.loading import load, load_release, write_release
from privaudit.images import Dataset, Images
from privaudit.record import ScanFinding
from privaudit.release import PrivacyClaim, Release

LABELS = np.array([0, 1, 0, 2, 1, 0])
NAMES = ("cat", 'd"o|g', "<b>")
PROVENANCE = {"engine": "bn-matching", "version": 1, "settings": {"steps": 50, "teacher": {"lr": 0.1, "name": None}}}
CLAIM = PrivacyClaim(1.5, 1e-5, "person", "add/remove", {"noise": 1.1}, "dp-accounting 0.6.0", "central: one curator")


def release_of(
    provenance: dict[str, Any] | None = None,
    *,
    soft: bool = False,
    channels: int = 3,
    claim: PrivacyClaim | None = None,
) -> Release:
    pixels = np.random.default_rng(5).integers(0, 256, (6, 9, 11, channels), dtype=np.uint8)
    weights = np.full((6, 3), 1 / 3, np.float32) if soft else None
    given = PROVENANCE if provenance is None else provenance
    return Release(Images(pixels, LABELS), soft_labels=weights, claim=claim, provenance=given)


def written(root: Path, release: Release, names: tuple[str, ...] = NAMES, shard_above: int = 100) -> tuple[Any, str]:
    """croissant.json as parsed and DATASHEET.md as text."""
    write_release(release, names, root, shard_above=shard_above)
    return json.loads((root / CROISSANT).read_bytes()), (root / DATASHEET).read_text("utf-8")


def findings(root: Path) -> list[ScanFinding]:
    pixels = np.zeros((4, 9, 11, 3), np.uint8)
    members = Dataset(Images(pixels, np.zeros(4, np.int64)), ("cat",), None, tuple("0123"), "m")
    found = scan(root, members, load(root))
    assert all(str(root) not in finding.sentence for finding in found)
    return list(found)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# What they say


def test_known_answers(tmp_path: Path) -> None:
    root = tmp_path / "r"
    croissant, sheet = written(root, release_of(soft=True, claim=CLAIM))
    lines = [f"{sha256(path)}  {path.relative_to(root).as_posix()}\n" for path in sorted(root.rglob("*.png"))]
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    assert lines[1].endswith("  images/00000/000000002.png\n")
    assert croissant["name"] == f"Synthetic images {digest[:12]}"
    assert croissant["description"].startswith("6 labelled images of 11 x 9 pixels, colour, in 3 classes.")
    files, soft = croissant["distribution"]
    assert digest in files["description"]
    assert soft["sha256"] == sha256(root / "soft_labels.npy")
    assert soft["contentSize"] == f"{(root / 'soft_labels.npy').stat().st_size} B"
    assert croissant["recordSet"][1]["data"] == [
        {"classes/number": 0, "classes/name": "cat", "classes/images": 3},
        {"classes/number": 1, "classes/name": 'd"o|g', "classes/images": 2},
        {"classes/number": 2, "classes/name": "<b>", "classes/images": 1},
    ]
    assert croissant["rai:dataCollectionType"] == ["synthetic"]
    assert croissant["rai:dataCollection"] == (
        "Made by the engine bn-matching (version 1) from private images. No released image was collected. "
        "Settings: steps = 50; teacher.lr = 0.1; teacher.name = default."
    )
    assert croissant["rai:dataBiases"][0].startswith("There are 1 to 3 images per class.")
    stated = "epsilon = 1.5, delta = 1e-05, unit: one person, adjacency: add"
    assert stated in croissant["rai:personalSensitiveInformation"][1]
    assert "not verified" in croissant["rai:personalSensitiveInformation"][1]
    assert stated in sheet
    assert "6 synthetic images of 11 x 9 pixels, colour, 8 bits per channel, in 3 classes." in sheet
    assert "the labels are hard and soft" in sheet
    assert "| 0 | cat | 3 |\n" in sheet
    assert '| 1 | d\\"o\\|g | 2 |\n| 2 | \\<b\\> | 1 |\n' in sheet
    assert "| `teacher.lr` | `0.1` |\n" in sheet
    assert digest in sheet
    assert sha256(root / "soft_labels.npy") in sheet


def test_shards_have_checksums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release_writing, "SHARD_SIZE", 4)
    croissant, sheet = written(tmp_path / "r", release_of(channels=1), shard_above=0)
    assert [(one["contentUrl"], one["sha256"]) for one in croissant["distribution"]] == [
        (f"images/{number:05d}.npz", sha256(tmp_path / f"r/images/{number:05d}.npz")) for number in range(2)
    ]
    assert "11 x 9 pixels, grey" in croissant["description"]
    assert [row["classes/images"] for row in croissant["recordSet"][0]["data"]] == [3, 2, 1]
    assert "`images/00001.npz`" in sheet
    assert findings(tmp_path / "r") == []


def test_what_is_unknown_is_left_out(tmp_path: Path) -> None:
    croissant, sheet = written(tmp_path / "r", release_of({}))
    assert croissant["name"].startswith("Images ")
    for key in ("rai:dataCollection", "rai:dataCollectionType", "rai:dataUseCases", "prov:wasGeneratedBy"):
        assert key not in croissant
    for key in ("license", "creator", "url", "datePublished", "rai:dataReleaseMaintenancePlan"):
        assert key not in croissant
    assert "synthetic" not in sheet
    assert "The provenance does not say in plain words how the images were made" in sheet
    assert "Differential privacy is not claimed." in sheet
    assert "Differential privacy is not claimed." in croissant["rai:personalSensitiveInformation"]


def test_questions_of_the_owner_and_what_was_not_assessed(tmp_path: Path) -> None:
    croissant, sheet = written(tmp_path / "r", release_of())
    questions = [line for line in sheet.splitlines() if "?" in line]
    assert len(questions) >= 14
    assert all(line.endswith(OWNER) for line in questions)
    assert "to be answered by the owner" in OWNER
    for text in NOT_ASSESSED:
        assert f"- {text}\n" in sheet
        assert f"Not assessed when this file was written: {text}." in croissant["rai:dataLimitations"]
    headings = re.findall(r"^## (.*)$", sheet, re.MULTILINE)
    assert headings[:3] == ["Motivation", "Composition", "Collection"]
    assert headings[3:] == ["Preparation", "Uses", "Distribution", "Maintenance"]


def test_equal_releases_give_equal_bytes(tmp_path: Path) -> None:
    for limit in (0, 100):
        contents = []
        for name in ("one", "another place/two"):
            root = tmp_path / str(limit) / name
            write_release(release_of(soft=True, claim=CLAIM), NAMES, root, shard_above=limit)
            contents.append({p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()})
        assert contents[0] == contents[1]
        assert {Path(CROISSANT), Path(DATASHEET)} < set(contents[0])


# What they keep to themselves


SECRETS = (
    "/home/anna/scans",
    "C:\\scans\\anna",
    "C:scans",
    "scans/anna",
    "members.npz",
    "node17.clinic.example",
    "anna@clinic",
    "~anna",
    "two\nlines",
    "b`tick",
    "a|b",
    "<script>",
    "Anna\u202e",
    "Jos\u00e9",
)


@pytest.mark.parametrize("secret", SECRETS)
def test_what_could_be_a_path_or_a_host_is_left_out(tmp_path: Path, secret: str) -> None:
    provenance = {
        "engine": "x",
        "settings": {"value": secret, "within": {"list": [1, secret]}, secret: 3, "steps": 7},
        "source": secret,
        "operator": "berta",
    }
    claim = PrivacyClaim(1, 0, "image", "replace", {"from": secret}, f"name {secret}", secret)
    croissant, sheet = written(tmp_path / "r", release_of(provenance, claim=claim))
    for text in (json.dumps(croissant, ensure_ascii=False), sheet):
        assert secret not in text
        assert escaped(secret) not in text
        assert "berta" not in text
        assert "3 further settings in release.json" in text
    assert "Settings: steps = 7." in croissant["rai:dataCollection"]
    assert "Accountant: see release.json. Trust model: see release.json." in sheet
    assert findings(tmp_path / "r") == []


def test_an_engine_without_a_plain_name_is_not_named(tmp_path: Path) -> None:
    croissant, sheet = written(tmp_path / "r", release_of({"engine": "/opt/anna/engine.py", "settings": [1]}))
    assert "anna" not in json.dumps(croissant) + sheet


def test_settings_are_bounded(tmp_path: Path) -> None:
    deep: dict[str, Any] = {"end": 1}
    for _ in range(100):
        deep = {"d": deep}
    many = {f"k{number}": number for number in range(1000)}
    wide = {"wide": list(range(33)), "nested": [[1]], "big": 10**50, "flag": True, "pair": (1, 2.5)}
    croissant, _ = written(tmp_path / "r", release_of({"engine": "x", "settings": wide | many | {"deep": deep}}))
    said = croissant["rai:dataCollection"]
    assert "flag = true" in said
    assert "pair = (1, 2.5)" in said
    assert "wide = " not in said
    assert said.count(" = ") == 200
    assert "further settings in release.json" in said
    assert findings(tmp_path / "r") == []


printable_names = st.lists(
    st.text(min_size=1, max_size=12).filter(str.isprintable), min_size=3, max_size=3, unique=True
).map(tuple)


@settings(max_examples=40, deadline=None)
@given(names=printable_names)
def test_any_class_name_survives(tmp_path_factory: pytest.TempPathFactory, names: tuple[str, ...]) -> None:
    root = tmp_path_factory.mktemp("x") / "r"
    croissant, sheet = written(root, release_of(), names)
    assert [row["classes/name"] for row in croissant["recordSet"][1]["data"]] == list(names)
    table = re.findall(r"^\| [0-9] \| (.*) \| [0-9] \|$", sheet, re.MULTILINE)
    assert [re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", cell) for cell in table] == list(names)
    assert not any(re.search(r"(?<!\\)(\\\\)*[|<`\[&]", cell) for cell in table)
    assert findings(root) == []


def test_escaping() -> None:
    assert escaped("a|b") == "a\\|b"
    assert escaped("[x](http://y.z) <b>&amp;_*`\\") == ("\\[x\\]\\(http\\:\\/\\/y\\.z\\) \\<b\\>\\&amp\\;\\_\\*\\`\\\\")
    assert escaped("Tür 7") == "Tür 7"


# Loading and the scan


def test_release_json_is_written_after_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(folder: Path, _: object) -> dict[str, bytes]:
        assert sorted(path.name for path in folder.iterdir()) == ["images"]
        raise OSError("disk full")

    monkeypatch.setattr(release_writing, "describing_files", full)
    with pytest.raises(OSError, match="disk full"):
        write_release(release_of(), NAMES, tmp_path / "r")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("limit", [0, 100])
def test_older_folders_without_them(tmp_path: Path, limit: int) -> None:
    written(tmp_path / "r", release_of(soft=True), shard_above=limit)
    new = load_release(tmp_path / "r")
    assert findings(tmp_path / "r") == []
    for name in (CROISSANT, DATASHEET):
        (tmp_path / "r" / name).unlink()
        assert findings(tmp_path / "r") == []
    old = load_release(tmp_path / "r")
    assert old[0].images.digest == new[0].images.digest
    assert old[1].notes == new[1].notes


@pytest.mark.parametrize("content", [b"", b"{", b"\xff" * 100, b"[" * 100_000, b'{"@type": "sc:Dataset"}'])
def test_tampered_files_do_not_disturb_loading_but_are_found(tmp_path: Path, content: bytes) -> None:
    root = tmp_path / "r"
    written(root, release_of())
    before = load_release(root)
    (root / CROISSANT).write_bytes(content)
    after = load_release(root)
    assert after[0].images.digest == before[0].images.digest
    assert after[1].notes == before[1].notes
    (finding,) = findings(root)
    assert (finding.kind, finding.count) == ("unexpected_file", 1)
    assert finding.sentence.startswith("croissant.json does not describe this release")


def test_the_owner_may_answer_and_add_fields(tmp_path: Path) -> None:
    root = tmp_path / "r"
    written(root, release_of())
    sheet = (root / DATASHEET).read_text()
    (root / DATASHEET).write_text(sheet.replace("*to be answered by the owner*", "A hospital."))
    facts = json.loads((root / CROISSANT).read_text())
    (root / CROISSANT).write_text(json.dumps(facts | {"license": "CC-BY-4.0", "rai:dataUseCases": "teaching"}))
    assert findings(root) == []
    (root / CROISSANT).write_text(json.dumps(facts | {"name": "another"}))
    assert [finding.count for finding in findings(root)] == [1]
    (root / CROISSANT).write_text(json.dumps(facts | {"patients": ["A. B."]}))
    assert [finding.count for finding in findings(root)] == [1]


@pytest.mark.parametrize("content", [b"# Datasheet of another", b"\xff\xfe", b"", b"x" * (2**20 + 1)])
def test_what_is_no_datasheet_of_the_release_is_found(tmp_path: Path, content: bytes) -> None:
    root = tmp_path / "r"
    written(root, release_of())
    (root / DATASHEET).write_bytes(content)
    (finding,) = findings(root)
    assert finding.sentence.startswith("DATASHEET.md does not describe this release")


def test_files_of_another_release_and_links_are_found(tmp_path: Path) -> None:
    root = tmp_path / "r"
    written(root, release_of())
    changed = json.loads((root / "release.json").read_text())
    changed["provenance"]["settings"]["steps"] = 51
    (root / "release.json").write_text(json.dumps(changed))
    assert [finding.count for finding in findings(root)] == [1]  # other settings, the same images
    written(tmp_path / "s", release_of())
    (tmp_path / "s" / CROISSANT).rename(tmp_path / "kept")
    (tmp_path / "s" / CROISSANT).symlink_to(tmp_path / "kept")
    assert [finding.count for finding in findings(tmp_path / "s")] == [1]


def test_further_files_are_counted_as_before(tmp_path: Path) -> None:
    root = tmp_path / "r"
    written(root, release_of())
    (root / "images" / CROISSANT).write_bytes((root / CROISSANT).read_bytes())
    (finding,) = findings(root)
    assert "1 file in the release folder is no image" in finding.sentence
    (root / DATASHEET).write_text("Anna")
    assert [finding.count for finding in findings(root)] == [1, 1]


def test_in_a_folder_that_is_no_release_folder_it_is_unexpected(tmp_path: Path) -> None:
    written(tmp_path / "r", release_of())
    assert [finding.kind for finding in findings(tmp_path / "r" / "images")] == []
    (tmp_path / "r" / CROISSANT).rename(tmp_path / "r" / "images" / CROISSANT)
    (finding,) = findings(tmp_path / "r" / "images")
    assert "(1 .json)" in finding.sentence


# The validator of MLCommons


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("case", ["plain", "soft and claim", "no engine", "grey", "shards"])
def test_mlcroissant_validates_and_reads_it(tmp_path: Path, case: str) -> None:
    mlcroissant = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed: pip install mlcroissant")
    release = release_of(
        {} if case == "no engine" else None,
        soft=case == "soft and claim",
        channels=1 if case == "grey" else 3,
        claim=CLAIM if case == "soft and claim" else None,
    )
    written(tmp_path / "r", release, shard_above=0 if case == "shards" else 100)
    dataset = mlcroissant.Dataset(jsonld=str(tmp_path / "r" / CROISSANT))
    issues = dataset.metadata.ctx.issues
    assert not issues.errors
    missing = sorted(re.findall(r'/(\w+)" is recommended', "\n".join(map(str, issues.warnings))))
    assert missing == ["citeAs", "datePublished", "license", "version"]
    assert len(issues.warnings) == 4
    assert dataset.metadata.conforms_to[0] == "http://mlcommons.org/croissant/1.1"
    assert dataset.metadata.data_collection_type == (None if case == "no engine" else ["synthetic"])
    assert len(dataset.metadata.data_limitations) == len(NOT_ASSESSED)
    classes = list(dataset.records("classes"))
    assert [(row["classes/number"], row["classes/images"]) for row in classes] == [(0, 3), (1, 2), (2, 1)]
    if case == "shards":
        return
    records = sorted(dataset.records("images"), key=lambda record: int(record["images/row"]))
    assert [record["images/label"] for record in records] == LABELS.tolist()
    paths = [record["images/path"] for record in records]
    assert [path.decode() if isinstance(path, bytes) else path for path in paths] == list(load(tmp_path / "r").names)
    for record, pixels in zip(records, release.images.pixels, strict=True):
        assert (np.asarray(record["images/image"]) == pixels).all()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_mlcroissant_refuses_what_is_broken(tmp_path: Path) -> None:
    """So that the test above would notice."""
    mlcroissant = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed: pip install mlcroissant")
    croissant, _ = written(tmp_path / "r", release_of(soft=True), ("@id", "cr:Field", "</script>"))
    mlcroissant.Dataset(jsonld=croissant)
    del croissant["distribution"][1]["sha256"]
    with pytest.raises(mlcroissant.ValidationError, match="sha256"):
        mlcroissant.Dataset(jsonld=croissant)
