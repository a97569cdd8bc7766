"""What a signaling server can do wrong, each by a name: at the last moment before its words leave the machine.

A crime sits in the desk of a real server: names, sockets, engine and notes are the program itself. In a process of its
own: `python -m signaling.crooked CRIME VICTIM server --listen HOST:PORT --json` (in tests/); VICTIM is the address of
an honest server, which some crimes need.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import StrEnum
from functools import partial

import msgspec

from backuppeer import limits
from backuppeer.crypto.envelope import EnvelopeKey
from backuppeer.crypto.identity import Purpose, SigningKey
from backuppeer.errors import PeerFault, Unavailable
from backuppeer.signaling.client import open_link
from backuppeer.signaling.listing import envelope_id, peek_listing, sign_listing
from backuppeer.signaling.messages import (
    Answer,
    Challenge,
    Deposit,
    Deposited,
    InboxOpen,
    OpenInbox,
    Page,
    ProveInbox,
    Publish,
    Published,
    Request,
    encode,
)
from backuppeer.signaling.server import process
from backuppeer.signaling.server.desk import Desk, Visit
from backuppeer.signaling.server.engine import Stored
from signaling.kit import Served, TurnedClock, serving


class Crime(StrEnum):
    """Every crime; docs/crimes.md has a row for each."""

    WITHHOLDS = "withholds"
    """Shows nobody."""
    STALE = "stale"
    """Shows the first listing of each host for ever."""
    FORGES = "forges"
    """Changes what a listing says."""
    SWAPS_KEYS = "swaps-keys"
    """Puts its own inbox and key into a listing: the man in the middle."""
    INVENTS = "invents"
    """Shows hosts that it made up, with keys of its own."""
    REORDERS = "reorders"
    """Shows the same rows in the same order, as often as it is asked for more."""
    DUPLICATES = "duplicates"
    """Shows each row twice."""
    FLOODS_ROWS = "floods-rows"
    """Shows rows without end."""
    FLOODS_BYTES = "floods-bytes"
    """Answers with a message of a megabyte."""
    FLOODS_FRAMES = "floods-frames"
    """Answers once, and then two hundred times more."""
    DRIPS = "drips"
    """Shows a row, and after a while another one."""
    HANGS = "hangs"
    """Opens the socket and says nothing."""
    HALF_OPEN = "half-open"
    """Opens inbox and offer, and from then on neither reads nor delivers there."""
    HANGS_UP = "hangs-up"
    """Closes the socket at each question."""
    WRONG_TYPE = "wrong-type"
    """Answers with another message."""
    MALFORMED = "malformed"
    """Answers with what is no message."""
    DROPS_KNOCKS = "drops-knocks"
    """Takes messages and throws them away."""
    ANSWERS_KNOCKS = "answers-knocks"
    """Puts each message, and one of its own before it, into every inbox there is."""
    REPLAYS_KNOCKS = "replays-knocks"
    """Delivers each message three times."""
    RELAYS_PROOF = "relays-proof"
    """Passes on the challenge of another server, to open the inbox there."""
    PAINTS = "paints"
    """Refuses listings, in words that would paint the terminal."""


PAINT = "\x1b[31mno\x07"
DRIP_S = 0.2
FRAMES = 200


class CrookedDesk(Desk):
    """A desk that commits a crime."""

    def __init__(self, *args: object, crime: Crime, victim: str = "", **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type] # whatever the desk takes
        self._crime, self._victim = crime, victim
        self._first: dict[bytes, bytes] = {}
        self._made_up = SigningKey.generate()
        self._visits: dict[int, Visit] = {}
        self._is_deaf = False
        self.opened_elsewhere = 0
        """Inboxes that the victim opened for us."""

    async def _answer(self, visit: Visit, request: Request) -> None:
        self._visits[visit.number] = visit
        if self._crime is Crime.HANGS and not isinstance(request, Publish):
            await visit.connection.wait_closed()
        if self._crime is Crime.HANGS_UP and not isinstance(request, Publish):
            await visit.connection.close(1011, "no")
        if self._crime is Crime.RELAYS_PROOF and isinstance(request, OpenInbox):
            await self._relay(visit, request)
            return
        if not (self._is_deaf and isinstance(request, Publish)):
            await super()._answer(visit, request)
        if self._crime is Crime.HALF_OPEN and isinstance(request, Publish | ProveInbox):
            visit.connection.transport.pause_reading()
            # Or a host that comes again, which depends on how fast the machine is, would have its new offer taken.
            self._is_deaf |= isinstance(request, Publish)

    async def _relay(self, visit: Visit, request: OpenInbox) -> None:
        """Have the victim challenge, and pass what is signed on."""
        async with open_link(self._victim) as link:
            challenge = await link.ask(request, Challenge)
            await visit.connection.send(encode(challenge))
            proof = msgspec.msgpack.decode(await visit.connection.recv())
            try:
                await link.ask(ProveInbox(proof["signature"]), InboxOpen)
            except (Unavailable, PeerFault):
                await visit.connection.close(1000, "")
                return
        self.opened_elsewhere += 1

    async def _deposit(self, visit: Visit, request: Deposit) -> None:
        if self._crime is Crime.DROPS_KNOCKS:
            await visit.connection.send(encode(Deposited()))
        elif self._crime is Crime.ANSWERS_KNOCKS:
            await visit.connection.send(encode(Deposited()))
            for owner in list(self._attended.values()):
                self._push(owner, Stored(1, os.urandom(limits.KNOCK_BYTES)))
                self._push(owner, Stored(2, request.sealed))
        else:
            await super()._deposit(visit, request)

    def _push(self, owner: Visit, stored: Stored) -> None:
        if self._crime is Crime.HALF_OPEN:
            return
        for _ in range(3 if self._crime is Crime.REPLAYS_KNOCKS else 1):
            super()._push(owner, stored)

    async def _send(self, visit: Visit, answer: Answer) -> None:
        if isinstance(answer, Published) and self._crime is Crime.PAINTS:
            answer = Published(accepted=False, code=PAINT)
        if not isinstance(answer, Page):
            await super()._send(visit, answer)
            return
        if self._crime in {Crime.DRIPS, Crime.FLOODS_ROWS}:
            await asyncio.sleep(DRIP_S if self._crime is Crime.DRIPS else 0)
        for data in self._distort(answer):
            await visit.connection.send(data)

    def _distort(self, page: Page) -> list[bytes]:
        """Return the messages that go out in place of a page."""
        if self._crime in _MESSAGES:
            return _MESSAGES[self._crime](page)
        make = {
            Crime.STALE: lambda row: [self._first.setdefault(peek_listing(row).peer, row)],
            Crime.FORGES: lambda row: [self._forge(row)],
            Crime.SWAPS_KEYS: lambda row: [self._forge(row)],
            Crime.INVENTS: lambda row: [row, self._invent(row)],
            Crime.DUPLICATES: lambda row: [row, row],
            Crime.WITHHOLDS: lambda _: [],
        }.get(self._crime, lambda row: [row])
        return [encode(Page([made for row in page.rows for made in make(row)], page.cursor, page.total))]

    def _forge(self, row: bytes) -> bytes:
        listing = peek_listing(row)
        if self._crime is Crime.FORGES:
            changed = msgspec.structs.replace(listing, region="XX")
        else:
            own = EnvelopeKey.generate().public
            inbox = self._made_up.public
            changed = msgspec.structs.replace(listing, inbox=inbox, envelope_key=own, envelope_id=envelope_id(own))
        blob = msgspec.msgpack.encode(changed)
        return len(blob).to_bytes(4, "big") + blob + self._made_up.sign(Purpose.LISTING, blob)

    def _invent(self, row: bytes) -> bytes:
        listing = msgspec.structs.replace(peek_listing(row), peer=self._made_up.public)
        return sign_listing(listing, self._made_up)


_MESSAGES: dict[Crime, Callable[[Page], list[bytes]]] = {
    Crime.REORDERS: lambda page: [encode(Page(sorted(page.rows), b"again", len(page.rows)))],
    Crime.FLOODS_ROWS: lambda _: [encode(Page([os.urandom(100) for _ in range(limits.PAGE_LISTINGS)], b"on", 10**6))],
    Crime.DRIPS: lambda page: [encode(Page([*page.rows[:1], b"drip"], b"on", 10**6))],
    Crime.FLOODS_BYTES: lambda _: [bytes(2**20)],
    Crime.FLOODS_FRAMES: lambda page: [encode(page)] * FRAMES,
    Crime.WRONG_TYPE: lambda _: [encode(Challenge(bytes(32)))],
    Crime.MALFORMED: lambda _: [b"\xc1 nonsense"],
}
"""What goes out in place of a page."""


@asynccontextmanager
async def crooked(crime: Crime, monkeypatch, *, clock: TurnedClock, victim: str = "") -> AsyncIterator[Served]:
    """Run a server in this loop that commits a crime; `desk` of what it yields is its desk."""
    made: list[CrookedDesk] = []

    def make(*args: object, **options: object) -> CrookedDesk:
        made.append(CrookedDesk(*args, crime=crime, victim=victim, **options))
        return made[0]

    with monkeypatch.context() as patch:
        patch.setattr(process, "Desk", make)
        async with serving(clock=clock) as served:
            patch.undo()
            served.desk = made[0]
            yield served


def main() -> int:
    """Run one as a process of its own."""
    from backuppeer.cli.main import main as run_verb  # noqa: PLC0415

    process.Desk = partial(CrookedDesk, crime=Crime(sys.argv[1]), victim=sys.argv[2])
    return run_verb(sys.argv[3:])


if __name__ == "__main__":
    sys.exit(main())
