"""Folders written by `save_to_disk`: read from their files, hostile ones refused, released ones scanned."""

import contextlib
import io
import json
import os
import resource
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from privaudit.data import arrow_streams
from privaudit.data.filescan import scan
from privaudit.data.loading import load, load_release, match_classes, members_window
from privaudit.errors import InputError

REASON = "pyarrow is not installed: pip install 'privaudit[datasets]'"
pa: Any = pytest.importorskip("pyarrow", reason=REASON)
pytest.importorskip("pyarrow.ipc", reason=REASON)

RNG = np.random.default_rng(31)
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
PIXELS = RNG.integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
FEATURES: dict[str, Any] = {
    "image": {"_type": "Image"},
    "label": {"names": ["dog", "cat"], "_type": "ClassLabel"},
    "group": {"dtype": "string", "_type": "Value"},
}


def png(pixels: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png", **options)
    return file.getvalue()


def rows(path: str | None = "{}.png") -> list[dict[str, Any]]:
    return [
        {"bytes": png(image), "path": None if path is None else path.format(row)} for row, image in enumerate(PIXELS)
    ]


def columns(**changed: Any) -> dict[str, Any]:
    content = {
        "image": pa.array(rows(), IMAGE),
        "label": pa.array([1, 0, 0, 1]),
        "group": pa.array(["a", "b", None, "a"]),
    } | changed
    return {name: values for name, values in content.items() if values is not None}


def saved(root: Path, files: int = 1, features: Any = FEATURES, info: Any = None, **changed: Any) -> Path:
    """The files that `Dataset.save_to_disk` of datasets 5.2 writes."""
    root.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns(**changed))
    names = [f"data-{number:05d}-of-{files:05d}.arrow" for number in range(files)]
    each = -(-len(table) // files)
    for number, name in enumerate(names):
        with pa.OSFile(str(root / name), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table.slice(number * each, each))
    state = {"_data_files": [{"filename": name} for name in names], "_fingerprint": "x", "_split": None}
    (root / "state.json").write_text(json.dumps(state))
    empty = {"citation": "", "description": "", "homepage": "", "license": ""}
    (root / "dataset_info.json").write_text(json.dumps(empty | {"features": features} | (info or {})))
    return root


def refused(source: Path, match: str) -> None:
    with pytest.raises(InputError, match=match):
        load(source)


@pytest.mark.parametrize("files", [1, 2, 4])
def test_saved_dataset(tmp_path: Path, files: int) -> None:
    data = load(saved(tmp_path, files))
    assert (data.images.pixels == PIXELS).all()
    assert data.class_names == ("dog", "cat")
    assert data.images.labels.tolist() == [1, 0, 0, 1]
    assert data.groups is not None
    assert data.groups.tolist() == ["a", "b", "", "a"]
    assert data.names == ("0.png", "1.png", "2.png", "3.png")
    assert data.notes == (
        "Read as a dataset written by save_to_disk: 4 images in 2 classes, 5 x 6 pixels, colour.",
        "2 groups read from the dataset; 1 image without a group, each a unit of its own.",
    )


def test_written_by_datasets_itself(tmp_path: Path) -> None:
    datasets: Any = pytest.importorskip("datasets", reason="datasets is not installed")
    features = datasets.Features(
        {
            "picture": datasets.Image(),
            "kind": datasets.ClassLabel(names=["dog", "cat"]),
            "group": datasets.Value("int32"),
        }
    )
    table = pa.table({"picture": rows(), "kind": [1, 0, 0, 1], "group": [7, 8, None, 7]}, schema=features.arrow_schema)
    # A fingerprint is given, because making one pickles classes of pyarrow, which fails with some versions.
    made = datasets.Dataset(datasets.table.InMemoryTable(table), fingerprint="x")
    datasets.disable_progress_bars()
    datasets.DatasetDict({"train": made}).save_to_disk(str(tmp_path / "d"))
    data = load(tmp_path / "d" / "train")
    assert (data.images.pixels == PIXELS).all()
    assert data.class_names == ("dog", "cat")
    assert data.groups is not None
    assert data.groups.tolist() == ["7", "8", "", "7"]
    refused(tmp_path / "d", "several datasets.*'train'.*FOLDER/train")


def test_splits_are_named(tmp_path: Path) -> None:
    for split in ("train", "test"):
        saved(tmp_path / split)
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    refused(tmp_path, "'test', 'train'. Give the folder of one of them")
    assert len(load(tmp_path / "train")) == 4


def test_columns_by_name_without_feature_types(tmp_path: Path) -> None:
    data = load(saved(tmp_path, features=None, label=pa.array(["b", "a", "b", "c"]), group=None))
    assert data.class_names == ("a", "b", "c")
    assert data.images.labels.tolist() == [1, 0, 1, 2]
    assert data.groups is None
    plain = saved(tmp_path / "x", features=None, image=pa.array([row["bytes"] for row in rows()]))
    assert load(plain).class_names == ("0", "1")
    assert load(plain).names == ("0", "1", "2", "3")


def test_further_columns_are_noted(tmp_path: Path) -> None:
    data = load(saved(tmp_path, age=pa.array([1, 2, 3, 4])))
    assert "1 further column of the dataset not read: 'age'." in data.notes


def test_classes_match_those_of_a_folder(tmp_path: Path) -> None:
    for name in ("ape", "cat", "dog"):
        (tmp_path / "m" / name).mkdir(parents=True)
        Image.fromarray(PIXELS[0]).save(tmp_path / "m" / name / "1.png")
    found = match_classes(load(tmp_path / "m"), load(saved(tmp_path / "d")), "release")
    assert found.images.labels.tolist() == [1, 2, 2, 1]


def test_deep_images_and_the_automatic_window(tmp_path: Path) -> None:
    deep = png(np.array([[0, 1000], [2000, 4000]], np.uint16))
    saved(tmp_path, image=pa.array([{"bytes": deep, "path": None}] * 4, IMAGE))
    refused(tmp_path, "'row 0' has more than 8 bits")
    assert members_window(tmp_path) == pytest.approx((0, 4000), abs=30)
    assert load(tmp_path, window=(0, 4000)).images.pixels[0].ravel().tolist() == [0, 64, 128, 255]


def image_of(content: bytes | None) -> Any:
    return pa.array([{"bytes": content, "path": "/etc/passwd"}, *rows()[1:]], IMAGE)


TWO = {**FEATURES, "mask": {"_type": "Image"}}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "path only": ({"image": image_of(None)}, "'row 0' holds no image, or only the path"),
    "no row": ({"image": pa.array([None, *rows()[1:]], IMAGE)}, "'row 0' holds no image"),
    "empty": ({"image": image_of(b"")}, "'row 0' is empty"),
    "text": ({"image": image_of(b"hello")}, "'row 0' is not an image"),
    "truncated": ({"image": image_of(png(PIXELS[0])[:60])}, "'row 0' is"),
    "dicom": ({"image": image_of(b"\0" * 128 + b"DICM")}, "'row 0' is not an image"),
    "numbers": ({"image": pa.array([[1], [2], [3], [4]])}, "values of type list<.*datasets.Image"),
    "words": ({"image": pa.array(["a.png"] * 4)}, "not image files"),
    "no image": ({"image": None}, "no column of type Image and none named 'image'; found: 'label', 'group'"),
    "no label": ({"label": None}, "no column of type ClassLabel and none named 'label'"),
    "two images": (
        {"features": {"a": {"_type": "Image"}, "b": {"_type": "Image"}}, "a": image_of(b""), "b": image_of(b"")},
        "2 columns of type Image: 'a', 'b'. Name the right one 'image'",
    ),
    "missing label": ({"label": pa.array([1, None, 0, 1])}, "Row 1 has no label"),
    "unknown class": ({"label": pa.array([1, 0, 0, -1])}, "Row 3 has the label -1; allowed are 0 to 1"),
    "too large": ({"label": pa.array([1, 0, 2, 0])}, "Row 2 has the label 2"),
    "floats": ({"label": pa.array([1.0, 0.0, 0.0, 1.0])}, "'label' holds values of type double"),
    "words for a class": ({"label": pa.array(["a"] * 4)}, "holds no whole numbers"),
    "no labels at all": ({"label": pa.nulls(4)}, "type null"),
    "lists as groups": ({"group": pa.array([["a"]] * 4)}, "'group' holds values of type list"),
    "long group": ({"group": pa.array(["x" * 201] * 4)}, "Row 0 has a group"),
    "double names": ({"features": {**FEATURES, "label": {"names": ["a", "a"], "_type": "ClassLabel"}}}, "name twice"),
    "odd names": ({"features": {**FEATURES, "label": {"names": [1, 2], "_type": "ClassLabel"}}}, "printable"),
    "names no list": ({"features": {**FEATURES, "label": {"names": {}, "_type": "ClassLabel"}}}, "list of 1 to"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_columns(tmp_path: Path, kind: str) -> None:
    changed, message = REFUSED[kind]
    refused(saved(tmp_path, **changed), message)


def test_the_column_named_image_is_chosen_among_several(tmp_path: Path) -> None:
    data = load(saved(tmp_path, features=TWO, mask=image_of(b"")))
    assert "1 further column of the dataset not read: 'mask'." in data.notes


def test_no_rows(tmp_path: Path) -> None:
    empty = {name: values[:0] for name, values in columns().items()}
    refused(saved(tmp_path, **empty), "no rows")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("{}", "names no data files"),
        ("[]", "state.json is not as save_to_disk writes it"),
        ("[" * 100_000, "state.json is not as"),
        ('{"_data_files": [{"filename": "../x.arrow"}]}', "allowed are .arrow files in the folder itself"),
        ('{"_data_files": [{"filename": "/etc/passwd"}]}', "allowed are .arrow files"),
        ('{"_data_files": [{"filename": "https://a.b/x.arrow"}]}', "allowed are .arrow files"),
        ('{"_data_files": [{"filename": 1}]}', "allowed are .arrow files"),
        ('{"_data_files": [3]}', "allowed are .arrow files"),
        ('{"_data_files": [{"filename": "x.arrow"}, {"filename": "x.arrow"}]}', "twice"),
        ('{"_data_files": [{"filename": "nothing.arrow"}]}', "'nothing.arrow' cannot be opened"),
        ('{"_data_files": [{"filename": "link.arrow"}]}', "link to a place outside"),
        ('{"_indices_data_files": [{}], "_data_files": []}', "old version"),
    ],
)
def test_refused_states(tmp_path: Path, state: str, message: str) -> None:
    root = saved(tmp_path / "d")
    (tmp_path / "x.arrow").write_bytes(b"x")
    (root / "link.arrow").symlink_to(tmp_path / "x.arrow")
    (root / "state.json").write_text(state)
    refused(root, message)


