"""Packs for readers who can't be told to wait: asked for again for a while, then failing at once for a while.

Knows: weather, a person who may watch. Must not know: packs, hosts, what is read. A program that reads a mounted file
hangs as long as its read does, so waiting has an end, after which other reads of the same hosts don't wait again.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Final

from backuppeer.agent.peers.retry import Say
from backuppeer.backup.streams import PackSource
from backuppeer.clock import Clock
from backuppeer.errors import InterruptedByUserError, Unavailable
from backuppeer.ids import LogicalId
from backuppeer.limits import MOUNT_GONE_S, MOUNT_PATIENCE_S, MOUNT_PAUSE_S

Hosts = tuple[str, ...]
Read = tuple[bytes, Sequence[bytes | memoryview]]
ENDED: Final = "the mount has ended"


class Patience:
    """A PackSource upon one that asks each host once; `hosts_of` names who has a pack. `stop` ends all waiting."""

    def __init__(
        self,
        source: PackSource,
        hosts_of: Callable[[LogicalId], Hosts],
        *,
        say: Say,
        clock: Clock,
        stop: threading.Event,
    ) -> None:
        self.source = source
        self._hosts_of, self._say, self._clock, self._stop = hosts_of, say, clock, stop
        self._gone: dict[Hosts, tuple[float, Unavailable]] = {}
        self._awaited: set[Hosts] = set()
        self._lock = threading.Lock()

    def fetch(self, pack: LogicalId, ranges: Sequence[tuple[int, int]]) -> Read:
        """Return what the source does, asked for MOUNT_PATIENCE_S; as a PackSource.

        Raises:
            InterruptedByUserError: stopped.

        """
        hosts = self._hosts_of(pack)
        until_s, error = self._gone.get(hosts, (0.0, None))
        started_s = self._clock.monotonic_s()
        if error is not None and started_s < until_s:
            raise error
        while True:
            if self._stop.is_set():
                raise InterruptedByUserError(ENDED)
            try:
                read = self.source.fetch(pack, ranges)
            except Unavailable as exc:
                now_s = self._clock.monotonic_s()
                if now_s - started_s >= MOUNT_PATIENCE_S:
                    self._give_up(hosts, now_s, exc)
                    raise
                self._await(hosts, exc)
                self._stop.wait(MOUNT_PAUSE_S)
            else:
                self._over(hosts)
                return read

    def _await(self, hosts: Hosts, error: Unavailable) -> None:
        with self._lock:
            is_news = hosts not in self._awaited
            self._awaited.add(hosts)
        if is_news:
            self._say("waiting", f"waiting for {', '.join(hosts)}: {error.message}", MOUNT_PAUSE_S)

    def _give_up(self, hosts: Hosts, now_s: float, error: Unavailable) -> None:
        with self._lock:
            is_news = hosts not in self._gone
            self._gone[hosts] = (now_s + MOUNT_GONE_S, error)
            self._awaited.discard(hosts)
        if is_news:
            whose = "what only it has" if len(hosts) == 1 else "what only they have"
            self._say("working", f"{', '.join(hosts)} can't be reached: {whose} can't be read now", 0.0)

    def _over(self, hosts: Hosts) -> None:
        with self._lock:
            is_news = hosts in self._awaited or hosts in self._gone
            self._awaited.discard(hosts)
            self._gone.pop(hosts, None)
        if is_news:
            self._say("connected", f"connected to {', '.join(hosts)} again", 0.0)
