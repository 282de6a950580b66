"""Every kind of source: what is detected, refused, converted, and the release folder's round trip."""

import io
import json
import os
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from privaudit.data import npy, release_writing, resizing
from privaudit.data.loading import load, load_release, match_classes, match_release, members_window, write_release
from privaudit.errors import InputError
from privaudit.images import Dataset, Images
from privaudit.release import PrivacyClaim, Release

SHARED = Path(__file__).parents[3] / "shared"
RNG = np.random.default_rng(5)
CLAIM = PrivacyClaim(3.0, 1e-5, "person", "add/remove", {"noise_multiplier": 1.1}, "prv 0.2", "curator")


def picture(height: int = 8, width: int = 8, channels: int = 3) -> Image.Image:
    pixels = RNG.integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(pixels if channels == 3 else pixels[:, :, 0])


def class_folders(root: Path, classes: tuple[str, ...] = ("cat", "dog"), each: int = 3) -> Path:
    for name in classes:
        (root / name).mkdir(parents=True)
        for number in range(each):
            picture().save(root / name / f"{number}.png")
    return root


def npz(path: Path, **arrays: Any) -> Path:
    content = {"images": RNG.integers(0, 256, (6, 5, 4, 3), dtype=np.uint8), "labels": np.arange(6) % 3} | arrays
    kept: dict[str, Any] = {key: value for key, value in content.items() if value is not None}
    np.savez(path, **kept)
    return path


def dataset(labels: list[int], names: tuple[str, ...], size: tuple[int, int, int] = (4, 4, 1)) -> Dataset:
    pixels = RNG.integers(0, 256, (len(labels), *size), dtype=np.uint8)
    rows = tuple(map(str, range(len(labels))))
    return Dataset(Images(pixels, np.array(labels, np.int64)), names, None, rows, "x")


def notes(data: Dataset) -> str:
    return "\n".join(data.notes)


def refuse(source: str | Path, match: str, **options: Any) -> None:
    with pytest.raises(InputError, match=match):
        load(source, **options)


# Folders of class folders


def test_folder(tmp_path: Path) -> None:
    data = load(class_folders(tmp_path, ("dog", "cat")))
    assert data.class_names == ("cat", "dog")
    assert data.images.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.names[0] == "cat/0.png"
    with Image.open(tmp_path / "dog/2.png") as image:
        assert (data.images.pixels[5] == np.asarray(image)).all()
    assert data.groups is None
    assert data.notes == ("Read as a folder of 2 class folders: 6 images of 8 x 8 pixels, colour.",)
    assert data.source == str(tmp_path)


def test_hidden_files_are_left_out(tmp_path: Path) -> None:
    root = class_folders(tmp_path)
    for name in (".DS_Store", "cat/.DS_Store", "cat/Thumbs.db", "dog/._0.png"):
        (root / name).write_bytes(b"x")
    (root / "__MACOSX").mkdir()
    data = load(root)
    assert len(data) == 6
    assert "5 hidden or system files left out." in notes(data)


def test_other_files_are_noted(tmp_path: Path) -> None:
    root = class_folders(tmp_path)
    (root / "README.md").write_text("x")
    (root / "cat" / "list.txt").write_text("x")
    assert "2 files that hold no images left out (1 .md, 1 .txt)." in notes(load(root))


def test_data_under_other_names_is_refused(tmp_path: Path) -> None:
    root = class_folders(tmp_path)
    other = root / "cat" / "a.dcm"
    other.write_bytes(b"x")
    refuse(root, "'cat/a.dcm' is in a format that is not read")
    other.rename(root / "cat" / "a")
    (root / "cat" / "a").write_bytes(b"\0" * 128 + b"DICM")
    refuse(root, "'cat/a' is (a DICOM file, which needs|truncated)")
    picture().save(root / "cat" / "a", "png")
    refuse(root, "'cat/a' looks like an image")


