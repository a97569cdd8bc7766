"""How long a person waits for what does nothing: the version, the status of an agent that runs, an agent that starts.

Knows: the verbs. Must not know: the package. Each is the whole command as it is installed, the interpreter's start
included; files are in the cache, as of a program that was used before.
"""

import statistics
import sys
import time
from pathlib import Path

from meter import Meter
from ours import Pair
from peer import Report
from process import run_command

TIMES = 9
VERSION = "s of --version (median)"
STATUS = "s of status, the agent runs (median)"
AGENT = "s until an agent is ready (median)"
_COMMAND = Path(sys.executable).with_name("backup-peer")


class Starting(Pair):
    """A pair whose owner looks, and whose agent is started anew."""

    can_restore = False

    def __init__(self, root: Path, meter: Meter) -> None:
        """Set up host and owner."""
        super().__init__(root, meter)
        self.name = "start"

    def backup(self, paths: list[Path]) -> Report:  # noqa: ARG002 - there are no files
        """Start all of it, again and again."""
        version = statistics.median(self._time("--version") for _ in range(TIMES))
        status = statistics.median(self._time("status") for _ in range(TIMES))
        agent = statistics.median(self._time_agent() for _ in range(TIMES))
        return Report(seconds=agent, figures={VERSION: version, STATUS: status, AGENT: agent})

    def stored_bytes(self) -> int:
        """Nothing is kept."""
        return 0

    def _time_agent(self) -> float:
        self.run("owner", "agent", "stop")
        return self._time("agent", "start")

    def _time(self, *words: str) -> float:
        began = time.monotonic()
        run_command((str(_COMMAND), *words), self._environment("owner"), self._meter)
        return time.monotonic() - began
