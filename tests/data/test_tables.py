"""CSV tables of files: what is detected, what is refused with line and file, and how a released table is scanned."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from privaudit.cli.inputs import PARTS, load_parts
from privaudit.cli.released import load_candidate
from privaudit.cli.terminal import Announcer
from privaudit.configuration import load_configuration
from privaudit.data import tables
from privaudit.data.filescan import scan
from privaudit.data.loading import load, load_release, match_classes, members_window
from privaudit.data.tables import read_table
from privaudit.errors import InputError

RNG = np.random.default_rng(21)


def pictures(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8)).save(root / name)
    return root


def table(root: Path, text: str, name: str = "t.csv", encoding: str = "utf-8") -> Path:
    (root / name).write_bytes(text.encode(encoding))
    return root / name


def refused(path: Path, match: str) -> None:
    with pytest.raises(InputError, match=match):
        load(path)


def test_table(tmp_path: Path) -> None:
    pictures(tmp_path, "a/1.png", "a/2.png", "b.png")
    data = load(table(tmp_path, "file,label,group\nb.png,dog,ben\na/2.png,cat,\na/1.png,dog,ben\n"))
    assert data.class_names == ("cat", "dog")
    assert data.images.labels.tolist() == [1, 0, 1]
    assert data.names == ("b.png", "a/2.png", "a/1.png")
    assert data.groups is not None
    assert data.groups.tolist() == ["ben", "", "ben"]
    assert data.units.tolist() == ["group ben", "image 1", "group ben"]
    for row, name in enumerate(data.names):
        with Image.open(tmp_path / name) as image:
            assert (data.images.pixels[row] == np.asarray(image)).all()
    assert data.notes == (
        "Read as a table: 3 images in 2 classes, 5 x 6 pixels, colour.",
        "1 group read from the table; 1 image without a group, each a unit of its own.",
        "Warning: 1 class has a single image.",
    )


@pytest.mark.parametrize(
    "text",
    [
        "file,label\nx y.png,cat\n",
        "label;file\ncat;x y.png\n",
        "file\tlabel\nx y.png\tcat\n",
        "FILE , Label\nx y.png , cat\n",
        '"file","label"\r\n"x y.png","cat"\r\n',
        "file,label\n\n./x y.png,cat\n,\n",
        "file,label\nx y.png,cat",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_ways_to_write_it(tmp_path: Path, text: str, encoding: str) -> None:
    pictures(tmp_path, "x y.png")
    data = load(table(tmp_path, text, encoding=encoding))
    assert (data.class_names, data.names, data.groups) == (("cat",), ("x y.png",), None)


def test_quoted_fields_and_backslashes(tmp_path: Path) -> None:
    pictures(tmp_path, "d/a,b.png", "d/c.png")
    found = read_table(table(tmp_path, 'file,label\n"d\\a,b.png","a ""big"" cat"\nd/c.png,Käse\n'))
    assert found.names == ("d/a,b.png", "d/c.png")
    assert found.class_names == ("Käse", 'a "big" cat')
    assert found.labels.tolist() == [1, 0]


def test_further_columns_are_noted(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    data = load(table(tmp_path, "age,file,groups,label\n7,a.png,g,cat\n"))
    assert "2 further columns of the table not read: 'age', 'groups'." in data.notes
    assert data.groups is None


def test_numbers_are_sorted_as_numbers(tmp_path: Path) -> None:
    pictures(tmp_path, *(f"{n}.png" for n in range(12)))
    found = read_table(table(tmp_path, "file,label\n" + "".join(f"{n}.png,{n}\n" for n in reversed(range(12)))))
    assert found.class_names == tuple(map(str, range(12)))
    assert found.labels.tolist() == list(reversed(range(12)))


def test_matches_a_folder_of_the_same_classes(tmp_path: Path) -> None:
    pictures(tmp_path, "cat/1.png", "dog/1.png", "bird/1.png")
    members = load(tmp_path)
    found = match_classes(members, load(table(tmp_path, "file,label\ndog/1.png,dog\ncat/1.png,cat\n")), "controls")
    assert found.class_names == ("bird", "cat", "dog")
    assert found.images.labels.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/etc/passwd,x", "t.csv' line 3, file '/etc/passwd': an absolute path"),
        ("C:\\x.png,x", "line 3, file 'C:/x.png': an absolute path"),
        ("~/x.png,x", "an absolute path"),
        ("../x.png,x", r"line 3, file '../x.png': '\.\.' in a path"),
        ("d/../a.png,x", r"'\.\.' in a path"),
        ("b.png,x", "line 3, file 'b.png': the file does not exist"),
        ("a.png,x", "line 3, file 'a.png': the same file as in line 2"),
        ("./a.png,x", "the same file as in line 2"),
        ("alias.png,x", "the same file as in line 2"),
        ("out.png,x", "line 3, file 'out.png': 'out.png' is a link to a place outside"),
        ("d,x", "this is a folder"),
        (",x", "line 3, file '': no file is named"),
        ("d/c.png,", "line 3, file 'd/c.png': the label is empty"),
        ("d/c.png,  ", "the label is empty"),
        ("d/c.png,1.0", "line 3, file 'd/c.png': the label '1.0' is a decimal number.*write 1 for 1.0"),
        ("d/c.png,.5e3", "decimal number"),
        ("d/c.png,nan", "decimal number"),
        ("d/c.png,x\0y", "the label must be printable"),
        (f"d/c.png,{'x' * 201}", "at most 200 letters"),
        ("d/c.png", "line 3 has 1 field, but the first line names 2 columns"),
        ("d/c.png,x,y", "line 3 has 3 fields"),
        ('d/c.png,"x', "not a CSV file"),
        (f'd/c.png,"{"x" * 200_000}"', "not a CSV file"),
    ],
)
def test_refused_with_line_and_file(tmp_path: Path, line: str, message: str) -> None:
    root = pictures(tmp_path / "in", "a.png", "d/c.png")
    pictures(tmp_path, "x.png")
    (root / "alias.png").symlink_to(root / "a.png")
    (root / "out.png").symlink_to(tmp_path / "x.png")
    refused(table(root, f"file,label\na.png,cat\n{line}\n"), message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs the columns 'file' and 'label' in its first line"),
        ("a.png,cat\n", "found: 'a.png,cat'"),
        ("file|label\na.png|cat\n", "comma, semicolon or tab"),
        ("file,label\n", "lists no files"),
        ("file,label,File\na.png,cat,a.png\n", "column 'file' twice"),
    ],
)
def test_refused_headers(tmp_path: Path, text: str, message: str) -> None:
    refused(table(pictures(tmp_path, "a.png"), text), message)


def test_refused_encodings_and_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures(tmp_path, "a.png")
    refused(table(tmp_path, "file,label\na.png,Käse\n", encoding="latin-1"), "not a CSV file in UTF-8")
    refused(table(tmp_path, "file,label\na.png,cat\n", encoding="utf-16"), "not a CSV file in UTF-8")
    (tmp_path / "t.csv").write_bytes(RNG.bytes(100_000))
    refused(tmp_path / "t.csv", "t.csv")
    refused(table(tmp_path, "file,label\n" + ",\n" * 200_000), "over 100000 empty lines")
    refused(table(tmp_path, "file,label" + "," * 2_000_000), "first line of over 10000 letters")
    monkeypatch.setattr(tables, "MAX_BYTES", 10)
    refused(table(tmp_path, "file,label\na.png,cat\n"), "larger than")


def test_damaged_images_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    refused(table(tmp_path, "file,label\na.png,cat\n"), "'a.png' is not an image")


def test_deep_images_and_the_automatic_window(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 1000], [2000, 4000]], np.uint16)).save(tmp_path / "a.png")
    path = table(tmp_path, "file,label\na.png,x\n")
    refused(path, "more than 8 bits")
    assert members_window(path) == pytest.approx((15, 3970))
    assert load(path, window=(0, 4000)).images.pixels.ravel().tolist() == [0, 64, 128, 255]
    assert load(path, window=(0, 4000), size=3, channels=3).images.size == (3, 3, 3)


def test_every_part_of_a_configuration_can_be_a_table(tmp_path: Path) -> None:
    """Paths in audit.yaml are relative to it, those in a table to the table."""
    lines = []
    for part in (*PARTS, "release"):
        pictures(tmp_path / part, "1.png", "2.png")
        table(tmp_path / part, "file,label\n1.png,a\n2.png,b\n")
        if part in PARTS:
            lines.append(f"  {part}: {part}/t.csv\n")
    text = "data:\n" + "".join(lines) + "candidates:\n  - name: x\n    release: release/t.csv\n"
    (tmp_path / "audit.yaml").write_text(text)
    found = load_configuration(tmp_path / "audit.yaml")
    announce = Announcer(quiet=True)
    parts = load_parts(found.data, 0, announce)
    assert {part: data.names for part, data in parts.named.items()} == dict.fromkeys(PARTS, ("1.png", "2.png"))
    candidate = load_candidate(found.candidates[0], parts, found.data, announce)
    assert len(candidate.release.images) == 2


def test_a_released_table_is_scanned(tmp_path: Path) -> None:
    members = load(pictures(tmp_path / "m", "c/anna.png", "c/x7.png"))
    root = pictures(tmp_path / "r", "c/anna.png", "c/q.png")
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "Anna")
    Image.new("RGB", (5, 6)).save(root / "c" / "q.png", pnginfo=text)
    path = table(root, "file,label,group,age\nc/anna.png,c,p1,3\nc/q.png,c,,4\n")
    release, data = load_release(path)
    assert len(release.images) == 2
    assert "Not assessed: files beside the table that it does not list, were they published with it." in data.notes
    assert not any("Not assessed" in note for note in load(path).notes)
    found = {finding.kind: finding for finding in scan(str(path), members, data)}
    assert set(found) == {"metadata", "unexpected_file", "name_repeats_member"}
    assert found["metadata"].examples == ("r-000001",)
    assert "2 columns beyond image and label ('group', 'age')" in found["unexpected_file"].sentence
    assert found["name_repeats_member"].examples == ("r-000000",)


def test_a_plain_released_table_gives_no_finding(tmp_path: Path) -> None:
    members = load(pictures(tmp_path / "m", "c/anna.png"))
    path = table(pictures(tmp_path / "r", "b.png", "d.png"), "file,label\nb.png,c\nd.png,c\n")
    assert scan(str(path), members, load(path)) == ()
