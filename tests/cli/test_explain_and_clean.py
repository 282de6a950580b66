"""explain and clean; init with its schemas and with older policies."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from processes import assert_one_sentence, command, environment, run

from privaudit.cli import terminal, verdict
from privaudit.cli.explain import _found, known_names
from privaudit.errors import InputError
from privaudit.plants import KINDS
from privaudit.plugins import ATTACKS, SYNTHESIZERS, installed
from privaudit.policy import BUILT_IN, load_policy
from privaudit.policy_metrics import METRICS
from privaudit.schemas import schema_text
from privaudit.store import Store
from privaudit.store_lock import in_use


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


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("4", "4 (exit code): Inconclusive"),
        ("130", "the same command goes on"),
        ("Holm", "correction for several tests"),
        ("false-discovery-rate", "false discovery rate (word)"),
        ("control", "controls (word)"),
        ("m-000012", "a member; private/ids.csv"),
        ("jpeg", "kind of planted members"),
        ("closest-members", "rule of the policy 'strict'"),
        ("strict", "shipped policy"),
    ],
)
def test_words_of_the_screen(tmp_path: Path, name: str, said: str) -> None:
    done = run(tmp_path, "explain", name)
    assert (done.returncode, done.stderr) == (0, "")
    assert said in done.stdout


def test_every_name_is_explained() -> None:
    """Rules of all shipped policies, metrics, verdicts, exit codes, plugins and kinds of plants among them."""
    known = known_names()
    ids = {rule.id for name in BUILT_IN for rule in load_policy(name).rules}
    codes = {str(code) for code in (*verdict.EXIT_CODES.values(), terminal.INTERRUPTED, InputError.exit_code)}
    plugins = {*installed(ATTACKS), *installed(SYNTHESIZERS)}
    assert known >= {*ids, *METRICS, *verdict.EXIT_CODES, *codes, *plugins, *KINDS}
    rules = load_policy("default")
    for name in known:
        parts = _found(name, rules)
        assert parts, name
        assert all(line.strip() for part in parts for line in part)


def test_store_of_a_run_is_not_emptied(tmp_path: Path) -> None:
    store = Store(tmp_path / ".privaudit")
    store.put("0" * 32, {"a": np.arange(10)}, {})
    with in_use(store.root):
        done = run(tmp_path, "clean", "--yes")
    assert done.returncode == 2
    assert "is in use by a run" in assert_one_sentence(done)
    assert store.get("0" * 32) is not None
    assert run(tmp_path, "clean", "--yes").returncode == 0
    assert store.get("0" * 32) is None


@pytest.mark.parametrize("kind", ["no store", "link to a store", "link in a store", "foreign file", "file", "missing"])
def test_what_is_no_store_is_not_touched(tmp_path: Path, kind: str) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("mine")
    store, place = tmp_path / "store", tmp_path / "given"
    Store(store).put("0" * 32, {"a": np.arange(10)}, {})
    if kind == "no store":
        place.mkdir()
        (place / "x.txt").write_text("mine")
    elif kind == "link to a store":
        place.symlink_to(store)
    elif kind == "link in a store":
        place = store
        (store / "blobs" / "ab").symlink_to(tmp_path)
    elif kind == "foreign file":
        place = store
        (store / "holiday.png").write_text("mine")
    elif kind == "file":
        place.write_text("mine")
    done = run(tmp_path, "clean", "--yes", "--store", str(place))
    assert done.returncode == 2
    assert_one_sentence(done)
    assert outside.read_text() == "mine"
    assert Store(store).get("0" * 32) is not None


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