def test_loose_images_are_refused(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.png")
    refuse(tmp_path, "1 image lies directly in the folder.*folder/<class>/<image>")
    refuse(class_folders(tmp_path), "directly in the folder")


def test_nested_folders_are_refused(tmp_path: Path) -> None:
    class_folders(tmp_path / "train")
    refuse(tmp_path, "'train/cat' is a folder inside the class folder 'train'")


def test_empty_folders(tmp_path: Path) -> None:
    refuse(tmp_path, "no class folders")
    (tmp_path / "cat").mkdir()
    refuse(tmp_path, "None of the 1 class folder")
    (tmp_path / "dog").mkdir()
    picture().save(tmp_path / "dog" / "a.png")
    data = load(tmp_path)
    assert data.class_names == ("cat", "dog")
    assert "1 class folder has no images." in notes(data)
    assert "Warning: 1 class has a single image." in notes(data)


def test_links_out_of_the_folder(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data")
    picture().save(tmp_path / "x.png")
    (root / "cat" / "x.png").symlink_to(tmp_path / "x.png")
    refuse(root, "'cat/x.png' is a link to a place outside")
    (root / "cat" / "x.png").unlink()
    class_folders(tmp_path / "else")
    (root / "bird").symlink_to(tmp_path / "else" / "cat")
    refuse(root, "'bird' is a link to a place outside")
    (root / "bird").unlink()
    (tmp_path / "alias").symlink_to(root)
    assert len(load(tmp_path / "alias")) == 6


def test_unprintable_names(tmp_path: Path) -> None:
    root = class_folders(tmp_path)
    picture().save(root / "cat" / "a\n.png")
    refuse(root, r"'cat/a\?.png'")


def test_bad_image_is_named_relative_to_the_folder(tmp_path: Path) -> None:
    root = class_folders(tmp_path)
    (root / "dog" / "1.png").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        load(root)
    assert "'dog/1.png' is empty" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_mixed_sizes_are_resized_once_to_the_commonest(tmp_path: Path) -> None:
    root = class_folders(tmp_path)
    picture(6, 10).save(root / "dog" / "9.png")
    data = load(root)
    assert data.images.size == (8, 8, 3)
    assert "1 image of 7 resized once to 8 x 8 pixels (Lanczos; 2 sizes were found)." in notes(data)
    with Image.open(root / "dog" / "9.png") as image:
        assert (data.images.pixels[6] == np.asarray(image.resize((8, 8), Image.Resampling.LANCZOS))).all()
    given = load(root, size=(5, 4), channels=1)
    assert given.images.size == (5, 4, 1)
    assert "7 images of 7 resized once to 4 x 5" in notes(given)
    assert "7 images turned from colour to grey." in notes(given)
    assert load(root, size=3).images.size == (3, 3, 3)
    refuse(root, "between 1 and 8192", size=0)
    refuse(root, "1 channel", channels=2)


def test_grey_and_colour_become_colour(tmp_path: Path) -> None:
    root = class_folders(tmp_path)
    picture(8, 8, 1).save(root / "dog" / "9.png")
    data = load(root)
    assert data.images.size == (8, 8, 3)
    assert "1 image turned from grey to colour." in notes(data)
    assert (np.ptp(data.images.pixels[6], axis=2) == 0).all()


def test_rotation_counts_for_the_size(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    for number in range(2):
        picture(4, 9).save(tmp_path / "a" / f"{number}.jpg", exif=exif)
    data = load(tmp_path)
    assert data.images.size == (9, 4, 3)
    assert "2 images carried an EXIF rotation, which was applied." in data.notes
    assert "resized" not in notes(data)


def test_too_large_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resizing, "MAX_DATASET_BYTES", 1000)
    refuse(class_folders(tmp_path), "Give a smaller size")


def test_groups(tmp_path: Path) -> None:
    root = class_folders(tmp_path)
    (root / "groups.csv").write_text("file,group\ncat/0.png,anna\ncat\\1.png,anna\ndog/0.png,ben\n")
    data = load(root)
    assert data.groups is not None
    assert data.groups.tolist() == ["anna", "anna", "", "ben", "", ""]
    assert "2 groups read from groups.csv; 3 images without a group" in notes(data)
    for text, match in {
        "a,b\n": "needs the columns",
        "file,group\ncat/7.png,x\n": "line 2 names a file that is not among the images",
        "file,group\ncat/0.png,x\ncat/0.png,y\n": "second group",
        "": "needs the columns",
    }.items():
        (root / "groups.csv").write_text(text)
        refuse(root, match)
    (root / "groups.csv").write_bytes(b"file,group\n\xff\xfe,x\n")
    refuse(root, "UTF-8")


def test_window_of_members(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    values = RNG.integers(1000, 2000, (50, 50)).astype(np.uint16)
    values[0, 0] = 65535
    for number in range(2):
        Image.fromarray(values).save(tmp_path / "a" / f"{number}.png")
    refuse(tmp_path, "--window")
    window = members_window(tmp_path)
    assert window is not None
    assert window == tuple(np.percentile([values, values], [0.5, 99.5]))
    data = load(tmp_path, window=window)
    assert data.images.size == (50, 50, 1)
    assert "2 images had more than 8 bits and were mapped through the window." in data.notes
    assert (data.images.pixels.min(), data.images.pixels.max()) == (0, 255)
    assert members_window(class_folders(tmp_path / "other")) is None


# .npz


def test_npz(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", class_names=np.array(["x", "y", "z"]), groups=np.array(["p", "", "q", "q", "p", ""]))
    data = load(path)
    with np.load(path) as stored:
        assert (data.images.pixels == stored["images"]).all()
    assert data.class_names == ("x", "y", "z")
    assert data.groups is not None
    assert data.groups.tolist() == ["p", "", "q", "q", "p", ""]
    assert data.names == tuple("012345")
    assert data.notes == ("Read as 1 .npz file: 6 images in 3 classes, 4 x 5 pixels, colour.",)


def test_npz_variants(tmp_path: Path) -> None:
    grey = RNG.integers(0, 256, (6, 5, 4), dtype=np.uint8)
    data = load(npz(tmp_path / "a.npz", images=grey, labels=np.array([0, 1, 4, 4, 1, 0], np.uint8)))
    assert data.images.size == (5, 4, 1)
    assert data.class_names == ("0", "1", "2", "3", "4")
    assert "compared by their numbers" in notes(data)
    fortran = load(npz(tmp_path / "f.npz", images=np.asfortranarray(grey)))
    assert (fortran.images.pixels[..., 0] == grey).all()
    extra = load(npz(tmp_path / "b.npz", ids=np.arange(6), class_names=np.array([b"x", b"y", b"z"])))
    assert "1 further entry of the .npz not read." in notes(extra)
    assert extra.class_names == ("x", "y", "z")
    numbered = load(npz(tmp_path / "c.npz", groups=np.array([7, 7, 8, 8, 9, 9])))
    assert numbered.groups is not None
    assert numbered.groups[0] == "7"


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"images": None, "data": np.zeros(3)}, "no key 'images'; found: 'data', 'labels'. Save it as"),
        ({"labels": None}, "no key 'labels'"),
        ({"images": np.array([None] * 6)}, "Python objects"),
        ({"class_names": np.array(["a", "b", None])}, "Python objects.*dtype=str"),
        ({"images": np.full((6, 5, 4), np.nan)}, "images are float64; only uint8.*NaN.*scale to 0..255"),
        ({"images": np.zeros((6, 5, 4), np.uint16)}, "images are uint16"),
        ({"images": np.zeros((6, 3, 5, 4), np.uint8)}, "NCHW"),
        ({"images": np.zeros((6, 5, 4, 2), np.uint8)}, "have shape"),
        ({"images": np.zeros((6, 0, 4), np.uint8)}, "have shape"),
        ({"images": np.zeros((0, 5, 4), np.uint8), "labels": np.zeros(0, int)}, "no images"),
        ({"images": np.zeros(6, np.uint8)}, "have shape"),
        ({"labels": np.arange(5)}, r"shape \(5,\); needed are integers of shape \(6,\)"),
        ({"labels": np.zeros((6, 1), int)}, "needed are integers of shape"),
        ({"labels": np.zeros(6)}, "labels are float64"),
        ({"labels": np.array([0, 1, 2, -1, 0, 0])}, "from -1 to 2"),
        ({"labels": np.array([0, 1, 2, 10**12, 0, 0])}, "allowed are 0 to 99999"),
        ({"labels": np.full(6, 2**64 - 1, np.uint64)}, "allowed are 0 to 99999"),
        ({"class_names": np.array(["a", "b"])}, "largest label is 2, but there are only 2"),
        ({"class_names": np.array(["a", "b", "a"])}, "must differ"),
        ({"class_names": np.array([["a", "b", "c"]])}, "one name per class"),
        ({"class_names": np.array([1.5, 2, 3])}, "strings are needed"),
        ({"class_names": np.array(["a", "b", "c\x1b"])}, "printable"),
        ({"class_names": np.array([b"a", b"b", b"\xff"])}, "UTF-8"),
        ({"groups": np.array(["a"])}, "needed is one per image"),
        ({"groups": np.array(["a" * 2000] * 6)}, "strings of over"),
        ({"soft_labels": np.full((6, 3), np.nan, np.float32)}, "finite"),
        ({"soft_labels": np.ones((6, 4), np.float32)}, "one column per class"),
    ],
)
def test_npz_refused(tmp_path: Path, arrays: dict[str, Any], match: str) -> None:
    refuse(npz(tmp_path / "a.npz", **arrays), match)


