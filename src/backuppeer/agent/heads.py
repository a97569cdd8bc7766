"""Heads of the own repository: made after a backup, left with every host, adopted when a host knows a newer one.

Knows: the chain of heads, the grant, the device key. Must not know: packs. A host that lagged gets every head that it
missed, in order, so that its compare-and-set stays exact.
"""

from backuppeer.agent.keyring import HomeKeys
from backuppeer.agent.partners import Partner
from backuppeer.agent.state import State
from backuppeer.clock import Clock
from backuppeer.errors import IntegrityFault, RefusedError, UserError
from backuppeer.ids import BlobId, PeerId, RepositoryId
from backuppeer.proof.statements import Head, HeadReceipt, WriterGrant, open_statement, sign_statement, statement_hash
from backuppeer.proof.writer import verify_head
from backuppeer.repo.head import Inventory, plan_head
from backuppeer.wire.messages import HeadIs, HeadStored, PutHead


class HeadChain:
    """The heads of one repository as this home knows them."""

    def __init__(self, state: State, keys: HomeKeys, repository: RepositoryId, clock: Clock) -> None:
        self._state, self._keys, self._repository, self._clock = state, keys, repository, clock

    @property
    def may_write(self) -> bool:
        """Whether this device holds a grant; a recovered home does not."""
        return bool(self._keys.grant)

    def newest(self) -> tuple[Head, bytes] | None:
        """Return the newest head known, verified, and its signed bytes."""
        row = self._state.last_head(self._repository)
        return (verify_head(row[1], row[2], self._keys.authority), row[1]) if row else None

    def adopt(self, signed: bytes, grant: bytes) -> Head | None:
        """Take a head from a host if it is newer than ours; None when it is not. Repository and signatures are checked.

        Raises:
            AuthenticationFault: not signed by a writer of ours.
            IntegrityFault: two histories: another head under a number that we have, or a next one that does not follow.
            RefusedError: another device was made the writer: this one must stop.

        """
        head = verify_head(signed, grant, self._keys.authority)
        if head.repository != self._repository:
            raise IntegrityFault("a host keeps a head of another repository for us")
        mine = self.newest()
        if mine is not None and head.epoch == mine[0].epoch and head.number <= mine[0].number:
            self._check_same(head, signed)
            return None
        if mine is not None and head.epoch < mine[0].epoch:
            return None
        if self.may_write and mine is not None and head.epoch > mine[0].epoch:
            raise RefusedError(
                "taken over: another machine with your words writes this backup now",
                hint="if that was not you, act on it; this machine can still restore",
            )
        if mine is not None and _is_fork(head, *mine):
            raise IntegrityFault(f"a host keeps a head {head.number} that does not follow ours: two histories")
        self._state.put_head(self._repository, head.number, signed, grant)
        return head

    def extend(self, index: BlobId, inventory: Inventory) -> Head:
        """Sign the head that follows the newest one, and keep it.

        Raises:
            UserError: this home may only read.

        """
        if not self.may_write:
            raise UserError(
                "this home was recovered from the words and may only read",
                hint="restore what you need; `recover --take-over` (to write from here) comes in a later version",
            )
        mine = self.newest()
        head = plan_head(
            mine[0] if mine else None,
            statement_hash(mine[1]) if mine else b"",
            grant=open_statement(WriterGrant, self._keys.grant, self._keys.authority),
            index=index,
            inventory=inventory,
            time_ms=self._clock.now_ms(),
        )
        signed = sign_statement(head, self._keys.device)
        self._state.put_head(self._repository, head.number, signed, self._keys.grant)
        return head

    async def leave_with(self, partner: Partner) -> None:
        """Bring a host up to the newest head and check its countersignature.

        Raises:
            IntegrityFault: it keeps a head that is not in our history.
            PeerUnreachable: it went away.

        """
        rows = self._state.heads_after(self._repository, 0)
        start = len(rows) - 1
        for _ in range(2):
            conflict = await self._send(partner, rows[start:])
            if conflict is None:
                return
            start = self._find_next(conflict, rows)
        raise IntegrityFault(f"{partner.name} does not take the head although it follows its own")

    async def _send(self, partner: Partner, rows: list[tuple[int, bytes, bytes]]) -> HeadIs | None:
        for _, signed, grant in rows:
            session = await partner.session()
            async with session.request(PutHead(agreement=partner.agreement, head=signed, grant=grant)) as channel:
                answer = await channel.receive(HeadStored, HeadIs)
            if isinstance(answer, HeadIs):
                return answer
            _check_receipt(answer.receipt, partner, signed)
        return None

    def _find_next(self, conflict: HeadIs, rows: list[tuple[int, bytes, bytes]]) -> int:
        """Return where in `rows` the host's head is followed by ours."""
        theirs = statement_hash(conflict.head) if conflict.head else b""
        for at, (_, signed, _) in enumerate(rows):
            if statement_hash(signed) == theirs:
                return at + 1
        raise IntegrityFault(
            "a host keeps a head that this machine does not know", hint="another machine may have written: see status"
        )

    def _check_same(self, head: Head, signed: bytes) -> None:
        for number, mine, _ in self._state.heads_after(self._repository, head.number - 1):
            if number == head.number and statement_hash(mine) != statement_hash(signed):
                raise IntegrityFault(f"a host keeps another head {head.number} than this machine made: two histories")


def _is_fork(head: Head, mine: Head, mine_signed: bytes) -> bool:
    """Whether `head` is the next number of the same writer and yet follows another head than `mine`."""
    is_next = head.epoch == mine.epoch and head.number == mine.number + 1
    return is_next and head.previous != statement_hash(mine_signed)


def _check_receipt(receipt: bytes, partner: Partner, signed_head: bytes) -> None:
    said = open_statement(HeadReceipt, receipt, PeerId(partner.peer))
    if said.head_hash != statement_hash(signed_head) or said.agreement != partner.agreement:
        raise IntegrityFault(f"{partner.name} countersigned another head than it was sent")
