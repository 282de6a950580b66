"""How far a run is: what is done, what is in work, how fast it goes, and how long it may still take."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_AT_ONCE = 0.05
"""Seconds between two finished tasks below which the second was taken from the store."""
_LATE = 1.0
"""Seconds after its end in which progress of a task may still arrive, by another way than its result."""
_PRIOR = 0.2
"""How much the forecast counts beside what is measured: as if this share of the work had gone as forecast."""
_WITHIN = re.compile(r"(?P<label>.*), (?P<stage>[^,]*?) ?(?P<share>\d+) %")


@dataclass(frozen=True)
class Part:
    """A part of a run, as forecast. prefix: how the labels of its tasks begin. images: that it makes, if any.

    pieces: tasks that are not in the store. seconds: wall time for them; None: nobody knows.
    """

    title: str
    prefix: str
    pieces: int
    seconds: float | None
    images: int = 0


@dataclass
class _Running:
    """A part while it runs. spent: tasks done by work, not taken from the store. begun: when its work began."""

    part: Part
    left: int
    spent: int = 0
    begun: float | None = None
    over: bool = False

    @property
    def each(self) -> float:
        """Seconds of the forecast for one task."""
        return (self.part.seconds or 0.0) / max(1, self.part.pieces)


class Progress:
    """What is known of a run, from what it announces. Times are in seconds, of a clock that never goes back."""

    def __init__(self) -> None:
        self.label, self.stage = "starting", ""
        self.done = self.total = 0
        self.shares: dict[str, float] = {}
        self._parts: list[_Running] = []
        self._current: _Running | None = None
        self._around, self._at_once = 0.0, 1
        self._worked = self._heard = 0.0
        self._ended: dict[str, float] = {}

    def expect(self, parts: Sequence[Part], around: float, at_once: int) -> None:
        """The forecast. around: seconds for what is no part: checking the data, judging, the report.

        at_once: tasks that run at a time.
        """
        self._parts, self._around = [_Running(part, part.pieces) for part in parts], around
        self._at_once = max(1, at_once)

    def begin(self, what: str, now: float) -> None:
        """Something has begun; nothing of it is done yet."""
        self.label, self.stage, self.done, self.total = what, "", 0, 0
        self.shares.clear()
        self._heard = now

    def within(self, text: str, now: float) -> None:
        """Progress within a task: 'LABEL, STAGE 40 %'."""
        found = _WITHIN.fullmatch(text)
        label, stage = (found["label"], found["stage"]) if found else (text, "")
        if now - self._ended.get(label, -_LATE) < _LATE:
            return
        self.label, self.stage = label, stage
        if found is not None:
            self.shares.pop(label, None)  # the order is that of the latest news
            self.shares[label] = int(found["share"]) / 100
            self._hear(now)

    def finish(self, label: str, done: int, total: int, now: float) -> None:
        """A task is done."""
        self.label, self.stage, self.done, self.total = label, "", done, total
        self.shares.pop(label, None)
        self._ended[label] = now
        is_stored = now - self._heard < _AT_ONCE
        running = self._hear(now)
        if running is not None and running.left > 0:
            running.left -= 1
            running.spent += not is_stored
        if done == total:
            self.shares.clear()
            for one in self._parts:
                one.over |= one.begun is not None

    @property
    def part(self) -> str:
        """Title of the part that is in work; empty where none is."""
        return "" if self._current is None or self._current.over else self._current.part.title

    @property
    def share(self) -> float | None:
        """How much of what is in work is done, in [0, 1]; None: not known."""
        if self.total == 0:
            return None
        in_work = sum(self._in_work(one) for one in self._parts)
        return min(1.0, (self.done + in_work) / self.total)

    @property
    def in_work(self) -> dict[str, float]:
        """Shares of the tasks that were heard of last, as many as run at a time."""
        return dict(list(self.shares.items())[-self._at_once :])

    def rate(self, now: float) -> str:
        """How fast it goes, in words; empty where it is not known yet."""
        running = self._current
        if running is None or running.over or running.begun is None or now - running.begun < 1.0:
            return ""
        per_second = (running.spent + self._in_work(running)) / (now - running.begun)
        if running.part.images and running.part.pieces:
            return _per_time(per_second * running.part.images / running.part.pieces, "image")
        return _per_time(per_second, "task") if running.spent else ""

    def seconds_left(self, now: float) -> float | None:
        """How long it may still take; None: not known, or no part is left to do.

        The forecast of what is left, times how much slower than forecast the rest was.
        """
        parts = [one for one in self._parts if not one.over]
        if not parts or any(one.part.seconds is None for one in parts):
            return None
        left = sum(one.each * (one.left - self._in_work(one)) for one in parts)
        if self._current in parts and not self.shares:  # what does not tell how far it is goes as forecast
            left -= min(max(0.0, now - self._heard), self._current.each if self._current is not None else 0.0)
        credit = sum(one.each * (one.spent + self._in_work(one)) for one in self._parts)
        prior = _PRIOR * (sum(one.part.seconds or 0.0 for one in self._parts) + self._around)
        slower = (self._worked + prior) / (credit + prior) if prior > 0 else 1.0
        return max(0.0, left) * slower + self._around

    def _hear(self, now: float) -> _Running | None:
        """Note which part the label belongs to: of those with this prefix, the first that is not over."""
        found = next((one for one in self._parts if not one.over and self.label.startswith(one.part.prefix)), None)
        if found is not None:
            self._current = found
            if found.begun is None:
                found.begun = self._heard
        if self._current is not None and not self._current.over:  # also by steps that its tasks ask for
            self._worked += max(0.0, now - self._heard)
            self._heard = now
        return found

    def _in_work(self, running: _Running) -> float:
        """Tasks' worth of work that unfinished tasks of a part have done."""
        shares = [share for label, share in self.shares.items() if label.startswith(running.part.prefix)]
        return 0.0 if running.over else min(sum(shares), float(running.left))


def _per_time(per_second: float, noun: str) -> str:
    for count, unit in ((per_second, "second"), (60 * per_second, "minute"), (3600 * per_second, "hour")):
        if count >= 1 or unit == "hour":
            shown = f"{count:.0f}" if count >= 10 else f"{count:.1f}"
            return f"{shown} {noun if shown == '1.0' else noun + 's'} a {unit}"
    return ""


def duration(seconds: float) -> str:
    """In words: an estimate, no promise."""
    for unit, length, most in (("second", 1, 60), ("minute", 60, 5400)):
        if seconds < most:
            count = max(1, round(seconds / length))
            return f"about {count} {unit if count == 1 else unit + 's'}"
    return f"about {seconds / 3600:.1f} hours"


def size(count: float) -> str:
    """Bytes in words."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
