"""Engine in this process's memory: listings, numbers, inboxes, all self-expiring.

Knows: monotonic time, caps. Must not know: sockets, signatures. Losing it all costs every host one republication.

Random order: slots stand in one array, always a uniformly random permutation (a newcomer swaps places with a random
one; a leaver's place is taken by the last), through which a `Walk` goes.
"""

import math
import random
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from backuppeer import limits
from backuppeer.clock import Clock
from backuppeer.signaling.server.caps import Caps
from backuppeer.signaling.server.engine import Deaf, Ears, Put, Rate, Shown, Slice, Stored
from backuppeer.signaling.server.rate import Buckets
from backuppeer.signaling.server.seen import SeenKeys
from backuppeer.signaling.server.timetable import Timetable
from backuppeer.signaling.server.walk import Walk

_DAY_S: Final = 86_400


@dataclass(slots=True)
class _Record:
    """What is known of a peer: its number, and its listing while on show."""

    seq: int
    digest: bytes
    until_s: float
    signed: bytes = b""
    place: int = -1
    is_slot: bool = True
    vanish_s: float = math.inf
    holders: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Inbox:
    until_s: float
    messages: dict[int, tuple[bytes, float]] = field(default_factory=dict)
    is_attended: bool = True
    numbers: int = 0
    """Given to messages so far: of this inbox alone, so that its owner can't count those of others."""


