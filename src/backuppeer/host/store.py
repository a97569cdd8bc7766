"""The store: a folder that keeps other people's packs, and the door to everything in it.

Knows: the parts of this room and the order in which a store opens. Must not know: messages, sessions, the network;
all calls are synchronous and thread-safe, the agent crosses over with `to_thread`. A store that is unplugged,
foreign, locked or read-only raises StoreUnavailable and is never taken for an empty one.

Opening: marker read and locked → left-overs of `incoming/` swept → catalogue opened, or rebuilt when missing or
damaged → agreements read → catalogue compared with the files → deletes that it does not know done again → losses that
it does not know noted again → notices and waivers read → quotas counted. Only `sweep` removes a pack that was
acknowledged.
"""

import secrets
from collections import Counter
from contextlib import suppress
from pathlib import Path

from backuppeer.errors import (
    DamagedStateError,
    LocalError,
    NotFoundError,
    ProtocolViolation,
    RefusedError,
    StoreUnavailable,
)
from backuppeer.host.budget import AuditBudget
from backuppeer.host.catalogue import PackRow, open_catalogue
from backuppeer.host.countersigning import Countersigning
from backuppeer.host.daily import Counted, Daily, Day
from backuppeer.host.disk import PRIVATE_DIRECTORY, make_directory, sync_directory, translate_failures, write_all
from backuppeer.host.endings import Endings
from backuppeer.host.graveyard import Graveyard
from backuppeer.host.heads import Heads
from backuppeer.host.incoming import Incoming, Target, Write
from backuppeer.host.layout import PART_SUFFIX, Layout, check_agreement_id, check_stored_id
from backuppeer.host.leases import Former, Leases
from backuppeer.host.losses import Losses
from backuppeer.host.marker import Marker, Presence, lock_marker, write_marker
from backuppeer.host.notices import Notices
from backuppeer.host.quota import Quota, Totals, Usage
from backuppeer.host.reader import DamagedPackError, PackReader
from backuppeer.host.rebuild import Reconciliation, reconcile, sweep_incoming
from backuppeer.host.removals import Removals
from backuppeer.host.scrub import Scrub
from backuppeer.host.site import check_site, free_bytes
from backuppeer.host.sweep import Sweep
from backuppeer.host.waivers import Waivers
from backuppeer.ids import AgreementId, PeerId, StoredId
from backuppeer.limits import FREE_DISK_FLOOR_BYTES, PACK_LIST_PAGE, PACK_TARGET_BYTES


