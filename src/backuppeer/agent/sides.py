"""The parts of one home, by what they are for: keeping others' packs, bringing own ones away, knowing whom to trust.

Knows: which parts there are. Must not know: how any part works, who tells whom (`agent.agent`).
"""

from dataclasses import dataclass

from backuppeer.agent.audits.auditor import Auditor
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.keyring import HomeKeys
from backuppeer.agent.home.state import State
from backuppeer.agent.host.ending import Ending as HostEnding
from backuppeer.agent.host.heirship import Heirship
from backuppeer.agent.host.hosting import Hosting
from backuppeer.agent.host.inviting import Inviting
from backuppeer.agent.host.moving import Moving
from backuppeer.agent.host.noting import Noting
from backuppeer.agent.host.premises import Premises
from backuppeer.agent.host.presence import Presence
from backuppeer.agent.host.receipting import Countersigning
from backuppeer.agent.host.reciprocity import Reciprocity
from backuppeer.agent.host.requests import Requests
from backuppeer.agent.host.revising import Revising as HostRevising
from backuppeer.agent.host.scrubbing import Scrubbing
from backuppeer.agent.host.serving import ReceiptsRequest
from backuppeer.agent.host.succeeding import Succeeding
from backuppeer.agent.host.sweeping import Sweeping
from backuppeer.agent.host.waiving import Waiving as HostWaiving
from backuppeer.agent.jobs.lookout import Lookout
from backuppeer.agent.jobs.rounds import Rounds
from backuppeer.agent.jobs.timekeeper import Timekeeper
from backuppeer.agent.owner.announcing import Announcing
from backuppeer.agent.owner.connecting import Connecting
from backuppeer.agent.owner.ending import Ending
from backuppeer.agent.owner.following import Following
from backuppeer.agent.owner.receipting import Receipting
from backuppeer.agent.owner.revising import Revising
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.owner.waiving import Waiving
from backuppeer.agent.peers.channel import Channel
from backuppeer.agent.peers.contacting import Contacting
from backuppeer.agent.peers.exchange import Exchange
from backuppeer.agent.peers.knocking import Knocking
from backuppeer.agent.peers.market import Market
from backuppeer.agent.peers.opinions import Opinions
from backuppeer.agent.peers.partners import Reach
from backuppeer.agent.peers.relays import Relays
from backuppeer.agent.peers.sessions import Sessions
from backuppeer.agent.recovery.slots import Slots
from backuppeer.agent.repute.convicts import Convicts
from backuppeer.agent.repute.hearing import Hearing
from backuppeer.agent.repute.shelf import Shelf
from backuppeer.agent.repute.standing import Standing
from backuppeer.agent.repute.views import Views
from backuppeer.clock import Clock
from backuppeer.ids import PeerId
from backuppeer.transport.base import Transport
from backuppeer.wire.receipts import AskOpinion, AskReceipts


@dataclass(frozen=True, slots=True)
class Parts:
    """What both sides of a home work with."""

    home: Home
    keys: HomeKeys
    state: State
    clock: Clock
    transport: Transport
    sessions: Sessions
    reach: Reach
    standing: Standing
    contacting: Contacting
    views: Views
    relays: Relays


@dataclass(frozen=True, slots=True)
class HostSide:
    """What keeps others' packs."""

    premises: Premises
    requests: Requests
    hosting: Hosting
    sweeping: Sweeping
    scrubbing: Scrubbing
    noting: Noting
    revising: HostRevising
    ending: HostEnding
    waiving: HostWaiving
    moving: Moving
    reciprocity: Reciprocity
    succeeding: Succeeding
    inviting: Inviting
    presence: Presence
    heirship: Heirship


@dataclass(frozen=True, slots=True)
class OwnerSide:
    """What brings own packs to hosts, and back."""

    market: Market
    knocking: Knocking
    connecting: Connecting
    vault: Vault
    slots: Slots
    auditor: Auditor
    rounds: Rounds
    lookout: Lookout
    timekeeper: Timekeeper
    revising: Revising
    ending: Ending
    waiving: Waiving
    announcing: Announcing
    following: Following


@dataclass(frozen=True, slots=True)
class Repute:
    """What this home and others say of hosts, to each other."""

    shelf: Shelf
    hearing: Hearing
    convicts: Convicts
    receipting: Receipting
    countersigning: Countersigning
    exchange: Exchange
    opinions: Opinions

    async def answer(self, peer: PeerId, channel: Channel, message: ReceiptsRequest) -> None:
        """Answer one request of a peer about receipts, or what we think of it.

        Raises:
            BackupPeerError: as `Countersigning.answer`, `Exchange.answer` and `Opinions.answer`.

        """
        match message:
            case AskReceipts():
                await self.exchange.answer(peer, channel, message)
            case AskOpinion():
                await self.opinions.answer(peer, channel)
            case _:
                await self.countersigning.answer(peer, channel, message)
