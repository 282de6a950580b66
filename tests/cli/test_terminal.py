"""What is seen on a terminal: one view that goes when the run ends, on any width; nothing left behind by Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from processes import AUDIT, command, environment, write_images, write_small_audit

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")

WITHOUT_CONTROLS = ("audit", "--members", "members", "--release", "release", "--workers", "0")
NO_RELEASE = ("audit", "--members", "members", "--release", "nowhere")
_HIDDEN, _SHOWN = b"\x1b[?25l", b"\x1b[?25h"
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


LONG = ("audit", "--demo", "--attacks", "nearest-copy", "--skip", "utility,similarity", "--workers", "0")
"""Works for seconds after it has shown its first stage."""


@dataclass(frozen=True)
class Seen:
    """What a command wrote to the terminal and to stdout, and its exit status."""

    terminal: bytes
    stdout: str
    status: int

    @property
    def lines(self) -> list[str]:
        """Lines of the terminal that are not empty, without control sequences."""
        text = _CONTROL.sub("", self.terminal.decode()).replace("\r", "\n")
        return [line for line in text.splitlines() if line.strip()]


def on_terminal(
    folder: Path,
    *arguments: str,
    columns: int = 80,
    interrupt_at: bytes | None = None,
    by: int = signal.SIGINT,
    **extra: str,
) -> Seen:
    """Run privaudit with a terminal as stderr. interrupt_at: press Ctrl-C (or send `by`) when this is seen."""
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {key: value for key, value in environment(folder).items() if key not in ("NO_COLOR", "COLUMNS")}
    process = subprocess.Popen(
        command(*arguments),
        cwd=folder,
        env=env | {"TERM": "xterm-256color"} | extra,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        start_new_session=True,
    )
    os.close(theirs)
    shown, waiting = b"", interrupt_at
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            part = os.read(ours, 4096)
        except OSError:  # Linux: nobody holds the other end any more
            break
        if not part:
            break
        shown += part
        if waiting is not None and waiting in shown:
            waiting = None
            os.killpg(process.pid, by)
    os.close(ours)
    printed, _ = process.communicate(timeout=60)
    return Seen(shown, printed, process.returncode)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("terminal")
    write_small_audit(found)
    write_images(found / "members")
    write_images(found / "release", seed=4)
    return found


def test_a_view_that_goes_when_the_run_ends(folder: Path) -> None:
    seen = on_terminal(folder, *WITHOUT_CONTROLS, "--out", "a")
    assert seen.status == 4
    assert seen.stdout.startswith("INCONCLUSIVE")
    assert seen.terminal.count(_HIDDEN) == seen.terminal.count(_SHOWN) == 1
    *_, after = seen.terminal.split(_SHOWN)
    assert re.fullmatch(r"\s*finished in \d+ seconds?.*", _CONTROL.sub("", after.decode()).rstrip())
    assert any("Read as a folder of 2 class folders: 4 images" in line for line in seen.lines)
    assert "Traceback" not in seen.terminal.decode()


@pytest.mark.slow
def test_narrow_and_without_colour(folder: Path) -> None:
    """At 40 columns no drawn line is longer; NO_COLOR leaves no colour, only moves of the cursor."""
    seen = on_terminal(folder, *AUDIT, "--out", "b", "--workers", "0", columns=40, NO_COLOR="1")
    assert seen.status in (0, 1, 4), seen.terminal
    drawn = [line for line in seen.lines if " so far" in line or (" of " in line and "attack with" in line)]
    assert drawn
    assert max(map(len, drawn)) <= 40
    assert not re.search(rb"\x1b\[[0-9;]*3[0-9][0-9;]*m", seen.terminal), "colour"


def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(folder: Path) -> None:
    seen = on_terminal(folder, *NO_RELEASE, TERM="dumb")
    assert seen.status == 2
    assert b"\x1b" not in seen.terminal
    assert "reading the members ..." in seen.lines


def test_quiet_draws_nothing(folder: Path) -> None:
    seen = on_terminal(folder, *NO_RELEASE, "--quiet")
    assert seen.status == 2
    assert b"\x1b" not in seen.terminal
    (line,) = seen.lines
    assert line.startswith("error: release: 'nowhere' does not exist.")


def test_control_c_leaves_the_terminal_clean_and_tells_how_to_go_on(folder: Path) -> None:
    seen = on_terminal(folder, *LONG, "--out", "f", "--store", "of-f", interrupt_at=b"in all: about")
    assert seen.status == 130
    assert seen.terminal.count(_HIDDEN) == seen.terminal.count(_SHOWN) == 1
    assert seen.lines[-1] == "interrupted. What was finished is kept; start the same command again to go on."
    assert b"Traceback" not in seen.terminal


_DROPPED = """
import sys, time, weakref
import typer
from privaudit.cli.terminal import errors_as_sentences
class Anything: pass
def interrupted(reference): raise KeyboardInterrupt
try:
    with errors_as_sentences():
        thing = Anything()
        reference = weakref.ref(thing, interrupted)
        del thing
        time.sleep(60)
        print("went on")
except typer.Exit as leaving:
    sys.exit(leaving.exit_code)
"""


def test_an_interrupt_that_python_drops_is_heard() -> None:
    """Raised where a weak reference is cleared, as the import system does, it would be printed and forgotten."""
    done = subprocess.run([sys.executable, "-c", _DROPPED], capture_output=True, text=True, check=False, timeout=40)
    assert done.returncode == 130
    assert done.stdout == ""
    assert done.stderr == "interrupted. What was finished is kept; start the same command again to go on.\n"


def test_a_run_that_is_asked_to_end_shows_the_cursor(folder: Path) -> None:
    command = (*LONG, "--out", "g", "--store", "of-g")  # a store of its own: nothing is done already
    seen = on_terminal(folder, *command, interrupt_at=b"in all: about", by=signal.SIGTERM)
    assert seen.status == -signal.SIGTERM
    assert seen.terminal.endswith(_SHOWN)


@pytest.mark.slow
def test_control_c_while_processes_work(folder: Path) -> None:
    arguments = ("synthesize", "bn-matching", "--members", "digits", "--out", "made", "--effort", "quick")
    seen = on_terminal(folder, *arguments, "--store", "interrupted", interrupt_at=b"peak memory")
    assert seen.status == 130
    assert seen.terminal.count(_HIDDEN) == seen.terminal.count(_SHOWN) == 1
    assert seen.lines[-1] == "interrupted. What was finished is kept; start the same command again to go on."
    assert not (folder / "made").exists()
    assert b"Traceback" not in seen.terminal