def test_every_truncation_is_an_input_error(tmp_path: Path) -> None:
    saved(tmp_path)
    path = next(tmp_path.glob("*.arrow"))
    content = path.read_bytes()
    for length in range(0, len(content), 29):
        path.write_bytes(content[:length])
        refused(tmp_path, "arrow'? is (truncated|empty)")


def test_any_changed_bytes_are_an_input_error_or_a_dataset(tmp_path: Path) -> None:
    saved(tmp_path)
    path = next(tmp_path.glob("*.arrow"))
    content = path.read_bytes()
    rng = np.random.default_rng(4)
    for _ in range(300):
        changed = bytearray(content)
        changed[rng.integers(len(content))] = rng.integers(256)
        place = 4 * int(rng.integers(len(content) // 4))
        if rng.integers(2):
            changed[place : place + 4] = struct.pack("<i", int(rng.choice([-1, 2**31 - 1, 2**20, 0])))
        path.write_bytes(changed)
        with contextlib.suppress(InputError):
            load(tmp_path)


def with_stream(root: Path, write: Callable[[Any], None]) -> Path:
    path = next(saved(root).glob("*.arrow"))
    with pa.OSFile(str(path), "wb") as sink:
        write(sink)
    return root


def test_compressed_and_encoded_columns_are_refused(tmp_path: Path) -> None:
    """A compressed batch of a few kilobytes can declare, and unpack to, gigabytes."""
    table = pa.table(columns())
    for kind in ("lz4", "zstd"):
        options = pa.ipc.IpcWriteOptions(compression=kind)

        def packed(sink: Any, options: Any = options) -> None:
            with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
                writer.write_table(table)

        refused(with_stream(tmp_path / kind, packed), "compressed")
    encoded = table.set_column(2, "group", table["group"].dictionary_encode())

    def dictionary(sink: Any) -> None:
        with pa.ipc.new_stream(sink, encoded.schema) as writer:
            writer.write_table(encoded)

    refused(with_stream(tmp_path / "d", dictionary), "dictionary-encoded")


def test_a_huge_declared_length_allocates_nothing(tmp_path: Path) -> None:
    saved(tmp_path)
    path = next(tmp_path.glob("*.arrow"))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    path.write_bytes(b"\xff\xff\xff\xff" + struct.pack("<i", 2**31 - 8) + b"x" * 100)
    refused(tmp_path, "truncated")
    assert time.perf_counter() - start < 5
    if sys.platform == "linux":
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 100_000


def test_other_arrow_files_are_refused(tmp_path: Path) -> None:
    table = pa.table(columns())

    def as_file(sink: Any) -> None:
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)

    refused(with_stream(tmp_path / "a", as_file), "no Arrow stream")
    root = saved(tmp_path / "b", 2)
    other = pa.table({"x": [1]})
    with pa.OSFile(str(root / "data-00001-of-00002.arrow"), "wb") as sink, pa.ipc.new_stream(sink, other.schema) as out:
        out.write_table(other)
    refused(root, "different columns")


def test_missing_or_old_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path)
    monkeypatch.setattr(arrow_streams, "OLDEST", 10_000)
    refused(tmp_path, "too old")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    refused(tmp_path, r"needs the package 'pyarrow'.*pip install 'privaudit\[datasets\]'")


