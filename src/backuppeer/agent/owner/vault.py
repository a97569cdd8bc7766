"""The owner's side of this home: its repository, its hosts, its heads; what jobs work with.

Knows: which hosts hold our packs, how to catch up with a host that knows more than we do. Must not know: files.
"""

import asyncio
import shlex
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from backuppeer.agent.home.home import Home
from backuppeer.agent.home.keyring import HomeKeys
from backuppeer.agent.home.rows import KeptRows
from backuppeer.agent.home.state import State
from backuppeer.agent.owner.asking import REMOVALS_UNKNOWN, OwnRequests
from backuppeer.agent.owner.deleted import weigh_findings
from backuppeer.agent.owner.fetch import Ears, Fetch
from backuppeer.agent.owner.heads import ROLLED_BACK, HeadChain
from backuppeer.agent.owner.hostless import explain_no_host
from backuppeer.agent.owner.losses import Losses, drop_lost, find_losses, measure_held
from backuppeer.agent.owner.lying import find_lying
from backuppeer.agent.owner.owed import Owed
from backuppeer.agent.owner.rebuild import Loaded, OnPack, load_head, rebuild_from
from backuppeer.agent.owner.repository import Repository
from backuppeer.agent.owner.selfset import SelfSet
from backuppeer.agent.owner.turn import Turn
from backuppeer.agent.owner.unread import Unread
from backuppeer.agent.owner.waste import learn_waste
from backuppeer.agent.owner.writer import Writer
from backuppeer.agent.peers.names import alias_of, name_of, resolve_peer
from backuppeer.agent.peers.partners import Partner, Reach
from backuppeer.agent.peers.retry import Waiting, retry
from backuppeer.agent.reporter import Reporter
from backuppeer.agent.repute.exposing import Exposing, Lying
from backuppeer.agent.repute.standing import Standing
from backuppeer.clock import Clock
from backuppeer.errors import BackupPeerError, IntegrityFault, NotFoundError, RefusedError
from backuppeer.ids import AgreementId, PeerId, RepositoryId, SnapshotId
from backuppeer.limits import FETCH_CACHE_BYTES, HEAD_RETRY_S
from backuppeer.proof.removals import Removal, sign_removal
from backuppeer.proof.statements import Head, sign_beside
from backuppeer.shares.ledger import Copy
from backuppeer.trust.evidence import Kind
from backuppeer.wire.messages import HeadIs

_RECOVERED: Final = "recovery.done"
_INCOMPLETE: Final = "snapshots.incomplete"
_ID_BYTES: Final = 32


def _silent(*said: object) -> None:
    """Tell nobody."""
    del said


