"""What a row costs: wall time, processor time and peak private memory of named groups of processes.

Knows: /proc. Must not know: what is measured. A group is a set of root processes and everything below them; memory is
RssAnon (what the process allocated, not the files it mapped), summed over a group and sampled, so a peak shorter than a
sample may be missed.
"""

import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_SAMPLE_S = 0.05


@dataclass(slots=True)
class Cost:
    """Of one measured stretch: seconds on the clock; per group processor seconds and peak bytes."""

    seconds: float = 0.0
    cpu_s: dict[str, float] = field(default_factory=dict)
    peak_bytes: dict[str, int] = field(default_factory=dict)


class Meter:
    """Watches groups of processes; pids may be added while it runs."""

    def __init__(self) -> None:
        self._groups: dict[str, set[int]] = {}
        self._seen: dict[str, dict[int, float]] = {}
        self._first: dict[str, dict[int, float]] = {}
        self._peaks: dict[str, int] = {}
        self._lock = threading.Lock()

    def watch(self, group: str, pids: Iterable[int]) -> None:
        """Count these processes, and those they start, to a group."""
        with self._lock:
            self._groups.setdefault(group, set()).update(pids)

    @contextmanager
    def measure(self) -> Iterator[Cost]:
        """Give a Cost that is filled when the block ends."""
        cost, done = Cost(), threading.Event()
        self._seen, self._peaks = {}, {}
        self._sample()
        # What ran before the block is not its cost; processes that start inside it count from zero.
        self._first = {group: dict(seen) for group, seen in self._seen.items()}
        sampler = threading.Thread(target=self._run, args=(done,), daemon=True)
        sampler.start()
        began = time.monotonic()
        try:
            yield cost
        finally:
            cost.seconds = time.monotonic() - began
            self._sample()
            done.set()
            sampler.join()
            for group in self._groups:
                first = self._first.get(group, {})
                cost.cpu_s[group] = sum(t - first.get(pid, 0.0) for pid, t in self._seen.get(group, {}).items())
                cost.peak_bytes[group] = self._peaks.get(group, 0)

    def _run(self, done: threading.Event) -> None:
        while not done.wait(_SAMPLE_S):
            self._sample()

    def _sample(self) -> None:
        with self._lock:
            groups = {name: set(pids) for name, pids in self._groups.items()}
        children = _children()
        for name, roots in groups.items():
            total = 0
            for pid in _below(roots, children):
                memory, cpu_s = _read(pid)
                total += memory
                if cpu_s:
                    self._seen.setdefault(name, {})[pid] = cpu_s
            self._peaks[name] = max(total, self._peaks.get(name, 0))


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        found.setdefault(parent, []).append(int(folder.name))
    return found


def _below(roots: set[int], children: dict[int, list[int]]) -> set[int]:
    found, pending = set(), list(roots)
    while pending:
        pid = pending.pop()
        if pid not in found:
            found.add(pid)
            pending += children.get(pid, [])
    return found


def _read(pid: int) -> tuple[int, float]:
    """Return (RssAnon in bytes, processor seconds, reaped children included); zeros for a process that has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0, 0.0
    line = next((line for line in status.splitlines() if line.startswith("RssAnon:")), "RssAnon: 0 kB")
    # fields 14 and 15 of proc(5), counted behind the name
    return int(line.split()[1]) * 1024, (int(stat[11]) + int(stat[12])) / _TICK
