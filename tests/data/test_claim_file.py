"""A claim of differential privacy in a file: whole and possible, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from data_examples import dataset, random_images

from privaudit.data.claim_file import doubts, read_claim
from privaudit.errors import InputError
from privaudit.release import PrivacyClaim

WHOLE: dict[str, Any] = {
    "epsilon": 3,
    "delta": 1e-5,
    "unit": "image",
    "adjacency": "add/remove",
    "sampling": "Poisson, rate 0.01",
    "accountant": "prv 0.2",
}


def written(folder: Path, content: Any) -> Path:
    path = folder / "claim.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def test_yaml_and_json_say_the_same(tmp_path: Path) -> None:
    more = WHOLE | {"mechanism": {"noise_multiplier": 1.1, "on": "gradients"}, "trust_model": "one curator"}
    (tmp_path / "claim.json").write_text(json.dumps(more))
    expected = PrivacyClaim(
        3.0,
        1e-5,
        "image",
        "add/remove",
        {"noise_multiplier": 1.1, "on": "gradients"},
        "prv 0.2",
        "one curator",
        "Poisson, rate 0.01",
    )
    assert read_claim(tmp_path / "claim.json") == read_claim(written(tmp_path, more)) == expected
    bare = read_claim(written(tmp_path, WHOLE))
    assert (bare.mechanism, bare.trust_model) == ({}, "")


def test_a_delta_as_people_write_it(tmp_path: Path) -> None:
    """YAML takes 1e-5, without a point, for a text."""
    text = yaml.safe_dump(WHOLE).replace("delta: 1.0e-05", "delta: 1e-5")
    assert "1e-5\n" in text
    assert read_claim(written(tmp_path, text)).delta == 1e-5


WRONG: dict[str, tuple[Any, str]] = {
    "epsilon of 0": (WHOLE | {"epsilon": 0}, "key 'epsilon'"),
    "negative epsilon": (WHOLE | {"epsilon": -1}, "key 'epsilon'"),
    "no number": (WHOLE | {"epsilon": ".nan"}, "key 'epsilon'"),
    "infinite epsilon": (WHOLE | {"epsilon": float("inf")}, "key 'epsilon'"),
    "a switch": (WHOLE | {"epsilon": True}, "key 'epsilon': a number belongs here"),
    "delta of 1": (WHOLE | {"delta": 1}, "key 'delta'"),
    "negative delta": (WHOLE | {"delta": -1e-9}, "key 'delta'"),
    "unknown unit": (WHOLE | {"unit": "picture"}, "key 'unit'"),
    "unknown adjacency": (WHOLE | {"adjacency": "remove"}, "key 'adjacency'"),
    "misspelt key": (WHOLE | {"accountent": "x"}, "unknown key 'accountent'. Did you mean 'accountant'?"),
    "no sampling": ({key: WHOLE[key] for key in WHOLE if key != "sampling"}, "key 'sampling' is missing: how batches"),
    "empty accountant": (WHOLE | {"accountant": ""}, "key 'accountant'"),
    "a list": ([WHOLE], "must hold keys and values; found list"),
    "nothing": ("\n", "must hold keys and values"),
    "an object": ("!!python/object/apply:os.system ['true']\n", "not valid YAML"),
    "too deep": ("[" * 30_000, "nested too deeply"),
    "too long": ("#" * 70_000, "70,000 bytes"),
}


@pytest.mark.parametrize("case", WRONG)
def test_impossible_claims_are_refused(tmp_path: Path, case: str) -> None:
    content, said = WRONG[case]
    with pytest.raises(InputError) as error:
        read_claim(written(tmp_path, content))
    assert said in str(error.value)


def test_a_delta_above_one_by_the_members_is_doubted() -> None:
    members = dataset(random_images(50, 0), groups=np.repeat([f"p{number}" for number in range(10)], 5))
    for unit, delta, doubted in (
        ("image", 0.02, False),  # 1 / 50
        ("image", 0.021, True),
        ("person", 0.021, False),
        ("person", 0.11, True),  # above 1 / 10
    ):
        claim = PrivacyClaim(1.0, delta, unit, "replace", {}, "x", "", "none")
        found = doubts(claim, members)
        assert bool(found) == doubted
        assert all(f"1 / {10 if unit == 'person' else 50}," in text for text in found)
