"""This host goes on as another identity: its owners told, and each agreement co-signed for the heir (ADR 69).

Knows: who this host was, agreements that are still under such a name, which of them can follow. Must not know: the
words, how sessions are made, what an owner concludes from a succession.

    both names   an agreement is served under the name that its owner knows, until the owner signed the next revision
    told         in Hello, whenever an owner is met under a name of before; the agent dials those whose place it knows
    durable      the co-signed revision, then the answer; asked again, whoever lost what, it is the same
    afterwards   the name of before is answered for as long as an agreement had it: an owner that was set back, or
                 brought back from its words, knows no other
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import structlog

from backuppeer.agent.home.heir import FormerSelf
from backuppeer.agent.home.logbook import bookkeeping
from backuppeer.agent.home.state import State
from backuppeer.agent.home.successions import SEEN
from backuppeer.agent.host.premises import Premises
from backuppeer.agent.host.succeeding import BehindError
from backuppeer.agent.host.threads import in_thread
from backuppeer.agent.peers.channel import Channel
from backuppeer.agent.peers.names import name_of
from backuppeer.agent.peers.partners import Reach, meet_at
from backuppeer.agent.peers.session import Session
from backuppeer.agent.peers.whereabouts import read_binding
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import BackupPeerError, NotFoundError, ProtocolViolation, RefusedError, StoreUnavailable
from backuppeer.host.leases import Lease
from backuppeer.host.lineage import add_lineage, read_lineage
from backuppeer.host.store import Store
from backuppeer.ids import AgreementId, PeerId, shorten_peer_id
from backuppeer.limits import AGREEMENTS_PER_HELLO, PRESENCE_LOOK_S
from backuppeer.proof.statements import Agreement, open_proposal, peek_statement, statement_hash
from backuppeer.proof.succession import HOST_AUTHORITY, IN_REVISION, Succession, open_succession
from backuppeer.wire.codes import RefusalCode
from backuppeer.wire.messages import Hello, Refused
from backuppeer.wire.succeeding import Follow, Followed

_log = structlog.get_logger()


class Followers(NamedTuple):
    """Owners by what becomes of them: those who can follow this host to another identity, and those who can't."""

    able: tuple[PeerId, ...]
    stuck: tuple[PeerId, ...]


