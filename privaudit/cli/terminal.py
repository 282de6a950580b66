"""What every command shares: exit codes, errors as sentences, progress, the verdict."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING

import typer

from privaudit.errors import PrivauditError

if TYPE_CHECKING:
    from rich.progress import Progress

    from privaudit.record import AuditRecord

EXIT_CODES = {"pass": 0, "fail": 1, "incomplete": 3, "inconclusive": 4}
NOT_FINISHED, INTERRUPTED = 3, 130
TRACEBACK = "PRIVAUDIT_TRACEBACK"
"""Environment variable: where it is set, the traceback of an error is printed too, that of a plugin included."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_WITHIN_SECONDS = 30.0
_GO_ON = "What was finished is kept"


def say(text: str) -> None:
    """A line on stderr."""
    typer.echo(text, err=True)


@contextlib.contextmanager
def errors_as_sentences() -> Iterator[None]:
    """Turn errors into one message and an exit code; none of them is that of a verdict."""
    try:
        yield
    except (typer.Exit, BrokenPipeError):
        raise
    except PrivauditError as error:
        if os.environ.get(TRACEBACK):
            traceback.print_exc()
        _leave_with(f"error: {error}", error.exit_code)
    except KeyboardInterrupt:
        _leave_with(f"interrupted. {_GO_ON}; start the same command again to go on.", INTERRUPTED)
    except MemoryError:
        _leave_with("error: not enough memory. Give fewer or smaller images (--max-suspects, --size).", NOT_FINISHED)
    except OSError as error:
        if error.errno in _FULL:
            text = f"the disk is full. {_GO_ON}; free some space and start the same command again to go on."
        else:
            name = f" ('{error.filename}')" if error.filename else ""
            text = f"{error.strerror or error}{name}. {_GO_ON}; mend this and start the same command again to go on."
        _leave_with(f"error: {text}", NOT_FINISHED)
    except Exception as error:  # noqa: BLE001 (the last resort: no traceback, and no exit code of a verdict)
        if os.environ.get(TRACEBACK):
            traceback.print_exc()
        text = (
            f"error: privaudit itself failed ({type(error).__name__}: {error}). This is a mistake in the program, not "
            f"in your data. {_GO_ON}. Please report it, with what is printed when {TRACEBACK}=1 is set."
        )
        _leave_with(text, NOT_FINISHED)


def _leave_with(text: str, code: int) -> None:
    say(text)
    raise typer.Exit(code) from None


class Announcer:
    """Progress: a bar on a terminal, plain lines elsewhere, nothing when quiet."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: Progress | None = None
        self._told = time.monotonic()

    def __enter__(self) -> Announcer:
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            columns = (SpinnerColumn(), TimeElapsedColumn(), BarColumn(20), TextColumn("{task.description}"))
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._bar.add_task("starting", total=None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __call__(self, what: str, done: int = 0, total: int = 1) -> None:
        """Say what has begun (nothing of it done yet), or what was done."""
        if total == 0:
            self._within(what)
            return
        text = f"{done} of {total} done: {what}" if done else f"{what} ..."
        if self._bar is not None:
            from rich.markup import escape

            task = self._bar.task_ids[0]
            self._bar.update(task, description=escape(text), completed=done, total=total if done else None)
        elif not self._quiet:
            say(text)

    def _within(self, what: str) -> None:
        """Progress within a step, told by another thread: on a bar at once, as a line now and then."""
        if self._bar is not None:
            from rich.markup import escape

            self._bar.update(self._bar.task_ids[0], description=escape(what))
        elif not self._quiet and time.monotonic() - self._told > _WITHIN_SECONDS:
            self._told = time.monotonic()
            say(f"{what} ...")

    def note(self, text: str) -> None:
        """Something that was found in the data."""
        self.line(f"note: {text}")

    def line(self, text: str) -> None:
        """A line that stays."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        elif not self._quiet:
            say(text)


def show(record: AuditRecord) -> None:
    """The verdict and its reasons on stdout."""
    for release in record.releases:
        typer.echo(f"{release.verdict.upper()}: {release.name} (policy: {record.policy['name']})")
        typer.echo(f"  {release.sentence}")
        for reason in release.reasons[1:]:  # the sentence tells the first one
            typer.echo(f"  - {reason}")
        for rule in release.rules:
            if rule.verdict == "waived":
                typer.echo(f"  note: rule {rule.id}: {rule.sentence}")
        if release.utility is not None:
            from privaudit.reporting.worth import utility_line

            typer.echo(f"  usefulness: {utility_line(release.utility)}")
        for step in release.next_steps:
            typer.echo(f"  next: {step}")
    for note in record.policy_notes:
        typer.echo(f"note: {note}")
    if len(record.releases) > 1:
        typer.echo(f"{record.verdict.upper()}: all candidates together")


def leave(verdict: str, no_fail: bool) -> None:
    """Exit with the code of a verdict; 0 with --no-fail."""
    raise typer.Exit(0 if no_fail else EXIT_CODES[verdict])
