"""How much may lie with each host: the cap of `trust.exposure`, kept to the byte while packs are under way (ADR 64).

Knows: who is a friend, what audits saw within a month, what a person lifted, what is reserved. Must not know: packs,
sessions. Room is reserved before a pack is sent and kept until it is in the ledger: several ways to one host at once
never send more than one may. What lies there already is never asked back.
"""

import shlex
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from backuppeer.agent.home.state import State
from backuppeer.agent.repute.standing import Standing
from backuppeer.clock import Clock
from backuppeer.errors import ExposedError
from backuppeer.ids import PeerId
from backuppeer.limits import EXPOSURE_AGAIN_S, PROVEN_WITHIN_DAYS
from backuppeer.sizes import format_size
from backuppeer.trust.evidence import Kind
from backuppeer.trust.exposure import GROWTH, cap_bytes, room_bytes

UNCAPPED: Final = -1
_LIFTED: Final = "exposure.lifted"


@dataclass(frozen=True, slots=True)
class Lying:
    """What of ours lies with a host, but for what we had deleted. has_head: a finished backup: audits ask upon it."""

    wanted_bytes: int = 0
    has_head: bool = False


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
    """The caps of one home. `lying`: tells what of ours lies with a host."""

    def __init__(self, state: State, standing: Standing, clock: Clock, lying: Callable[[PeerId], Lying]) -> None:
        self._state, self._standing, self._clock, self._lying_with = state, standing, clock, lying
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
        line = self._standing.line(peer)
        return max((row.size_bytes for row in counts if row.peer in line and row.kind is Kind.AUDITED), default=0)

    def least(self, peer: PeerId) -> int:
        """Return how many bytes may lie with a host whatever a person set: a stranger's cap, for friends, too."""
        return cap_bytes(self.verified(peer)) or 0

    def may_grow(self, peer: PeerId) -> bool:
        """Whether more may lie with a host once audits saw all that does."""
        cap = self.cap(peer)
        return cap is not None and GROWTH * self._lying(peer).wanted_bytes > cap

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
        if cap is None or cap >= agreed_bytes or self._standing.measure_held(peer):
            return ""
        return f"{name} is a stranger to you: {format_size(cap)} of yours go there at most until audits have seen it"

    def warn(self, peer: PeerId, name: str, new_bytes: int) -> str:
        """Return that so many new bytes, not compressed yet, may be more than a host may have; "" = they are not."""
        room = self.room(peer)
        if room is None or new_bytes <= room:
            return ""
        return (
            f"{name} is a stranger to you: {format_size(room)} more may go there for now, and "
            f"{format_size(new_bytes)} before compression would be new"
        )

    def _lying(self, peer: PeerId) -> Lying:
        """Return what lies with a host and all whose heir it is: a new name is no new room."""
        its = [self._lying_with(one) for one in self._standing.line(peer)]
        return Lying(sum(one.wanted_bytes for one in its), any(one.has_head for one in its))

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
        cap, held_bytes = self.cap(peer), self._lying(peer).wanted_bytes
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
        lying, cap, reserved_bytes = self._lying(peer), self.cap(peer) or 0, self._reserved.get(peer, 0)
        held_bytes, where = lying.wanted_bytes + reserved_bytes, "lie there"
        if reserved_bytes:
            where += " or are on the way"
        more = f", and it lacks {format_size(lacking)}" if lacking else ""
        return ExposedError(
            f"{name} is a stranger to you: {format_size(held_bytes)} of yours {where}, of "
            f"{format_size(cap)} at most for now{more}",
            hint="; or ".join(self._find_ways(peer, shlex.quote(name), held_bytes, cap, has_head=lying.has_head)),
        )

    def _find_ways(self, peer: PeerId, quoted: str, held_bytes: int, cap: int, *, has_head: bool) -> Iterator[str]:
        most = GROWTH * held_bytes
        if has_head and most > cap:
            yield (
                f"`backup-peer audit {quoted} --now` asks for a piece of each pack, then run this again: up to "
                f"{format_size(most)} may lie there then, {GROWTH} times what audits saw within {PROVEN_WITHIN_DAYS} "
                f"days, now {format_size(self.verified(peer))}"
            )
        elif not has_head:
            yield f"back up less than {format_size(cap)} first: audits of a finished backup let it have more"
        yield f"compare the safety words with its person: `backup-peer peers verify {quoted}`"
        yield f"lift the cap: `backup-peer peers set {quoted} --cap SIZE`"

    def _read(self) -> dict[bytes, int]:
        raw = self._state.setting(_LIFTED)
        return msgspec.msgpack.decode(raw, type=dict[bytes, int]) if raw else {}


def carry_cap(state: State, old: PeerId, new: PeerId) -> None:
    """Let the cap that a person set for a host hold for its heir, unless that has one of its own."""
    raw = state.setting(_LIFTED)
    lifted = msgspec.msgpack.decode(raw, type=dict[bytes, int]) if raw else {}
    if bytes(old) in lifted and bytes(new) not in lifted:
        state.put_setting(_LIFTED, msgspec.msgpack.encode({**lifted, bytes(new): lifted[bytes(old)]}))
