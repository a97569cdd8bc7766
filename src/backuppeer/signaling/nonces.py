"""Nonces of knocks seen: each knock is heard once.

Knows: nonces and how long they matter. Must not know: knocks' contents, files (the agent keeps the rows).
"""

from collections.abc import Mapping

from backuppeer import limits
from backuppeer.errors import ProtocolViolation, RefusedError


class NonceMemory:
    """The nonces of every knock that could still be replayed.

    A nonce is kept until the knock's expiry plus the skew with which expiry is checked: until then a replay is
    refused here, afterwards by its expiry. Full means refusing new knocks, never forgetting old ones; a part of the
    room is kept for partners, so that strangers can't make a host deaf to them.
    """

    def __init__(self, rows: Mapping[bytes, int] | None = None, *, capacity: int = limits.KNOCK_NONCES) -> None:
        """Take the rows kept, nonce → until when it matters; all of them, or replays would pass."""
        self._until_ms: dict[bytes, int] = dict(rows or {})
        self._capacity = capacity
        self._for_strangers = capacity - capacity * limits.PARTNER_NONCES_PERMILLE // 1000

    def __len__(self) -> int:
        return len(self._until_ms)

    def remember(self, nonce: bytes, expires_ms: int, *, now_ms: int, is_partner: bool = False) -> int:
        """Record a nonce of an opened knock and return until when it matters.

        Call it, and persist the row, before the knock has any effect.

        Raises:
            ProtocolViolation: seen before: a replay.
            RefusedError: the memory is full of nonces that still matter.

        """
        self.check(nonce)
        room = self._capacity if is_partner else self._for_strangers
        if len(self._until_ms) >= room:
            self.forget_expired(now_ms)
        if len(self._until_ms) >= room:
            raise RefusedError("too many knocks within an hour", hint="try again later")
        self._until_ms[nonce] = expires_ms + limits.CLOCK_SKEW_S * 1000
        return self._until_ms[nonce]

    def check(self, nonce: bytes) -> None:
        """Return if a nonce was not seen yet.

        Raises:
            ProtocolViolation: it was: a replay.

        """
        if nonce in self._until_ms:
            raise ProtocolViolation("a knock was replayed")

    def forget_expired(self, now_ms: int) -> None:
        """Drop the nonces whose knocks can't be opened any more."""
        self._until_ms = {nonce: until for nonce, until in self._until_ms.items() if until > now_ms}