def npy_bytes(header: str, body: bytes = b"") -> bytes:
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for key, content in members.items():
            archive.writestr(f"{key}.npy", content)
    return path


LABELS = npy_bytes("{'descr': '<i8', 'fortran_order': False, 'shape': (1,)}", b"\0" * 8)


@pytest.mark.parametrize(
    ("header", "match"),
    [
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (1000000, 1000, 1000, 3)}", "declares 2794.0 GiB"),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 9, 9, 3)}", "declares 243 bytes of values, but 3"),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (1, -1, 1, 3)}", "damaged"),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (1, True, 1, 3)}", "damaged"),
        ("{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (1,)}", "unknown type"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (3,)}", "Python objects"),
        ("{'descr': '<M8[s]', 'fortran_order': False, 'shape': (3,)}", "unknown type"),
        ("{'descr': '|u1'}", "damaged"),
        ("__import__('os').getcwd()", "damaged"),
        ("(" * 9000, "damaged"),
        (" " * 20_000, "array header of 20000 bytes"),
    ],
)
def test_hostile_array_headers(tmp_path: Path, header: str, match: str) -> None:
    refuse(zipped(tmp_path / "a.npz", images=npy_bytes(header, b"abc"), labels=LABELS), match)


def test_zip_bomb_is_refused_before_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npy, "_SUSPECT_BYTES", 2**20)
    images = np.zeros((1, 2000, 2000, 1), np.uint8)
    np.savez_compressed(tmp_path / "a.npz", images=images, labels=np.zeros(1, int))
    refuse(tmp_path / "a.npz", "like a zip bomb")


