"""What the shell completes, asked as a shell asks: a process with the words that were typed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from processes import cost, environment

from privaudit import plugins
from privaudit.cli import completion
from privaudit.plan import MEASURES
from privaudit.policy import BUILT_IN

SCRIPT = Path(sys.executable).with_name("privaudit")
RUN = (
    "import sys; sys.argv = ['privaudit']; from privaudit.cli import main\n"
    "try:\n    main()\nfinally:\n    sys.stderr.write(' '.join(sorted(sys.modules)))"
)


def asked(folder: Path, shell: str, words: str) -> subprocess.CompletedProcess[str]:
    """The answer to a press of the tab key behind these words; loaded modules on stderr."""
    typed = f"privaudit {words}"
    told = {
        "_PRIVAUDIT_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split(" ")) - 1),
        "_TYPER_COMPLETE_ARGS": typed,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    return subprocess.run(
        [sys.executable, "-c", RUN],
        cwd=folder,
        env=environment(folder) | told,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("words", "answers"),
    [
        ("audit --attacks n", ["nearest-copy"]),
        ("run --attacks nearest-copy,d", ["nearest-copy,density-ratio"]),
        ("synthesize bn", ["bn-matching"]),
        ("canaries bn-matching --kinds plain,m", ["plain,mislabelled"]),
        ("audit --policy d", ["default", "demo", "dp-claim"]),
        ("check run --policy m", ["mine.yaml"]),
        ("run --effort ", ["quick", "standard", "thorough"]),
        ("run --skip u", ["utility"]),
        ("run m", ["mine.yaml"]),
        ("explain exposed-", ["exposed-share"]),
        ("do", ["doctor"]),
    ],
)
def test_names_complete(tmp_path: Path, words: str, answers: list[str]) -> None:
    (tmp_path / "mine.yaml").touch()
    (tmp_path / "more.txt").touch()
    done = asked(tmp_path, "bash", words)
    assert done.stdout.split() == answers
    heavy = {"torch", "sklearn", "matplotlib", "scipy"} & set(done.stderr.split())
    assert not heavy


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells(tmp_path: Path, shell: str) -> None:
    assert "nearest-copy" in asked(tmp_path, shell, "audit --attacks n").stdout


@pytest.mark.skipif(shutil.which("bash") is None or not SCRIPT.exists(), reason="needs bash and the console script")
def test_in_bash(tmp_path: Path) -> None:
    """The script that --show-completion prints, in a bash that presses the tab key itself."""
    lines = (
        'eval "$(privaudit --show-completion)"',
        "COMP_WORDS=(privaudit audit --attacks den); COMP_CWORD=3",
        "_privaudit_completion privaudit",
        'echo "${COMPREPLY[@]}"',
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", "\n".join(lines)],
        cwd=tmp_path,
        env=environment(tmp_path) | {"PATH": f"{SCRIPT.parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.strip() == "density-ratio", done.stderr


def test_it_is_quick(tmp_path: Path) -> None:
    assert cost(lambda: asked(tmp_path, "bash", "audit --attacks n")) < 0.5


def test_names_that_are_written_twice_agree() -> None:
    """The command line must not import what defines them."""
    assert (completion.ATTACKS, completion.SYNTHESIZERS) == (plugins.ATTACKS, plugins.SYNTHESIZERS)
    assert set(completion.MEASURES) == set(MEASURES)
    assert set(completion.policies("")) >= set(BUILT_IN)


def test_of_a_list_what_is_named_already_is_left_out() -> None:
    assert completion.skippable("") == ["similarity", "utility"]
    assert completion.skippable("utility,") == ["utility,similarity"]
    assert completion.skippable("nonsense,u") == ["nonsense,utility"]
