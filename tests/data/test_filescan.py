"""What released files carry beside pixels, and whether names or order repeat the members'."""

import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms, PngImagePlugin

from privaudit.data.containers import extras
from privaudit.data.filescan import scan
from privaudit.data.loading import load, write_release
from privaudit.data.traces import CHANCE, repeated_names, repeated_order
from privaudit.images import Dataset, Images
from privaudit.record import ScanFinding
from privaudit.release import Release

RNG = np.random.default_rng(11)
SHARED = Path(__file__).parents[3] / "shared"


def picture(height: int = 9, width: int = 11) -> Image.Image:
    return Image.fromarray(RNG.integers(0, 256, (height, width, 3), dtype=np.uint8))


def members_of(count: int = 6, names: tuple[str, ...] | None = None) -> Dataset:
    pixels = RNG.integers(0, 256, (count, 9, 11, 3), dtype=np.uint8)
    labels = np.zeros(count, np.int64)
    return Dataset(Images(pixels, labels), ("a",), None, names or tuple(map(str, range(count))), "m")


def folder_of(root: Path, count: int = 4) -> Path:
    (root / "a").mkdir(parents=True)
    for number in range(count):
        picture().save(root / "a" / f"{number:04d}.png")
    return root


def found(root: Path, members: Dataset | None = None) -> dict[str, ScanFinding]:
    findings = scan(str(root), members or members_of(), load(root))
    for finding in findings:
        assert str(root) not in finding.sentence
        assert len(finding.examples) <= 5
    return {finding.kind: finding for finding in findings}


# Containers


def encoded(tmp_path: Path, name: str, **options: Any) -> bytes:
    image = options.pop("image", None) or picture()
    image.save(tmp_path / name, **options)
    return (tmp_path / name).read_bytes()


PLAIN: list[tuple[str, dict[str, Any]]] = [
    ("a.png", {}),
    ("a.png", {"dpi": (72, 72)}),
    ("a.jpg", {}),
    ("a.jpg", {"progressive": True, "quality": 95}),
    ("a.jpg", {"restart_marker_blocks": 1}),
    ("a.gif", {}),
    ("a.bmp", {}),
    ("a.webp", {}),
    ("a.webp", {"lossless": True}),
    ("a.tif", {}),
    ("a.tif", {"compression": "tiff_lzw"}),
    ("a.tif", {"compression": "tiff_adobe_deflate"}),
    ("a.tif", {"compression": "jpeg"}),
    ("a.ppm", {}),
]


@pytest.mark.parametrize(("name", "options"), PLAIN)
def test_plain_files_carry_nothing(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    data = encoded(tmp_path, name, **options)
    assert extras(data).metadata == frozenset()
    assert extras(data).trailing == 0
    assert extras(data + b"\0" * 99).trailing == 0
    assert extras(data + b"secret").trailing == 6


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "I;16"])
def test_plain_files_of_other_modes(tmp_path: Path, mode: str) -> None:
    image = picture().convert("L").convert("I").convert("I;16") if mode == "I;16" else picture().convert(mode)
    names = {"1": "a.pbm", "L": "a.pgm", "P": "a.png", "CMYK": "a.jpg", "I;16": "a.png"}
    for name in (names[mode], "b.tif"):
        data = encoded(tmp_path, name, image=image)
        assert extras(data) == extras(b"")
        assert extras(data + b"x").trailing == 1


def exif() -> Image.Exif:
    block = Image.Exif()
    block[0x010F] = "Maker"
    return block


def png_text(kind: str) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    if kind == "iTXt":
        info.add_itxt("Author", "Anna")
    else:
        info.add_text("Author", "Anna", zip=kind == "zTXt")
    return info


XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"


@pytest.mark.parametrize(
    ("name", "options", "word"),
    [
        ("a.png", {"pnginfo": png_text("tEXt")}, "text"),
        ("a.png", {"pnginfo": png_text("zTXt")}, "text"),
        ("a.png", {"pnginfo": png_text("iTXt")}, "text"),
        ("a.png", {"exif": exif()}, "EXIF"),
        ("a.jpg", {"exif": exif()}, "EXIF"),
        ("a.webp", {"exif": exif()}, "EXIF"),
        ("a.jpg", {"comment": b"Anna"}, "comment"),
        ("a.jpg", {"xmp": XMP}, "XMP"),
        ("a.webp", {"xmp": XMP}, "XMP"),
        ("a.gif", {"comment": b"Anna"}, "comment"),
        ("a.tif", {"description": "Anna"}, "text"),
        ("a.tif", {"artist": "Anna"}, "text"),
        ("a.tif", {"tiffinfo": {700: XMP}}, "XMP"),
    ],
)
def test_metadata(tmp_path: Path, name: str, options: dict[str, Any], word: str) -> None:
    assert extras(encoded(tmp_path, name, **options)).metadata == {word}


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