def test_npz_that_is_no_zip(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"")
    refuse(path, "'a.npz' is truncated, damaged")
    path.write_bytes(npz(tmp_path / "b.npz").read_bytes()[:300])
    refuse(path, "'a.npz' is truncated, damaged")
    path.write_bytes(b"PK\x03\x04" + b"x" * 100)
    refuse(path, "'a.npz' is truncated, damaged")


def test_checksum_is_verified(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz")
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    refuse(path, "damaged")


@pytest.fixture(scope="module")
def npz_bytes() -> dict[bool, bytes]:
    result = {}
    for compressed in (False, True):
        file = io.BytesIO()
        save = np.savez_compressed if compressed else np.savez
        save(
            file,
            images=np.arange(6 * 5 * 4 * 3, dtype=np.uint8).reshape(6, 5, 4, 3),
            labels=np.arange(6) % 3,
            class_names=np.array(["a", "b", "c"]),
            groups=np.array(["p", "", "q", "q", "p", ""]),
        )
        result[compressed] = file.getvalue()
    return result


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    compressed=st.booleans(),
    cut=st.one_of(st.just(1.0), st.floats(0, 1)),
    hits=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=6)), max_size=5),
)
def test_garbled_npz_raises_nothing_but_input_errors(
    tmp_path: Path,
    npz_bytes: dict[bool, bytes],
    compressed: bool,
    cut: float,
    hits: list[tuple[float, bytes]],
) -> None:
    content = bytearray(npz_bytes[compressed])
    for place, junk in hits:
        at = int(place * (len(content) - 1))
        content[at : at + len(junk)] = junk
    path = tmp_path / "x.npz"
    path.write_bytes(content[: int(cut * len(content))])
    message = ""
    try:
        assert len(load(path)) > 0
    except InputError as error:
        message = str(error)
    assert str(tmp_path) not in message


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(header=st.binary(max_size=80), body=st.binary(max_size=40))
def test_garbled_arrays_raise_nothing_but_input_errors(tmp_path: Path, header: bytes, body: bytes) -> None:
    array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body
    with pytest.raises(InputError):
        load(zipped(tmp_path / "x.npz", images=array, labels=LABELS))


