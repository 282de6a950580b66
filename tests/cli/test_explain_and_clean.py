"""explain and clean; init with its schemas and with older policies."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from processes import assert_one_sentence, command, environment, run

from privaudit.policy import load_policy
from privaudit.schemas import schema_text
from privaudit.store import Store


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("exposed-share",), "at most 5 %"),
        (("epsilon", "--policy", "dp-claim"), "NIST SP 800-226"),
        (("tpr_at_1pct_fpr",), "limited by rule exposed-share of the policy 'default'"),
        (("auc",), "0.5 is chance"),
        (("inconclusive",), "Do not read this as a pass"),
        (("nearest-copy",), "block_sizes (default (4, 8, 16))"),
        (("bn-matching",), "images_per_class (default none)"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_explain(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    done = run(tmp_path, "explain", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert said in done.stdout
    assert done.stdout.startswith(f"{arguments[0]} (")
    assert list(tmp_path.iterdir()) == []


def test_explain_suggests_the_nearest_name(tmp_path: Path) -> None:
    done = run(tmp_path, "explain", "density-ration")
    assert done.returncode == 2
    assert "Did you mean 'density-ratio'?" in assert_one_sentence(done)


def answered(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("clean"),
        cwd=folder,
        env=environment(folder),
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_clean_asks_first(tmp_path: Path) -> None:
    store = Store(tmp_path / ".privaudit")
    store.put("0" * 32, {"a": np.arange(1000)}, {})
    refused = answered(tmp_path, "n\n")
    assert refused.returncode == 0
    assert "finished tasks: 1; arrays: 1" in refused.stdout
    assert "nothing was deleted" in refused.stdout
    silent = answered(tmp_path, "")
    assert silent.returncode == 2
    assert "Give --yes" in silent.stderr
    assert store.get("0" * 32) is not None
    assert answered(tmp_path, "y\n").returncode == 0
    assert store.get("0" * 32) is None
    done = run(tmp_path, "clean", "--yes")
    assert done.returncode == 0
    assert "there is nothing to delete" in done.stdout


def test_init_with_schemas_and_another_policy(tmp_path: Path) -> None:
    done = run(tmp_path, "init", "--schemas", "--policy-from", "strict")
    assert (done.returncode, done.stderr) == (0, "")
    assert load_policy(str(tmp_path / "policy.yaml")) == load_policy("strict")
    for name in ("policy", "audit"):
        first = (tmp_path / f"{name}.yaml").read_text().splitlines()[0]
        assert first == f"# yaml-language-server: $schema={name}.schema.json"
        assert (tmp_path / f"{name}.schema.json").read_text() == schema_text(f"{name}.schema.json")
        json.loads((tmp_path / f"{name}.schema.json").read_text())


def test_init_writes_an_older_policy_anew(tmp_path: Path) -> None:
    old = {"schema": 1, "name": "mine", "tpr_limit": 0.2, "minimum_members": 50, "minimum_controls": 80}
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(old | {"required_attacks": ["nearest-copy"]}))
    done = run(tmp_path, "init", "--policy-from", "old.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    policy = load_policy(str(tmp_path / "policy.yaml"))
    assert (policy.exposed.limit(), policy.minimum_members, policy.minimum_controls) == (0.2, 50, 80)
