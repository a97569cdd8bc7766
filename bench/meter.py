"""What a stretch of work costs: wall time, processor time and peak private memory of named groups of processes.

Knows: /proc. Must not know: what is measured. A group is a set of root processes and everything below them; memory is
RssAnon (what the process allocated, not the files it mapped), summed over a group and sampled, so a peak shorter than a
sample may be missed. What the processors did for anybody else meanwhile is measured too: figures of a busy machine
can be told from those taken in quiet.
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
    others_cpu_s: float = 0.0
    """Processor seconds of the whole machine that were neither a group's nor the benchmark's own."""


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

    def forget(self, group: str) -> None:
        """Watch the processes of a group no more."""
        with self._lock:
            self._groups.pop(group, None)

    @contextmanager
    def measure(self) -> Iterator[Cost]:
        """Give a Cost that is filled when the block ends."""
        cost, done = Cost(), threading.Event()
        self._seen, self._peaks = {}, {}
        self.sample()
        # What ran before the block is not its cost; processes that start inside it count from zero.
        self._first = {group: dict(seen) for group, seen in self._seen.items()}
        sampler = threading.Thread(target=self._run, args=(done,), daemon=True)
        sampler.start()
        busy_s, own_s, began = read_busy(), time.process_time(), time.monotonic()
        try:
            yield cost
        finally:
            cost.seconds = time.monotonic() - began
            self.sample()
            busy_s, own_s = read_busy() - busy_s, time.process_time() - own_s
            done.set()
            sampler.join()
            for group in self._groups:
                first = self._first.get(group, {})
                cost.cpu_s[group] = sum(t - first.get(pid, 0.0) for pid, t in self._seen.get(group, {}).items())
                cost.peak_bytes[group] = self._peaks.get(group, 0)
            cost.others_cpu_s = max(0.0, busy_s - own_s - sum(cost.cpu_s.values()))

    def sample(self) -> None:
        """Look at all processes now; also right before one that has ended is reaped, for the last of its time."""
        with self._lock:
            for name, roots in self._groups.items():
                total = 0
                for pid in _below(roots):
                    memory, cpu_s = _read(pid)
                    total += memory
                    if cpu_s:
                        self._seen.setdefault(name, {})[pid] = cpu_s
                self._peaks[name] = max(total, self._peaks.get(name, 0))

    def _run(self, done: threading.Event) -> None:
        while not done.wait(_SAMPLE_S):
            self.sample()


def read_busy() -> float:
    """Return the seconds that all processors together have worked since the machine started (proc(5), /proc/stat)."""
    user, nice, system, _, _, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:])
    return (user + nice + system + irq + softirq) / _TICK


def _below(roots: set[int]) -> set[int]:
    found, pending = set(), list(roots)
    while pending:
        pid = pending.pop()
        if pid not in found:
            found.add(pid)
            pending += _children(pid)
    return found


def _children(pid: int) -> list[int]:
    # Asked of the watched processes only: to look at every process of the machine took 5 % of a core.
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    except OSError:
        pass  # it has ended meanwhile
    return found


def _read(pid: int) -> tuple[int, float]:
    """Return (RssAnon in bytes, processor seconds, reaped children left out); zeros for a process that is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return read_anonymous(pid), (int(stat[11]) + int(stat[12])) / _TICK  # fields 14 and 15 of proc(5)
    except OSError:
        return 0, 0.0


def read_anonymous(pid: int) -> int:
    """Return the private memory of a process in bytes; 0 for one that has ended and was not reaped.

    Raises:
        OSError: there is no such process.

    """
    status = Path(f"/proc/{pid}/status").read_text()
    line = next((line for line in status.splitlines() if line.startswith("RssAnon:")), "RssAnon: 0 kB")
    return int(line.split()[1]) * 1024