def test_shards_are_one_dataset_in_natural_order(tmp_path: Path) -> None:
    for number in (0, 2, 10):
        npz(tmp_path / f"part-{number}.npz", labels=np.full(6, number))
    data = load(tmp_path)
    assert data.images.labels[::6].tolist() == [0, 2, 10]
    assert "Read as a folder of 3 .npz files: 18 images in 11 classes" in notes(data)
    assert data.names[-1] == "17"
    (tmp_path / "cat").mkdir()
    refuse(tmp_path, "unclear which")


def test_shards_of_different_size_names_and_groups(tmp_path: Path) -> None:
    npz(tmp_path / "0.npz", groups=np.array(list("aabbcc")))
    npz(tmp_path / "1.npz", images=RNG.integers(0, 256, (2, 7, 7), dtype=np.uint8), labels=np.array([0, 1]))
    data = load(tmp_path)
    assert data.images.size == (5, 4, 3)
    assert "2 images of 8 resized once" in notes(data)
    assert "2 images turned from grey to colour." in notes(data)
    assert data.groups is not None
    assert data.groups.tolist() == ["a", "a", "b", "b", "c", "c", "", ""]
    npz(tmp_path / "1.npz", class_names=np.array(["x", "y", "z"]))
    refuse(tmp_path, "different class_names")


def test_link_out_of_a_folder_of_shards(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    npz(tmp_path / "secret.npz")
    (tmp_path / "data" / "0.npz").symlink_to(tmp_path / "secret.npz")
    refuse(tmp_path / "data", "'0.npz' is a link to a place outside")


# Named sources


def test_digits() -> None:
    data = load("digits")
    assert data.images.size == (16, 16, 1)
    assert len(data) == 1797
    assert data.images.pixels.max() == 255
    assert data.class_names == tuple("0123456789")
    small = load("digits", size=8, channels=3)
    assert small.images.size == (8, 8, 3)
    assert "1797 images of 1797 resized once to 8 x 8" in notes(small)


def idx(values: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    return struct.pack(f">I{values.ndim}I", 0x800 + values.ndim, *values.shape) + values.tobytes()


def test_torchvision(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    stored = {}
    for part in ("train", "t10k"):
        stored[part] = RNG.integers(0, 256, (20, 28, 28), dtype=np.uint8)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(stored[part]))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.arange(20, dtype=np.uint8) % 10))
    data = load("torchvision:MNIST/test", root=tmp_path)
    assert (data.images.pixels[..., 0] == stored["t10k"]).all()
    assert data.class_names[0] == "0 - zero"
    assert (load("torchvision:MNIST", root=tmp_path).images.pixels[..., 0] == stored["train"]).all()
    assert load("torchvision:MNIST", root=tmp_path, size=8).images.size == (8, 8, 1)