class Store:
    """An open store. Made by `create_store` or `open_store`; `close` it.

    `quota`, `leases`, `heads`, `countersigning`, `removals`, `notices`, `waivers`, `endings`, `sweep`, `losses`,
    `budget`, `daily` and `scrub` are its other doors; `notes` are sentences for the host's human about what was found
    and repaired while opening; `missing` says how many packs of an agreement were gone then.
    """

    def __init__(
        self, layout: Layout, marker: Marker, *, presence: Presence, quota: Quota, write: Write, former: Former = ()
    ) -> None:
        self.directory = layout.root
        self.store_id = marker.store
        self.peer = marker.peer
        self.quota = quota
        self.notes: list[str] = []
        self.missing: Counter[AgreementId] = Counter()
        self._layout = layout
        self._presence = presence
        _make_folders(layout)
        self._catalogue, is_new = open_catalogue(layout.catalogue)
        self.leases = Leases(layout, self._catalogue, quota=quota, hosts=(marker.peer, *former))
        self.heads = Heads(layout, self.leases, presence, settle_drafts=self._catalogue.settle_drafts)
        self._graveyard = graveyard = Graveyard(self._catalogue)
        self.removals = Removals(layout, graveyard, leases=self.leases, heads=self.heads, presence=presence)
        self.countersigning = Countersigning(self.leases, self.heads)
        self.daily = Daily(self._catalogue)
        self.notices = Notices(
            layout, graveyard, leases=self.leases, signing=self.countersigning, daily=self.daily, presence=presence
        )
        self.endings = Endings(self.notices, self.removals, leases=self.leases, quota=quota, presence=presence)
        self.waivers = Waivers(layout, self.removals, self.notices, leases=self.leases, presence=presence)
        self.losses = Losses(
            layout, self._catalogue, self.removals, leases=self.leases, heads=self.heads, presence=presence, quota=quota
        )
        self.sweep = Sweep(layout, self._catalogue, self.removals, losses=self.losses, quota=quota, presence=presence)
        self.budget = AuditBudget(self._catalogue)
        self.scrub = Scrub(self._catalogue, self.losses, open_pack=self.open_pack, presence=presence)
        self._target = Target(layout=layout, catalogue=self._catalogue, write=write)
        try:
            self._load(is_new=is_new)
        except BaseException:
            self._catalogue.close()
            raise

    def close(self) -> None:
        """Close the catalogue and give the lock back. Packs being received are aborted by their threads."""
        self._catalogue.close()
        self._presence.close()

    def check_present(self) -> None:
        """Return if the folder is still the store that was opened.

        Raises:
            StoreUnavailable: unplugged, moved away, replaced or closed; close this object and open the store again.

        """
        self._presence.check()

    def receive(
        self, agreement: AgreementId, stored: StoredId, size: int, *, is_list: bool = False, is_draft: bool = False
    ) -> Incoming:
        """Reserve room for a pack of `size` bytes and return where its bytes go. Ask `has` first.

        `is_list`: it may take from the reserve for lists of snapshots and packs. `is_draft`: its owner says that no
        head names it yet, so it may be withdrawn until the next head is accepted.

        Raises:
            ProtocolViolation: an impossible id or size.
            NotFoundError: no such agreement.
            RefusedError: no room; the message says which limit and what is free now. Or it is here, and deleted.
            StoreUnavailable: the disk refuses.

        """
        check_agreement_id(agreement)
        check_stored_id(stored)
        if not 0 < size <= PACK_TARGET_BYTES:
            raise ProtocolViolation(f"a pack has 1 to {PACK_TARGET_BYTES} bytes, not {size}")
        self._presence.check()
        if self.notices.is_over(agreement):
            raise RefusedError("the agreement has ended", hint="agree with another host")
        if self._graveyard.is_deleted(agreement, stored):
            raise RefusedError("this pack was deleted and is kept for a while", hint="revive it instead of sending it")
        upon = self._find_head(agreement) if is_draft else None
        # Last: what is reserved is released by whoever takes the pack in.
        reservation = self.quota.reserve(agreement, size, is_list=is_list)
        name = secrets.token_hex(16) + PART_SUFFIX
        return Incoming(self._target, agreement, stored=stored, reservation=reservation, name=name, upon=upon)

    def _find_head(self, agreement: AgreementId) -> int | None:
        """Return what a draft is stored upon: asked before its first byte, so that a head that comes meanwhile counts.

        None for a damaged head: then it is a pack as any other.
        """
        try:
            return self.heads.name_held(agreement)[1]
        except DamagedStateError:
            return None

    def has(self, agreement: AgreementId, stored: StoredId) -> bool:
        """Return whether the pack is stored, durable, not deleted and, as far as is known, whole.

        Raises:
            StoreUnavailable: the disk is gone.

        """
        self._presence.check()
        is_alive = self._graveyard.is_alive(check_agreement_id(agreement), check_stored_id(stored))
        return is_alive and not self.losses.is_lost(agreement, stored)

    def keeps(self, agreement: AgreementId, stored: StoredId) -> bool:
        """Return whether `has`, and its file is there with its length; suspect it to be lost if not.

        Raises:
            StoreUnavailable: the disk is gone.

        """
        if not self.has(agreement, stored):
            return False
        try:
            self.open_pack(agreement, stored).close()
        except NotFoundError:
            return False  # erased just now
        except DamagedPackError:
            self.losses.suspect(agreement, [stored])
            return False
        return True

    def find_size(self, agreement: AgreementId, stored: StoredId) -> int | None:
        """Return the length of a stored pack in bytes, a deleted one too until it is erased; None when it isn't here.

        Raises:
            StoreUnavailable: the disk is gone.

        """
        self._presence.check()
        return self._catalogue.pack_size(check_agreement_id(agreement), check_stored_id(stored))

    def open_pack(self, agreement: AgreementId, stored: StoredId) -> PackReader:
        """Open a stored pack to stream ranges (`readinto`) and get Merkle paths; use it in a `with`.

        Raises:
            NotFoundError: not stored here.
            DamagedPackError: listed, but its file is gone, and it is listed no more; or it has another length.
            StoreUnavailable: the disk is gone or failing.

        """
        size = self.find_size(agreement, stored)
        if size is None:
            raise NotFoundError(f"no pack {stored.hex()} in agreement {agreement.hex()}")
        with translate_failures(self.directory):
            try:
                path = self._layout.pack(agreement, stored)
                return PackReader(path, root=self.directory, stored=stored, size=size)
            except FileNotFoundError as exc:
                self._presence.check()
                self._drop_gone(agreement, stored, size)
                raise DamagedPackError(
                    f"pack {stored.hex()} is gone from the disk", hint="who removes files from the store?"
                ) from exc

    def _drop_gone(self, agreement: AgreementId, stored: StoredId, size_bytes: int) -> None:
        """List a pack no more whose file is gone: so its owner sees the loss, and may bring it again."""
        with self.removals.lock, self.losses.lock:  # what a sweep erases right now is none
            is_gone = not self._layout.pack(agreement, stored).exists()
            if is_gone and self.removals.graveyard.is_alive(agreement, stored):
                is_counted = not self._catalogue.count_reported(agreement, [stored]).packs
                self.losses.suspect(agreement, [stored])
                self._catalogue.change_packs(agreement, add=(), drop=[stored])
                if is_counted:
                    self.quota.release(agreement, size_bytes, packs=1)

    def read(self, agreement: AgreementId, stored: StoredId, *, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes of a stored pack from `offset`, as they lie on the disk.

        Raises:
            NotFoundError, DamagedStateError, StoreUnavailable: as `open_pack`.
            ProtocolViolation: a range outside the pack.

        """
        with self.open_pack(agreement, stored) as reader:
            return reader.read(offset, length)

    def path(self, agreement: AgreementId, stored: StoredId, *, first_leaf: int, count: int) -> list[bytes]:
        """Return the Merkle path of `count` leaves from `first_leaf` on, as `proof.merkle.verify_range` takes it.

        Raises:
            NotFoundError, DamagedStateError, StoreUnavailable: as `open_pack`.
            ProtocolViolation: leaves outside the pack.

        """
        with self.open_pack(agreement, stored) as reader:
            return reader.path(first_leaf, count)

    def list_packs(self, agreement: AgreementId, *, after: bytes = b"", limit: int = PACK_LIST_PAGE) -> list[PackRow]:
        """Return a page of packs that are not deleted, in order of their ids, from the first id above `after` on.

        Never more than PACK_LIST_PAGE rows; fewer than `limit` (or than that) means there are no more. Packs stored
        meanwhile may appear on later pages; none is shown twice.

        Raises:
            NotFoundError: no such agreement.
            ProtocolViolation: an impossible cursor or limit.
            StoreUnavailable: the disk is gone.

        """
        if limit < 1 or len(after) > 32:
            raise ProtocolViolation("a page begins after an id of at most 32 bytes and has at least one row")
        self._presence.check()
        self.leases.get(agreement)
        return self._catalogue.list_packs(agreement, after, min(limit, PACK_LIST_PAGE))

    def usage(self, agreement: AgreementId) -> Usage:
        """Return how full an agreement is.

        Raises:
            NotFoundError: no such agreement.
            StoreUnavailable: the disk is gone.

        """
        return self.quota.usage(agreement)

    def totals(self) -> Totals:
        """Return how full the whole store is.

        Raises:
            StoreUnavailable: the disk is gone.

        """
        return self.quota.totals()

    def rebuild_catalogue(self, *, verify: bool = False) -> Reconciliation:
        """Correct the catalogue from the files; with `verify` hash every byte of every pack. Nothing may be arriving.

        Raises:
            LocalError: packs are being received.
            StoreUnavailable: the disk refuses.

        """
        self._presence.check()
        if self.quota.totals().reserved_bytes:
            raise LocalError("the catalogue can't be rebuilt while packs arrive")
        result = reconcile(self._layout, self._catalogue, verify=verify)
        self._count()
        return result

    def _load(self, *, is_new: bool) -> None:
        self.notes += self.leases.load()
        found = reconcile(self._layout, self._catalogue, verify=False)
        if is_new and found.added:
            self.notes.append(f"the catalogue was missing or damaged; it was rebuilt from {found.added} packs")
            found.added = 0
        self.notes += found.notes()
        self.missing = found.missing
        self.notes += self.removals.replay()
        self.notes += self.losses.replay()
        self.losses.note_absent()
        self.notes += self.notices.load()
        self.notes += self.waivers.load()
        self._count()
        self._count_days()

    def _count(self) -> None:
        counts = self._catalogue.count_packs()
        for agreement in {lease.agreement for lease in self.leases.list_all()} | counts.keys():
            packs, size_bytes = counts.get(agreement, (0, 0))
            self.quota.set_used(agreement, size_bytes, packs=packs)

    def _count_days(self) -> None:
        """Let the quota go on with the day that was counted before, by the store's age: a restart begins none."""
        for lease in self.leases.list_all():
            self.quota.restore_day(lease.agreement, *self.daily.today(lease.agreement, Counted.STORED))
        self.quota.now_s = self._graveyard.age_s
        self.quota.keep_day = self._keep_day

    def _keep_day(self, agreement: AgreementId, since_s: float, stored_bytes: int, stored_packs: int) -> None:
        # The pack is stored, whatever becomes of the count; a disk that can't be written refuses the next one.
        with suppress(StoreUnavailable):
            self.daily.put(agreement, Counted.STORED, Day(int(since_s), stored_bytes, stored_packs))


def _make_folders(layout: Layout) -> None:
    with translate_failures(layout.root):
        make_directory(layout.incoming)
        make_directory(layout.agreements)
        sweep_incoming(layout)


def create_store(
    directory: Path,
    peer: PeerId,
    *,
    floor_bytes: int = FREE_DISK_FLOOR_BYTES,
    offered_bytes: int | None = None,
    write: Write = write_all,
    former: Former = (),
) -> Store:
    """Make a folder (created if missing; its parent must exist) the store of `peer` and open it.

    A store of the same peer that is there already is simply opened.

    Raises:
        StoreUnavailable: a foreign store, a store that lost its marker, or a disk that refuses.
        UserError: no folder, or one with something else in it.

    """
    layout = Layout(directory)
    with translate_failures(directory):
        if not layout.marker.exists():
            check_site(layout)
            make_directory(directory)
            directory.chmod(PRIVATE_DIRECTORY)
            write_marker(layout.marker, peer)
            sync_directory(directory)
    return open_store(directory, peer, floor_bytes=floor_bytes, offered_bytes=offered_bytes, write=write, former=former)


def open_store(
    directory: Path,
    peer: PeerId,
    *,
    floor_bytes: int = FREE_DISK_FLOOR_BYTES,
    offered_bytes: int | None = None,
    write: Write = write_all,
    former: Former = (),
) -> Store:
    """Open the store of `peer` in a folder; needs a few seconds for each 100,000 packs when the disk is slow.

    `floor_bytes` of the disk stay free; `offered_bytes` caps the whole store; `write` is how bytes reach a descriptor.
    `former`: whose heir the peer is; agreements with them stand as they are until their owners follow (ADR 69).

    Raises:
        StoreUnavailable: no store there (unplugged, unmounted), a foreign one, one in use, or a disk that refuses.
        DamagedStateError: the catalogue was written by a newer version.

    """
    layout = Layout(directory)
    with translate_failures(directory):
        marker, descriptor = lock_marker(layout.marker, peer, former)
        presence = Presence(layout.marker, descriptor)
    quota = Quota(free_disk=lambda: free_bytes(directory), floor_bytes=floor_bytes, offered_bytes=offered_bytes)
    try:
        return Store(layout, marker, presence=presence, quota=quota, write=write, former=former)
    except BaseException:
        presence.close()
        raise
