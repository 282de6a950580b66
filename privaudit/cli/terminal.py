"""What every command shares: errors as sentences with exit codes, and progress."""

from __future__ import annotations

import _thread
import contextlib
import errno
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

import typer

from privaudit.cli.progress import Part, Progress, duration, size
from privaudit.errors import PrivauditError

if TYPE_CHECKING:
    from rich.live import Live

    from privaudit.cli.live import View

NOT_FINISHED, INTERRUPTED = 3, 130
TRACEBACK = "PRIVAUDIT_TRACEBACK"
"""Environment variable: where it is set, the traceback of an error is printed too, that of a plugin included."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_SILENT_SECONDS = 30.0
_LOOK_SECONDS = 1.0
_AGAIN_SECONDS = 0.05
_GO_ON = "What was finished is kept"


def say(text: str) -> None:
    """A line on stderr."""
    typer.echo(text, err=True)


@contextlib.contextmanager
def errors_as_sentences() -> Iterator[None]:
    """Turn errors into one message and an exit code; none of them is that of a verdict."""
    try:
        with _no_interrupt_lost():
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


@contextlib.contextmanager
def _no_interrupt_lost() -> Iterator[None]:
    """Ctrl-C that comes while a weak reference is cleared, as in every import, is dropped by Python: ask once more."""
    usual = sys.unraisablehook

    def again(dropped: sys.UnraisableHookArgs) -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            threading.Timer(_AGAIN_SECONDS, _interrupt).start()  # raised here it would be dropped, too
        else:
            usual(dropped)

    sys.unraisablehook = again
    try:
        yield
    finally:
        sys.unraisablehook = usual


def _interrupt() -> None:
    """Ctrl-C for the main thread, which may be waiting."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:  # Windows
        _thread.interrupt_main()


def _leave_with(text: str, code: int) -> None:
    say(text)
    raise typer.Exit(code) from None


class Announcer:
    """Progress: one view on a terminal, plain lines elsewhere, nothing when quiet.

    Plain lines tell what has begun, each task that is done, and after half a minute of silence what is in work.
    """

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._progress, self._lock = Progress(), threading.Lock()
        self._live: Live | None = None
        self._view: View | None = None
        self._began = self._told = time.monotonic()
        self._stopped = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._peak: int | None = None

    def __enter__(self) -> Announcer:
        if self._quiet:
            return self
        if sys.stderr.isatty():
            from privaudit.cli.live import View, live_view

            self._view = View(self._progress, self._lock)
            self._live = live_view(self._view)
            if self._live is not None:
                _show_cursor_when_terminated()
                self._live.start()
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        if self._live is not None:
            self._live.stop()
            self._live = None
        if self._watcher.is_alive():
            self._watcher.join(timeout=_LOOK_SECONDS)
        if kind is None and not self._quiet:
            memory = f", peak memory {size(self._peak)}" if self._peak else ""
            say(f"finished in {duration(time.monotonic() - self._began).removeprefix('about ')}{memory}")

    def __call__(self, what: str, done: int = 0, total: int = 1) -> None:
        """Say what has begun (nothing of it done yet), what was done, or (total 0) how far a task is."""
        now = time.monotonic()
        with self._lock:
            if total == 0:
                self._progress.within(what, now)
                return
            if done == 0:
                self._progress.begin(what, now)
            else:
                self._progress.finish(what, done, total, now)
            left = self._progress.seconds_left(now)
        if self._live is None and not self._quiet:
            self._told = now
            soon = f" ({duration(left)} left)" if done and left is not None else ""
            say(f"{done} of {total} done: {what}{soon}" if done else f"{what} ...")

    def expect(self, parts: Sequence[Part], around: float, at_once: int) -> None:
        """What the run is expected to take, so that the time left can be told (see `Progress.expect`)."""
        with self._lock:
            self._progress.expect(parts, around, at_once)

    def note(self, text: str) -> None:
        """Something that was found in the data."""
        self.line(f"note: {text}")

    def line(self, text: str) -> None:
        """A line that stays."""
        if self._live is not None:
            self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)
        elif not self._quiet:
            self._told = time.monotonic()
            say(text)

    def _watch(self) -> None:
        """Look at the memory in use; break long silence where there is no view."""
        from privaudit.machine import memory_in_use

        while not self._stopped.wait(_LOOK_SECONDS):
            used = memory_in_use()
            if used is not None:
                self._peak = max(used, self._peak or 0)
                if self._view is not None:
                    self._view.peak = self._peak
            now = time.monotonic()
            if self._live is None and now - self._told > _SILENT_SECONDS:
                self._told = now
                with contextlib.suppress(OSError):
                    say(f"{self._within()} ...")

    def _within(self) -> str:
        with self._lock:
            progress = self._progress
            share = progress.shares.get(progress.label)
            told = f"{progress.label}, {progress.stage}".removesuffix(", ")
            return told if share is None else f"{told} {100 * share:.0f} %"


def _show_cursor_when_terminated() -> None:
    """A process that is asked to end shows the cursor first, which the view hides."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return

    def leave(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(OSError):
            os.write(sys.__stderr__.fileno() if sys.__stderr__ is not None else 2, b"\r\n\x1b[?25h")
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, leave)
