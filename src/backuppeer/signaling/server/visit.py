"""Visit: one connection to the desk and what it has become.

Knows: roles, the connection, how long it may stay silent, that work is owed. Must not know: other messages, engines.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from backuppeer.signaling.messages import Role
from backuppeer.signaling.server.connection import Connection
from backuppeer.signaling.server.guest import Guest
from backuppeer.signaling.server.postage import Due
from backuppeer.signaling.server.rate import TokenBucket

_PATIENT: Final = frozenset({Role.PUBLISHER, Role.INBOX})
"""Roles that may stay silent: pings tell whether they live."""


class Closing(Exception):  # noqa: N818 - not an error: how a visit ends
    """Close this connection with a code and a reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(slots=True, eq=False)
class Visit:
    """One connection and what it has become. `work`: answer what waits to be taken, and return."""

    connection: Connection
    guest: Guest
    bucket: TokenBucket
    work: Callable[["Visit"], Awaitable[None]]
    number: int = field(default_factory=lambda: secrets.randbits(48))
    """Names the connection in logs and holds its listing; random, so that it says nothing about order or address."""
    role: Role = Role.UNDECIDED
    peer: bytes = b""
    inbox: bytes = b""
    nonce: bytes = b""
    due: Due | None = None
    missed: int = 0
    """The lowest number of those messages that it had no room for; 0: none."""
    was_fast: bool = False
    is_silent: bool = False
    silence: asyncio.TimerHandle | None = None

    async def attend(self) -> None:
        """Answer what has come (see `Attendant`)."""
        await self.work(self)

    def wait(self, silence_s: float) -> None:
        """Wait for the next message; who may not stay silent has so many seconds."""
        if self.role not in _PATIENT:
            self.silence = asyncio.get_running_loop().call_later(silence_s, self._note_silence)

    def wake(self) -> None:
        """Wait no longer."""
        if self.silence is not None:
            self.silence.cancel()
            self.silence = None

    def _note_silence(self) -> None:
        self.silence, self.is_silent = None, True
        self.connection.notify()
