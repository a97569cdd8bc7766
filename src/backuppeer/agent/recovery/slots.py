"""Recovery slots of this owner: which agreement has which number, handed to its host in each session (ADR 46).

Knows: numbers, servers to look at. Must not know: what a note says, how one is left. Each agreement has a number of its
own, or two hosts would write into one inbox, and the later note would hide the earlier. So a home that only reads hands
out no numbers but those that it found: the machine that writes may have given others.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import structlog

from backuppeer.agent.home.keyring import HomeKeys
from backuppeer.agent.home.state import State
from backuppeer.agent.owner.writer import Writer
from backuppeer.agent.peers.session import Session
from backuppeer.clock import Clock
from backuppeer.crypto.recovery import derive_slot
from backuppeer.errors import BackupPeerError
from backuppeer.ids import AgreementId, shorten_peer_id
from backuppeer.limits import NOTE_SERVERS, RECOVERY_SLOTS
from backuppeer.proof.slots import SlotGift
from backuppeer.proof.statements import sign_statement
from backuppeer.wire.recovering import GiveSlot, SlotKept

_log = structlog.get_logger()
_SLOT: Final = "recovery.slot."
_SERVERS: Final = "recovery.servers"


class Slots:
    """The slots of one home."""

    def __init__(self, state: State, keys: HomeKeys, clock: Clock) -> None:
        self._state, self._keys, self._clock = state, keys, clock
        self.servers: Callable[[], Sequence[str]] = tuple
        """Those that this home is set to use."""
        self._writer = Writer(state, keys)
        self.is_silent = False
        """Hand out nothing: words are only being tried (`recover --check`)."""

    def number_of(self, agreement: AgreementId) -> int | None:
        """Return the slot of an agreement, if it has one."""
        raw = self._state.setting(_SLOT + agreement.hex())
        return raw[0] if raw else None

    def note_found(self, agreement: AgreementId, number: int) -> None:
        """Take over the number under which the note of an agreement was found."""
        if self.number_of(agreement) != number:
            self._state.put_setting(_SLOT + agreement.hex(), bytes([number]))

    def note_servers(self, servers: Sequence[str]) -> None:
        """Remember the servers at which a host was found: who recovers may know them, and no others."""
        known = dict.fromkeys([*servers, *self._remembered()])
        self._state.put_setting(_SERVERS, "\n".join(list(known)[:NOTE_SERVERS]).encode())

    async def hand(self, session: Session) -> None:
        """Give the host of a session the slot of each agreement with it; one that knows none is left as it is."""
        if self.is_silent:
            return
        for agreement, host, _ in self._state.agreements():
            number = self._choose(agreement) if host == session.peer else None
            if number is None:
                continue
            slot = derive_slot(self._keys.working, number)
            gift = self._sign(
                GiveSlot(agreement=agreement, seed=slot.seed, key=slot.opener.public, servers=self._named())
            )
            try:
                async with session.request(gift) as channel:
                    await channel.receive(SlotKept)
            except BackupPeerError as exc:
                # Of a version of before, for example. It can still be found while it is on offer.
                _log.info("no slot handed out", peer=shorten_peer_id(host), reason=exc.message[:200])

    def _sign(self, gift: GiveSlot) -> GiveSlot:
        """Return a gift with this device's word, which hosts want since a take-over; as it is when it may not write."""
        if not self._writer.may_write:
            return gift
        said = SlotGift(
            agreement=AgreementId(gift.agreement),
            seed=gift.seed,
            key=gift.key,
            servers=list(gift.servers),
            time_ms=self._clock.now_ms(),
        )
        return msgspec.structs.replace(gift, signed=sign_statement(said, self._keys.device))

    def _choose(self, agreement: AgreementId) -> int | None:
        """Return the number of an agreement, the lowest free one if it has none yet; None where there is none to give.

        Kept before it is handed out: the next agreement must not get the same.
        """
        others = [other for other, _, _ in self._state.agreements()]
        known = self.number_of(agreement)
        if known is not None and known in map(self.number_of, others[: others.index(agreement)]):
            known = None  # found twice, after a recovery that did not find everything: the older agreement keeps it
        if known is not None or not self._writer.may_write:
            return known
        taken = {self.number_of(other) for other in others}
        free = next((number for number in range(RECOVERY_SLOTS) if number not in taken), None)
        if free is not None:
            self.note_found(agreement, free)
        return free

    def _named(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*self.servers(), *self._remembered()]))[:NOTE_SERVERS]

    def _remembered(self) -> list[str]:
        return (self._state.setting(_SERVERS) or b"").decode().split()
