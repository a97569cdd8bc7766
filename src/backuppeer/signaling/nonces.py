"""Nonces of knocks seen: each knock is heard once.

Knows: nonces and how long they matter. Must not know: knocks' contents, files (the agent keeps the exported bytes).
"""

import struct
from typing import Final

from backuppeer import limits
from backuppeer.errors import DamagedStateError, ProtocolViolation, RefusedError
from backuppeer.signaling.knock import NONCE_BYTES

_VERSION: Final = b"BPNONCE\x01"
_ROW: Final = struct.Struct(f">{NONCE_BYTES}sQ")


class NonceMemory:
    """The nonces of every knock that could still be replayed.

    A nonce is kept until the knock's expiry plus the skew with which expiry is checked: until then a replay is
    refused here, afterwards by its expiry. Full means refusing new knocks, never forgetting old ones.
    """

    def __init__(self, *, capacity: int = limits.KNOCK_NONCES) -> None:
        self._until_ms: dict[bytes, int] = {}
        self._capacity = capacity

    def __len__(self) -> int:
        return len(self._until_ms)

    def remember(self, nonce: bytes, expires_ms: int, *, now_ms: int) -> None:
        """Record a nonce of an opened knock; call it, and persist, before the knock has any effect.

        Raises:
            ProtocolViolation: seen before: a replay.
            RefusedError: the memory is full of nonces that still matter.

        """
        if nonce in self._until_ms:
            raise ProtocolViolation("a knock was replayed")
        if len(self._until_ms) >= self._capacity:
            self.forget_expired(now_ms)
        if len(self._until_ms) >= self._capacity:
            raise RefusedError("too many knocks within an hour", hint="try again later")
        self._until_ms[nonce] = expires_ms + limits.CLOCK_SKEW_S * 1000

    def forget_expired(self, now_ms: int) -> None:
        """Drop the nonces whose knocks can't be opened any more."""
        self._until_ms = {nonce: until for nonce, until in self._until_ms.items() if until > now_ms}

    def export_bytes(self) -> bytes:
        """Return all of it: an 8-byte header, then 24 bytes a nonce."""
        return _VERSION + b"".join(_ROW.pack(nonce, until) for nonce, until in self._until_ms.items())

    @classmethod
    def import_bytes(cls, data: bytes, *, capacity: int = limits.KNOCK_NONCES) -> "NonceMemory":
        """Return the memory that `export_bytes` wrote.

        Raises:
            DamagedStateError: not what it wrote; an empty memory would let replays pass, so it is not assumed.

        """
        rows = data[len(_VERSION) :]
        if not data.startswith(_VERSION) or len(rows) % _ROW.size or len(rows) > capacity * _ROW.size:
            raise DamagedStateError("the memory of knocks seen can't be read")
        memory = cls(capacity=capacity)
        memory._until_ms = dict(_ROW.iter_unpack(rows))
        return memory
