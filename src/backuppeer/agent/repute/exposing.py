"""How much may lie with each host: the cap of `trust.exposure`, kept to the byte while packs are under way (ADR 64).

Knows: who is a friend, what audits saw within a month, what a person lifted, what is reserved. Must not know: packs,
sessions. Room is reserved before a pack is sent and kept until it is in the ledger: several ways to one host at once
never send more than one may. What lies there already is never asked back.
"""

import shlex
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from backuppeer.agent.home.state import State
from backuppeer.agent.repute.standing import Standing
from backuppeer.clock import Clock
from backuppeer.errors import ExposedError
from backuppeer.host.quota import format_size
from backuppeer.ids import PeerId
from backuppeer.limits import EXPOSURE_AGAIN_S, PROVEN_WITHIN_DAYS
from backuppeer.trust.evidence import Kind
from backuppeer.trust.exposure import GROWTH, cap_bytes, room_bytes

UNCAPPED: Final = -1
_LIFTED: Final = "exposure.lifted"


class Room:
    """Room for one pack at one host, until it is kept there or came to nothing. Thread-safe."""

    def __init__(self, release: Callable[[Callable[[], None] | None], None]) -> None:
        self._release: Callable[[Callable[[], None] | None], None] | None = release

    def keep(self, register: Callable[[], None]) -> None:
        """Give the room up for what `register` writes into the ledger: both or neither is seen."""
        release, self._release = self._release, None
        if release is not None:
            release(register)

    def release(self) -> None:
        """Give the room up, if it still is; the pack came to nothing."""
        release, self._release = self._release, None
        if release is not None:
            release(None)


@dataclass(slots=True)
class _Look:
    """What was found at `time_s` (monotonic): how much more may lie there, less what arrived since."""

    time_s: float
    left_bytes: int


class Exposing:
    """The caps of one home."""

    def __init__(self, state: State, standing: Standing, clock: Clock) -> None:
        self._state, self._standing, self._clock = state, standing, clock
        self._lock = threading.Lock()
        self._reserved: dict[PeerId, int] = {}
        self._looked: dict[PeerId, _Look] = {}

    def cap(self, peer: PeerId) -> int | None:
        """Return how many bytes may lie with a host in all; None = as many as agreed on."""
        if self._standing.is_friend(peer):
            return None
        lifted = self.lifted(peer)
        if lifted == UNCAPPED:
            return None
        return cap_bytes(self.verified(peer), lifted_bytes=lifted)

    def lifted(self, peer: PeerId) -> int | None:
        """Return the cap that a person set for a host; UNCAPPED: none; None: nobody did."""
        return self._read().get(bytes(peer))

    def lift(self, peer: PeerId, size_bytes: int | None) -> None:
        """Set the cap of one host, UNCAPPED for none; None: as for every stranger again."""
        with self._lock:
            lifted = self._read()
            lifted.pop(bytes(peer), None)
            if size_bytes is not None:
                lifted[bytes(peer)] = size_bytes
            self._state.put_setting(_LIFTED, msgspec.msgpack.encode(lifted))
            self._looked.pop(peer, None)

    def verified(self, peer: PeerId) -> int:
        """Return the bytes of the packs of which the host showed a part within 30 days (ADR 59)."""
        counts = self._standing.condense(now_ms=self._clock.now_ms(), days=PROVEN_WITHIN_DAYS)
        return max((row.size_bytes for row in counts if row.peer == peer and row.kind is Kind.AUDITED), default=0)

    def room(self, peer: PeerId) -> int | None:
        """Return how many bytes more may go to a host, beside what is reserved; None = as many as agreed on."""
        with self._lock:
            return self._room(peer)

    def reserve(self, peer: PeerId, size_bytes: int, *, name: str) -> Room:
        """Reserve room for a pack at the host that is called `name`.

        Raises:
            ExposedError: as much as may lie there does, or is on its way.

        """
        with self._lock:
            if not self._has_room(peer, size_bytes):
                raise self._refuse(peer, name)
            self._reserved[peer] = self._reserved.get(peer, 0) + size_bytes
        return Room(lambda register: self._give_up(peer, size_bytes, register))

    def find_refusal(self, peer: PeerId, size_bytes: int, *, name: str) -> ExposedError | None:
        """Return why so many bytes more may not go to a host, before the first of them does; None: they may."""
        with self._lock:
            return None if self._has_room(peer, size_bytes) else self._refuse(peer, name, size_bytes)

    def say_first(self, peer: PeerId, name: str, agreed_bytes: int) -> str:
        """Return what the cap of a host means that has nothing of ours yet; "" = it has, or all that is agreed may."""
        cap = self.cap(peer)
        if cap is None or cap >= agreed_bytes or self._standing.held_bytes(peer):
            return ""
        return f"{name} is a stranger to you: {format_size(cap)} of yours go there at most until audits have seen it"

    def _has_room(self, peer: PeerId, size_bytes: int) -> bool:
        # Both are sums over all packs and all days: asked for each pack, a backup would cost the square of its size.
        # What is sent meanwhile is counted here. Nobody is refused by what was known some seconds ago.
        if self._standing.is_friend(peer) or self.lifted(peer) == UNCAPPED:
            return True
        look = self._looked.get(peer)
        is_fresh = look is not None and self._clock.monotonic_s() - look.time_s < EXPOSURE_AGAIN_S
        if look is not None and is_fresh and size_bytes <= look.left_bytes - self._reserved.get(peer, 0):
            return True
        room = self._room(peer)
        return room is None or size_bytes <= room

    def _room(self, peer: PeerId) -> int | None:
        cap, held_bytes = self.cap(peer), self._standing.held_bytes(peer)
        if cap is None:
            return None
        self._looked[peer] = _Look(self._clock.monotonic_s(), cap - held_bytes)
        return room_bytes(held_bytes + self._reserved.get(peer, 0), cap)

    def _give_up(self, peer: PeerId, size_bytes: int, register: Callable[[], None] | None) -> None:
        # Under the lock: between the two the bytes would count twice, or not at all.
        with self._lock:
            try:
                if register is not None:
                    register()
                    if peer in self._looked:
                        self._looked[peer].left_bytes -= size_bytes
            finally:
                self._reserved[peer] -= size_bytes

    def _refuse(self, peer: PeerId, name: str, lacking: int = 0) -> ExposedError:
        held, cap, quoted = self._standing.held_bytes(peer), self.cap(peer) or 0, shlex.quote(name)
        more = f", and it lacks {format_size(lacking)}" if lacking else ""
        return ExposedError(
            f"{name} is a stranger to you: {format_size(held)} of yours lie there, of {format_size(cap)} at most for "
            f"now{more}",
            hint=f"after the next audits it may have {GROWTH} times what they saw: `backup-peer audit {quoted} --now`, "
            "then run this again; or compare the safety words with its person: "
            f"`backup-peer peers verify {quoted}`; or lift the cap: "
            f"`backup-peer peers set {quoted} --cap SIZE`",
        )

    def _read(self) -> dict[bytes, int]:
        raw = self._state.setting(_LIFTED)
        return msgspec.msgpack.decode(raw, type=dict[bytes, int]) if raw else {}