class Heirship:
    """The names of before, and the agreements under them. former: the oldest first."""

    def __init__(
        self,
        state: State,
        premises: Premises,
        former: Sequence[FormerSelf],
        *,
        authority: bytes,
        bind: Callable[[SigningKey], bytes],
    ) -> None:
        """`bind`: returns where this home is, signed by one of its names."""
        self._state, self._premises, self._authority, self.bind = state, premises, authority, bind
        self._said = {one.peer: one.succession for one in former}
        self.reaches: Mapping[PeerId, Reach] = {}
        """How owners are reached under each name of before; set by who has the sessions."""

    @property
    def identities(self) -> list[SigningKey]:
        """Return the identities of before, the oldest first."""
        return [self._premises.names.signer(name) for name in self._said]

    async def prepare(self) -> None:
        """Open a store that came back before it is asked for, as it takes too long in the loop."""
        with suppress(BackupPeerError):  # whoever needs it is told then
            await in_thread(self._premises.open)

    def open(self) -> None:
        """Open the store.

        Raises:
            as `Premises.open`.

        """
        self._premises.open()
        self._engrave()

    def _engrave(self) -> None:
        """Keep in the open store how this home came to be who it is: its words alone give who it was first."""
        with suppress(StoreUnavailable):  # a full disk: the next start does it
            if self._said:
                add_lineage(self._premises.open().directory, list(self._said.values()))

    def take_up(self, directory: Path, offered_bytes: int) -> Store:
        """Open or make the store; one of who this home went on as says so, and the next `recover` is led there.

        Raises:
            as `Premises.establish`.

        """
        try:
            opened = self._premises.establish(directory, offered_bytes)
        except StoreUnavailable as exc:
            if signed := self._find_heir(directory):
                self._state.put_setting(SEEN, signed)
                exc.hint = (
                    "it is yours: this identity went on as another, as the store shows. `backup-peer recover` with the "
                    "words makes this home follow; then the same `host` again takes the store up"
                )
            raise
        self._engrave()
        return opened

    def _find_heir(self, directory: Path) -> bytes:
        """Return the signed succession by which this home went on, as a foreign store in `directory` has it.

        b"": it has none that our words signed. Followed only with the words, which check it again.
        """
        for signed in read_lineage(directory):
            with suppress(BackupPeerError):
                if open_succession(signed, self._authority).old == self._premises.names.own:
                    return signed
        return b""

    def is_needed(self) -> bool:
        """Return whether an agreement has, or had, a name of before; also while the store can't be asked."""
        if not self._said or self._premises.directory is None:
            return False
        try:
            leases = self._premises.open().leases.list_all()
            return any(self._has_name(lease, name) for lease in leases for name in self._said)
        except BackupPeerError:
            return True  # fail closed: without the name its owners could not be met any more

    def may_answer(self, name: PeerId, owner: PeerId) -> bool:
        """Whether an owner that dials a name of before is answered: it knows this host so, or the store is away."""
        if owner not in self._premises.owners():
            return False
        leases = self._premises.leases_of(owner)
        try:
            return not leases or any(self._has_name(lease, name) for lease in leases)
        except BackupPeerError:
            return True

    def make_hello(self, owner: PeerId, name: PeerId) -> Hello:
        """Return what an owner is told under one of this host's names, that of now or one of before."""
        leases = [lease for lease in self._premises.leases_of(owner) if lease.host == name][:AGREEMENTS_PER_HELLO]
        ids = {lease.agreement for lease in leases}
        heads = [head for head in self._premises.heads_of(owner) if head.agreement in ids] if leases else []
        return Hello(
            agreements=tuple(lease.signed for lease in leases),
            heads=tuple(heads),
            binding=self.bind(self._premises.names.signer(name)),
            authority=self._authority,
            succession=self._said.get(name, b""),
        )

    async def meet(self, session: Session) -> None:
        """Remember where an owner is that was met under a name of before."""
        where = read_binding(session.hello.binding, session.peer) if session.hello.binding else None
        with bookkeeping("meeting"):
            meet_at(self._state, session.peer, where.encode() if where else b"", self._premises.now_ms())

    def list_followers(self, names: Sequence[PeerId] = ()) -> Followers:
        """Return the owners with agreements under `names`; none: under any.

        Raises:
            StoreUnavailable: the store is away, so that nobody knows.

        """
        if self._premises.directory is None:
            return Followers((), ())
        found: dict[PeerId, bool] = {}
        for lease in self._premises.open().leases.list_all():
            if not names or lease.host in names:
                found[lease.owner] = found.get(lease.owner, True) and self._can_follow(lease)
        able = tuple(owner for owner, can in found.items() if can)
        return Followers(able, tuple(owner for owner in found if owner not in able))

    def describe(self) -> list[str]:
        """Return what `status` says of owners that have not followed yet, and of those who can't."""
        try:
            followers = self.list_followers(tuple(self._said)) if self._said else Followers((), ())
        except BackupPeerError:
            return []  # that the store is away is said already
        said = [
            f"{name_of(self._state, owner)} has not heard of your new identity: it is told when it is met, and what it "
            "keeps here is served under the old one until then"
            for owner in followers.able
        ]
        return said + [
            f"{name_of(self._state, owner)} can't follow your new identity: its agreement does not name your words. "
            "What it keeps here is served under the old one, which a thief has, too. Ask its person for "
            "`backup-peer peers renew` there: after that it follows"
            for owner in followers.stuck
        ]

    async def answer(self, peer: PeerId, channel: Channel, message: Follow) -> None:
        """Answer an owner that follows.

        Raises:
            as `take`, but for what is told with a code of its own.

        """
        try:
            await channel.send(await in_thread(self.take, peer, message))
        except BehindError as exc:
            await channel.refuse(Refused(code=RefusalCode.STALE, message=exc.message, hint=exc.hint))

    def take(self, owner: PeerId, message: Follow) -> Followed:
        """Co-sign what an owner proposes, durably; the same again gives the same. What has ended is left out.

        Raises:
            NotFoundError: none of it is an agreement with this owner.
            BehindError: a proposal does not follow the revision in force; those before it may stand.
            RefusedError: the succession in one is none of this host's.
            PeerFault: not signed by the owner, or it changes more than the host.
            StoreUnavailable: the disk refuses; what was done stays done.

        """
        leases = self._premises.open().leases
        signed = []
        for offered in message.proposals:
            proposal = open_proposal(Agreement, offered, owner)
            lease = leases.find(AgreementId(proposal.agreement))
            if lease is not None and lease.owner == owner:
                signed.append(self._step(lease, proposal, offered))
        if not signed:
            raise NotFoundError("no such agreement with you")
        return Followed(revisions=tuple(signed))

    async def call(self) -> None:
        """Dial owners that have not heard, where they were last, until cancelled: the session tells them."""
        while self._said:
            with suppress(BackupPeerError):
                for name in self._said:
                    able = (await in_thread(self.list_followers, [name])).able
                    await asyncio.gather(*(self._tell(name, owner) for owner in able))
            await asyncio.sleep(PRESENCE_LOOK_S)

    async def _tell(self, name: PeerId, owner: PeerId) -> None:
        reach = self.reaches.get(name)
        if reach is None:
            return
        try:
            await reach.session(owner)
        except BackupPeerError as exc:
            _log.info("owner not told", peer=shorten_peer_id(owner), reason=exc.message[:200])

    def _step(self, lease: Lease, proposal: Agreement, offered: bytes) -> bytes:
        said = self._find_said(proposal)
        if lease.host == said.old:
            if proposal.previous != statement_hash(lease.signed):
                raise _behind(lease)
            return self._premises.cosign(offered).signed
        step = self._premises.open().leases.find_step(lease.agreement, PeerId(said.old))
        if step is None or peek_statement(Agreement, step).host != said.new:
            raise _behind(lease)
        return step

    def _find_said(self, proposal: Agreement) -> Succession:
        """Return this host's own succession that a proposal has in it."""
        signed = proposal.ext.get(IN_REVISION, b"")
        if signed not in self._said.values():
            raise RefusedError("no succession of this host is in it", hint="take the one that its Hello shows")
        said = peek_statement(Succession, signed)
        if proposal.host != said.new:
            raise ProtocolViolation("the heir is not the host of what is proposed")
        return said

    def _can_follow(self, lease: Lease) -> bool:
        return lease.terms.ext.get(HOST_AUTHORITY) == self._authority

    def _has_name(self, lease: Lease, name: PeerId) -> bool:
        """Return whether an agreement is, or was, under a name."""
        return name in self._premises.open().leases.names(lease)


def _behind(lease: Lease) -> BehindError:
    return BehindError(
        f"no proposal follows revision {lease.terms.revision} of agreement {lease.agreement.hex()[:8]}",
        hint="learn the terms in force, and say it again",
    )
