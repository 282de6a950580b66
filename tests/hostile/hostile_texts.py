"""YAML and JSON that explode, nest, run code, or say what no configuration, policy, manifest or run can say."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from hostile_cases import CANARY, MIB, Build, Case, Content, Kind, encoded, endless_of, file_of, pipe_of

from privaudit.policy import built_in_text

KINDS: tuple[Kind, ...] = ("configuration", "policy", "grid", "claim")
GOOD: dict[str, str] = {
    "configuration": "data: {members: a, controls: b}\ncandidates: [{name: c, release: r}]\n",
    "policy": built_in_text("default"),
    "grid": "data: {source: a, split: {members: 1, controls: 2, fresh: 1, reference: 1}}\n"
    "synthesizer: noise\nsettings: {a: {}, b: {}}\n",
    "claim": "epsilon: 1\ndelta: 0.1\nunit: image\nadjacency: replace\nsampling: all\naccountant: none\n",
}
LIST: dict[str, str] = {
    "configuration": "also_released",
    "policy": "required_attacks",
    "grid": "seeds",
    "claim": "sampling",
}
"""A key of each kind to which lists are given."""

_LAUGHS = "".join(
    f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 9) or 'lol'}]\n" if number else "a0: &a0 [lol]\n"
    for number in range(12)
)
YAML: dict[str, Callable[[str], str]] = {
    "empty": lambda kind: "",
    "a list": lambda kind: "[1, 2]",
    "a number": lambda kind: "7",
    "two documents": lambda kind: f"{GOOD[kind]}---\n{GOOD[kind]}",
    "half": lambda kind: GOOD[kind] + "x: [1,",
    "billion laughs": lambda kind: _LAUGHS,
    "billion laughs in a list": lambda kind: f"{_LAUGHS}{LIST[kind]}: *a11\n",
    "a list that holds itself": lambda kind: f"{LIST[kind]}: &a [*a]\n",
    "a mapping that holds itself": lambda kind: "&a {x: *a}",
    "an anchor that is not there": lambda kind: "x: *a",
    "5,000 brackets": lambda kind: "x: " + "[" * 5_000,
    "100,000 brackets": lambda kind: "x: " + "[" * 100_000 + "]" * 100_000,
    "60 closed brackets": lambda kind: f"{LIST[kind]}: " + "[" * 60 + "]" * 60,
    "a key twice": lambda kind: GOOD[kind] + GOOD[kind],
    "keys that are numbers": lambda kind: GOOD[kind] + "1: 2\n",
    "keys that are null": lambda kind: GOOD[kind] + "~: 2\n",
    "keys that are lists": lambda kind: GOOD[kind] + "? [1, 2]\n: 2\n",
    "tabs": lambda kind: GOOD[kind] + "x:\n\ty: 1\n",
    "an unknown key": lambda kind: GOOD[kind] + "unknown: 1\n",
    "an unknown key of escapes": lambda kind: GOOD[kind] + '"\\e[31mred\\a": 1\n',
    "an unknown key of 100,000 letters": lambda kind: GOOD[kind] + f"? {'x' * 100_000}\n: 1\n",
    "5,000 unknown keys": lambda kind: GOOD[kind] + "".join(f"k{number}: 1\n" for number in range(5_000)),
    "a list of 10,000 mappings": lambda kind: f"{LIST[kind]}: [{'{},' * 10_000}]\n",
    "a day that is none": lambda kind: GOOD[kind] + "x: 2026-13-45\n",
    "a number of 5,000 digits": lambda kind: f"{LIST[kind]}: {'9' * 5_000}\n",
    "a number of 20,000 hexadecimal digits": lambda kind: f"{LIST[kind]}: 0x{'f' * 20_000}\n",
    "half a number": lambda kind: GOOD[kind] + "x: 0b_\n",
    "a time that is none": lambda kind: GOOD[kind] + "x: !!timestamp never\n",
    "a switch that is none": lambda kind: GOOD[kind] + "x: !!bool maybe\n",
    "a whole number that is empty": lambda kind: GOOD[kind] + 'x: !!int ""\n',
    "a class of Python": lambda kind: "!!python/object:collections.Counter {}",
    "a module of Python": lambda kind: "x: !!python/module:os",
    "a tag of nobody": lambda kind: "x: !secret 1",
    "more than 256 KiB": lambda kind: GOOD[kind] + "# " + "x" * MIB,
    "another schema": lambda kind: re.sub("schema: .*\n", "", GOOD[kind]) + "schema: 99\n",
}
BYTES: dict[str, Content] = {
    "bytes of no encoding": lambda: b"\xff\xfe\x00\xd8" * 99,
    "NUL": lambda: bytes(99),
    "escapes": lambda: b"name: \x1b[31mred\n",
    "a picture": lambda: encoded("png"),
}


def _encoded(make: Callable[[str], str], kind: str) -> Content:
    return lambda: make(kind).encode()


def _tagged(kind: str) -> Build:
    """A tag that would write a file, if it were obeyed."""

    def build(folder: Path) -> Path:
        call = f"open('{folder.parent / CANARY}', 'w')"
        return file_of("x.yaml", lambda: f'x: !!python/object/apply:eval ["{call}"]\n'.encode())(folder)

    return build


def _folder(folder: Path) -> Path:
    (folder / "x.yaml").mkdir()
    return folder / "x.yaml"


FILES: dict[str, Build] = {
    "a pipe": pipe_of("x.yaml"),
    "a link to /dev/zero": endless_of("x.yaml"),
    "a folder": _folder,
}

VALUES: dict[Kind, dict[str, str]] = {
    "configuration": {
        "a candidate named like a path": GOOD["configuration"].replace("name: c", "name: ../../x"),
        "a candidate named with escapes": GOOD["configuration"].replace("name: c", 'name: "\\e[31mred"'),
        "a candidate named with markup": GOOD["configuration"].replace("name: c", "name: <b>x</b>"),
        "a candidate named with 100,000 letters": GOOD["configuration"].replace("name: c", f"name: {'x' * 100_000}"),
        "two candidates of one name": GOOD["configuration"].replace(
            "[{name: c, release: r}]", "[{name: a, release: r}, {name: A, release: r}]"
        ),
        "a seed of -1": GOOD["configuration"] + "seed: -1\n",
        "a seed of NaN": GOOD["configuration"] + "seed: .nan\n",
        "suspects without end": GOOD["configuration"] + "max_suspects: .inf\n",
        "attacks in a list": GOOD["configuration"] + "attacks: [a]\n",
        "attacks of numbers": GOOD["configuration"] + "attacks: {1: {}}\n",
        "no data": "data: ~\ncandidates: ~\n",
    },
    "policy": {
        f"a limit of {value}": re.sub("at_most: [0-9.]+", f"at_most: {value}", GOOD["policy"], count=1)
        for value in (".nan", ".inf", "-.inf", "-1", "1e999", "yes", "[1]")
    },
    "grid": {
        "a setting named like a path": GOOD["grid"].replace("{a: {}, b: {}}", "{../a: {}, b: {}}"),
        "a setting named with escapes": GOOD["grid"].replace("{a: {}, b: {}}", '{"\\e[2J": {}, b: {}}'),
        "seeds below 0": GOOD["grid"] + "seeds: [-1, 0, 1]\n",
        "seeds of NaN": GOOD["grid"] + "seeds: [.nan, 0, 1]\n",
        "a baseline with escapes": GOOD["grid"] + 'baseline: "\\e[2J"\n',
        "5,000 settings": GOOD["grid"].replace("{a: {}, b: {}}", str({f"a{number}": {} for number in range(5_000)})),
    },
    "claim": {
        **{f"an epsilon of {value}": GOOD["claim"].replace("epsilon: 1", f"epsilon: {value}")
           for value in (".nan", ".inf", "-1", "0", "yes", "[1]", "1e999")},
        "a delta of 1": GOOD["claim"].replace("delta: 0.1", "delta: 1"),
        "a unit of escapes": GOOD["claim"].replace("unit: image", 'unit: "\\e[2J"'),
        "an accountant of 10,000 letters": GOOD["claim"].replace("none", "x" * 10_000),
    },
}  # fmt: skip

_HEAVY = ("brackets", "5,000", "10,000", "100,000", "256 KiB")


def _is_slow(kind: Kind, name: str) -> bool:
    """One function reads the texts of all kinds: every run tries all of them with one kind, the light ones with two."""
    return kind in ("grid", "claim") or (kind == "policy" and any(part in name for part in _HEAVY))


CASES = (
    *(
        Case(name, kind, file_of("x.yaml", _encoded(make, kind)), slow=_is_slow(kind, name))
        for kind in KINDS
        for name, make in YAML.items()
    ),
    *(
        Case(name, kind, file_of("x.yaml", content), slow=_is_slow(kind, name))
        for kind in KINDS
        for name, content in BYTES.items()
    ),
    *(Case(name, kind, build, slow=_is_slow(kind, name)) for kind in KINDS for name, build in FILES.items()),
    *(Case("a tag that runs code", kind, _tagged(kind)) for kind in KINDS),
    *(
        Case(name, kind, file_of("x.yaml", text.encode))
        for kind, texts in VALUES.items()
        for name, text in texts.items()
    ),
)
