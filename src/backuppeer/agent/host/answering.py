"""Small questions of owners, answered: a frame each way, about heads, lists, deletes and room (DESIGN 5).

Knows: which question calls which part of the host store. Must not know: packs' bytes, sessions. `serving` has seen to
it that the store is the asking owner's; disk work runs in threads.
"""

from collections.abc import Callable, Sequence
from typing import Final

from backuppeer.agent.home.logbook import bookkeeping
from backuppeer.agent.host.premises import Premises
from backuppeer.agent.host.threads import in_thread, run_whole
from backuppeer.agent.peers.channel import Channel
from backuppeer.errors import BackupPeerError, ProtocolViolation
from backuppeer.host.heads import HeadAccepted, StoredHead
from backuppeer.host.prove import say_held
from backuppeer.host.store import Store
from backuppeer.ids import AgreementId, PeerId, StoredId
from backuppeer.wire.messages import (
    Deleted,
    DeletedList,
    DeletedRow,
    DeletePacks,
    DraftsAre,
    FindDrafts,
    GetHead,
    GetUsage,
    HeadIs,
    HeadStored,
    ListDeleted,
    ListPacks,
    PackList,
    PackRow,
    PutHead,
    RemovalRequest,
    Revived,
    RevivePacks,
    Usage,
    Withdrawn,
    WithdrawPacks,
)

NONCE_BYTES: Final = 16
Removing = DeletePacks | RevivePacks | WithdrawPacks | FindDrafts | ListDeleted
Question = PutHead | GetHead | ListPacks | GetUsage | Removing


class Answering:
    """Answers what needs no place."""

    def __init__(self, premises: Premises) -> None:
        self._premises = premises
        self.on_deleted: Callable[[], None] = lambda: None
        """Called when packs were deleted: somebody waits for their lock to be over."""
        self.on_taken_over: Callable[[PeerId], None] = lambda _: None
        """Called with an owner of whom another machine makes the backups now, as its authority signed."""

    async def answer(self, store: Store, channel: Channel, message: Question) -> None:
        """Answer one question about the agreement that it names.

        Raises:
            BackupPeerError: as the store does, of which the peer is told.

        """
        match message:
            case PutHead():
                await self._put_head(store, channel, message)
            case GetHead():
                await self._get_head(store, channel, message)
            case ListPacks():
                await self._list_packs(store, channel, message)
            case GetUsage():
                await self._get_usage(store, channel, message)
            case DeletePacks():
                await self._delete(store, channel, message)
            case RevivePacks():
                await self._revive(store, channel, message)
            case WithdrawPacks():
                await self._withdraw(store, channel, message)
            case FindDrafts():
                found = await in_thread(store.removals.find_drafts, message.agreement, message.packs)
                await channel.send(DraftsAre(packs=tuple(found)))
            case ListDeleted():
                await self._list_deleted(store, channel, message)

    async def _put_head(self, store: Store, channel: Channel, message: PutHead) -> None:
        epoch = await in_thread(_epoch_of, store, message.agreement)
        answer = await in_thread(self._premises.put_head, store, message)
        if isinstance(answer, HeadAccepted):
            if 0 < epoch < answer.stored.head.epoch:
                with bookkeeping("alarms"):
                    self.on_taken_over(store.leases.get(message.agreement).owner)
            # Asked after the head stands: what was withdrawn before it was accepted is counted, nothing can be after.
            removals = await in_thread(store.removals.last_number, message.agreement)
            await channel.send(HeadStored(receipt=answer.receipt, removals=removals))
        else:
            held = answer.current
            await channel.send(HeadIs(head=held.signed_head, grant=held.signed_grant))

    async def _get_head(self, store: Store, channel: Channel, message: GetHead) -> None:
        # Before the head, and so before the list that is asked for next: whatever goes after that shows in the number.
        removals = await in_thread(store.removals.last_number, message.agreement)
        held = await in_thread(store.heads.get, message.agreement)
        head, grant = (held.signed_head, held.signed_grant) if held else (b"", b"")
        word = await in_thread(self._say_held, store, held, message) if message.nonce else b""
        await channel.send(HeadIs(head=head, grant=grant, removals=removals, held=word))

    def _say_held(self, store: Store, held: StoredHead | None, message: GetHead) -> bytes:
        if len(message.nonce) != NONCE_BYTES:
            raise ProtocolViolation(f"a nonce has {NONCE_BYTES} bytes, not {len(message.nonce)}")
        lease = store.leases.get(message.agreement)
        return say_held(
            lease,
            held,
            receipt=message.receipt,
            nonce=message.nonce,
            signer=self._premises.signer_of(lease),
            names=store.leases.names(lease),
            now_ms=self._premises.now_ms(),
        )

    async def _list_packs(self, store: Store, channel: Channel, message: ListPacks) -> None:
        page = await in_thread(lambda: store.list_packs(message.agreement, after=message.after, limit=message.limit))
        rows = tuple(PackRow(row.stored, row.size) for row in page)
        await channel.send(PackList(packs=rows, more=len(rows) == message.limit))

    async def _delete(self, store: Store, channel: Channel, message: DeletePacks) -> None:
        deleted, lock_s = await in_thread(store.removals.delete, message.agreement, *_request_of(message))
        self.on_deleted()
        await channel.send(Deleted(packs=len(deleted), lock_s=lock_s))

    async def _withdraw(self, store: Store, channel: Channel, message: WithdrawPacks) -> None:
        packs = await in_thread(store.removals.withdraw, message.agreement, *_request_of(message))
        # Their room is free when the answer says so; whatever else is due goes with them.
        while packs and (await run_whole(store.sweep.run)).packs:
            pass
        await channel.send(Withdrawn(packs=tuple(packs)))

    async def _revive(self, store: Store, channel: Channel, message: RevivePacks) -> None:
        kept = await in_thread(store.removals.revive, message.agreement, *_request_of(message))
        await channel.send(Revived(packs=tuple(kept)))

    async def _list_deleted(self, store: Store, channel: Channel, message: ListDeleted) -> None:
        page = await in_thread(
            lambda: store.removals.list_deleted(message.agreement, after=message.after, limit=message.limit)
        )
        rows = tuple(DeletedRow(row.stored, row.size, row.left_s) for row in page)
        await channel.send(DeletedList(packs=rows, more=len(rows) == message.limit))

    async def _get_usage(self, store: Store, channel: Channel, message: GetUsage) -> None:
        usage = await in_thread(store.usage, message.agreement)
        removals, agreement = store.removals, message.agreement
        deleted_bytes = await in_thread(removals.deleted_bytes, agreement)
        next_free = await in_thread(removals.next_free, agreement)
        await channel.send(
            Usage(
                size_bytes=usage.size_bytes,
                used_bytes=usage.used_bytes,
                packs=usage.packs,
                free_bytes=usage.free_bytes,
                deleted_bytes=deleted_bytes,
                next_free_bytes=next_free.size_bytes,
                next_free_s=next_free.left_s,
                spare_bytes=await in_thread(removals.spare_bytes, agreement),
            )
        )


def _request_of(message: RemovalRequest) -> tuple[bytes, Sequence[StoredId], bytes]:
    return message.signed, message.packs, message.device_sig


def _epoch_of(store: Store, agreement: AgreementId) -> int:
    """Return the epoch of the head that is kept; 0: none is, or it is damaged."""
    try:
        held = store.heads.get(agreement)
    except BackupPeerError:
        return 0
    return held.head.epoch if held is not None else 0
