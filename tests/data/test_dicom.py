"""DICOM files: values by hand, what is refused by name, hostile headers, and that no patient's name ever shows."""

import contextlib
import resource
import struct
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from privaudit.data.decoding import Conversion, decode, deep_sample, probe
from privaudit.data.dicom_rle import decode_rle
from privaudit.data.filescan import scan
from privaudit.data.loading import load, load_release, members_window
from privaudit.errors import InputError

pydicom: Any = pytest.importorskip("pydicom", reason="pydicom is not installed: pip install 'privaudit[dicom]'")

NAME = "Mustermann^Anna"
RAMP = np.array([[0, 1, 2], [3, 4, 5]], np.uint16)


def dicom(
    path: Path,
    pixels: NDArray[Any] = RAMP,
    *,
    syntax: str = "1.2.840.10008.1.2.1",
    stored: int | None = None,
    data: bytes | None = None,
    without: tuple[str, ...] = (),
    **elements: Any,
) -> Path:
    """A file made with pydicom, as a scanner would: with a patient's name in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    found = pydicom.Dataset()
    found.file_meta = pydicom.dataset.FileMetaDataset()
    found.file_meta.TransferSyntaxUID = syntax
    found.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    found.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    found.PatientName, found.PatientID, found.InstitutionName = NAME, "4711", "Klinik Musterstadt"
    bits = pixels.dtype.itemsize * 8
    found.SamplesPerPixel, found.PhotometricInterpretation = 1, "MONOCHROME2"
    found.Rows, found.Columns = pixels.shape
    found.BitsAllocated, found.BitsStored = bits, stored or bits
    found.HighBit, found.PixelRepresentation = found.BitsStored - 1, int(pixels.dtype.kind == "i")
    big = syntax == "1.2.840.10008.1.2.2"
    found.PixelData = (pixels.byteswap() if big else pixels).tobytes() if data is None else data
    found["PixelData"].VR = "OB" if bits == 8 else "OW"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for key, value in elements.items():
            setattr(found, key, value)
    for key in without:
        delattr(found, key)
    found["PixelData"].is_undefined_length = syntax.startswith("1.2.840.10008.1.2.4")
    implicit = syntax == "1.2.840.10008.1.2"
    found.save_as(path, implicit_vr=implicit, little_endian=not big, enforce_file_format=True)
    return path


def shown(path: Path, window: tuple[float, float] | None = None) -> list[int]:
    values: list[int] = decode(path, path.parent, window).pixels.ravel().tolist()
    return values


def refused(path: Path, match: str, window: tuple[float, float] | None = (0, 255)) -> None:
    with pytest.raises(InputError, match=match) as found:
        decode(path, path.parent, window)
    error: BaseException | None = found.value
    while error is not None:  # no cause either: a log might print it
        assert "Anna" not in str(error)
        assert "4711" not in str(error)
        error = error.__cause__


# Values


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"])
def test_window(tmp_path: Path, syntax: str) -> None:
    path = dicom(tmp_path / "x.dcm", syntax=syntax)
    header = probe(path, tmp_path)
    assert (header.height, header.width, header.channels, header.deep) == (2, 3, 1, True)
    assert shown(path, (0, 5)) == [0, 51, 102, 153, 204, 255]
    assert shown(path, (1, 3)) == [0, 0, 128, 255, 255, 255]
    assert decode(path, tmp_path, (0, 5)).conversions == (Conversion.WINDOWED,)


def test_rescaled_signed_and_inverted(tmp_path: Path) -> None:
    path = dicom(tmp_path / "x.dcm", RAMP.astype(np.int16) - 3, RescaleSlope="2", RescaleIntercept="-4")
    assert deep_sample(path, tmp_path).tolist() == [-10, -8, -6, -4, -2, 0]  # type: ignore[union-attr]
    assert shown(path, (-10, 0)) == [0, 51, 102, 153, 204, 255]
    path = dicom(path, RescaleSlope="2", RescaleIntercept="-10", PhotometricInterpretation="MONOCHROME1")
    done = decode(path, tmp_path, (-10, 0))
    assert done.pixels.ravel().tolist() == [255, 204, 153, 102, 51, 0]
    assert done.conversions == (Conversion.WINDOWED, Conversion.RESCALED, Conversion.INVERTED)


def test_own_window(tmp_path: Path) -> None:
    """PS3.3 C.11.2.1.2: centre 128 and width 256 show 0 as black and 255 as white; exact: 127.5 and 255."""
    values = np.array([[0, 51, 255, 300]], np.uint16)
    path = dicom(tmp_path / "x.dcm", values, WindowCenter="128", WindowWidth="256")
    assert shown(path) == [0, 51, 255, 255]
    assert decode(path, tmp_path).conversions == (Conversion.OWN_WINDOW,)
    assert shown(path, (0, 300)) == [0, 43, 217, 255]
    path = dicom(path, values, WindowCenter=["127.5", "9"], WindowWidth=["255", "9"], VOILUTFunction="LINEAR_EXACT")
    assert shown(path) == [0, 51, 255, 255]
    path = dicom(path, values, WindowCenter="52", WindowWidth="1")
    assert shown(path) == [0, 0, 255, 255]
    path = dicom(path, values, WindowCenter="5", WindowWidth="9", VOILUTFunction="SIGMOID")
    refused(path, "without a window of its own.*--window", None)
    refused(dicom(path, values, WindowCenter="5", WindowWidth="0"), "without a window of its own", None)


def test_eight_bits_need_no_window(tmp_path: Path) -> None:
    values = np.array([[0, 7, 200, 255]], np.uint8)
    path = dicom(tmp_path / "x.dcm", values)
    assert not probe(path, tmp_path).deep
    assert deep_sample(path, tmp_path) is None
    assert shown(path) == shown(path, (0, 9)) == [0, 7, 200, 255]
    assert decode(path, tmp_path).conversions == ()
    assert shown(dicom(path, np.array([[0, 7, 15, 1]], np.uint8), stored=4)) == [0, 119, 255, 17]
    assert shown(dicom(path, values, PhotometricInterpretation="MONOCHROME1")) == [255, 248, 55, 0]


def test_bits_beyond_the_stored_ones_are_dropped(tmp_path: Path) -> None:
    path = dicom(tmp_path / "x.dcm", np.array([[0xF001, 0x0FFF]], np.uint16), stored=12)
    assert deep_sample(path, tmp_path).tolist() == [1, 4095]  # type: ignore[union-attr]
    path = dicom(path, np.array([[0x0FFF, 0x0800]], np.uint16).view(np.int16), stored=12)
    assert deep_sample(path, tmp_path).tolist() == [-1, -2048]  # type: ignore[union-attr]


def rle(*planes: bytes) -> bytes:
    offsets = np.cumsum([64, *(len(plane) for plane in planes)])[:-1]
    return struct.pack("<16I", len(planes), *offsets, *[0] * (15 - len(planes))) + b"".join(planes)


def test_run_lengths_by_hand() -> None:
    """Literal runs, repeats, no-ops; high bytes first."""
    assert decode_rle(rle(b"\x02\x01\x02\x03\x80\xfe\x09"), 2, 3, 1).tolist() == [[1, 2, 3], [9, 9, 9]]
    assert decode_rle(rle(b"\x01\x00\x01", b"\xff\x02"), 1, 2, 2).tolist() == [[2, 258]]
    assert decode_rle(rle(b"\x81\x05" * 1000), 1, 2, 1).tolist() == [[5, 5]]  # a bomb stops at the declared size
    for damaged in (b"", rle(b"\x02\x01"), rle(b"\x01\x01\x01", b"\x01\x01\x01"), rle(b"")):
        with pytest.raises((ValueError, struct.error)):
            decode_rle(damaged, 2, 3, 1)


def test_compressed_by_run_lengths(tmp_path: Path) -> None:
    values = np.repeat(np.arange(12, dtype=np.uint16).reshape(3, 4) * 300, 2, axis=1)
    plain = dicom(tmp_path / "x.dcm", values)
    with_lengths = pydicom.dcmread(plain)
    with_lengths.compress(pydicom.uid.RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    with_lengths.save_as(tmp_path / "y.dcm")
    assert shown(tmp_path / "y.dcm", (0, 3300)) == shown(plain, (0, 3300))


# Refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"syntax": "1.2.840.10008.1.2.4.50", "data": b"\xfe\xff\x00\xe0\0\0\0\0"}, "encoded as JPEG Baseline"),
        ({"syntax": "1.2.840.10008.1.2.4.90", "data": b"\xfe\xff\x00\xe0\0\0\0\0"}, "encoded as JPEG 2000"),
        ({"NumberOfFrames": "3"}, "holds 3 frames"),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, r"no grey image.*\(RGB\)"),
        ({"PhotometricInterpretation": NAME}, "no grey image"),
        ({"Rows": 60_000, "Columns": 60_000}, "more than .* pixels"),
        ({"Rows": 0}, "no pixels"),
        ({"Rows": 3}, "truncated or damaged"),
        ({"without": ("Rows",)}, "truncated or damaged"),
        ({"without": ("PixelData",)}, "no Pixel Data"),
        ({"HighBit": 9}, "the highest at 9"),
        ({"BitsAllocated": 12, "BitsStored": 12, "HighBit": 11}, "12 of 12 bits"),
        ({"RescaleSlope": "0"}, "rescale slope"),
        ({"RescaleIntercept": "1e400"}, "rescale slope"),
    ],
)
def test_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    path = tmp_path / "x.dcm"
    if options.get("without") == ("PixelData",):
        dicom(path)
        found = pydicom.dcmread(path)
        del found.PixelData
        found.save_as(path)
    else:
        dicom(path, **options)
    refused(path, message)


def test_deflated_is_refused_before_it_is_inflated(tmp_path: Path) -> None:
    path = dicom(tmp_path / "x.dcm")
    content = path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99"[:20])
    path.write_bytes(content)
    refused(path, "'x.dcm'")
    found = pydicom.dcmread(dicom(path))
    found.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    found.save_as(path)
    refused(path, "encoded as Deflated Explicit VR")


def test_no_dicom_at_all(tmp_path: Path) -> None:
    (tmp_path / "x.dcm").write_bytes(b"x" * 500)
    refused(tmp_path / "x.dcm", "lacks the preamble")
    (tmp_path / "x.dcm").write_bytes(b"")
    refused(tmp_path / "x.dcm", "zero bytes")


def test_every_truncation_is_an_input_error(tmp_path: Path) -> None:
    content = dicom(tmp_path / "x.dcm").read_bytes()
    for length in range(1, len(content), 7):
        (tmp_path / "x.dcm").write_bytes(content[:length])
        refused(tmp_path / "x.dcm", "x.dcm")


def test_any_changed_byte_is_an_input_error_or_an_image(tmp_path: Path) -> None:
    content = bytearray(dicom(tmp_path / "x.dcm").read_bytes())
    rng = np.random.default_rng(3)
    for place in rng.permutation(np.arange(128, len(content)))[:250]:
        changed = bytearray(content)
        changed[place] = rng.integers(256)
        (tmp_path / "x.dcm").write_bytes(changed)
        with contextlib.suppress(InputError):
            decode(tmp_path / "x.dcm", tmp_path, (0, 5))


def preamble() -> bytes:
    """A minimal file meta group."""
    syntax = b"1.2.840.10008.1.2.1\0"
    return b"\0" * 128 + b"DICM" + b"\x02\0\x10\0UI" + struct.pack("<H", len(syntax)) + syntax


HOSTILE = {
    "4 GB declared": b"\x08\0\x10\0OB\0\0\xfe\xff\xff\xff" + b"x" * 100,
    "4 GB of pixels": b"\xe0\x7f\x10\0OW\0\0\xfe\xff\xff\xff" + b"x" * 100,
    "nested sequences": (b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff") * 20_000,
    "many elements": b"".join(b"\x09\0" + struct.pack("<H", n % 65536) + b"LO\0\0" for n in range(500_000)),
    "many items": b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\0\0\0\0" * 500_000,
    "no end": b"\x08\0\x40\x11UN\0\0\xff\xff\xff\xff" + b"x" * 5_000_000,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_headers_end_soon(tmp_path: Path, kind: str) -> None:
    (tmp_path / "x.dcm").write_bytes(preamble() + HOSTILE[kind])
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    refused(tmp_path / "x.dcm", "x.dcm")
    assert time.perf_counter() - start < 10
    if sys.platform == "linux":
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 300_000


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "x.dcm").open("wb") as file:
        file.write(preamble())
        file.truncate(2**31)
    refused(tmp_path / "x.dcm", "larger than 320 MiB")


def test_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dicom(tmp_path / "c" / "x.dcm")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(InputError, match=r"'c/x.dcm' is a DICOM file.*pip install 'privaudit\[dicom\]'"):
        load(tmp_path)


# Datasets


def test_folders_tables_and_windows(tmp_path: Path) -> None:
    dicom(tmp_path / "a" / "1.dcm", WindowCenter="3", WindowWidth="6")
    dicom(tmp_path / "a" / "IM0002", WindowCenter="3", WindowWidth="6")  # known by its preamble
    dicom(tmp_path / "b" / "3.DCM", RAMP + 10, WindowCenter="13", WindowWidth="6")
    data = load(tmp_path)
    assert data.names == ("a/1.dcm", "a/IM0002", "b/3.DCM")
    assert data.images.labels.tolist() == [0, 0, 1]
    assert (data.images.pixels == data.images.pixels[0]).all()
    assert f"3 images {Conversion.OWN_WINDOW.value}." in data.notes
    window = members_window(tmp_path)
    assert window == pytest.approx((0, 15), abs=0.1)
    through = load(tmp_path, window=(0, 15))
    assert through.images.pixels[0].ravel().tolist() == [0, 17, 34, 51, 68, 85]
    assert f"3 images {Conversion.WINDOWED.value}." in through.notes
    (tmp_path / "t.csv").write_text("file,label\na/IM0002,x\nb/3.DCM,y\n")
    assert (load(tmp_path / "t.csv").images.pixels == data.images.pixels[1:]).all()


def test_loose_files_without_a_suffix_are_seen(tmp_path: Path) -> None:
    dicom(tmp_path / "IM0001")
    dicom(tmp_path / "a" / "IM0002")
    with pytest.raises(InputError, match="directly in the folder"):
        load(tmp_path)


def test_released_dicom_is_a_finding(tmp_path: Path) -> None:
    for name in ("1", "2"):
        dicom(tmp_path / "r" / "a" / f"{name}.dcm", WindowCenter="3", WindowWidth="6")
    dicom(tmp_path / "m" / "a" / "x.dcm", WindowCenter="3", WindowWidth="6")
    _, data = load_release(tmp_path / "r")
    (found,) = (one for one in scan(str(tmp_path / "r"), load(tmp_path / "m"), data) if one.kind == "metadata")
    assert found.count == 2
    assert "DICOM, made to hold the patient's name" in found.sentence
    assert "Anna" not in found.sentence