@pytest.mark.parametrize(
    ("extra", "word"),
    [
        (segment(0xED, b"Photoshop 3.0\0Anna"), "IPTC"),
        (segment(0xE5, b"Anna"), "private data"),
        (segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\1\1abc"), "thumbnail"),
    ],
)
def test_jpeg_segments(tmp_path: Path, extra: bytes, word: str) -> None:
    data = encoded(tmp_path, "a.jpg")
    assert extras(data[:2] + extra + data[2:]).metadata == {word}


def test_png_chunks(tmp_path: Path) -> None:
    data = encoded(tmp_path, "a.png")
    for kind, word in {b"tIME": "time", b"prVt": "private data"}.items():
        chunk = struct.pack(">I", 7) + kind + b"1234567" + struct.pack(">I", zlib.crc32(kind + b"1234567"))
        assert extras(data[:33] + chunk + data[33:]).metadata == {word}


def test_colour_profiles(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for name in ("a.png", "a.jpg", "a.webp"):
        assert extras(encoded(tmp_path, name, icc_profile=profile)).metadata == frozenset()
        for old, new in ((b"sRGB", b"Anna"), ("sRGB".encode("utf-16-be"), "Anna".encode("utf-16-be"))):
            other = profile.replace(old, new)
            if other != profile:
                assert extras(encoded(tmp_path, name, icc_profile=other)).metadata == {"colour profile"}


def test_comments_in_ppm() -> None:
    assert extras(b"P6\n# Anna\n1 1\n255\nabc").metadata == {"comment"}
    assert extras(b"P2\n1 1\n255\n7 # Anna\n").metadata == {"comment"}
    assert extras(b"P5 1 1 255\nabc").trailing == 2


def test_dicom(tmp_path: Path) -> None:
    data = encoded(tmp_path, "a.tif")
    assert extras(b"II*\0" + b"\0" * 124 + b"DICM" + data).metadata >= {"DICOM"}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=st.sampled_from(PLAIN), cut=st.floats(0, 1), place=st.floats(0, 1), junk=st.binary(max_size=4))
def test_garbled_files_never_crash_the_scan(
    tmp_path: Path, case: tuple[str, dict[str, Any]], cut: float, place: float, junk: bytes
) -> None:
    data = bytearray(encoded(tmp_path, case[0], **case[1]))
    at = int(place * (len(data) - 1))
    data[at : at + len(junk)] = junk
    extras(bytes(data[: int(cut * len(data))]))


# Folders


def test_clean_folders(tmp_path: Path) -> None:
    assert found(folder_of(tmp_path / "x")) == {}
    images = Images(RNG.integers(0, 256, (5, 4, 4, 1), dtype=np.uint8), np.array([0, 1, 0, 0, 1]))
    for limit in (0, 100):
        root = tmp_path / f"release-{limit}"
        write_release(Release(images, np.ones((5, 2), np.float32)), ("a", "b"), root, shard_above=limit)
        assert found(root) == {}


def test_metadata_and_trailing_bytes_name_rows(tmp_path: Path) -> None:
    root = folder_of(tmp_path)
    picture().save(root / "a" / "0001.png", exif=exif())
    with (root / "a" / "0003.png").open("ab") as file:
        file.write(b"secret")
    findings = found(root)
    assert set(findings) == {"metadata", "trailing_bytes"}
    assert findings["metadata"].examples == ("r-000001",)
    assert findings["metadata"].sentence.startswith("1 released image carries metadata (EXIF)")
    assert findings["trailing_bytes"].examples == ("r-000003",)
    assert "(6 in all)" in findings["trailing_bytes"].sentence


def test_unexpected_files(tmp_path: Path) -> None:
    root = folder_of(tmp_path)
    (root / "a" / ".DS_Store").write_bytes(b"x")
    (root / "groups.csv").write_text("file,group\na/0000.png,anna\n")
    (root / ".git").mkdir()
    (root / ".git" / "scan").write_bytes(b"\0" * 128 + b"DICM")
    finding = found(root)["unexpected_file"]
    assert finding.count == 3
    assert "(1 .csv, 2 other)" in finding.sentence
    assert "1 is a DICOM file" in finding.sentence
    assert "groups.csv says which images show the same person" in finding.sentence
    assert finding.examples == ()


def test_undeclared_model_in_a_release_folder(tmp_path: Path) -> None:
    images = Images(RNG.integers(0, 256, (5, 4, 4, 1), dtype=np.uint8), np.zeros(5, np.int64))
    write_release(Release(images), ("a",), tmp_path / "r")
    (tmp_path / "r" / "teacher.pt").write_bytes(b"x")
    assert "(1 .pt)" in found(tmp_path / "r")["unexpected_file"].sentence


def test_files_that_are_named_one_by_one_are_expected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder_of(tmp_path / "r")
    for name in ("soft.npy", "a/teacher.safetensors", "notes.txt"):
        (root / name).write_bytes(b"x")
    outside = tmp_path / "claim.yaml"
    outside.write_bytes(b"x")
    members = load(folder_of(tmp_path / "m"))
    monkeypatch.chdir(tmp_path)
    for source in (root, Path("r")):
        named = [source / "soft.npy", source / "a" / "teacher.safetensors", outside]
        (finding,) = (one for one in scan(source, members, load(root), named) if one.kind == "unexpected_file")
        assert finding.count == 1
        assert "(1 .txt)" in finding.sentence


def test_archives(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    arrays: dict[str, Any] = {"images": np.zeros((3, 4, 4), np.uint8), "labels": np.arange(3)}
    np.savez_compressed(path, **arrays)
    assert found(path) == {}
    clean = path.read_bytes()
    path.write_bytes(clean + b"secret")
    assert set(found(path)) == {"trailing_bytes"}
    path.write_bytes(b"secret" + clean)
    assert set(found(path)) == {"trailing_bytes"}
    path.write_bytes(clean)
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"Anna"
        archive.writestr("readme.txt", "Anna")
    findings = found(path)
    assert set(findings) == {"metadata", "unexpected_file"}
    np.savez(path, groups=np.array(["p", "q", "q"]), names=np.array(["a", "b", "c"]), **arrays)
    finding = found(path)["unexpected_file"]
    assert finding.count == 2
    assert "which images show the same person" in finding.sentence


def test_sources_without_files() -> None:
    data = load("digits")
    assert scan("digits", data.take(np.arange(900)), data.take(np.arange(900, 1797))) == ()


# Names


def numbered(numbers: Any, form: str = "{:05d}") -> list[str]:
    return [f"a/{form.format(number)}.png" for number in numbers]


def test_running_numbers_are_no_names() -> None:
    members = numbered(range(3000))
    assert repeated_names(members, numbered(range(500))) == []
    assert repeated_names(members, numbered(range(1, 4000), "{:09d}")) == []
    assert repeated_names(members, numbered(range(3000))) == []
    for form in ("img_{:04d}", "cat.{}", "IMG-{}"):
        assert repeated_names(numbered(range(3000), form), numbered(range(300), form)) == []
    assert repeated_names([*members, "a/99999.png"], numbered(range(3000))) == []
    assert repeated_names([], numbered(range(9))) == []


def test_other_names_are() -> None:
    members = ["x/anna.png", "x/Ben.jpg", "x/p1_1.png", "x/p1_2.png", "x/f3a9c2.png"]
    assert repeated_names(members, ["y/ben.png", "y/carl.png", "y/ANNA.tif"]) == [0, 2]
    assert repeated_names(members, ["y/p1_1.png", "y/p1_2.png"]) == [0, 1]
    assert repeated_names(members, ["y/f3a9c2.png"]) == [0]
    assert repeated_names([f"x/smith_{n}.png" for n in range(3)], [*numbered(range(9)), "y/smith_1.png"]) == [9]


def test_scattered_numbers_count_beyond_chance() -> None:
    pool = RNG.permutation(10_000)
    members = numbered(pool[:3000])
    assert repeated_names(members, numbered(range(3000))) == []
    assert repeated_names(members, numbered(pool[3000:5000])) == []
    assert repeated_names(members, numbered(RNG.permutation(10_000)[:1000])) == []
    assert len(repeated_names(members, numbered(pool[:1000]))) == 1000
    ids = RNG.permutation(900_000)[:400] + 100_000
    assert repeated_names(numbered(ids[:300]), numbered(ids[200:])) == list(range(100))


def test_names_in_a_folder(tmp_path: Path) -> None:
    root = folder_of(tmp_path)
    (root / "a" / "0002.png").rename(root / "a" / "anna.png")
    findings = found(root, members_of(2, ("q/anna.jpg", "q/0001.jpg")))
    assert set(findings) == {"name_repeats_member"}
    assert findings["name_repeats_member"].examples == ("r-000003",)


# Order


@pytest.mark.parametrize("classes", [2, 3, 10, 100])
def test_repeated_order(classes: int) -> None:
    members = RNG.integers(0, classes, 4000)
    length, start, chance = repeated_order(members, members)
    assert (length, start) == (4000, 0)
    assert chance <= CHANCE
    part = np.concatenate([RNG.integers(0, classes, 70), members[500:700], RNG.integers(0, classes, 300)])
    length, start, chance = repeated_order(members, part)
    assert length >= 200
    assert 70 - 20 <= start <= 70
    assert chance <= CHANCE


@pytest.mark.parametrize("classes", [2, 3, 10, 100])
@pytest.mark.parametrize("skewed", [False, True])
def test_random_orders_are_innocent(classes: int, skewed: bool) -> None:
    share = 1 / np.arange(1, classes + 1) ** 2 if skewed else np.ones(classes)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        members, released = (rng.choice(classes, size, p=share / share.sum()) for size in (2000, 1500))
        assert repeated_order(members, released)[2] > CHANCE


def markov(rng: np.random.Generator, count: int, classes: int, stay: float) -> NDArray[np.int64]:
    moves = np.where(rng.random(count) < stay, 0, rng.integers(0, classes, count))
    return np.cumsum(moves) % classes


def test_regular_and_clumped_orders_are_innocent() -> None:
    for classes in (2, 10):
        order = np.arange(classes)
        shapes = [order.repeat(100), np.tile(order, 100), np.tile(order.repeat(20), 5), order[::-1].repeat(100)]
        for released in shapes:
            for members in shapes:
                assert repeated_order(members, released)[2] == 1.0
        for seed in range(10):
            rng = np.random.default_rng(seed)
            members, released = markov(rng, 3000, classes, 0.95), markov(rng, 2000, classes, 0.95)
            assert repeated_order(members, released)[2] > CHANCE
    assert repeated_order(np.zeros(50, np.int64), np.zeros(50, np.int64))[2] == 1.0
    assert repeated_order(np.zeros(0, np.int64), np.zeros(5, np.int64))[2] == 1.0
    assert repeated_order(np.array([0, 1] * 5 + [0, 0, 1]), np.array([2, 3, 3, 2, 2, 3, 2, 3]))[2] == 1.0


def test_chance_bounds_the_false_alarms() -> None:
    """Random orders of one release: common runs with chance at most 0.05 in at most 5 % of them (one-sided 99 %)."""
    rng = np.random.default_rng(4)
    members, released = rng.integers(0, 4, 200), rng.integers(0, 4, 150)
    alarms = sum(repeated_order(members, rng.permutation(released))[2] <= 0.05 for _ in range(300))
    assert alarms <= 24


def test_order_in_an_archive(tmp_path: Path) -> None:
    labels = RNG.integers(0, 3, 300)
    images = RNG.integers(0, 256, (300, 4, 4), dtype=np.uint8)
    np.savez(tmp_path / "m.npz", images=images, labels=labels)
    np.savez(tmp_path / "r.npz", images=images[:200], labels=labels[:200])
    findings = found(tmp_path / "r.npz", load(tmp_path / "m.npz"))
    assert set(findings) == {"order_repeats_members"}
    assert findings["order_repeats_members"].count == 200
    assert findings["order_repeats_members"].examples[0] == "r-000000"


def test_real_orders_are_innocent() -> None:
    if not (SHARED / "data").exists():
        pytest.skip("the shared data is not here")
    for one, other in (("cifar10/train-0-of-5", "cifar10/test"), ("mnist/train", "mnist/test")):
        members, released = (np.load(SHARED / "data" / f"{name}.npz")["labels"] for name in (one, other))
        assert repeated_order(members, released)[2] > CHANCE
        assert repeated_order(members, members[1000:4000])[2] <= CHANCE
