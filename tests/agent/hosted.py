"""An owner and a host in session, the host serving its real store. Real time: disk work runs in threads."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from agent.houses import HostHouse, OwnerHouse
from agent.parties import Party, Serve, running
from backuppeer.agent.host.serving import OnReceipts, Serving
from backuppeer.agent.host.terms import TermsDesk
from backuppeer.agent.peers.session import Session
from backuppeer.clock import SystemClock
from backuppeer.ids import AgreementId, PeerId, StoredId
from backuppeer.proof.merkle import compute_stored_id
from backuppeer.transport.memory import Network
from backuppeer.wire.messages import Proceed, PutPack, Stored
from backuppeer.wire.recovering import GiveSlot


class Link:
    """Both ends; `session` is the owner's."""

    def __init__(self, near: Party, far: Party, session: Session) -> None:
        self.near, self.far, self.session = near, far, session

    async def ask(self, message, *kinds):
        async with self.session.request(message) as channel:
            return await channel.receive(*kinds)

    async def put(self, agreement: AgreementId, data: bytes, *, stored: StoredId | None = None) -> str:
        """Send a pack; `stored` may be a lie. Returns what the host did: "sent" or "known"."""
        message = PutPack(agreement=agreement, stored=stored or compute_stored_id(data), size=len(data))
        async with self.session.request(message) as channel:
            if isinstance(await channel.receive(Proceed, Stored), Stored):
                return "known"
            await channel.send_raw(data)
            await channel.receive(Stored)
            return "sent"


def serving_of(house: HostHouse) -> Serving:
    """Return what answers requests for a host, as its agent has it."""
    honest = Serving(house.premises, house.revising.consider, house.standing.blame, house.standing.note_deed)
    honest.on_terms = TermsDesk(house.revising, house.ending, house.waiving).answer
    honest.on_succession, honest.find_refusal = house.succeeding.answer, house.succeeding.refuse
    honest.on_following = house.heirship.answer
    return honest


@asynccontextmanager
async def hosted(
    house: HostHouse,
    owner: OwnerHouse,
    *,
    serve: Serve | None = None,
    keep_slot: Callable[[GiveSlot], None] | None = None,
    find_debt: Callable[[PeerId], str] | None = None,
    on_receipts: OnReceipts | None = None,
) -> AsyncIterator[Link]:
    """Join an owner and a host; `serve` replaces the honest host's answers, the others are as in `Serving`."""
    network = Network()
    honest = serving_of(house)
    honest.find_debt = find_debt or honest.find_debt
    honest.on_receipts = on_receipts or honest.on_receipts
    if keep_slot is not None:
        honest.keep_slot = keep_slot
    near = Party(network, 1, identity=owner.keys.identity, clock=SystemClock())
    far = Party(network, 2, identity=house.identity, clock=SystemClock(), serve=serve or honest.serve)
    async with running(near, far):
        yield Link(near, far, await near.dial(far))