def test_torchvision_refused(tmp_path: Path) -> None:
    refuse("torchvision:CIFAR10", "needs the local folder")
    refuse("torchvision:CIFAR10", "nothing is downloaded", root=tmp_path)
    refuse("torchvision:MNIST/test", "nothing is downloaded", root=tmp_path)
    refuse("torchvision:CIFAR1O", "Did you mean 'CIFAR10'?", root=tmp_path)
    refuse("torchvision:cifar10", "nothing is downloaded", root=tmp_path)
    refuse("torchvision:CIFAR10/val", "Allowed: torchvision:CIFAR10/train", root=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_unknown_sources(tmp_path: Path) -> None:
    refuse(tmp_path / "nothing", "does not exist")
    picture().save(tmp_path / "a.png")
    refuse(tmp_path / "a.png", "neither a folder nor a .npz")


# Release folders

NAMES = st.lists(
    st.text(st.characters(categories=["L", "N", "P", "Zs"]), min_size=1, max_size=8),
    min_size=1,
    max_size=4,
    unique=True,
)


@st.composite
def releases(draw: st.DrawFn) -> tuple[Release, tuple[str, ...]]:
    names = tuple(name for name in draw(NAMES) if name.isprintable()) or ("x",)
    count, height, width = draw(st.integers(1, 7)), draw(st.integers(1, 6)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    pixels = rng.integers(0, 256, (count, height, width, draw(st.sampled_from([1, 3]))), dtype=np.uint8)
    labels = rng.integers(0, len(names), count)
    soft = rng.normal(size=(count, len(names))).astype(np.float32) if draw(st.booleans()) else None
    claim = CLAIM if draw(st.booleans()) else None
    return Release(Images(pixels, labels), soft, claim=claim, provenance={"engine": "x", "seed": 1}), names


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=releases(), sharded=st.booleans())
def test_release_folder_round_trip(
    tmp_path_factory: pytest.TempPathFactory, made: tuple[Release, tuple[str, ...]], sharded: bool
) -> None:
    release, names = made
    folder = tmp_path_factory.mktemp("x") / "release"
    write_release(release, names, folder, shard_above=0 if sharded else 100)
    again, data = load_release(folder)
    assert (again.images.pixels == release.images.pixels).all()
    assert again.images.size == release.images.size
    assert (again.images.labels == release.images.labels).all()
    assert data.class_names == names
    assert data.images is again.images
    assert (again.soft_labels is None) == (release.soft_labels is None)
    if release.soft_labels is not None and again.soft_labels is not None:
        assert again.soft_labels.dtype == np.float32
        assert (again.soft_labels == release.soft_labels).all()
    assert again.claim == release.claim
    assert again.provenance == release.provenance
    assert [path.name for path in folder.parent.iterdir()] == ["release"]


def release_of(count: int = 6, names: tuple[str, ...] = ("cat", "dog")) -> Release:
    pixels = RNG.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return Release(Images(pixels, np.arange(count) % len(names)))


def test_release_folder_layout(tmp_path: Path) -> None:
    write_release(release_of(), ("cat", "dog"), tmp_path / "new" / "r")
    files = sorted(
        path.relative_to(tmp_path / "new" / "r").as_posix() for path in tmp_path.rglob("*") if path.is_file()
    )
    assert files[:3] == ["DATASHEET.md", "croissant.json", "images/00000/000000000.png"]
    assert files[5] == "images/00001/000000001.png"
    assert files[-1] == "release.json"
    assert load(tmp_path / "new" / "r").names[1] == "images/00001/000000001.png"
    with pytest.raises(InputError, match="not an empty folder"):
        write_release(release_of(), ("cat", "dog"), tmp_path / "new" / "r")
    (tmp_path / "empty").mkdir()
    write_release(release_of(), ("cat", "dog"), tmp_path / "empty")


def test_shards_of_a_large_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release_writing, "SHARD_SIZE", 4)
    release = release_of(10)
    write_release(release, ("cat", "dog"), tmp_path / "r", shard_above=9)
    assert sorted(path.name for path in (tmp_path / "r/images").iterdir()) == ["00000.npz", "00001.npz", "00002.npz"]
    assert load(tmp_path / "r").images.digest == release.images.digest


def test_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(release_writing, "_write_files", full)
    with pytest.raises(OSError, match="disk full"):
        write_release(release_of(), ("cat", "dog"), tmp_path / "r")
    assert list(tmp_path.iterdir()) == []


def test_what_a_release_folder_cannot_hold(tmp_path: Path) -> None:
    release = release_of()
    with pytest.raises(InputError, match="Statistics need the arrays"):
        write_release(Release(release.images, statistics={"mean": np.zeros(3)}), ("a", "b"), tmp_path / "r")
    with pytest.raises(InputError, match="must be 0 to 0"):
        write_release(release, ("a",), tmp_path / "r")
    with pytest.raises(InputError, match="JSON"):
        write_release(Release(release.images, provenance={"x": {1, 2}}), ("a", "b"), tmp_path / "r")
    with pytest.raises(InputError, match="must differ"):
        write_release(release, ("a", "a"), tmp_path / "r")
    with pytest.raises(InputError, match="one column per class"):
        write_release(Release(release.images, np.zeros((6, 3), np.float32)), ("a", "b"), tmp_path / "r")
    assert list(tmp_path.iterdir()) == []