class MemoryEngine:
    """See `Engine` for the contract. Not for several threads."""

    def __init__(self, caps: Caps, *, clock: Clock, randomness: random.Random | None = None) -> None:
        self._caps = caps
        self._clock = clock
        self._random = randomness or random.SystemRandom()
        self._order: list[bytes] = []
        self._shown: dict[bytes, _Record] = {}
        self._gone: OrderedDict[bytes, _Record] = OrderedDict()
        self._inboxes: dict[bytes, _Inbox] = {}
        self._unattended: OrderedDict[bytes, None] = OrderedDict()
        self._due_peers, self._due_inboxes = Timetable(), Timetable()
        self._seen = SeenKeys(caps.seen_keys, clock=clock)
        self._buckets = Buckets(limits.SERVER_BUCKETS, clock=clock)
        self._ears: Ears = Deaf()
        self._key = (-1, b"")
        self._messages = 0

    async def open(self, ears: Ears) -> None:
        """Remember whom to tell."""
        self._ears = ears

    async def close(self) -> None:
        """Tell nobody any more."""
        self._ears = Deaf()

    def is_whole(self) -> bool:
        """Return True: this memory is always here."""
        return True

    async def put_listing(self, shown: Shown, holder: int) -> Put:
        """Compare the number and replace (no await inside: atomic)."""
        known = self._shown.get(shown.peer) or self._gone.get(shown.peer)
        if known is not None and shown.seq <= known.seq:
            return self._hold(known, shown, holder)
        if known is None and not self._make_room():
            return Put.FULL
        place = known.place if known is not None else -1
        record = _Record(shown.seq, shown.digest, self._clock.monotonic_s() + shown.life_s, place=place)
        self._due_peers.add(shown.peer, record.until_s)
        self._file(shown, record, holder)
        return Put.ACCEPTED

    async def is_newer(self, peer: bytes, seq: int) -> bool:
        """Compare with the number on show, or the one kept."""
        known = self._shown.get(peer) or self._gone.get(peer)
        return known is None or seq > known.seq

    async def lose_holder(self, peer: bytes, holder: int) -> None:
        """Start the grace when the last holder goes."""
        record = self._shown.get(peer)
        if record is None or holder not in record.holders:
            return
        record.holders.discard(holder)
        if not record.holders:
            record.vanish_s = self._clock.monotonic_s() + self._caps.grace_s
            self._due_peers.add(peer, record.vanish_s)

    async def page(self, cursor: bytes, limit: int) -> Slice:
        """Walk on from the cursor."""
        size = len(self._order)
        walk = Walk.resume(cursor, self._caps.listings) if cursor else Walk.begin(size, self._random)
        rows: list[bytes] = []
        for place in walk.look_ahead(limit):
            if len(rows) == limit:
                break
            walk.done += 1
            if place < size:
                rows.append(self._shown[self._order[place]].signed)
        return Slice(rows, walk.cursor(), size)

    async def drop_listing(self, peer: bytes) -> None:
        """Forget a peer altogether."""
        if peer in self._shown:
            self._vanish(peer)
        self._gone.pop(peer, None)

    async def has_seen(self, peer: bytes) -> bool:
        """Look among the days."""
        return peer in self._seen

    async def see(self, peer: bytes) -> None:
        """Note it for today."""
        self._seen.add(peer)

    async def open_inbox(self, inbox: bytes) -> bool:
        """Create or keep; the longest unattended inbox makes room."""
        box = self._inboxes.get(inbox)
        if box is None:
            if len(self._inboxes) >= self._caps.inboxes and self._unattended:
                self._drop_inbox(next(iter(self._unattended)))
            if len(self._inboxes) >= self._caps.inboxes:
                return False
            box = self._inboxes[inbox] = _Inbox(math.inf)
        self._unattended.pop(inbox, None)
        box.is_attended, box.until_s = True, math.inf
        return True

    async def leave_inbox(self, inbox: bytes) -> None:
        """Let the inbox live on for its time."""
        box = self._inboxes.get(inbox)
        if box is not None:
            box.is_attended = False
            box.until_s = self._clock.monotonic_s() + self._caps.inbox_life_s
            self._unattended[inbox] = None
            self._due_inboxes.add(inbox, box.until_s)

    async def deposit(self, inbox: bytes, sealed: bytes) -> Stored | None:
        """Store, within the caps of the inbox and of the whole server."""
        box = self._inboxes.get(inbox)
        is_full = self._messages >= self._caps.stored_messages
        if box is None or is_full or len(box.messages) >= self._caps.inbox_messages:
            return None
        box.numbers += 1
        self._messages += 1
        until_s = self._clock.monotonic_s() + self._caps.inbox_life_s
        if not box.messages:
            self._due_inboxes.add(inbox, until_s)
        box.messages[box.numbers] = (sealed, until_s)
        stored = Stored(box.numbers, sealed)
        if box.is_attended:
            self._ears.arrived(inbox, stored)
        return stored

    async def waiting(self, inbox: bytes) -> list[Stored]:
        """Return what waits, oldest first (numbers only rise, dicts keep their order)."""
        box = self._inboxes.get(inbox)
        return [Stored(number, sealed) for number, (sealed, _) in box.messages.items()] if box is not None else []

    async def take(self, inbox: bytes, number: int) -> None:
        """Forget one message."""
        box = self._inboxes.get(inbox)
        if box is not None and box.messages.pop(number, None) is not None:
            self._messages -= 1

    async def spend(self, name: bytes, rate: Rate) -> bool:
        """Take a token if there is one."""
        return self._buckets.spend(name, rate)

    async def network_key(self) -> bytes:
        """Draw one for each day."""
        today = int(self._clock.monotonic_s() // _DAY_S)
        if self._key[0] != today:
            self._key = (today, secrets.token_bytes(32))
        return self._key[1]

    async def count(self) -> int:
        """Return their number."""
        return len(self._order)

    def shown(self) -> list[bytes]:
        """Return all signed listings on show, in random order."""
        return [self._shown[peer].signed for peer in self._order]

    async def sweep(self) -> None:
        """Drop listings, numbers, messages and inboxes whose time is over."""
        now_s = self._clock.monotonic_s()
        self._seen.sweep()
        for peer in self._due_peers.pop(now_s):
            self._sweep_peer(peer, now_s)
        for inbox in self._due_inboxes.pop(now_s):
            self._sweep_inbox(inbox, now_s)

    def _sweep_peer(self, peer: bytes, now_s: float) -> None:
        shown = self._shown.get(peer)
        if shown is not None and min(shown.until_s, shown.vanish_s) <= now_s:
            self._vanish(peer)
        gone = self._gone.get(peer)
        if gone is not None and gone.until_s <= now_s:
            del self._gone[peer]

    def _sweep_inbox(self, inbox: bytes, now_s: float) -> None:
        box = self._inboxes.get(inbox)
        if box is None:
            return
        if box.until_s <= now_s:
            self._drop_inbox(inbox)
            return
        for number in [number for number, (_, until_s) in box.messages.items() if until_s <= now_s]:
            del box.messages[number]
            self._messages -= 1
        for _, until_s in list(box.messages.values())[:1]:
            self._due_inboxes.add(inbox, until_s)

    def _hold(self, known: _Record, shown: Shown, holder: int) -> Put:
        """Accept the same listing again, from its publisher returning: never an older one, nor another of its number.

        Whoever replays somebody's current listing only joins its holders; the publisher's own connection keeps it on
        show when the replayer leaves.
        """
        if shown.seq < known.seq or shown.digest != known.digest:
            return Put.STALE
        self._file(shown, known, holder)
        return Put.ACCEPTED

    def _file(self, shown: Shown, record: _Record, holder: int) -> None:
        """Put a record where it belongs: on show, or among the numbers kept."""
        record.is_slot = shown.is_slot
        if not shown.is_slot:
            self._shown[shown.peer] = record
            self._vanish(shown.peer)
            return
        self._gone.pop(shown.peer, None)
        self._shown[shown.peer] = record
        record.signed, record.vanish_s = shown.signed, math.inf
        record.holders.add(holder)
        if record.place < 0:
            self._join_order(shown.peer, record)

    def _make_room(self) -> bool:
        """Tell whether one more peer fits, forgetting the number of the one gone for longest if need be."""
        if len(self._shown) + len(self._gone) >= self._caps.listings and self._gone:
            self._gone.popitem(last=False)
        return len(self._shown) + len(self._gone) < self._caps.listings

    def _vanish(self, peer: bytes) -> None:
        """Take a listing off show and keep its number, so that older ones can't be replayed."""
        record = self._shown[peer]
        self._leave_order(record)
        del self._shown[peer]
        record.signed = b""
        record.until_s = self._clock.monotonic_s() + limits.LISTING_NUMBER_KEPT_S
        record.holders.clear()
        self._gone.pop(peer, None)
        self._gone[peer] = record
        self._due_peers.add(peer, record.until_s)

    def _join_order(self, peer: bytes, record: _Record) -> None:
        record.place = len(self._order)
        self._order.append(peer)
        self._swap(record.place, self._random.randrange(len(self._order)))

    def _leave_order(self, record: _Record) -> None:
        if record.place < 0:
            return
        self._swap(record.place, len(self._order) - 1)
        self._order.pop()
        record.place = -1

    def _swap(self, one: int, two: int) -> None:
        order = self._order
        order[one], order[two] = order[two], order[one]
        self._shown[order[one]].place = one
        self._shown[order[two]].place = two

    def _drop_inbox(self, inbox: bytes) -> None:
        self._messages -= len(self._inboxes.pop(inbox).messages)
        self._unattended.pop(inbox, None)