class Vault:
    """This home as an owner. The repository is opened when it is first known which one it is."""

    def __init__(
        self, home: Home, keys: HomeKeys, state: State, clock: Clock, *, reach: Reach, standing: Standing
    ) -> None:
        self._home, self._keys, self._state, self.clock = home, keys, state, clock
        self._reach, self.standing = reach, standing
        standing.held_bytes = self._measure_held
        self._repository: Repository | None = None
        self.busy = Turn()
        """Held by whoever writes: one backup or amendment at a time per home."""
        self.pruning = asyncio.Lock()
        """Held by a prune from its beginning to its end, beside which backups are made."""
        self._is_brief = False
        self.exposing = Exposing(state, standing, clock, self._find_lying)
        self.asked = OwnRequests()
        self.writer, self.deeds, self.unread = Writer(state, keys), state.deeds, Unread(state)
        self.self_set = SelfSet(home, state, standing, keys)

    @property
    def repository_id(self) -> RepositoryId | None:
        """Return which repository is ours: from the grant, or in a recovered home from an agreement."""
        if self._keys.repository is not None:
            return self._keys.repository
        for _, host, signed in self._state.agreements():
            return RepositoryId(self._keys.open_terms(signed, host).repository)
        return None

    @property
    def exists_repository(self) -> bool:
        """Whether a repository was begun here: it need not be whole."""
        found = self.repository_id
        return found is not None and (self._home.repository / found.hex()).exists()

    @property
    def repository(self) -> Repository:
        """Return the open repository.

        Raises:
            NotFoundError: a recovered home that has not found a host yet.

        """
        if self._repository is None:
            found = self.repository_id
            if found is None:
                raise NotFoundError("no host of yours has been found yet", hint="run `backup-peer recover` again")
            self._repository = Repository(self._home, self._keys, found)
            if self._repository.index.turnover.fresh():
                self.owed.settle()
        return self._repository

    @property
    def is_unrecovered(self) -> bool:
        """Whether this home was made from the words and `recover` has not brought its snapshots back yet."""
        if self._keys.grant or self._state.setting(_RECOVERED) is not None:
            return False
        return self.repository_id is None or not self.repository.index.snapshots()

    def end_recovery(self) -> None:
        """Note that what the hosts keep is known here from now on, be it nothing."""
        self._state.put_setting(_RECOVERED, b"1")

    @property
    def heads(self) -> HeadChain:
        """Return the chain of heads of the repository."""
        return HeadChain(self._state, self._keys, self.repository.id, self.clock)

    @property
    def owed(self) -> Owed:
        """Return what every host should hold."""
        return Owed(self.repository, self.heads, self._state)

    def close(self) -> None:
        """Close the repository."""
        if self._repository is not None:
            self._repository.close()
            self._repository = None

    def look_after(self) -> None:
        """Take up anew what was deleted or replaced under us, as a restart would; not under a job that writes."""
        if self._repository is not None and not (self.busy.locked() or self.pruning.locked()):
            self._repository = self._repository.renewed()

    def check_writable(self) -> None:
        """Refuse to write from a home that may only read: recovered, or taken over; as `Writer.check`.

        Raises:
            RefusedError: it is one.

        """
        self.writer.check()

    def check_idle(self) -> None:
        """Refuse to write beside another job that does.

        Raises:
            UserError: one is running.

        """
        if self.busy.locked() and not self._is_brief:
            raise self.busy.refuse()

    @asynccontextmanager
    async def writing_briefly(self, on_wait: Callable[[], None]) -> AsyncIterator[None]:
        """Write for seconds, after the job that does so now; whoever comes meanwhile waits and is not refused.

        `on_wait`: told when there is somebody to wait for.
        """
        if self.busy.locked():
            on_wait()
        async with self.busy:
            self._is_brief = True
            try:
                yield
            finally:
                self._is_brief = False

    def sign_removal(self, kind: type[Removal], copies: Sequence[Copy], head: tuple[bytes, int]) -> tuple[bytes, bytes]:
        """Return the signed word that a host may delete copies, or must keep them, and our device's signature of it."""
        packs, now_ms = [copy.stored for copy in copies], self.clock.now_ms()
        signed = sign_removal(
            kind, packs, self._keys.identity, agreement=copies[0].agreement, head=head, time_ms=now_ms
        )
        return signed, sign_beside(kind, signed, self._keys.device)

    def terms(self, partner: Partner) -> bytes:
        """Return the co-signed revision of an agreement in force."""
        return next(signed for agreement, _, signed in self._state.agreements() if agreement == partner.agreement)

    def lock_s(self, partner: Partner) -> int:
        """Return for how long a host keeps what was deleted, as agreed."""
        return self._keys.open_terms(self.terms(partner), partner.peer).lock_s

    def partners(self, names: Sequence[str] = ()) -> list[Partner]:
        """Return the hosts named, or all that we have an agreement with.

        Raises:
            NotFoundError: none is agreed, or one named is not.

        """
        everybody = [
            Partner(agreement, host, name_of(self._state, host), self._reach)
            for agreement, host, _ in self._state.agreements()
        ]
        if not everybody:
            has_copies = self.repository_id is not None and self.repository.ledger.count() > 0
            raise explain_no_host(self._state, has_copies=has_copies, now_ms=self.clock.now_ms())
        if not names:
            return everybody
        wanted = [resolve_peer(self._state, name) for name in names]
        found = {partner.peer: partner for partner in everybody}
        for peer, name in zip(wanted, names, strict=True):
            if peer not in found:
                raise NotFoundError(
                    f"{name} keeps no backups of yours",
                    hint=f"ask it first: `backup-peer connect {shlex.quote(name)} --storage 10GB`",
                )
        return [found[peer] for peer in dict.fromkeys(wanted)]

    def complete_hosts(self) -> list[PeerId]:
        """Return the hosts that hold all they should whole as far as is known, hence every snapshot."""
        ledger = self.repository.ledger
        packs = self.owed.packs() if self.heads.newest() else list(self.repository.index.packs())
        return [
            host
            for agreement, host, _ in self._state.agreements()
            if next(ledger.lacking_at(agreement, packs), None) is None
        ]

    def source(self, reporter: Reporter | None = None, *, wait_s: float | None = None) -> Fetch:
        """Return where packs are read from; 0 seconds: each host is asked once. `reporter` hears of hosts."""
        return self.source_of({p.agreement: p for p in self.partners()}, reporter, wait_s=wait_s)

    def source_of(
        self,
        partners: Mapping[AgreementId, Partner],
        reporter: Reporter | None = None,
        *,
        wait_s: float | None = None,
        keep_bytes: int = FETCH_CACHE_BYTES,
    ) -> Fetch:
        """Return a source of just these hosts."""
        return Fetch(
            self.repository.ledger,
            dict(partners),
            clock=self.clock,
            ears=Ears(self.blame, *((reporter.say_state, reporter.note) if reporter else (_silent, _silent))),
            wait_s=wait_s,
            keep_bytes=keep_bytes,
            doubted={agreement for agreement, partner in partners.items() if self.standing.is_doubted(partner.peer)},
        )

    def _measure_held(self, peer: PeerId) -> int:
        return measure_held(self.repository, self._state.agreements(), peer) if self.exists_repository else 0

    def _find_lying(self, peer: PeerId) -> Lying:
        return find_lying(self.repository, self._state, peer) if self.exists_repository else Lying()

    async def ask_head(self, partner: Partner, waiting: Waiting | None = None) -> HeadIs:
        """Ask a host for the head it holds; empty when it has none, or a damaged one. `waiting`: as of `retry`.

        Raises:
            PeerUnreachable: it can't be reached.

        """
        await partner.session()  # outside of the retry: who can't be reached at all is not waited for
        try:
            return await retry(partial(self.heads.ask, partner), self.clock, waiting=waiting, budget_s=HEAD_RETRY_S)
        except RefusedError:
            # Damaged there, perhaps: what is asked next tells, and the next head heals it.
            return HeadIs(removals=REMOVALS_UNKNOWN)

    def take_head(self, partner: Partner, held: HeadIs, promised: bytes | None, reporter: Reporter) -> None:
        """Adopt a host's head if it is newer than ours; `promised`: `heads.promise_of` it before it was asked.

        Raises:
            PeerFault: its head is not by a writer of ours.
            DamagedStateError: its head and ours are of two histories.

        """
        try:
            self.heads.check_promise(partner, held, promised)
        except IntegrityFault as exc:
            self.blame(partner, exc)
            reporter.fault(partner.peer, partner.name, exc, hint=ROLLED_BACK)
        head = self.heads.adopt(held.head, held.grant) if held.head else None
        if head is not None:
            # Nothing is wrong: so it is after every recovery, and whenever another machine of ours made a backup.
            reporter.say_state("catching-up", f"{partner.name} knows a newer state (head {head.number}): catching up")

    async def hear(self, partner: Partner, reporter: Reporter) -> HeadIs:
        """Ask a host for its head, and adopt that if it is newer than ours; as `ask_head` and `take_head`."""
        promised = self.heads.promise_of(partner)
        held = await self.ask_head(partner)
        self.take_head(partner, held, promised, reporter)
        return held

    async def refresh(self, partner: Partner, reporter: Reporter, on_pack: OnPack) -> bool:
        """Open the packs of a host that are not known here, forget those it no longer lists.

        Return whether it told all: nothing of what it lists may still prove to be what is missed elsewhere.

        Raises:
            PeerUnreachable: it went away.

        """
        await asyncio.to_thread(self.repository.ledger.forget_erased, self.clock.now_ms())
        found = await rebuild_from(partner, self.repository, on_pack, self.clock)
        blame = self.blame if self.writer.may_write else None
        await weigh_findings(
            partner,
            self.repository,
            found,
            clock=self.clock,
            lock_s=self.lock_s(partner),
            heads=self.heads,
            blame=blame,
            reporter=reporter,
        )
        return found.is_conclusive

    async def ensure_whole(self, *, patient: bool = True, wait_s: float | None = None) -> Losses:
        """Bring back from the hosts what the newest head names and the index lacks; return what can't be had.

        `patient`: hosts that are away are waited for, `wait_s` or as everywhere.

        Raises:
            IntegrityFault: the head names a list that is not its own.

        """
        newest = self.heads.newest()
        if newest is None:
            return Losses()
        loaded = Loaded()
        if not await asyncio.to_thread(self.owed.settle):
            source = self.source(wait_s=wait_s if patient else 0)
            loaded = await asyncio.to_thread(load_head, self.repository, newest[0], source)
        losses = await self._find_losses(newest[0], loaded)
        if patient and losses.packs and not losses.hides_snapshots and self.owed.waste() is None:
            # Perhaps nobody needs them: the host that had them is gone, and others were never given any.
            await self.learn_waste()
            losses = await self._find_losses(newest[0], loaded)
        return losses

    async def _find_losses(self, head: Head, loaded: Loaded) -> Losses:
        agreements = [agreement for agreement, _, _ in self._state.agreements()]
        waste = self.owed.waste() or frozenset()
        return await asyncio.to_thread(find_losses, self.repository, head, agreements, loaded, waste=waste)

    async def learn_waste(self, partners: Sequence[Partner] | None = None) -> None:
        """Find out what of the newest head no snapshot needs, if one of these hosts, or of all, lacks some of it."""
        names = [agreement for agreement, _, _ in self._state.agreements()]
        if names:
            agreements = names if partners is None else [partner.agreement for partner in partners]
            await asyncio.to_thread(learn_waste, self.repository, self.owed, self.source(wait_s=0), agreements)

    def named_losses(self) -> Losses:
        """Return the snapshots known by name only, without asking anybody."""
        newest = self.heads.newest()
        names = tuple(self.repository.index.snapshot_names().items())
        return Losses(head=newest[0].number if newest else 0, names=names)

    def is_whole(self) -> bool:
        """Whether the index knows just the snapshots and packs of the newest head, and can read the snapshots."""
        return self.owed.is_whole()

    def drop_lost(self) -> list[SnapshotId]:
        """Forget what no host holds, as `owner.losses.drop_lost`, and return the snapshots that go with it."""
        return drop_lost(self.repository, [agreement for agreement, _, _ in self._state.agreements()])

    @property
    def incomplete(self) -> set[SnapshotId]:
        """The snapshots of which a part was found to be at no host, when that was looked at last."""
        return set(map(SnapshotId, KeptRows(self._state, _INCOMPLETE, _ID_BYTES).read()))

    def note_incomplete(self, snapshots: AbstractSet[SnapshotId]) -> None:
        """Remember them instead of those noted before."""
        KeptRows(self._state, _INCOMPLETE, _ID_BYTES).write(snapshots)

    def traffic_bytes(self) -> int:
        """Return the bytes that went to and from our hosts in the sessions open now."""
        return self._reach.traffic_bytes({host for _, host, _ in self._state.agreements()})

    def blame(self, partner: Partner, error: BackupPeerError) -> None:
        """Write down what a host did, by whose fault it was."""
        self.standing.blame(partner.peer, error)

    def saw(self, partner: Partner, kind: Kind, *, size_bytes: int = 0) -> None:
        """Write down something good a host did."""
        self.standing.saw(partner.peer, kind, size_bytes=size_bytes)

    def name(self, peer: PeerId) -> str:
        """Return what this home calls a peer."""
        return name_of(self._state, peer)

    def alias(self, peer: PeerId) -> str:
        """Return the alias of a peer, or ''."""
        return alias_of(self._state, peer)