def change(folder: Path, **keys: Any) -> None:
    path = folder / "release.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


def test_artifacts_and_unknown_keys_are_named_not_dropped(tmp_path: Path) -> None:
    write_release(release_of(), ("cat", "dog"), tmp_path / "r")
    change(tmp_path / "r", artifacts={"teacher": "teacher.safetensors", "statistics": "bn.npz"}, clam={"epsilon": 1})
    text = notes(load(tmp_path / "r"))
    assert "Not assessed: the release lists the artifact 'teacher'" in text
    assert "Not assessed: the release lists the artifact 'statistics'" in text
    assert "unknown key 'clam'. Did you mean 'claim'?" in text


def test_images_under_other_names_are_named_not_dropped(tmp_path: Path) -> None:
    write_release(release_of(), ("cat", "dog"), tmp_path / "r")
    picture().save(tmp_path / "r/images/00000/extra.png")
    assert "Not assessed: 1 file not named as a release" in notes(load(tmp_path / "r"))


def test_deep_images_in_a_release_folder(tmp_path: Path) -> None:
    (tmp_path / "images/00000").mkdir(parents=True)
    Image.fromarray(np.array([[0, 500], [1000, 9000]], np.uint16)).save(tmp_path / "images/00000/000000000.png")
    (tmp_path / "release.json").write_text('{"class_names": ["a"]}')
    refuse(tmp_path, "--window")
    assert load(tmp_path, window=(0, 1000)).images.pixels.ravel().tolist() == [0, 128, 255, 255]


@pytest.mark.parametrize(
    ("keys", "match"),
    [
        ({"provenance": {"x": float("nan")}}, "not a JSON"),
        ({"provenance": {"x": "\ud800"}}, "not a JSON"),
        ({"claim": {"epsilon": 1}}, "claim.delta.*Field required"),
        ({"claim": {**CLAIM.__dict__, "epsilon": -1}}, "claim.epsilon"),
        ({"claim": {**CLAIM.__dict__, "epsilon": float("inf")}}, "claim.epsilon"),
        ({"claim": {**CLAIM.__dict__, "unit": "pixel"}}, "claim.unit"),
        ({"class_names": ["a", "a"]}, "must differ"),
        ({"class_names": []}, "class_names"),
        ({"class_names": ["a"]}, "class number 1, but release.json names 1"),
        ({"images": 7}, "promises 7 images, but 6 are there"),
        ({"version": 2}, "version"),
    ],
)
def test_bad_release_json(tmp_path: Path, keys: dict[str, Any], match: str) -> None:
    write_release(release_of(), ("cat", "dog"), tmp_path / "r")
    change(tmp_path / "r", **keys)
    refuse(tmp_path / "r", match)


