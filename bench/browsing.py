"""A browse as a person sees it, with three servers: one alive, one dead, one that hangs.

Knows: the verb, a terminal. Must not know: the package. Told from the start of the command, Python's own start
included: until the first row stands on the terminal, and until the command has ended.
"""

import os
import pty
import socket
import statistics
import subprocess
import time
from pathlib import Path

from meter import Meter
from ours import COMMAND, Pair
from peer import Report

TIMES = 9
FIRST = "s until the first row (median)"
COMPLETE = "s until complete (median)"
_DEAD = "ws://127.0.0.1:1"


class Browsing(Pair):
    """A pair whose owner looks around."""

    can_restore = False

    def __init__(self, root: Path, meter: Meter) -> None:
        """Set up host and owner, and then the two servers that are no use."""
        super().__init__(root, meter)
        self.name = "browse"
        self._host = str(self.run("host", "id")["peer_id"])
        # Nobody accepts: the kernel does, and then nothing happens.
        self._hanging = socket.create_server(("127.0.0.1", 0))
        self._url = f"{self._url},{_DEAD},ws://127.0.0.1:{self._hanging.getsockname()[1]}"

    def backup(self, paths: list[Path]) -> Report:  # noqa: ARG002 - there are no files
        """Look around, again and again."""
        found = [self._look() for _ in range(TIMES)]
        first, complete = (statistics.median(times) for times in zip(*found, strict=True))
        return Report(seconds=complete, figures={FIRST: first, COMPLETE: complete})

    def stored_bytes(self) -> int:
        """Nothing is kept."""
        return 0

    def close(self) -> None:
        """End all of it."""
        if hanging := getattr(self, "_hanging", None):
            hanging.close()
        super().close()

    def _look(self) -> tuple[float, float]:
        """Return the seconds until the first row, and until the end.

        Raises:
            SystemExit: the host was not shown, or the command failed.

        """
        master, slave = pty.openpty()
        began = time.monotonic()
        verb = subprocess.Popen(
            [*COMMAND, "browse"],
            env={**self._environment("owner"), "TERM": "xterm", "COLUMNS": "120"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        said, first = b"", 0.0
        while data := _read(master):
            said += data
            if not first and self._host[:13].encode() in said:
                first = time.monotonic() - began
        os.close(master)
        if verb.wait() or not first:
            raise SystemExit(f"browse ended with {verb.returncode}: {said.decode()}")
        return first, time.monotonic() - began


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # Linux says so when the last who had it open has gone
        return b""
