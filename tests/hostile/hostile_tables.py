"""CSV tables that are damaged, lead out of their folder, or hold what a spreadsheet would run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hostile_cases import MIB, Build, Case, encoded, endless_of, noted, pipe_of

HEAD = b"file,label\n"


def _table(content: bytes, name: str = "table.csv") -> Build:
    """A table beside two pictures, and a third one outside its folder."""

    def build(folder: Path) -> Path:
        root = folder / "data"
        root.mkdir()
        for place in (root / "0.png", root / "1.png", folder / "secret.png"):
            place.write_bytes(encoded("png"))
        (root / "loop").symlink_to(".")
        (root / "link.png").symlink_to("../secret.png")
        (root / name).write_bytes(content)
        return root / name

    return build


REFUSED: dict[str, bytes] = {
    "empty": b"",
    "of one line break": b"\n",
    "of a first line alone": HEAD,
    "of NUL bytes": bytes(1_000),
    "with NUL in a name": HEAD + b"0.png\0,a\n",
    "with NUL in a label": HEAD + b"0.png,a\0\n",
    "with a field of 10 MB": HEAD + b'0.png,"' + b"x" * 10 * MIB + b'"\n',
    "with a field of 10 MB in short lines": HEAD + b'0.png,"' + b"xxxxxxxxx\n" * MIB + b'"\n',
    "with a first line of 10 MB": b"file,label," + b"x" * 10 * MIB + b"\n",
    "with 100 million commas": HEAD + b"0.png,a" + b"," * 100_000_000 + b"\n",
    "with 20,000 columns": b"file,label" + b",x" * 20_000 + b"\n",
    "with an open quotation mark": HEAD + b'"0.png,a\n1.png,b\n',
    "with letters behind a quotation mark": HEAD + b'"0.png"x,a\n',
    "with a line break in the first line": b'"fi\nle",label\n0.png,a\n',
    "with '..' in a path": HEAD + b"../secret.png,a\n",
    "with '..' in the midst of a path": HEAD + b"loop/../../secret.png,a\n",
    "with '..' and backslashes": HEAD + b"..\\secret.png,a\n",
    "with /etc/passwd": HEAD + b"/etc/passwd,a\n",
    "with the home folder": HEAD + b"~/secret.png,a\n",
    "with a drive": HEAD + b"C:\\secret.png,a\n",
    "with a network folder": HEAD + b"\\\\host\\share\\x.png,a\n",
    "with a URL": HEAD + b"http://localhost/x.png,a\n",
    "with a file URL": HEAD + b"file:///etc/passwd,a\n",
    "with a link that leads out": HEAD + b"link.png,a\n",
    "with one file by two ways": HEAD + b"0.png,a\nloop/0.png,b\n",
    "with one file twice": HEAD + b"0.png,a\n0.png,a\n",
    "with a folder": HEAD + b"loop,a\n",
    "with itself": HEAD + b"table.csv,a\n",
    "with a file that is not there": HEAD + b"2.png,a\n",
    "with a name of 5,000 letters": HEAD + b"x" * 5_000 + b",a\n",
    "with a command instead of a file": HEAD + b"$(touch canary).png,a\n",
    "with a formula instead of a file": HEAD + b"=cmd|' /C calc'!A0,a\n",
    "without a name": HEAD + b",a\n",
    "without a label": HEAD + b"0.png,\n",
    "with labels of decimals": HEAD + b"0.png,1.5\n",
    "with labels of NaN": HEAD + b"0.png,nan\n",
    "with labels of escapes": HEAD + b"0.png,\x1b[31mred\n",
    "with labels that run backwards": HEAD + "0.png,\u202egnp\n".encode(),
    "with a label of 201 letters": HEAD + b"0.png," + b"x" * 201 + b"\n",
    "with groups of escapes": b"file,label,group\n0.png,a,\x1b[2J\n",
    "with a column that is missing": b"file,class\n0.png,a\n",
    "with a column twice": b"file,label,file\n0.png,a,1.png\n",
    "with a column twice in other letters": b"file,label,LABEL\n0.png,a,b\n",
    "with a field too many": HEAD + b"0.png,a,b\n",
    "with a field too few": HEAD + b"0.png\n",
    "with another separator in one line": HEAD + b"0.png;a\n",
    "with bars between the fields": b"file|label\n0.png|a\n",
    "with 200,000 empty lines": HEAD + b"\n" * 200_000 + b"0.png,a\n",
    "in UTF-16": "file,label\n0.png,a\n".encode("utf-16"),
    "in UTF-32": "file,label\n0.png,a\n".encode("utf-32"),
    "in Latin-1": "file,label\n0.png,Käfer\n".encode("latin-1"),
    "with half a character": HEAD + b"0.png,\xc3\n",
    "in gzip": b"\x1f\x8b\x08" + bytes(100),
    "of a spreadsheet": b"PK\3\4" + bytes(100),
}

CONVERTED: dict[str, tuple[bytes, Callable[[Any], bool]]] = {
    "with a byte order mark": (b"\xef\xbb\xbf" + HEAD + b"0.png,a\n", noted("Read as a table: 1 image in 1 class")),
    "with formulas and markup as labels, as they are": (
        HEAD + b"0.png,=1+1\n1.png,<b>a</b>\n",
        lambda found: found.class_names == ("<b>a</b>", "=1+1"),
    ),
    "with a column of escapes": (
        b"file,label,\x1b[2J\n0.png,a,b\n",
        noted("1 further column of the table not read: '?"),
    ),
    "with numbers in Arabic as labels": (
        HEAD + "0.png,\u0661\n1.png,1\n".encode(),
        lambda found: found.class_names == ("1", "\u0661"),
    ),
}


CASES = (
    *(Case(f"table {name}", "dataset", _table(content)) for name, content in REFUSED.items()),
    *(
        Case(f"table {name}", "dataset", _table(content), "converted", expected)
        for name, (content, expected) in CONVERTED.items()
    ),
    Case("table, a pipe", "dataset", pipe_of("table.csv")),
    Case("table, a link to /dev/zero", "dataset", endless_of("table.csv")),
)