def test_damaged_release_folders(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    write_release(Release(release_of().images, np.ones((6, 2), np.float32)), ("cat", "dog"), folder)
    (folder / "soft_labels.npy").write_bytes((folder / "soft_labels.npy").read_bytes()[:50])
    refuse(folder, "soft_labels.npy is truncated")
    np.save(folder / "soft_labels.npy", np.ones((6, 3), np.float32))
    refuse(folder, "has 3 columns, but there are 2 classes")
    np.save(folder / "soft_labels.npy", np.ones((5, 2), np.float32))
    refuse(folder, r"needed are finite float values of shape \(6, classes\)")
    (folder / "soft_labels.npy").unlink()
    (folder / "images/00000/000000001.png").write_bytes((folder / "images/00001/000000001.png").read_bytes())
    refuse(folder, "row 1 twice")
    for text in ("{", "[]", "[" * 100_000, "\xff"):
        (folder / "release.json").write_text(text, encoding="latin1")
        refuse(folder, "release.json is not")
    (folder / "release.json").write_text('{"class_names": ["a"]}')
    for path in folder.rglob("*.png"):
        path.unlink()
    refuse(folder, "no images/<class")
    os.unlink(folder / "release.json")
    (tmp_path / "out.json").write_text("{}")
    (folder / "release.json").symlink_to(tmp_path / "out.json")
    refuse(folder, "outside")


def test_other_releases(tmp_path: Path) -> None:
    release, data = load_release(npz(tmp_path / "a.npz", soft_labels=np.ones((6, 3))))
    assert release.soft_labels is not None
    assert release.soft_labels.dtype == np.float32
    assert release.artifacts == ("soft_labels",)
    assert "further" not in notes(data)
    assert load_release(class_folders(tmp_path / "f"))[0].artifacts == ()


# Matching


def test_classes_are_matched_by_name() -> None:
    members = dataset([0, 1, 2], ("cat", "dog", "eel"), (4, 4, 3))
    other = match_classes(members, dataset([0, 1, 1], ("eel", "cat")), "release")
    assert other.class_names == members.class_names
    assert other.images.labels.tolist() == [2, 0, 0]
    assert other.images.size == (4, 4, 3)
    assert "To match the members: no images of 1 of the members' 3 classes." in other.notes
    assert "To match the members: 3 images turned from grey to colour." in other.notes


def test_sizes_and_channels_are_matched() -> None:
    members = dataset([0], ("cat",), (6, 5, 1))
    other = match_classes(members, dataset([0, 0], ("cat",), (4, 4, 3)), "controls")
    assert other.images.size == (6, 5, 1)
    assert "2 images of 2 resized once to 5 x 6 pixels" in notes(other)


def test_unknown_classes_are_refused() -> None:
    members = dataset([0, 1], ("cat", "dog"))
    with pytest.raises(InputError, match=r"The controls.*'dgo'.*Did you mean 'dog'"):
        match_classes(members, dataset([0, 1], ("cat", "dgo")), "controls")
    unused = match_classes(members, dataset([0, 0], ("cat", "dgo")), "controls")
    assert unused.images.labels.tolist() == [0, 0]


def test_unnamed_classes_compare_by_number() -> None:
    members = dataset([0, 1], ("cat", "dog"))
    other = match_classes(members, dataset([1, 0], ("0", "1")), "release")
    assert other.images.labels.tolist() == [1, 0]
    assert "compared by their numbers" in notes(other)
    with pytest.raises(InputError, match="class numbers up to 2, but the members have 2"):
        match_classes(members, dataset([2, 0], ("0", "1", "2")), "release")
    both = match_classes(dataset([0, 1, 2], ("0", "1", "2")), dataset([1], ("0", "1")), "release")
    assert both.images.labels.tolist() == [1]


def test_soft_labels_follow_the_classes() -> None:
    members = dataset([0, 1, 2], ("cat", "dog", "eel"))
    data = dataset([0, 1], ("eel", "cat"))
    release = Release(data.images, np.array([[0.9, 0.1], [0.2, 0.8]], np.float32))
    matched, again = match_release(members, release, data)
    assert matched.soft_labels is not None
    assert matched.soft_labels.tolist() == np.array([[0.1, 0, 0.9], [0.8, 0, 0.2]], np.float32).tolist()
    assert matched.images is again.images


# Real data


def shared(path: str) -> Path:
    found = SHARED / "data" / path
    if not found.exists():
        pytest.skip(f"the shared data '{path}' is not here")
    return found


def test_chest_xrays() -> None:
    data = load(shared("chest_xray.npz"))
    assert data.images.size == (128, 128, 1)
    assert np.bincount(data.images.labels).tolist() == [500, 500, 124]
    assert data.groups is not None
    assert (data.groups == "").sum() == 124
    assert len(set(data.groups) - {""}) == 682


def test_mnist_and_digits_have_the_same_classes() -> None:
    members = load(shared("mnist/test.npz"))
    other = match_classes(members, load("digits"), "release")
    assert other.images.size == (28, 28, 1)


def test_real_images_survive_a_release_folder(tmp_path: Path) -> None:
    data = load(shared("cifar10/test.npz"))
    part = data.take(np.arange(200))
    write_release(Release(part.images), data.class_names, tmp_path / "r")
    assert load(tmp_path / "r").images.digest == part.images.digest
