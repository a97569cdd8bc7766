"""Word for who has only the words, and looks where an identity of before had it: who goes on in its place (ADR 69).

Knows: the slots that succeeded owners gave, for how long they are kept, the revision by which the owner changed. Must
not know: how a note is written and left (`noting`). What is left there says how to go on, and nothing of today.
"""

import threading
from typing import Final

import msgspec

from backuppeer.agent.home.state import State
from backuppeer.agent.host.premises import Premises
from backuppeer.clock import Clock
from backuppeer.ids import AgreementId, PeerId
from backuppeer.limits import NOTE_LEADING_S, SUCCESSION_STEPS

_FORMER: Final = "note.former."


class _Former(msgspec.Struct, frozen=True):
    """The slot that the owner `old` gave for an agreement, as `noting` keeps it."""

    old: bytes
    slot: bytes
    since_ms: int


class Leading:
    """The slots of owners that were succeeded. Thread-safe."""

    def __init__(self, state: State, premises: Premises, clock: Clock) -> None:
        self._state, self._premises, self._clock = state, premises, clock
        self._lock = threading.Lock()

    def add(self, agreement: AgreementId, old: PeerId, slot: bytes) -> None:
        """Keep the slot of an owner that is being succeeded, durably; that of one who was is kept already.

        Raises:
            LocalError: a disk that refuses.

        """
        with self._lock:
            known = self._read(agreement)
            if all(one.old != old for one in known):
                kept = [*known, _Former(old, slot, self._clock.now_ms())][-SUCCESSION_STEPS:]
                self._state.put_setting(_FORMER + agreement.hex(), msgspec.msgpack.encode(kept))

    def list_due(self, agreement: AgreementId) -> list[tuple[bytes, bytes]]:
        """Return the slots at which word is still left, each with the co-signed revision that leads on from there.

        Raises:
            NotFoundError: there is no such agreement any more.
            StoreUnavailable: the store is away.

        """
        now_ms = self._clock.now_ms()
        recent = [one for one in self._read(agreement) if now_ms - one.since_ms < NOTE_LEADING_S * 1000]
        if not recent:
            return []  # asks no disk, as hardly any agreement has one
        leases = self._premises.open().leases
        found = ((one.slot, leases.find_step(agreement, PeerId(one.old))) for one in recent)
        return [(slot, signed) for slot, signed in found if signed is not None]

    def _read(self, agreement: AgreementId) -> list[_Former]:
        raw = self._state.setting(_FORMER + agreement.hex())
        return msgspec.msgpack.decode(raw, type=list[_Former]) if raw else []
