"""How one session went: over which path, how fast, for how long it was used, how it ended.

Knows: what it is told while the session lives; a connection that is gone tells nothing. Must not know: who is told.
"""

from typing import Final

from backuppeer.clock import Clock
from backuppeer.errors import BackupPeerError, Unavailable
from backuppeer.transport.base import CloseInfo, PathInfo, PathKind
from backuppeer.wire.codes import CloseCode

_WHY: Final[dict[int, str]] = {
    CloseCode.DONE: "it was ended on request",
    CloseCode.SHUTDOWN: "the agent stopped",
    CloseCode.IDLE: "it was not used any more",
    CloseCode.DUPLICATE: "another session with it was begun",
    CloseCode.OVERLOADED: "too many sessions were open",
    CloseCode.PARTED: "a person ended the session",
    CloseCode.CUT: "a person ended the session at once",
}


class Course:
    """One session, as long as it lives."""

    def __init__(self) -> None:
        self.path, self.rtt_ms, self.outcome = "", 0.0, ""
        self._clock: Clock | None = None
        self._began_s = self._busy_since_s = self._busy_s = 0.0
        self._is_busy = False
        self.is_lost = False
        """Whether it ended without anybody's wish."""

    def start(self, clock: Clock) -> None:
        """Note that the session began."""
        self._clock, self._began_s = clock, clock.monotonic_s()
        self._busy_since_s = self._began_s  # of what was under way before, the time is not known

    def note_path(self, path: PathInfo) -> None:
        """Note the path in use, if there is one: a direct one may come after a relayed one, and is the better news."""
        if path.kind is not PathKind.NONE:
            self.path, self.rtt_ms = path.kind.value, path.rtt_ms or self.rtt_ms

    def use(self, *, is_busy: bool) -> None:
        """Note that requests are in flight from now on, or none is any more."""
        if self._clock is None or is_busy == self._is_busy:
            return
        now_s, self._is_busy = self._clock.monotonic_s(), is_busy
        if is_busy:
            self._busy_since_s = now_s
        else:
            self._busy_s += now_s - self._busy_since_s

    def end(self, why: BackupPeerError | CloseCode | int, *, by_peer: bool = False) -> None:
        """Note why the session ends; the first reason is the one, what follows from it is none."""
        if self.outcome:
            return
        if isinstance(why, BackupPeerError):
            self.is_lost = isinstance(why, Unavailable)
            self.outcome = f"{type(why).__name__}: {why.message}"
            return
        told = _WHY.get(why, "it was closed")
        self.outcome = f"the peer says: {told}" if by_peer else told

    def fail(self, error: BackupPeerError, info: CloseInfo | None) -> None:
        """Note an error that ends the session; info: how the connection ended, which may be the peer's wish."""
        if info is not None and info.by_peer and info.code in _WHY:
            self.end(info.code, by_peer=True)
        self.end(error)

    def give_up(self, why: str) -> None:
        """Note that this side ends the session, and will have another one; why: for a person."""
        self.outcome = self.outcome or why

    def lose(self, why: str) -> None:
        """Note that a session is given up that may be dead; why: for a person."""
        if not self.outcome:
            self.outcome, self.is_lost = why, True

    @property
    def length_ms(self) -> int:
        """How long it has lasted, without the time that this machine slept."""
        return int(1000 * (self._clock.monotonic_s() - self._began_s)) if self._clock else 0

    def rate(self, size_bytes: int) -> int:
        """Return the bytes per second of all that travelled, over the time in which requests were in flight."""
        return size_bytes * 1000 // self.busy_ms if self.busy_ms else 0

    @property
    def busy_ms(self) -> int:
        """For how long of that requests were in flight."""
        under_way_s = self._clock.monotonic_s() - self._busy_since_s if self._is_busy and self._clock else 0.0
        return int(1000 * (self._busy_s + under_way_s))
