"""Heads of the own repository: made by what writes, left with every host, adopted when a host knows a newer one.

Knows: the chain of heads, the grant, the device key, what hosts countersigned. Must not know: packs. A host that lagged
gets every head that it missed, in order, so that its compare-and-set stays exact. Only a host behind a head that it
countersigned is at fault; what two contradicting heads mean is said in agent.lineage.
"""

import asyncio
import random
from dataclasses import dataclass
from typing import Final

from backuppeer.agent.home.belongings import MOVED_IN
from backuppeer.agent.home.keyring import HomeKeys
from backuppeer.agent.home.state import State
from backuppeer.agent.owner.hosts_of_before import open_kept_receipt
from backuppeer.agent.owner.lineage import HeadRow, check_fits, check_writer, is_stray, plan_way, two_histories
from backuppeer.agent.owner.writer import Writer
from backuppeer.agent.peers.partners import Partner
from backuppeer.clock import Clock
from backuppeer.errors import IntegrityFault, LocalError, NewerFormatError, PeerUnreachable, StoreBusy
from backuppeer.ids import AgreementId, BlobId, PeerId, RepositoryId, StoredId
from backuppeer.limits import LEAVE_EACH_HEAD_S, LEAVE_HEAD_S, RETRY_FIRST_S
from backuppeer.proof.statements import (
    Head,
    HeadReceipt,
    WriterGrant,
    is_newer,
    open_statement,
    sign_statement,
    statement_hash,
)
from backuppeer.proof.writer import verify_head
from backuppeer.repo.head import Inventory, plan_head, plan_return
from backuppeer.wire.messages import GetHead, HeadIs, HeadStored, PutHead

RECEIPT: Final = "head.receipt."
_DISCLAIMED: Final = "head.disclaimed."
ROLLED_BACK: Final = (
    "it was set back, or hides what it holds; a backup brings it up to date. If its human knows of no disk that was "
    "restored from an old copy, use a further host: `backup-peer browse`"
)
"""What to do about a host that holds an older head, or another, than it countersigned."""


def _refuse_newer(signed: bytes) -> None:
    """Refuse a head of a newer version before it is looked at: it is no fault of who keeps it."""
    if is_newer(signed):
        raise NewerFormatError(
            "it keeps a head that was written by a newer version of this program",
            hint="install the newer backup-peer again; nothing was changed",
        )


@dataclass(frozen=True, slots=True)
class Vouched:
    """A head that a host countersigned. `name`: its `statement_hash`; `grant`: signed; `owner`: who signs deletes."""

    head: Head
    name: bytes
    grant: bytes
    owner: bytes
    authority: bytes


@dataclass(frozen=True, slots=True)
class Drafts:
    """Copies at a host that the head left there does not name, at most HEAD_DRAFTS each.

    `never_named`: those that no head before it did either.
    """

    unnamed: tuple[StoredId, ...] = ()
    never_named: tuple[StoredId, ...] = ()

    def of(self, heads: int) -> tuple[StoredId, ...]:
        """Return what stays unnamed by each of so many heads, the last of which is the one left."""
        return self.unnamed if heads == 1 else self.never_named


