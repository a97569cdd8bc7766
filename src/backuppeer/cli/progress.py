"""One line that says where work stands: share, bytes, rate, time left.

Knows: Progress events and how fast they came. Must not know: the screen. Rate and time left come from the last
seconds, not from the start, so that a slow first minute doesn't spoil the estimate.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

from backuppeer.cli.render import escape_line, escape_name, format_count, measure_width
from backuppeer.cli.units import format_duration, format_size
from backuppeer.control.events import PeerShare, Progress
from backuppeer.control.jobs import JobRow

WINDOW_S: Final = 10.0
_MIN_SPAN_S: Final = 0.2
"""A rate over less than this is noise."""
ETA_SPAN_S: Final = 2.0
"""Time left is not guessed from less than this."""
STILL_S: Final = 3.0
"""A line on which nothing moved for so long, bytes to and from hosts included, says so."""
_BAR: Final = 12
_MIN_NAME: Final = 12


_BYTES, _FILES, _TRAFFIC = 1, 2, 3


class Pace:
    """Bytes per second over the last ten seconds of one phase, and for how long nothing has moved."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int, int, int]] = deque()
        """Seconds, bytes, files, bytes to and from hosts."""
        self._phase = ""
        self._moved: tuple[float, tuple[int, ...]] = (0.0, ())

    def add(self, progress: Progress) -> None:
        """Take one report into account."""
        if progress.phase != self._phase or (self._points and progress.bytes < self._points[-1][1]):
            self._points.clear()
            self._phase = progress.phase
        moved = (progress.bytes, progress.files, progress.sent_bytes, progress.traffic_bytes)
        if not self._points or moved != self._moved[1]:
            self._moved = (progress.seconds, moved)
        self._points.append((progress.seconds, progress.bytes, progress.files, progress.traffic_bytes))
        while len(self._points) > 2 and self._points[0][0] < progress.seconds - WINDOW_S:
            self._points.popleft()

    def rate(self, silent_s: float = 0.0, column: int = _BYTES) -> float:
        """Return bytes per second, `silent_s` after the last report; 0 while unknown, or when nothing has moved."""
        span_s, moved_bytes = self._measure(silent_s, column)
        return moved_bytes / span_s if span_s >= _MIN_SPAN_S else 0.0

    def left_s(self, progress: Progress, silent_s: float = 0.0) -> float | None:
        """Return the seconds until all is done, from what was really done lately; None while unknown.

        By bytes; where only what is counted has a total, by that.
        """
        if progress.bytes_total:
            rest, column, least = progress.bytes_total - progress.bytes, _BYTES, 1.0
        else:
            rest, column, least = progress.files_total - progress.files, _FILES, 0.0
        span_s, moved = self._measure(silent_s, column)
        is_known = not progress.counting and rest > 0 and span_s >= ETA_SPAN_S and moved and moved >= least * span_s
        return rest * span_s / moved if is_known else None

    def still_s(self, silent_s: float = 0.0) -> float:
        """Return for how long nothing has moved, `silent_s` after the last report."""
        return self._points[-1][0] - self._moved[0] + silent_s if self._points else 0.0

    def _measure(self, silent_s: float, column: int = _BYTES) -> tuple[float, float]:
        """Return seconds and what moved (`column`) of the window that ends `silent_s` after the last report."""
        if len(self._points) < 2:
            return 0.0, 0
        last_s, last = self._points[-1][0], self._points[-1][column]
        now_s = last_s + silent_s
        if silent_s >= WINDOW_S:
            return silent_s, 0
        # Reports may be further apart than the window is long: then the last two are it.
        recent = (point for point in self._points if now_s - WINDOW_S <= point[0] < last_s)
        first = next(recent, self._points[-2])
        return now_s - first[0], last - first[column]


