"""What every command shares: exit codes, errors as sentences, progress."""

from __future__ import annotations

import contextlib
import errno
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING

import typer

from privaudit.errors import PrivauditError

if TYPE_CHECKING:
    from rich.progress import Progress

    from privaudit.record import AuditRecord

EXIT_CODES = {"pass": 0, "fail": 1, "incomplete": 3, "inconclusive": 4}
INTERRUPTED = 130
_FULL = (errno.ENOSPC, errno.EDQUOT)


def say(text: str) -> None:
    """A line on stderr."""
    typer.echo(text, err=True)


@contextlib.contextmanager
def errors_as_sentences() -> Iterator[None]:
    """Turn errors that a user can mend into one message and an exit code."""
    try:
        yield
    except PrivauditError as error:
        say(f"error: {error}")
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        say("interrupted. What was finished is kept; start the same command again to go on.")
        raise typer.Exit(INTERRUPTED) from None
    except MemoryError:
        say("error: not enough memory. Give fewer or smaller images (--max-suspects, --size).")
        raise typer.Exit(3) from None
    except OSError as error:
        if error.errno in _FULL:
            say("error: the disk is full. What was finished is kept; free some space and start again to go on.")
        else:
            name = f" '{error.filename}'" if error.filename else ""
            say(f"error: {error.strerror or error}{name}.")
        raise typer.Exit(3) from None


class Announcer:
    """Progress: a bar on a terminal, plain lines elsewhere, nothing when quiet."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: Progress | None = None

    def __enter__(self) -> Announcer:
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed:.0f} of {task.total:.0f}"),
            )
            self._bar = Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True)
            self._bar.start()
            self._bar.add_task("starting", total=1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Say what was done."""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], description=what, completed=done, total=total)
        elif not self._quiet:
            say(f"[{done}/{total}] {what}")


def show(record: AuditRecord) -> None:
    """The verdict and its reasons on stdout."""
    for release in record.releases:
        typer.echo(f"{release.verdict.upper()}: {release.name}")
        typer.echo(f"  {release.sentence}")
        if len(release.reasons) > 1:
            for reason in release.reasons:
                typer.echo(f"  - {reason}")
        for step in release.next_steps:
            typer.echo(f"  next: {step}")
    if len(record.releases) > 1:
        typer.echo(f"{record.verdict.upper()}: all candidates together")


def leave(verdict: str, no_fail: bool) -> None:
    """Exit with the code of a verdict; 0 with --no-fail."""
    raise typer.Exit(0 if no_fail else EXIT_CODES[verdict])
