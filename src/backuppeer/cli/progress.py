"""One line that says where work stands: share, bytes, rate, time left.

Knows: Progress events and how fast they came. Must not know: the screen. Rate and time left come from the last
seconds, not from the start, so that a slow first minute doesn't spoil the estimate.
"""

from collections import deque
from collections.abc import Mapping
from typing import Final

from backuppeer.cli.render import escape_name, format_count, measure_width
from backuppeer.cli.units import format_duration, format_size
from backuppeer.control.events import Progress

WINDOW_S: Final = 10.0
_MIN_SPAN_S: Final = 0.2
"""A rate over less than this is noise."""
_BAR: Final = 12
_MIN_NAME: Final = 12


class Pace:
    """Bytes per second over the last ten seconds of one phase."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque()
        self._phase = ""

    def add(self, progress: Progress) -> None:
        """Take one report into account."""
        if progress.phase != self._phase or (self._points and progress.bytes < self._points[-1][1]):
            self._points.clear()
            self._phase = progress.phase
        self._points.append((progress.seconds, progress.bytes))
        while len(self._points) > 2 and self._points[0][0] < progress.seconds - WINDOW_S:
            self._points.popleft()

    @property
    def bytes_per_s(self) -> float:
        """Current rate; 0 while unknown."""
        if len(self._points) < 2:
            return 0.0
        (first_s, first), (last_s, last) = self._points[0], self._points[-1]
        return (last - first) / (last_s - first_s) if last_s - first_s >= _MIN_SPAN_S else 0.0

    def left_s(self, progress: Progress) -> float | None:
        """Seconds until all bytes are done; None while unknown."""
        rest = progress.bytes_total - progress.bytes
        rate = self.bytes_per_s
        return rest / rate if progress.bytes_total and rest > 0 and rate >= 1 else None


def describe_progress(progress: Progress, pace: Pace, width: int) -> str:
    """Return the line, at most `width` columns: `backup  12 % ███░░░ · 1.2 GB of 10 GB · 85 MB/s · 2 m 5 s left`.

    Where that is too long the file's name goes first, then the bar, the amount, the rate: what people wait for is the
    share and the time left.
    """
    parts = {"share": _share(progress), "amount": _amount(progress), "rate": "", "left": ""}
    rate, left = pace.bytes_per_s, pace.left_s(progress)
    if rate >= 1:
        parts["rate"] = f"{format_size(round(rate))}/s"
    if left is not None:
        parts["left"] = f"{format_duration(left)} left"
    bar = _bar(progress)
    line = _join(progress, {**parts, "share": f"{parts['share']} {bar}"} if bar else parts)
    for left_out in ("", "amount", "rate"):
        if measure_width(line) <= width:
            break
        parts.pop(left_out, None)
        line = _join(progress, parts)
    room = width - measure_width(line) - 3
    if progress.current and room >= _MIN_NAME:
        line = f"{line} · {_shorten(escape_name(progress.current), room)}"
    return line if measure_width(line) <= width else line[: max(0, width - 1)] + "…"


def _join(progress: Progress, parts: Mapping[str, str]) -> str:
    return f"{escape_name(progress.phase)}  {' · '.join(filter(None, parts.values()))}"


def _share(progress: Progress) -> str:
    return f"{int(_done(progress) * 100):3d} %" if progress.bytes_total else ""


def _bar(progress: Progress) -> str:
    full = int(_done(progress) * _BAR)
    return f"{'█' * full}{'░' * (_BAR - full)}" if progress.bytes_total else ""


def _done(progress: Progress) -> float:
    return min(1.0, progress.bytes / progress.bytes_total) if progress.bytes_total else 0.0


def _amount(progress: Progress) -> str:
    """Return bytes of bytes; where no total is known bytes and a count, or the count alone where nothing has bytes."""
    if progress.bytes_total:
        return f"{format_size(progress.bytes)} of {format_size(progress.bytes_total)}"
    counted = ""
    if progress.files_total:
        counted = f"{progress.files:,} of {format_count(progress.files_total, progress.unit)}"
    elif progress.files or progress.unit != "file":
        counted = format_count(progress.files, progress.unit)
    size = format_size(progress.bytes) if progress.bytes or not counted else ""
    return " · ".join(filter(None, (size, counted)))


def _shorten(name: str, width: int) -> str:
    """Return the end of a name, at most `width` terminal columns wide."""
    if measure_width(name) <= width:
        return name
    kept = name[-(width - 1) :]
    while measure_width(kept) > width - 1:
        kept = kept[1:]
    return f"…{kept}"