def describe_progress(progress: Progress, pace: Pace, width: int, silent_s: float = 0.0) -> str:
    """Return the line, at most `width` columns: `backup  12 % ███░░░ · 1.2 GB of 10 GB · 85 MB/s · 2 m 5 s left`.

    Where that is too long the file's name goes first, then the bar, the amount, the rate: what people wait for is the
    share and the time left. silent_s: how long ago the report came; from STILL_S on without a move the line says so.
    """
    parts = {"share": _share(progress), "amount": _amount(progress), **_speed(progress, pace, silent_s)}
    bar = _bar(progress)
    line = _join(progress, {**parts, "share": f"{parts['share']} {bar}"} if bar else parts)
    for left_out in ("", "rate", "left") if is_all_read(progress) else ("", "amount", "rate"):
        if measure_width(line) <= width:
            break
        parts.pop(left_out, None)
        line = _join(progress, parts)
    if progress.peers:
        line = _add_shares(progress, line, parts, width)
    room = width - measure_width(line) - 3
    if progress.current and room >= _MIN_NAME:
        line = f"{line} · {_shorten(escape_name(progress.current), room)}"
    return line if measure_width(line) <= width else line[: max(0, width - 1)] + "…"


def _add_shares(progress: Progress, line: str, parts: Mapping[str, str], width: int) -> str:
    """Return the line with what each host took; for that the bar goes, and then the amount."""
    shares, rest = describe_shares(progress.peers), {name: part for name, part in parts.items() if name != "amount"}
    for shorter in (line, _join(progress, parts), _join(progress, rest)):
        if measure_width(longer := f"{shorter} · {shares}") <= width:
            return longer
    return line


def describe_shares(peers: Sequence[PeerShare]) -> str:
    """Return what each of several hosts took or gave; empty where there is nothing to compare."""
    return ", ".join(f"{escape_line(peer.name)} {format_size(peer.bytes)}" for peer in peers)


def _join(progress: Progress, parts: Mapping[str, str]) -> str:
    return f"{escape_name(progress.phase)}  {' · '.join(filter(None, parts.values()))}"


def _speed(progress: Progress, pace: Pace, silent_s: float) -> dict[str, str]:
    still_s = pace.still_s(silent_s)
    if still_s >= STILL_S:
        return {"left": f"nothing moved for {format_duration(still_s)}"}
    # On a slow line a pack takes its time: until it is whole, what comes and goes is all that can be told.
    rate = 0.0 if is_all_read(progress) else pace.rate(silent_s)
    rate = rate if rate >= 1 else pace.rate(silent_s, _TRAFFIC)
    left = pace.left_s(progress, silent_s)
    return {
        "rate": f"{format_size(round(rate))}/s" if rate >= 1 else "",
        "left": "" if left is None else f"{format_duration(left)} left",
    }


def _share(progress: Progress) -> str:
    return f"{int(_done(progress) * 100):3d} %" if _is_known(progress) else ""


def _bar(progress: Progress) -> str:
    full = int(_done(progress) * _BAR)
    return f"{'█' * full}{'░' * (_BAR - full)}" if _is_known(progress) else ""


def _done(progress: Progress) -> float:
    return progress.bytes / progress.bytes_total if progress.bytes_total else 0.0


def _is_known(progress: Progress) -> bool:
    """Whether there is a total that a share may be claimed of."""
    is_counted = not progress.counting and progress.bytes_total > 0 and progress.bytes <= progress.bytes_total
    return is_counted and not is_all_read(progress)


def is_all_read(progress: Progress | JobRow) -> bool:
    """Whether all files of a backup are read, and the rest of it is being sent: how much that is, nobody knows."""
    is_whole = 0 < progress.bytes_total == progress.bytes and not progress.counting
    return is_whole and progress.unit == "file" and progress.sent_bytes > 0


def _amount(progress: Progress) -> str:
    """Return bytes of bytes; where no total is known bytes and a count, or the count alone where nothing has bytes."""
    total = progress.bytes_total
    if is_all_read(progress):
        return f"all of {format_size(total)} read, sending: {format_size(progress.sent_bytes)} sent"
    if total and progress.bytes <= total:
        return f"{format_size(progress.bytes)} of {format_size(total)}{' so far' if progress.counting else ''}"
    counted = ""
    if progress.files_total and not total:
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