def test_nothing_of_the_package_datasets_is_loaded_and_nothing_connected(tmp_path: Path) -> None:
    """Extension types and features named in the files build nothing; no socket is opened, no file written."""
    import subprocess

    odd = {**FEATURES, "note": {"_type": "os.system", "command": "touch x"}}
    root = saved(tmp_path / "d", features=odd, note=pa.array(["a"] * 4))
    program = (
        "import sys\nseen = []\n"
        "sys.addaudithook(lambda name, _: seen.append(name) if name.startswith(('socket', 'subprocess', 'os.system', "
        "'pickle')) else None)\n"
        f"from privaudit.data.loading import load\nprint(len(load({str(root)!r})), seen, 'datasets' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stdout.split("\n")[0] == "4 [] False", done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


# Released


def members(root: Path) -> Any:
    (root / "dog").mkdir(parents=True)
    Image.fromarray(PIXELS[0]).save(root / "dog" / "anna.png")
    Image.fromarray(PIXELS[1]).save(root / "dog" / "b7.png")
    return load(root)


def test_a_released_dataset_is_scanned(tmp_path: Path) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "Anna")
    content = [{"bytes": png(PIXELS[0]) + b"tail", "path": "/home/x/anna.png"}, *rows()[1:3]]
    content.append({"bytes": png(PIXELS[3], pnginfo=text), "path": None})
    info = {"description": "from the clinic", "download_checksums": {"/home/x": {}}}
    root = saved(tmp_path / "r", image=pa.array(content, IMAGE), age=pa.array([1, 2, 3, 4]), info=info)
    with next(root.glob("*.arrow")).open("ab") as file:
        file.write(b"secret\0")
    (root / "list.txt").write_text("x")
    release, data = load_release(root)
    assert len(release.images) == 4
    assert "Not assessed: bytes between the values in the Arrow files." in data.notes
    found = scan(str(root), members(tmp_path / "m"), data)
    sentences = "\n".join(f"{one.kind}: {one.sentence} {one.examples}" for one in found)
    assert "metadata: 1 released image carries metadata (text)" in sentences
    assert "metadata: 1 released image carries the path" in sentences
    assert "metadata: dataset_info.json carries 2 entries beyond the columns ('description', 'download" in sentences
    assert "trailing_bytes: 1 released image has bytes behind the end of the image (4 in all)" in sentences
    assert "trailing_bytes: The Arrow files have 6 bytes" in sentences
    assert "unexpected_file: The dataset holds 2 columns beyond image and label ('group', 'age')" in sentences
    assert "unexpected_file: 1 file in the release folder is no image of the release (1 .txt)" in sentences
    assert "name_repeats_member: 1 released image" in sentences
    assert os.fspath(tmp_path) not in sentences


def test_a_plain_released_dataset_gives_no_finding(tmp_path: Path) -> None:
    root = saved(tmp_path / "r", image=pa.array(rows(None), IMAGE), group=None)
    assert scan(str(root), members(tmp_path / "m"), load(root)) == ()