class HeadChain:
    """The heads of one repository as this home knows them."""

    def __init__(self, state: State, keys: HomeKeys, repository: RepositoryId, clock: Clock) -> None:
        self._state, self._keys, self._repository, self._clock = state, keys, repository, clock
        self.writer, self.deeds = Writer(state, keys), state.deeds

    @property
    def owner(self) -> PeerId:
        """Return our identity, which signs what hosts are asked to delete."""
        return self._keys.peer

    @property
    def may_write(self) -> bool:
        """Whether this device is the writer; a recovered home is not, nor one that was taken over."""
        return self.writer.may_write

    @property
    def is_awaited(self) -> bool:
        """Whether this home came in a file, and has not heard yet what its hosts keep."""
        return bool(self._state.setting(MOVED_IN)) and self.newest() is None

    def await_no_more(self) -> None:
        """Note that the hosts keep nothing for this home."""
        self._state.put_setting(MOVED_IN, b"")

    def newest(self) -> tuple[Head, bytes] | None:
        """Return the newest head known, verified, and its signed bytes."""
        row = self._state.last_head(self._repository)
        return (verify_head(row[1], row[2], self._keys.authority), row[1]) if row else None

    def vouched_head(self, partner: Partner) -> Head | None:
        """Return the newest head known if this host countersigned it; what it names, the host must have.

        None too for one that `disclaim` is about.
        """
        vouched = self.vouched(partner)
        return None if vouched is None else vouched.head

    def vouched(self, partner: Partner) -> Vouched | None:
        """Return `vouched_head` with what tells who may sign a delete upon it."""
        row, said = self._state.last_head(self._repository), self.countersigned(partner)
        if row is None or said is None or said[0] != statement_hash(row[1]):
            return None
        if self._state.setting(_DISCLAIMED + partner.agreement.hex()) == said[0]:
            return None
        head = verify_head(row[1], row[2], self._keys.authority)
        return Vouched(head, said[0], row[2], owner=self._keys.peer, authority=self._keys.authority)

    def disclaim(self, partner: Partner) -> None:
        """Note that a host need not have what the newest head names: somebody else with our keys had it delete some."""
        if (said := self.countersigned(partner)) is not None:
            self._state.put_setting(_DISCLAIMED + partner.agreement.hex(), said[0])

    async def ask(self, partner: Partner) -> HeadIs:
        """Return the head that a host holds now, unverified; empty if none.

        Raises:
            RefusedError: it says no; a damaged head is told so, and the next one heals it.
            PeerUnreachable: it went away.

        """
        session = await partner.session()
        async with session.request(GetHead(agreement=partner.agreement)) as channel:
            return await channel.receive(HeadIs)

    def adopt(self, signed: bytes, grant: bytes) -> Head | None:
        """Take a head from a host if it is newer than ours; None when it is not. Repository and signatures are checked.

        An older one that is not known here is kept too: it may be what another host, which lags, needs next. The head
        of a newer writer is adopted like any other, to be read; from then on `may_write` is false.

        Raises:
            AuthenticationFault: not signed by a writer of ours.
            IntegrityFault: of another repository.
            DamagedStateError: two histories: both signed by this home, or by two devices of one epoch.
            NewerFormatError: written by a newer version.

        """
        _refuse_newer(signed)
        head = verify_head(signed, grant, self._keys.authority)
        if head.repository != self._repository:
            raise IntegrityFault("a host keeps a head of another repository for us")
        self.writer.see(grant)
        newest = self.newest()
        mine = newest[0] if newest else None
        if mine is not None and head.epoch <= mine.epoch:
            if head.epoch < mine.epoch or self._has(head, signed):
                return None
            check_writer(head, mine)
            check_fits(head, signed, self._state.heads_after(self._repository, 0))
        self._state.put_head(self._repository, head.number, signed, grant)
        is_newer = mine is None or (head.epoch, head.number) > (mine.epoch, mine.number)
        return head if is_newer else None

    def weigh(self, held: HeadIs) -> tuple[int, bool]:
        """Return the number of the head that a host holds (0 = none), and whether it is newer; nothing is adopted.

        Raises:
            AuthenticationFault: not signed by a writer of ours.
            IntegrityFault: of another repository.
            DamagedStateError: two histories, both signed by this home; or, as NewerFormatError, of a newer version.

        """
        if not held.head:
            return 0, False
        _refuse_newer(held.head)
        head = verify_head(held.head, held.grant, self._keys.authority)
        if head.repository != self._repository:
            raise IntegrityFault("it keeps a head of another repository for us")
        newest = self.newest()
        if newest is None:
            return head.number, True
        if head.epoch == newest[0].epoch and not self._has(head, held.head):
            check_writer(head, newest[0])
            check_fits(head, held.head, self._state.heads_after(self._repository, 0))
        return head.number, (head.epoch, head.number) > (newest[0].epoch, newest[0].number)

    def promise_of(self, partner: Partner) -> bytes | None:
        """Return the receipt of the newest head that a host countersigned; to be looked at *before* it is asked.

        A backup beside this may leave a newer one there between its answer and the moment at which that is weighed.
        """
        return self._state.setting(RECEIPT + partner.agreement.hex())

    def check_promise(self, partner: Partner, held: HeadIs, kept: bytes | None) -> None:
        """Check that a host holds no older head, and no other, than it had countersigned (`kept`: `promise_of` it).

        Raises:
            IntegrityFault: it does: the one thing about heads that is a host's fault.
            AuthenticationFault: what it holds is not signed by a writer of ours.
            NewerFormatError: written by a newer version.

        """
        if kept is None:
            return
        _refuse_newer(held.head)
        promised = open_kept_receipt(self.deeds, partner.agreement, partner.peer, kept)
        number = verify_head(held.head, held.grant, self._keys.authority).number if held.head else 0
        is_other = number == promised.number and statement_hash(held.head) != promised.head_hash
        if number < promised.number or is_other:
            shown = "another head" if is_other else f"head {number}" if number else "no head"
            raise IntegrityFault(f"it shows {shown}, and had countersigned head {promised.number}")

    def known_from(self, number: int) -> list[HeadRow]:
        """Return the heads that are known here from a number on: number, signed bytes, grant; ascending."""
        return list(self._state.heads_after(self._repository, number - 1))

    def countersigned(self, partner: Partner) -> tuple[bytes, int] | None:
        """Return hash and number of the newest head that a host countersigned."""
        kept = self.promise_of(partner)
        if kept is None:
            return None
        said = open_kept_receipt(self.deeds, partner.agreement, partner.peer, kept)
        return said.head_hash, said.number

    def way_from(self, held: HeadIs, name: str) -> list[HeadRow]:
        """Return the heads that bring a host from what it holds to our newest. `name`: what a person calls it.

        Raises:
            AuthenticationFault: what it holds is not signed by a writer of ours.
            DamagedStateError: heads between are not known here, or two histories.

        """
        newest = self._state.last_head(self._repository)
        if not held.head or newest is None:
            return [newest] if newest else []
        number = verify_head(held.head, held.grant, self._keys.authority).number
        return list(plan_way(held.head, self._state.heads_after(self._repository, number - 1), name))

    def find_stray(self, held: HeadIs) -> Head | None:
        """Return the head that a host holds if an earlier writer made it and our newest does not descend from it.

        Raises:
            AuthenticationFault: it is not signed by a writer of ours.

        """
        if not held.head:
            return None
        head = verify_head(held.head, held.grant, self._keys.authority)
        newest = self.newest()
        if newest is None or head.epoch >= newest[0].epoch:
            return None
        return head if is_stray(head, held.head, self._state.heads_after(self._repository, 0)) else None

    def extend(self, index: BlobId, inventory: Inventory) -> Head:
        """Sign the head that follows the newest one, and keep it.

        Raises:
            RefusedError: this home may only read, or was taken over.

        """
        mine = self.newest()
        head = plan_head(
            mine[0] if mine else None,
            statement_hash(mine[1]) if mine else b"",
            grant=self._open_grant(),
            index=index,
            inventory=inventory,
            time_ms=self._clock.now_ms(),
        )
        return self._sign(head)

    def take_back(self, said: Head) -> Head:
        """Sign a head that says again what the earlier one `said` did, for when no host took what came after it.

        The head in between stays signed, and some host may have it though its answer was lost: it is never reused.

        Raises:
            RefusedError: this home may only read.
            LocalError: there is no head to follow.

        """
        mine = self.newest()
        if mine is None:
            raise LocalError("there is no head that could be taken back")
        newest, signed = mine
        grant, now_ms = self._open_grant(), self._clock.now_ms()
        return self._sign(plan_return(newest, statement_hash(signed), grant=grant, said=said, time_ms=now_ms))

    def _open_grant(self) -> WriterGrant:
        self.writer.check()
        return open_statement(WriterGrant, self._keys.grant, self._keys.authority)

    def _sign(self, head: Head) -> Head:
        # Kept before any host sees it: a head signed and forgotten would be signed otherwise the next time.
        self._state.put_head(self._repository, head.number, sign_statement(head, self._keys.device), self._keys.grant)
        return head

    async def leave_with(self, partner: Partner, drafts: Drafts | None = None) -> int:
        """Bring a host up to the newest head and check its countersignature; return its `HeadStored.removals`.

        `drafts`: what it holds that the newest head does not name. A host that gets more heads than this one is told
        only of what none of them named.

        Raises:
            IntegrityFault: it does not take what follows its own head, or countersigns something else.
            DamagedStateError: it lags, and heads between are not known here; or two histories.
            RefusedError: it has the head of another device that was made the writer: this one must stop.
            PeerUnreachable: it went away.

        """
        rows = self.way_from(HeadIs(), partner.name)
        for _ in range(2):
            try:
                # One that lags gets all that it missed; but not each of them for as long as an answer may take.
                async with asyncio.timeout(LEAVE_HEAD_S + LEAVE_EACH_HEAD_S * len(rows)):
                    listed = drafts.of(len(rows)) if drafts is not None else ()
                    answer = await self._send(partner, rows, listed)
            except TimeoutError as exc:
                raise PeerUnreachable("it takes too long to take the newest state") from exc
            if not isinstance(answer, HeadIs):
                return answer
            self._stop_if_taken(answer)
            rows = self.way_from(answer, partner.name)
        raise IntegrityFault(f"{partner.name} does not take the head although it follows its own")

    def _stop_if_taken(self, held: HeadIs) -> None:
        """Stop if what a host holds was written under a grant above ours, or beside it: taken over in mid-work."""
        if held.head:
            head = verify_head(held.head, held.grant, self._keys.authority)
            if head.repository == self._repository:
                self.writer.see(held.grant)
            self.writer.check()

    async def _send(self, partner: Partner, rows: list[HeadRow], drafts: tuple[StoredId, ...]) -> HeadIs | int:
        removals = 0
        for _, signed, grant in rows:
            answer = await _put(partner, PutHead(agreement=partner.agreement, head=signed, grant=grant, drafts=drafts))
            if isinstance(answer, HeadIs):
                return answer
            self._keep_receipt(answer.receipt, partner, signed)
            removals = answer.removals
        return removals

    def _keep_receipt(self, receipt: bytes, partner: Partner, signed_head: bytes) -> None:
        """Check a countersignature and remember the newest: from then on the host may not show less."""
        said = open_statement(HeadReceipt, receipt, PeerId(partner.peer))
        if said.head_hash != statement_hash(signed_head) or said.agreement != partner.agreement:
            raise IntegrityFault(f"{partner.name} countersigned another head than it was sent")
        self.keep_promise(partner.agreement, partner.peer, receipt)

    def keep_promise(self, agreement: AgreementId, host: PeerId, receipt: bytes) -> None:
        """Remember a host's receipt for a head of ours, unless one for a later head is known.

        Raises:
            AuthenticationFault: the host did not sign it.

        """
        said = open_statement(HeadReceipt, receipt, host)
        kept = self._state.setting(RECEIPT + agreement.hex())
        if kept is None or open_kept_receipt(self.deeds, agreement, host, kept).number <= said.number:
            self._state.put_setting(RECEIPT + agreement.hex(), receipt)

    def _has(self, head: Head, signed: bytes) -> bool:
        """Whether just this head is known.

        Raises:
            DamagedStateError: another one is, under its number.

        """
        known = [row for row in self._state.heads_after(self._repository, head.number - 1) if row[0] == head.number]
        if known and statement_hash(known[0][1]) != statement_hash(signed):
            raise two_histories(head.number)
        return bool(known)


async def _put(partner: Partner, message: PutHead) -> HeadStored | HeadIs:
    """Return what a host says to a head; one that has too much to do is asked again as long as our caller waits."""
    while True:
        session = await partner.session()
        try:
            async with session.request(message) as channel:
                return await channel.receive(HeadStored, HeadIs)
        except StoreBusy:
            await asyncio.sleep(random.uniform(0, RETRY_FIRST_S))  # noqa: S311 - so that many don't call in step
