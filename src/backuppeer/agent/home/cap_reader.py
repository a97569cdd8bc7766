"""The caps that the settings of a home say now, for who asks each second.

Knows: when the file has changed. Must not know: who keeps to caps. Settings that can't be read change nothing: what
held before goes on (`status` says why); in an agent that starts with such, no cap holds.
"""

import threading

from backuppeer.agent.home.bandwidth import BandwidthSettings, Caps, find_caps
from backuppeer.agent.home.config import read_config
from backuppeer.agent.home.home import Home
from backuppeer.clock import Clock
from backuppeer.errors import BackupPeerError


class CapReader:
    """One stat for each look, and a parse for each change; from any thread."""

    def __init__(self, home: Home, clock: Clock) -> None:
        self._home, self._clock, self._lock = home, clock, threading.Lock()
        self._seen: tuple[int, ...] | None = None
        self._settings: BandwidthSettings | None = None

    def read(self) -> Caps:
        """Return the caps that hold now."""
        with self._lock:
            mark = self._mark()
            if mark != self._seen:
                try:
                    self._settings = read_config(self._home).bandwidth
                except BackupPeerError:
                    pass
                else:
                    self._seen = mark
            return find_caps(self._settings, self._clock.now_ms())

    def _mark(self) -> tuple[int, ...]:
        try:
            found = self._home.config.stat()
        except OSError:
            return ()
        return (found.st_mtime_ns, found.st_size, found.st_ino)
