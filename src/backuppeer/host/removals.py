"""What owners asked to be deleted, withdrawn, and revived: checked, kept as they signed it, done (ADR 22, 31).

Knows: the statements of `proof.removals`, their files, the rows of the catalogue. Must not know: sessions, when packs
are erased (sweep). Order: statement checked against agreement and head → file durable → rows → answer. A file whose
rows were lost is done again when the store is opened, so what was answered stands. The files are never removed: with
them a host answers the charge that it lost a pack. What a delete took of what there was is written down with it, so
that mass deletions are held twice as long (hold.py), also by a store that lost its catalogue.

The identity signs them, which every home of the owner has, one that was stolen or taken over too. So once the head
held here is of a later epoch than the first, the device that was granted must have signed as well (ADR 35).
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from backuppeer.errors import LocalError, PeerFault, RefusedError
from backuppeer.host.countersigning import refuse_other_machine
from backuppeer.host.disk import make_directory, replace_file, translate_failures
from backuppeer.host.graveyard import DeletedRow, Graveyard, NextFree
from backuppeer.host.heads import Heads
from backuppeer.host.hold import Alarm, Asked
from backuppeer.host.kept import Kept
from backuppeer.host.layout import Layout
from backuppeer.host.leases import Lease, Leases
from backuppeer.host.marker import Presence
from backuppeer.host.removal_file import RemovalFile, RemovalName, join_removal, parse_name, read_removal
from backuppeer.ids import AgreementId, PeerId, StoredId
from backuppeer.limits import PACK_LIST_PAGE, REMOVALS_LEAST_BYTES, REMOVALS_PER_AGREEMENT, REMOVALS_SHARE
from backuppeer.proof.removals import (
    NO_HEAD,
    PackDelete,
    PackRevive,
    PackWithdraw,
    Removal,
    check_countersigned,
    open_removal,
)
from backuppeer.proof.statements import statement_hash
from backuppeer.proof.writer import FIRST_EPOCH

_KINDS: Final[dict[str, type[Removal]]] = {"delete": PackDelete, "revive": PackRevive, "withdraw": PackWithdraw}


class Removals:
    """Deleted packs of one store. Thread-safe. Made by `open_store`."""

    def __init__(
        self, layout: Layout, graveyard: Graveyard, *, leases: Leases, heads: Heads, presence: Presence
    ) -> None:
        self._layout = layout
        self._leases, self._heads, self._presence = leases, heads, presence
        self.graveyard = graveyard
        self._numbers: dict[AgreementId, int] = {}
        """The last request that was kept, whatever became of its rows."""
        self._bytes: dict[AgreementId, int] = {}
        self.lock = threading.Lock()
        """Held while a delete or revive is done, and while packs are erased: a pack is revived before, or gone."""

    def delete(
        self, agreement: AgreementId, signed: bytes, packs: Sequence[StoredId], device_sig: bytes = b""
    ) -> tuple[list[StoredId], int]:
        """Delete packs; return those that this changed, and the seconds for which all named ones are kept.

        What is not here under this agreement, or deleted already, is passed over: a request may come twice. When this
        and what was asked within a week is a large part of the data, all of it is kept twice as long.
        `device_sig`: of the writing device over the same statement, 64 bytes; empty from owners of before.

        Raises:
            NotFoundError: no such agreement.
            AuthenticationFault: not signed by its owner, or not by the device that writes.
            ProtocolViolation: malformed, of another agreement, or about other packs.
            RefusedError: it names another head than the one held, lacks the device's signature, or is one too many.
            StoreUnavailable: the disk refuses; nothing was deleted, or it will be when the store is opened.

        """
        with self.lock:
            lease, said, kept = self._check(PackDelete, agreement, signed, packs, device_sig)
            deleted: list[StoredId] = []
            if any(self._is_alive(agreement, stored) for stored in packs):
                asked = self._measure(agreement, packs)
                number = self._keep("delete", lease, RemovalFile(kept, asked))
                deleted = self._do(lease, said, packs, number, asked)
            return deleted, self.graveyard.left_s(agreement, packs)

    def revive(
        self, agreement: AgreementId, signed: bytes, packs: Sequence[StoredId], device_sig: bytes = b""
    ) -> list[StoredId]:
        """Take deletes back that named an earlier head; return which of the packs are here and kept as any other.

        Raises:
            as `delete`.

        """
        with self.lock:
            lease, said, kept = self._check(PackRevive, agreement, signed, packs, device_sig)
            if not any(self.graveyard.is_deleted(agreement, stored) for stored in packs):
                return [stored for stored in packs if self._is_alive(agreement, stored)]
            number = self._keep("revive", lease, RemovalFile(kept))
            return self._do(lease, said, packs, number)

    def withdraw(
        self, agreement: AgreementId, signed: bytes, packs: Sequence[StoredId], device_sig: bytes = b""
    ) -> list[StoredId]:
        """Let the next sweep erase those of the packs that no head can name; return which those are.

        That are drafts, stored upon the head that is held now. All others are passed over: to delete them takes a lock.

        Raises:
            as `delete`.

        """
        with self.lock:
            lease, said, kept = self._check(PackWithdraw, agreement, signed, packs, device_sig)
            if not any(self.graveyard.is_draft(agreement, stored, said.number) for stored in packs):
                return []
            number = self._keep("withdraw", lease, RemovalFile(kept))
            return self._do(lease, said, packs, number)

    def find_drafts(self, agreement: AgreementId, packs: Sequence[StoredId]) -> list[StoredId]:
        """Return which of the packs `withdraw` would let go upon the head that is held now.

        Raises:
            NotFoundError: no such agreement.
            StoreUnavailable: the disk is gone.

        """
        self._presence.check()
        self._leases.get(agreement)
        number = self._heads.name_held(agreement)[1]
        return [stored for stored in packs if self.graveyard.is_draft(agreement, stored, number)]

    def last_number(self, agreement: AgreementId) -> int:
        """Return the number of the last request that was kept, 0 before the first.

        Raises:
            StoreUnavailable: the disk refuses.

        """
        self._presence.check()
        # A request whose rows could not be written counts from the moment it is kept: not later, when it is replayed.
        return max(self._numbers.get(agreement, 0), self.graveyard.last_removal(agreement))

    def list_deleted(self, agreement: AgreementId, *, after: bytes, limit: int) -> list[DeletedRow]:
        """Return a page of deleted packs in order of their ids, as `Store.list_packs` does of all others.

        Raises:
            NotFoundError: no such agreement.
            StoreUnavailable: the disk is gone.

        """
        self._presence.check()
        self._leases.get(agreement)
        return self.graveyard.list_deleted(agreement, after, min(limit, PACK_LIST_PAGE))

    def deleted_bytes(self, agreement: AgreementId | None = None) -> int:
        """Return what deleted packs, of one agreement or of all, still take."""
        return self.graveyard.deleted_bytes(agreement)

    def next_free(self, agreement: AgreementId | None = None) -> NextFree:
        """Return what is erased next, of one agreement or of all."""
        return self.graveyard.next_free(agreement)

    def spare_bytes(self, agreement: AgreementId) -> int:
        """Return how many bytes may be deleted now before all that was deleted within a week is held twice as long."""
        return self.graveyard.spare_bytes(agreement)

    def list_alarms(self) -> list[Alarm]:
        """Return the mass deletions that are not over, for the host's human."""
        return self.graveyard.list_alarms()

    def asked_ms(self, agreement: AgreementId, number: int) -> int:
        """Return when a delete was asked for, by the clock of this machine at that time; 0 when that is not known."""
        try:
            found = (self._layout.removals(agreement) / str(RemovalName(number, "delete"))).stat()
        except OSError:
            return 0
        return int(found.st_mtime * 1000)

    def signed(self, agreement: AgreementId) -> list[tuple[str, Kept]]:
        """Return kind and request of all that was asked, oldest first: what a host rebuts with.

        Raises:
            StoreUnavailable: the disk refuses.
            LocalError: one of the files is damaged.

        """
        with translate_failures(self._layout.root):
            return [(name.kind, read_removal(path, name.number).kept) for name, path in self._files(agreement)]

    def newest_delete(self, agreement: AgreementId, *, before: int) -> tuple[int, Kept] | None:
        """Return number and request of the newest delete numbered below `before` (0: of all); None: there is none.

        Raises:
            StoreUnavailable: the disk refuses.

        """
        self._presence.check()
        with translate_failures(self._layout.root):
            files = self._files(agreement)
        for name, path in reversed(files):
            if name.kind != "delete" or (before and name.number >= before):
                continue
            with translate_failures(self._layout.root), suppress(LocalError):
                return name.number, read_removal(path, name.number).kept
        return None

    def each_signed(self, agreement: AgreementId) -> Iterator[tuple[RemovalName, Kept]]:
        """Yield each request with its number and kind, oldest first, one in memory at a time; no damaged ones.

        Raises:
            StoreUnavailable: the disk refuses.

        """
        with translate_failures(self._layout.root):
            files = self._files(agreement)
        for name, path in files:
            kept = None
            with translate_failures(self._layout.root), suppress(LocalError):
                kept = read_removal(path, name.number).kept
            if kept is not None:
                yield name, kept

    def replay(self) -> list[str]:
        """Do again what the catalogue does not know, after a crash or without a catalogue; return notes.

        Locks then begin anew: how much of them was over is not written anywhere else.

        Raises:
            StoreUnavailable: the disk refuses.

        """
        notes: list[str] = []
        for lease in self._leases.list_all():
            known = self.graveyard.last_removal(lease.agreement)
            with translate_failures(self._layout.root):
                every = self._files(lease.agreement)
            self._numbers[lease.agreement] = every[-1][0].number if every else 0
            files = [file for file in every if file[0].number > known]
            for name, path in files:
                try:
                    with translate_failures(self._layout.root):
                        file = read_removal(path, name.number)
                    said = self._leases.open_by_line(lease, partial(_open, _KINDS[name.kind], lease, file.kept))
                except (PeerFault, LocalError) as exc:
                    # Fail closed: without the owner's word the packs are kept.
                    notes.append(f"a request to delete packs can't be read and is not followed: {path}: {exc}")
                    continue
                if file.asked is not None:
                    # The store was that old once: so windows are of the same requests as they were then.
                    self.graveyard.recall_age(file.asked.age_s)
                self._do(lease, said, file.kept.packs, name.number, file.asked)
        return notes

    def _measure(self, agreement: AgreementId, packs: Sequence[StoredId]) -> Asked:
        """Return what a delete takes of what there is; its number is that of the file."""
        graveyard = self.graveyard
        return Asked(0, graveyard.age_s(), graveyard.measure(agreement), graveyard.measure(agreement, packs))

    def _check(
        self, kind: type[Removal], agreement: AgreementId, signed: bytes, packs: Sequence[StoredId], device_sig: bytes
    ) -> tuple[Lease, Removal, Kept]:
        self._presence.check()
        lease, held = self._leases.get(agreement), self._heads.get(agreement)
        is_granted_anew = held is not None and held.head.epoch > FIRST_EPOCH
        grant = held.signed_grant if held is not None and is_granted_anew else b""
        kept = Kept(signed, tuple(packs), grant, device_sig if grant else b"")
        said = _open(kind, lease, kept, lease.owner)
        # The head of this moment, not just any that was held: so nothing old can be shown again, by whomever.
        name = NO_HEAD if held is None else (statement_hash(held.signed_head), held.head.number)
        if name != (said.head_hash, said.number):
            raise RefusedError(
                f"the request names head {said.number}, and {f'head {name[1]}' if name[1] else 'none'} is held",
                hint="it is made anew when the newest head has been left here",
            )
        return lease, said, kept

    def _is_alive(self, agreement: AgreementId, stored: StoredId) -> bool:
        return self.graveyard.is_alive(agreement, stored)

    def _do(
        self, lease: Lease, said: Removal, packs: Sequence[StoredId], number: int, asked: Asked | None = None
    ) -> list[StoredId]:
        agreement = lease.agreement
        if isinstance(said, PackWithdraw):
            return self.graveyard.withdraw(agreement, packs, head=said.number, removal=number)
        if isinstance(said, PackRevive):
            return self.graveyard.revive(agreement, packs, head=said.number, removal=number)
        # None: written by an earlier version, and measured only now, when the catalogue was lost.
        measured = (asked or self._measure(agreement, packs))._replace(number=number)
        return self.graveyard.delete(agreement, packs, measured, lock_s=lease.terms.lock_s, head=said.number)

    def _keep(self, kind: str, lease: Lease, file: RemovalFile) -> int:
        agreement, data = lease.agreement, join_removal(*file)
        with translate_failures(self._layout.root):
            files = self._files(agreement)
            if agreement not in self._bytes:
                self._bytes[agreement] = sum(path.stat().st_size for _, path in files)
            # They stay for good and count in no quota: tiny packs, named among ids of nothing, must not fill the disk.
            most_bytes = REMOVALS_LEAST_BYTES + lease.terms.size_bytes // REMOVALS_SHARE
            if len(files) >= REMOVALS_PER_AGREEMENT or self._bytes[agreement] + len(data) > most_bytes:
                raise RefusedError("too many requests to delete packs were made", hint="make a new agreement")
            number = files[-1][0].number + 1 if files else 1
            folder = self._layout.removals(agreement)
            make_directory(folder)
            # Durable before the rows and before the answer: the host must be able to show what it erased packs for.
            replace_file(folder / str(RemovalName(number, kind)), data)
            self._bytes[agreement] += len(data)
            self._numbers[agreement] = number
        return number

    def _files(self, agreement: AgreementId) -> list[tuple[RemovalName, Path]]:
        try:
            found = [
                (name, path) for path in self._layout.removals(agreement).iterdir() if (name := parse_name(path.name))
            ]
        except FileNotFoundError:
            self._presence.check()
            return []
        return sorted((name, path) for name, path in found if name is not None)


def _open(kind: type[Removal], lease: Lease, kept: Kept, owner: PeerId) -> Removal:
    """Return what a request says, having checked who signed it: the owner, and where there is a grant its device."""
    said = open_removal(kind, kept.signed, kept.packs, owner=owner, agreement=lease.agreement)
    if kept.grant and not kept.device_sig:
        raise refuse_other_machine()
    if kept.grant:
        check_countersigned(kind, kept.signed, kept.device_sig, grant=kept.grant, authority=lease.terms.authority)
    return said
