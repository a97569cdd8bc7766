"""Notes for owners who may lose everything: left when agreeing, after every new head, and daily (ADR 46).

Knows: the slots that owners gave us, what a note says of us, when one is due. Must not know: packs; who of the owners
is alive. Each note goes to each server over a socket of its own, to an inbox that only its owner can link to another.

A note that can't be left is tried again and harms nobody: it is logged, and counted as not there (`count_noted`).
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import msgspec
import structlog

from backuppeer.agent.home.state import State
from backuppeer.agent.host.leading import Leading
from backuppeer.agent.host.premises import Premises
from backuppeer.clock import Clock
from backuppeer.crypto.envelope import seal_envelope
from backuppeer.crypto.identity import SigningKey
from backuppeer.crypto.recovery import derive_inbox, quarter_of
from backuppeer.errors import (
    AuthenticationFault,
    BackupPeerError,
    NotFoundError,
    PeerFault,
    ProtocolViolation,
    RefusedError,
    Unavailable,
)
from backuppeer.host.countersigning import refuse_other_machine
from backuppeer.host.leases import Lease
from backuppeer.host.store import Store
from backuppeer.ids import AgreementId, PeerId
from backuppeer.limits import (
    CLOCK_SKEW_S,
    NOTE_AGAIN_S,
    NOTE_EVERY_S,
    NOTE_PLACES,
    NOTE_SERVERS,
    NOTE_SOON_S,
    NOTE_SPREAD_S,
    NOTE_WINDOW_S,
    NOTES_AT_ONCE,
)
from backuppeer.proof.slots import SlotGift
from backuppeer.proof.statements import (
    Agreement,
    HeadReceipt,
    open_statement,
    peek_statement,
    sign_statement,
    statement_hash,
)
from backuppeer.signaling.note import Note, seal_note
from backuppeer.signaling.postbox import leave_note
from backuppeer.signaling.servers import authority, is_safe_foreign, is_server_url, parse_server
from backuppeer.wire.recovering import GiveSlot

_log = structlog.get_logger()
_SLOT: Final = "note.slot."
_MINUTE_MS: Final = 60_000


class _Kept(msgspec.Struct, frozen=True):
    """What an owner gave us for one agreement: as GiveSlot."""

    seed: bytes
    key: bytes
    servers: tuple[str, ...]
    time_ms: int = 0
    """When the writing device signed it; 0 where that was not asked for."""


@dataclass(slots=True)
class _Plan:
    """When the note of an agreement is due next; `owing`: servers that lack it, none = it is due at all of them.

    is_left: it lies wherever the owner looks for it.
    """

    due_s: float
    owing: set[str] = field(default_factory=set)
    is_left: bool = False


class Noting:
    """All notes of this host. One event loop; `touch` from any thread."""

    def __init__(
        self,
        state: State,
        premises: Premises,
        clock: Clock,
        *,
        binding: Callable[[SigningKey], bytes],
    ) -> None:
        """`binding`: where this home is, signed by the name that an owner knows."""
        self._state, self._premises, self._clock = state, premises, clock
        self._binding, self._leading = binding, Leading(state, premises, clock)
        self.servers: Callable[[], Sequence[str]] = tuple
        """Those that this home uses itself."""
        self._plans: dict[AgreementId, _Plan] = {}
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._recent: dict[AgreementId, deque[float]] = {}
        self._numbers: dict[tuple[bytes, str], int] = {}

    def keep(self, message: GiveSlot) -> None:
        """Keep what an owner gave us for an agreement of its own, durably, and leave a note soon; blocks for a moment.

        Raises:
            ProtocolViolation: the key is none, or a server has no address.
            RefusedError: another machine writes since a take-over, or gave something else later.
            NotFoundError, StoreUnavailable: there is no such agreement, or the store is away.

        """
        if not all(is_server_url(url) for url in message.servers):
            raise ProtocolViolation("a server of the owner has no ws or wss address")
        seal_envelope(message.key, b"", b"")  # refuses one that nothing can be sealed to, as long as its owner listens
        name = _SLOT + message.agreement.hex()
        raw = self._state.setting(name)
        known = msgspec.msgpack.decode(raw, type=_Kept) if raw else None
        given = _Kept(message.seed, message.key, message.servers, self._check_device(message))
        is_new = known is None or msgspec.structs.replace(known, time_ms=given.time_ms) != given
        if is_new:
            last_ms = known.time_ms if known is not None else 0
            if last_ms and given.time_ms <= last_ms < self._clock.now_ms() + CLOCK_SKEW_S * 1000:
                # Said before by whoever writes, and shown again by somebody else.
                raise RefusedError("another slot was given later", hint="give the one that is to count")
            self._state.put_setting(name, msgspec.msgpack.encode(given))
        if is_new or message.agreement not in self._plans:
            self.touch(message.agreement)

    def _check_device(self, message: GiveSlot) -> int:
        """Return when the device that writes signed this, 0 where that needs no signature yet (ADR 51)."""
        store = self._premises.open()
        device = store.countersigning.name_device(store.leases.get(message.agreement))
        if device is None:
            return 0
        if not message.signed:
            raise refuse_other_machine()
        try:
            said = open_statement(SlotGift, message.signed, device)
        except AuthenticationFault as exc:
            raise refuse_other_machine() from exc
        if (said.agreement, said.seed, said.key, tuple(said.servers)) != (
            message.agreement,
            message.seed,
            message.key,
            message.servers,
        ):
            raise ProtocolViolation("a recovery slot is not the one that the device signed")
        return said.time_ms

    def lead_on(self, agreement: AgreementId, old: PeerId) -> None:
        """Go on to leave word where an owner that is being succeeded looks for it: who goes on; again is fine (ADR 69).

        Raises:
            LocalError: a disk that refuses.

        """
        slot = self._state.setting(_SLOT + agreement.hex())
        if slot:
            self._leading.add(agreement, old, slot)

    def touch(self, agreement: AgreementId) -> None:
        """Note that what a note says of an agreement is no more the newest: a new head, a new revision."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._plan_soon, agreement)

    def count_noted(self) -> int:
        """Return for how many agreements a note of today's state lies wherever its owner looks for one."""
        return sum(plan.is_left for plan in self._plans.values())

    async def run(self) -> None:
        """Leave notes as they are due, until cancelled; at the start all are."""
        self._loop = asyncio.get_running_loop()
        for lease in await asyncio.to_thread(self._leases):
            self._plan_soon(lease.agreement)
        while True:
            self._wake.clear()
            await self._leave_due()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s()):
                    await self._wake.wait()

    def _plan_soon(self, agreement: AgreementId) -> None:
        """Plan a note for the next moment; later where its owner has caused many: servers take so many of a network."""
        due_s, recent = self._clock.monotonic_s() + NOTE_SOON_S, self._recent.get(agreement)
        if recent is not None and len(recent) == NOTES_AT_ONCE:
            due_s = max(due_s, recent[0] + NOTE_WINDOW_S)
        self._plans[agreement] = _Plan(due_s)
        self._wake.set()

    def _pause_s(self) -> float:
        now_s = self._clock.monotonic_s()
        soonest_s = min((plan.due_s for plan in self._plans.values()), default=now_s + NOTE_EVERY_S)
        return max(0.0, min(soonest_s - now_s, NOTE_EVERY_S))

    def _leases(self) -> list[Lease]:
        with suppress(BackupPeerError):  # it hosts nothing, or its store is away: what comes later is planned then
            return self._premises.open().leases.list_all()
        return []

    async def _leave_due(self) -> None:
        now_s, down = self._clock.monotonic_s(), set[str]()
        for agreement, plan in list(self._plans.items()):
            if plan.due_s <= now_s:
                await self._leave(agreement, plan, down)

    async def _leave(self, agreement: AgreementId, plan: _Plan, down: set[str]) -> None:
        """Leave the note of one agreement at the servers that lack it, and plan when to do so again.

        `down`: servers that could not be reached a moment ago, to which more are added: not each note waits for them.
        """
        raw = self._state.setting(_SLOT + agreement.hex())
        if raw is None:
            del self._plans[agreement]  # its owner is of a version of before; `keep` plans it
            return
        kept = msgspec.msgpack.decode(raw, type=_Kept)
        places = choose_places(kept.servers, self.servers())
        try:
            note = await asyncio.to_thread(self._write, agreement, places)
        except NotFoundError:
            self._plans.pop(agreement, None)  # it has ended; what was left says so by its age
            return
        except BackupPeerError as exc:
            _log.info("no note can be written", agreement=agreement.hex()[:8], reason=exc.message[:200])
            self._plan_again(plan, plan.owing or set(places), is_left=False)
            return
        self._recent.setdefault(agreement, deque(maxlen=NOTES_AT_ONCE)).append(self._clock.monotonic_s())
        wanted = [url for url in places if url in plan.owing] if plan.owing else places
        lacking = {url for url in wanted if url in down or not await self._leave_at(url, kept, note)}
        down |= lacking
        await self._leave_leading(agreement, note, down)
        if self._plans.get(agreement) is plan:  # else there is something newer to tell by now
            self._plan_again(plan, lacking, is_left=bool(places) and not lacking)

    async def _leave_leading(self, agreement: AgreementId, note: Note, down: set[str]) -> None:
        """Leave word at the slots of before, where a server can be reached; it is left daily, so none is owed."""
        with suppress(BackupPeerError):
            for slot, signed in await asyncio.to_thread(self._leading.list_due, agreement):
                if peek_statement(Agreement, signed).host != note.host:
                    continue  # this host goes on as another, too: whoever reads it could not tell whom to ask
                kept = msgspec.msgpack.decode(slot, type=_Kept)
                for url in choose_places(kept.servers, self.servers()):
                    if url not in down:
                        await self._leave_at(url, kept, msgspec.structs.replace(note, agreement=signed))

    def _plan_again(self, plan: _Plan, owing: set[str], *, is_left: bool) -> None:
        plan.owing, plan.is_left = owing, is_left
        # Not a secret: only so that hosts, and the inboxes of one host, don't keep time together.
        spread = random.random()  # noqa: S311
        pause_s = NOTE_EVERY_S - spread * NOTE_SPREAD_S if is_left else NOTE_AGAIN_S * (1 + spread)
        plan.due_s = self._clock.monotonic_s() + pause_s

    async def _leave_at(self, url: str, kept: _Kept, note: Note) -> bool:
        """Leave a note at one server; False when it could not be."""
        now_ms = self._clock.now_ms()
        inbox = derive_inbox(kept.seed, authority(url), quarter_of(now_ms))
        signer = self._premises.names.signer(PeerId(note.host))
        sealed = await asyncio.to_thread(seal_note, note, signer, key=kept.key, inbox=inbox.public)
        try:
            await leave_note(url, inbox, self._next_number(kept.seed, url, now_ms), sealed)
        except (Unavailable, PeerFault) as exc:
            _log.info("a note could not be left", server=url, reason=exc.message[:200])
            return False
        return True

    def _next_number(self, seed: bytes, url: str, now_ms: int) -> int:
        """Return a number above the last one of this inbox: the minute, for a clock's milliseconds tell machines apart.

        Counted for each inbox alone: numbers that follow each other would tell which inboxes are of one host.
        """
        known = self._numbers.get((seed, url), 0)
        # One from beyond the skew is of a clock that was ahead: no server took it, so nothing need be above it.
        known = known if known < now_ms + CLOCK_SKEW_S * 1000 else 0
        number = self._numbers[seed, url] = max(known + 1, now_ms // _MINUTE_MS * _MINUTE_MS)
        return number

    def _write(self, agreement: AgreementId, places: Sequence[str]) -> Note:
        """Write what is true of an agreement now.

        Raises:
            NotFoundError: there is no such agreement any more.
            StoreUnavailable, DamagedStateError: store or head can't be read.

        """
        store = self._premises.open()
        lease = store.leases.get(agreement)
        signer = self._premises.signer_of(lease)
        head, grant, receipt = self._countersign(store, agreement, signer)
        return Note(
            host=lease.host,
            agreement=lease.signed,
            head=head,
            grant=grant,
            receipt=receipt,
            binding=self._binding(signer),
            servers=list(places[:NOTE_SERVERS]),
            time_ms=self._clock.now_ms(),
        )

    def _countersign(self, store: Store, agreement: AgreementId, signer: SigningKey) -> tuple[bytes, bytes, bytes]:
        """Return the head that is held, its grant, and our receipt for it; it is durable, or it would not be held."""
        held = store.heads.get(agreement)
        if held is None:
            return b"", b"", b""
        receipt = HeadReceipt(
            agreement=agreement,
            head_hash=statement_hash(held.signed_head),
            number=held.head.number,
            time_ms=self._clock.now_ms(),
        )
        return held.signed_head, held.signed_grant, sign_statement(receipt, signer)


def choose_places(named: Sequence[str], own: Sequence[str]) -> list[str]:
    """Return where to leave a note: servers that its owner named, then our own; each once, at most NOTE_PLACES.

    What a peer names and we don't use ourselves is dialled by the rule for such (signaling.servers): `wss://` and a
    public name only.
    """
    mine = [parse_server(url) for url in own]
    theirs = [parse_server(url) for url in named if is_server_url(url)]
    return list(dict.fromkeys([*(url for url in theirs if url in mine or is_safe_foreign(url)), *mine]))[:NOTE_PLACES]
