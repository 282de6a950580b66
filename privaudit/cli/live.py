"""The view of a run on a terminal: one block of lines that is drawn again and again, and goes when the run ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.text import Text

from privaudit.cli.progress import Progress, duration, size

_BAR = 30
_MOST_TASKS = 4


class View:
    """Stage, tasks in work, time left, speed, memory. Every line is cut to the width of the terminal."""

    def __init__(self, progress: Progress, lock: threading.Lock) -> None:
        self._progress, self._lock = progress, lock
        self._began = time.monotonic()
        self.peak: int | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        with self._lock:
            now = time.monotonic()
            lines, share = list(self.lines(now)), self._progress.share
        head, *rest = lines
        yield Text(head, no_wrap=True, overflow="crop")
        width = max(1, min(_BAR, options.max_width - 1))
        yield ProgressBar(total=1.0 if share is not None else None, completed=share or 0.0, width=width)
        yield Segment.line()
        for line in rest:
            yield Text(line, style="dim", no_wrap=True, overflow="crop")

    def lines(self, now: float) -> Iterator[str]:
        """What is shown beside the bar, in plain words."""
        progress = self._progress
        count = f"{progress.done} of {progress.total}: " if progress.total else ""
        yield f"{count}{progress.part or progress.label}"
        left = progress.seconds_left(now)
        passed = duration(now - self._began).removeprefix("about ")
        yield f"{passed} so far" + (f", {duration(left)} left" if left is not None else "")
        measured = [progress.rate(now)]
        measured += [f"peak memory {size(self.peak)}"] if self.peak else []
        if any(measured):
            yield ", ".join(text for text in measured if text)
        shares = dict(list(progress.in_work.items())[-_MOST_TASKS:])
        for label, share in shares.items():
            stage = f", {progress.stage}" if label == progress.label and progress.stage else ""
            yield f"  {100 * share:3.0f} %  {label}{stage}"
        if progress.part and not shares:
            yield f"  {'done' if progress.done else 'now'}: {progress.label}"


def live_view(view: View) -> Live | None:
    """The view on this process's stderr; None where that is no terminal on which lines can be drawn again."""
    console = Console(stderr=True)
    if not console.is_terminal or console.is_dumb_terminal or not console.is_interactive:
        return None
    return Live(view, console=console, refresh_per_second=4, transient=True, redirect_stdout=False)
