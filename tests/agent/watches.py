"""An owner who audits real hosts over a network in memory, on days that a test lets pass; and hosts that are crooks."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from agent.estates import Estate
from agent.hosted import hosted
from agent.houses import HostHouse, OwnerHouse
from backuppeer.agent.audits.auditing import Scope
from backuppeer.agent.audits.dossier import Outcome
from backuppeer.agent.host.serving import Serving
from backuppeer.agent.peers.channel import Channel
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.reporter import reporting
from backuppeer.clock import SystemClock
from backuppeer.ids import LogicalId, PeerId, StoredId
from backuppeer.limits import MIB
from backuppeer.proof.merkle import compute_stored_id
from backuppeer.shares.ledger import Copy
from backuppeer.wire.fields import Message

WISH = (60 * MIB, 365 * 86_400, 30 * 86_400)
DAY_MS = 86_400_000
Handler = Callable[[Channel, Message], Awaitable[None]]


class Days(SystemClock):
    """The machine's clock, put forward."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_ms


class Crook:
    """A host that is honest but for the messages that a test handles; it counts what it was asked."""

    def __init__(self, house: HostHouse) -> None:
        self.honest = Serving(house.premises, house.requests.consider_proposal, house.standing.blame)
        self.handlers: dict[type[Message], Handler] = {}
        self.asked: list[Message] = []

    async def serve(self, peer: PeerId, channel: Channel) -> None:
        message = await channel.receive_any()
        self.asked.append(message)
        if handler := self.handlers.get(type(message)):
            await handler(channel, message)
        else:
            await self.honest._answer(peer, channel, message)
        await channel.finish()
        await channel.wait_end()


class Watch(Estate):
    """An estate with an auditor, and a clock that owner and hosts share."""

    def __init__(self, owner: OwnerHouse, folder: Path, houses: tuple[HostHouse, ...]) -> None:
        self.days, self.houses = Days(), houses
        self.crooks: dict[PeerId, Crook] = {}
        super().__init__(owner, folder)
        self.pass_days(0)

    def _open(self) -> None:
        super()._open()
        self.vault.clock = self.vault.standing._clock = self.days

    def pass_days(self, days: float) -> None:
        self.days.ahead_ms += int(days * DAY_MS)
        for house in self.houses:
            house.clock.ms = self.days.now_ms()

    def partner(self, house: HostHouse) -> Partner:
        return next(p for p in self.vault.partners() if p.peer == house.peer)

    @property
    def proven(self):
        return self.vault.repository.proven

    async def audit(self, house: HostHouse, scope: Scope = Scope.NOW) -> Outcome:
        async with reporting(self._emit) as reporter:
            return await self.auditor.audit(self.partner(house), reporter, scope)

    async def stock(self, house: HostHouse, *sizes: int, seed: int = 1) -> list[StoredId]:
        """Lay packs of noise with a host, which nothing but the ledger knows; return their ids."""
        noise, partner, made = random.Random(seed), self.partner(house), []
        for size in sizes:
            data = noise.randbytes(size)
            stored = compute_stored_id(data)
            await self.links[house.peer].put(partner.agreement, data)
            copy = Copy(LogicalId(noise.randbytes(16)), partner.agreement, stored, size, noise.randbytes(64))
            self.vault.repository.ledger.register_copy(copy)
            made.append(stored)
        return made

    async def move_head(self, house: HostHouse) -> None:
        """Leave a head with a host that says what the last one did: it covers what was acknowledged before."""
        heads = self.vault.heads
        heads.take_back(heads.newest()[0])
        await heads.leave_with(self.partner(house))

    def find_file(self, house: HostHouse, stored: StoredId) -> Path:
        return next(house.premises.open().directory.rglob(stored.hex()))

    def proofs(self) -> list[Path]:
        return sorted((self.home.path / "proofs").glob("*.proof"))


@asynccontextmanager
async def watching(
    owner: OwnerHouse, folder: Path, *houses: HostHouse, wish: tuple[int, int, int] = WISH, **changes
) -> AsyncIterator[Watch]:
    """Agree with hosts for a year, be in session with each of them, and have an auditor."""
    for number, house in enumerate(houses, 1):
        owner.agree_with(house, wish, number=number, **changes)
    watch = Watch(owner, folder, houses)
    async with AsyncExitStack() as stack:
        stack.callback(watch.close)
        watch.links = {}
        for house in houses:
            crook = watch.crooks[house.peer] = Crook(house)
            link = await stack.enter_async_context(hosted(house, owner, serve=crook.serve))
            watch.links[house.peer] = link
            watch.sight.sessions[house.peer] = link.session
        yield watch
