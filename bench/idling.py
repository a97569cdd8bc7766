"""What an agent costs that has one session and nothing to do: processor, memory, how often it wakes.

Knows: /proc, the verbs. Must not know: the package. Looked at twice, as long apart as IDLE_S: who looks in between
wakes somebody. Told is the worse of the two agents, owner and host. A thread wakes as often as it gave up the processor
by itself (voluntary context switches, proc(5)); switches of threads that came and went in between are not counted.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from meter import Meter, read_anonymous
from ours import Pair, pids_of
from peer import Report

IDLE_S = 300.0
CORE = "% of a core"
PRIVATE = "MB RssAnon"
MAPPED = "MB of mapped libraries"
WAKES = "wake-ups per second"
_LEAST_S = 10.0
_SETTLE_S = 10.0
"""What was begun by the commands before, has ended by then."""


@dataclass(frozen=True, slots=True)
class _Look:
    cpu_ns: int
    wakes: int


class Idling(Pair):
    """A pair that has agreed, and is left alone."""

    can_restore = False

    def __init__(self, root: Path, meter: Meter, *, scale: float) -> None:
        """Set up host and owner."""
        super().__init__(root, meter)
        self.name, self._seconds = "idle", max(_LEAST_S, IDLE_S * scale)

    def backup(self, paths: list[Path]) -> Report:  # noqa: ARG002 - there are no files
        """Do nothing.

        Raises:
            SystemExit: they had no session, before or after.

        """
        self._check_session()
        time.sleep(_SETTLE_S)
        pids = [pid for home in self.homes for pid in pids_of(self.root / home)]
        before, began = [_look(pid) for pid in pids], time.monotonic()
        time.sleep(self._seconds)
        after, lasted = [_look(pid) for pid in pids], time.monotonic() - began
        memory = [(read_anonymous(pid), _read_mapped(pid)) for pid in pids]
        self._check_session()
        pairs = list(zip(before, after, strict=True))
        figures = {
            CORE: max(late.cpu_ns - early.cpu_ns for early, late in pairs) / lasted / 1e7,
            WAKES: max(late.wakes - early.wakes for early, late in pairs) / lasted,
            PRIVATE: max(private for private, _ in memory) / 1e6,
            MAPPED: max(mapped for _, mapped in memory) / 1e6,
        }
        return Report(seconds=lasted, figures=figures)

    def stored_bytes(self) -> int:
        """Nothing is kept."""
        return 0

    def _check_session(self) -> None:
        states = [row["state"] for row in self.list_rows("owner", "sessions")]
        if states != ["idle"]:
            raise SystemExit(f"not one idle session, but {states}")


def _look(pid: int) -> _Look:
    threads = list(Path(f"/proc/{pid}/task").iterdir())
    return _Look(
        # Since its start, in nanoseconds: the first figure (kernel: Documentation/scheduler/sched-stats.rst).
        cpu_ns=sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads),
        wakes=sum(_read_field(thread / "status", "voluntary_ctxt_switches") for thread in threads),
    )


def _read_mapped(pid: int) -> int:
    """Return the bytes of files that a process has mapped and in memory: libraries, which others share."""
    return _read_field(Path(f"/proc/{pid}/status"), "RssFile") * 1024


def _read_field(status: Path, name: str) -> int:
    line = next(line for line in status.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1])
