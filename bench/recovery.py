"""A disaster: a machine that knows nothing but the 24 words finds the host and makes the index anew.

Knows: the verbs, what the agent's log says of directories. Must not know: the package. The backup comes before and is
not measured. From then on the old home is not used; its agent is stopped.
"""

import time
from pathlib import Path

from meter import Meter
from ours import Pair
from peer import Report

RATE = "MiB of directories per second"
READ_SHARE = "read per stored byte"
_MIB = 1 << 20


class Recovery(Pair):
    """A pair whose owner loses the home: its work is `recover` in a fresh one."""

    can_restore = False
    homes = ("host", "owner", "new")

    def __init__(self, root: Path, meter: Meter) -> None:
        """Set up host and owner."""
        super().__init__(root, meter)
        self.name = "recovery"

    def backup(self, paths: list[Path]) -> Report:
        """Back up, lose the home, and come back from the words: only the last is measured.

        Raises:
            SystemExit: not every snapshot came back.

        """
        super().backup(paths)
        self.run("owner", "agent", "stop")
        began = time.monotonic()
        done = self.run("new", "recover", "--yes", said=self.words)
        seconds = time.monotonic() - began
        if done["snapshots"] != 1:
            raise SystemExit(f"the recovery found {done['snapshots']} snapshots, not 1")
        packs, entries, read_bytes, reading_s = self._sum_reading()
        return Report(
            seconds=seconds,
            figures={
                "packs": packs,
                "MiB of directories": read_bytes / _MIB,
                "entries": entries,
                "entries per second": entries / reading_s,
                RATE: read_bytes / _MIB / reading_s,
                READ_SHARE: self._received_bytes() / self.stored_bytes(),
            },
        )

    def _sum_reading(self) -> tuple[int, int, int, float]:
        found = self.list_logged("new", "directories read")
        if not found:
            raise SystemExit("the agent's log says nothing of directories")
        return (
            sum(line["packs"] for line in found),
            sum(line["entries"] for line in found),
            sum(line["bytes"] for line in found),
            sum(line["seconds"] for line in found),
        )

    def _received_bytes(self) -> int:
        return sum(int(str(row["received_bytes"])) for row in self.list_rows("new", "sessions"))
