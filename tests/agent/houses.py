"""Homes of hosts and owners with real files, keys and stores; no network."""

from collections.abc import Sequence
from pathlib import Path

from agent.loops import SetClock
from backuppeer.agent.home.heir import FormerSelf
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.keyring import create_identity, load_keys
from backuppeer.agent.home.state import State
from backuppeer.agent.host.ending import Ending
from backuppeer.agent.host.heirship import Heirship
from backuppeer.agent.host.premises import Premises
from backuppeer.agent.host.requests import Requests
from backuppeer.agent.host.revising import Revising
from backuppeer.agent.host.succeeding import Succeeding
from backuppeer.agent.host.sweeping import Sweeping
from backuppeer.agent.host.waiving import Waiving
from backuppeer.agent.owner.repository import Repository
from backuppeer.agent.peers.offers import Offer
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.repute.heirs import Heirs
from backuppeer.agent.repute.standing import Standing
from backuppeer.crypto.identity import SigningKey
from backuppeer.ids import AgreementId, PeerId
from backuppeer.limits import GIB, MIB
from backuppeer.proof.promises import NOTHING, Promises, split_promises, write_promises
from backuppeer.proof.revisions import Wish
from backuppeer.proof.statements import ZERO_HASH, Agreement, sign_statement
from backuppeer.signaling.knock import Knock, make_nonce
from backuppeer.trust.evidence import EvidenceLog, Kind

WISH = Wish(4 * MIB, 3600, 60)
"""Bytes, term, lock: what owners ask for unless a test says otherwise."""


FAULTS = {Kind.INTEGRITY_FAULT, Kind.PROTOCOL_VIOLATION, Kind.AUTH_FAULT, Kind.REFUSED}
"""What a host is never to be blamed with when nothing is wrong with it."""


class HostHouse:
    """A host, new or as it lies in `folder`: its store takes what is agreed, its human decides by policy.

    `wish`: what owners ask it for.
    """

    wish = WISH

    def __init__(
        self,
        folder: Path,
        seed: bytes,
        *,
        offered_bytes: int = 64 * MIB,
        identity: SigningKey | None = None,
        state: State | None = None,
        former: Sequence[FormerSelf] = (),
        authority: bytes = b"",
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.clock = SetClock()
        self.identity = identity or SigningKey.from_seed(seed * 32)
        self.peer = PeerId(self.identity.public)
        self.state = state or State(folder / "state.db")
        self.evidence = EvidenceLog(folder / "evidence.db")
        before = [one.identity for one in former]
        self.premises = Premises(self.state, self.identity, self.clock, former=before)
        self.heirship = Heirship(self.state, self.premises, former, authority=authority, bind=lambda _: b"")
        self.premises.establish(folder / "store", offered_bytes)
        self.standing = Standing(self.state, self.evidence, self.clock)
        self.heirs = Heirs(self.state, self.evidence.lines, self.clock)
        self.requests = Requests(self.state, self.premises, self.standing, self.clock, identity=self.identity)
        self.revising = Revising(self.state, self.premises, self.requests, self.clock)
        self.ending = Ending(self.state, self.premises, self.clock)
        self.waiving = Waiving(self.state, self.premises, self.clock)
        self.revising.on_lowered = self.waiving.tell_lowered
        self.sweeping = Sweeping(self.premises, self.clock)
        self.heirs = Heirs(self.state, self.evidence.lines, self.clock)
        self.succeeding = Succeeding(self.state, self.premises, self.requests, self.heirs)
        self.sweeping.line_of = self.succeeding.line_of
        self.shown = []
        self.requests.on_request = self.shown.append

    def close(self) -> None:
        self.premises.close()
        self.state.close()
        self.evidence.close()


def offer(accept: str = "ask", *, term_s: int = 86400, lock_s: int = 3600, promises: Promises = NOTHING) -> Offer:
    return Offer(
        storage_bytes=1 * GIB,
        expires_ms=0,
        term_s=term_s,
        lock_s=lock_s,
        accept=accept,
        region="",
        servers=(),
        promises=promises,
    )


class OwnerHouse:
    """An owner: a home made by `init` unless there is one, its repository, and what it sends to hosts."""

    def __init__(self, folder: Path, seed: bytes) -> None:
        self.clock = SetClock()
        self.home = Home(folder)
        if not self.home.exists_identity:
            create_identity(self.home, seed * 32, self.clock)
        self.keys = load_keys(self.home)
        self.peer = self.keys.peer
        self.state = State(self.home.state)
        self.repository = Repository(self.home, self.keys, self.keys.repository)

    def close(self) -> None:
        self.repository.close()
        self.state.close()

    def knock(self, house: HostHouse, wish: Wish = WISH) -> Knock:
        return Knock(
            recipient=house.peer,
            listing_seq=1,
            envelope_id=bytes(8),
            owner=self.peer,
            size_bytes=wish[0],
            term_s=wish[1],
            lock_s=wish[2],
            transport=b"t" * 32,
            addresses=["10.0.0.1:4433"],
            servers=[],
            reply_inbox=bytes(32),
            reply_key=bytes(1216),
            nonce=make_nonce(),
            issued_ms=house.clock.now_ms(),
            expires_ms=house.clock.now_ms() + 1000,
            ext=write_promises(Wish(*wish).promises),
        )

    def propose(self, host: PeerId, wish: Wish = WISH, *, number: int = 1, **changes) -> bytes:
        availability, promised = split_promises(Wish(*wish).promises)
        fields = {
            "agreement": AgreementId(bytes([number]) * 16),
            "revision": 1,
            "previous": ZERO_HASH,
            "owner": self.peer,
            "host": host,
            "authority": self.keys.authority,
            "repository": self.keys.repository,
            "size_bytes": wish[0],
            "start_ms": self.clock.now_ms(),
            "term_s": wish[1],
            "lock_s": wish[2],
            "availability": availability,
            "notice_s": 10,
            "ext": promised,
        }
        return sign_statement(Agreement(**{**fields, **changes}), self.keys.identity)

    def agree_with(self, house: HostHouse, wish: Wish = WISH, *, number: int = 1, **changes) -> AgreementId:
        """Knock, be accepted, and have the agreement in force on both sides."""
        promises = Wish(*wish).promises
        terms = offer("all", term_s=max(86400, wish[1]), lock_s=max(3600, wish[2]), promises=promises)
        house.requests.consider_knock(self.knock(house, wish), terms)
        proposal = self.propose(house.peer, wish, number=number, **changes)
        signed = house.requests.consider_proposal(self.peer, proposal)
        agreement = AgreementId(bytes([number]) * 16)
        self.state.put_agreement(agreement, house.peer, signed)
        return agreement


class FixedReach:
    """Gives Partners the one session there is, or the failure there is; stands where Reach would find the host."""

    def __init__(self, session) -> None:
        self.found = session
        self.asked = 0

    def absent_since_ms(self, _):
        return 0

    async def session(self, _):
        self.asked += 1
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


def partner(house: HostHouse, agreement: AgreementId, session) -> Partner:
    return Partner(agreement, house.peer, house.peer.hex()[:6], FixedReach(session))


def head_of(house):
    """Return the newest head that a host of one agreement holds."""
    (lease,) = house.premises.open().leases.list_all()
    return house.premises.open().heads.get(lease.agreement).head


def packs_at(house):
    """Return what a host of one agreement holds."""
    (lease,) = house.premises.open().leases.list_all()
    return house.premises.open().list_packs(lease.agreement, limit=100)
