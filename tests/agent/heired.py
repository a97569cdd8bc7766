"""A host that goes on as another identity, with its real store: robbed, started as the heir, met under both names."""

import asyncio
from contextlib import asynccontextmanager

from agent.hosted import hosted
from agent.houses import HostHouse
from agent.parties import Party
from backuppeer.agent.home.heir import FormerSelf
from backuppeer.agent.owner.following import Following
from backuppeer.agent.repute.heirs import Heirs
from backuppeer.clock import SystemClock
from backuppeer.crypto.identity import SigningKey
from backuppeer.crypto.keys import derive_authority
from backuppeer.errors import PeerUnreachable
from backuppeer.ids import PeerId
from backuppeer.proof.statements import Agreement, peek_statement, sign_statement
from backuppeer.proof.succession import HOST_AUTHORITY, Succession
from backuppeer.trust.lines import Lines

WORDS = derive_authority(b"w" * 32)
"""The host's own authority: what its words stand for."""
STRANGER = derive_authority(b"x" * 32)
HEIR, NEXT, RIVAL = (SigningKey.from_seed(seed * 32) for seed in (b"N", b"M", b"R"))
NAMED = {HOST_AUTHORITY: WORDS.public}
"""The extension of an agreement by which its host can be followed."""


def say(old, new=HEIR, *, by=WORDS, generation=2, time_ms=7):
    said = Succession(
        authority=by.public, old=PeerId(old), new=PeerId(new.public), generation=generation, time_ms=time_ms
    )
    return sign_statement(said, by, new)


def go_on(house, new=HEIR, *, signed=b"", before=()):
    """Return a host as it is after its succession: the same store and state, another identity."""
    folder = house.premises.directory.parent
    house.close()
    former = (*before, FormerSelf(house.identity, signed or say(house.peer, new)))
    return HostHouse(folder, b"h", identity=new, former=former, authority=WORDS.public)


class NoReach:
    """Stands where Reach would dial: what was asked for is noted, and nobody is found."""

    def __init__(self) -> None:
        self.asked = []

    async def session(self, peer):
        self.asked.append(peer)
        raise PeerUnreachable("away")


def follower(owner, keys=None, lines=None):
    """Return the owner's part, by the authority that its agreements name."""
    heirs = Heirs(owner.state, Lines() if lines is None else lines, SystemClock())
    made = Following(owner.state, keys or owner.keys, heirs, reach=NoReach())
    made.find_authority = lambda peer: next(
        (
            terms.ext.get(HOST_AUTHORITY, b"")
            for terms in (
                peek_statement(Agreement, signed) for _, host, signed in owner.state.agreements() if host == peer
            )
        ),
        b"",
    )
    return made


@asynccontextmanager
async def met_as(house, owner, name=None):
    """Let an owner be in session with a host under one of its names, as it says Hello under that."""
    async with hosted(house, owner) as link:
        if name is None or name == house.peer:
            link.session.hello = house.heirship.make_hello(owner.peer, house.peer)
            yield link
            return
        identity = house.premises.names.signer(name)
        network = link.near.network
        far = Party(network, 7, identity=identity, clock=SystemClock(), serve=link.far.sessions._hooks.serve)
        near = Party(network, 8, identity=owner.keys.identity, clock=SystemClock())
        running = asyncio.create_task(far.sessions.run())
        try:
            link.session = await near.dial(far)
            link.session.hello = house.heirship.make_hello(owner.peer, name)
            yield link
        finally:
            for party in (near, far):
                await party.sessions.close_all()
                await party.transport.close()
            await running
