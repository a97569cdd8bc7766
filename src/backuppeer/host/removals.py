"""What owners asked to be deleted, withdrawn, and revived: checked, kept as they signed it, done (ADR 22, 31).

Knows: the statements of `proof.removals`, their files, the rows of the catalogue. Must not know: sessions, when packs
are erased (sweep). Order: statement checked against agreement and head → file durable → rows → answer. A file whose
rows were lost is done again when the store is opened, so what was answered stands. The files are never removed: with
them a host answers the charge that it lost a pack.

    <number>.delete|revive|withdraw = "BPREM01" 0x0A ‖ u32be(length) ‖ signed statement ‖ stored ids, 32 bytes each
"""

import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from backuppeer.errors import LocalError, PeerFault, RefusedError
from backuppeer.host.catalogue import DeletedRow, Graveyard
from backuppeer.host.disk import make_directory, replace_file, translate_failures
from backuppeer.host.heads import Heads
from backuppeer.host.layout import STORED_ID_BYTES, Layout
from backuppeer.host.leases import Lease, Leases
from backuppeer.host.marker import Presence
from backuppeer.ids import AgreementId, StoredId
from backuppeer.limits import (
    PACK_LIST_PAGE,
    REMOVAL_PACKS,
    REMOVALS_LEAST_BYTES,
    REMOVALS_PER_AGREEMENT,
    REMOVALS_SHARE,
    STATEMENT_BYTES,
)
from backuppeer.proof.removals import PackDelete, PackRevive, PackWithdraw, Removal, open_removal

_MAGIC: Final = b"BPREM01\n"
_NAME: Final = re.compile(r"([0-9]{8})\.(delete|revive|withdraw)")
_KINDS: Final[dict[str, type[Removal]]] = {"delete": PackDelete, "revive": PackRevive, "withdraw": PackWithdraw}
_FILE_BYTES: Final = 2 * STATEMENT_BYTES + REMOVAL_PACKS * STORED_ID_BYTES


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

    def delete(self, agreement: AgreementId, signed: bytes, packs: Sequence[StoredId]) -> tuple[list[StoredId], int]:
        """Delete packs; return those that this changed, and the seconds for which they are kept.

        What is not here under this agreement, or deleted already, is passed over: a request may come twice.

        Raises:
            NotFoundError: no such agreement.
            AuthenticationFault: not signed by its owner.
            ProtocolViolation: malformed, of another agreement, or about other packs.
            RefusedError: it names another head than the one held, or there were too many.
            StoreUnavailable: the disk refuses; nothing was deleted, or it will be when the store is opened.

        """
        with self.lock:
            lease, said = self._check(PackDelete, agreement, signed, packs)
            if not any(self._is_alive(agreement, stored) for stored in packs):
                return [], lease.terms.lock_s
            number = self._keep("delete", lease, signed, packs)
            return self._do(lease, said, packs, number), lease.terms.lock_s

    def revive(self, agreement: AgreementId, signed: bytes, packs: Sequence[StoredId]) -> list[StoredId]:
        """Take deletes back that named an earlier head; return which of the packs are here and kept as any other.

        Raises:
            as `delete`.

        """
        with self.lock:
            lease, said = self._check(PackRevive, agreement, signed, packs)
            if not any(self.graveyard.is_deleted(agreement, stored) for stored in packs):
                return [stored for stored in packs if self._is_alive(agreement, stored)]
            number = self._keep("revive", lease, signed, packs)
            return self._do(lease, said, packs, number)

    def withdraw(self, agreement: AgreementId, signed: bytes, packs: Sequence[StoredId]) -> list[StoredId]:
        """Let the next sweep erase those of the packs that no head can name; return which those are.

        That are drafts, stored upon the head that is held now. All others are passed over: to delete them takes a lock.

        Raises:
            as `delete`.

        """
        with self.lock:
            lease, said = self._check(PackWithdraw, agreement, signed, packs)
            if not any(self.graveyard.is_draft(agreement, stored, said.number) for stored in packs):
                return []
            number = self._keep("withdraw", lease, signed, packs)
            return self._do(lease, said, packs, number)

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

    def signed(self, agreement: AgreementId) -> list[tuple[str, bytes, list[StoredId]]]:
        """Return (kind, signed statement, packs) of all that was asked, oldest first: what a host rebuts with.

        Raises:
            StoreUnavailable: the disk refuses.
            LocalError: one of the files is damaged.

        """
        with translate_failures(self._layout.root):
            return [(kind, *self._read(path)) for _, kind, path in self._files(agreement)]

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
                kept = self._files(lease.agreement)
            self._numbers[lease.agreement] = kept[-1][0] if kept else 0
            files = [file for file in kept if file[0] > known]
            for number, kind, path in files:
                try:
                    with translate_failures(self._layout.root):
                        signed, packs = self._read(path)
                    said = open_removal(_KINDS[kind], signed, packs, owner=lease.owner, agreement=lease.agreement)
                except (PeerFault, LocalError) as exc:
                    # Fail closed: without the owner's word the packs are kept.
                    notes.append(f"a request to delete packs can't be read and is not followed: {path}: {exc}")
                    continue
                self._do(lease, said, packs, number)
        return notes

    def _check(
        self, kind: type[Removal], agreement: AgreementId, signed: bytes, packs: Sequence[StoredId]
    ) -> tuple[Lease, Removal]:
        self._presence.check()
        lease = self._leases.get(agreement)
        said = open_removal(kind, signed, packs, owner=lease.owner, agreement=agreement)
        held = self._heads.name_held(agreement)
        # The head of this moment, not just any that was held: so nothing old can be shown again, by whomever.
        if held != (said.head_hash, said.number):
            raise RefusedError(
                f"the request names head {said.number}, and {f'head {held[1]}' if held[1] else 'none'} is held",
                hint="it is made anew when the newest head has been left here",
            )
        return lease, said

    def _is_alive(self, agreement: AgreementId, stored: StoredId) -> bool:
        return self.graveyard.is_alive(agreement, stored)

    def _do(self, lease: Lease, said: Removal, packs: Sequence[StoredId], number: int) -> list[StoredId]:
        if isinstance(said, PackWithdraw):
            return self.graveyard.withdraw(lease.agreement, packs, head=said.number, removal=number)
        if isinstance(said, PackRevive):
            return self.graveyard.revive(lease.agreement, packs, head=said.number, removal=number)
        due_s = self.graveyard.age_s() + lease.terms.lock_s
        return self.graveyard.delete(lease.agreement, packs, due_s=due_s, head=said.number, removal=number)

    def _keep(self, kind: str, lease: Lease, signed: bytes, packs: Sequence[StoredId]) -> int:
        agreement, data = lease.agreement, _join(signed, packs)
        with translate_failures(self._layout.root):
            files = self._files(agreement)
            if agreement not in self._bytes:
                self._bytes[agreement] = sum(path.stat().st_size for _, _, path in files)
            # They stay for good and count in no quota: tiny packs, named among ids of nothing, must not fill the disk.
            most_bytes = REMOVALS_LEAST_BYTES + lease.terms.size_bytes // REMOVALS_SHARE
            if len(files) >= REMOVALS_PER_AGREEMENT or self._bytes[agreement] + len(data) > most_bytes:
                raise RefusedError("too many requests to delete packs were made", hint="make a new agreement")
            number = files[-1][0] + 1 if files else 1
            folder = self._layout.removals(agreement)
            make_directory(folder)
            # Durable before the rows and before the answer: the host must be able to show what it erased packs for.
            replace_file(folder / f"{number:08d}.{kind}", data)
            self._bytes[agreement] += len(data)
            self._numbers[agreement] = number
        return number

    def _files(self, agreement: AgreementId) -> list[tuple[int, str, Path]]:
        try:
            found = [(match, path) for path in self._layout.removals(agreement).iterdir() if (match := _match(path))]
        except FileNotFoundError:
            self._presence.check()
            return []
        return sorted((int(match[1]), match[2], path) for match, path in found)

    def _read(self, path: Path) -> tuple[bytes, list[StoredId]]:
        with path.open("rb") as file:
            data = file.read(_FILE_BYTES + 1)
        try:
            return _split(data)
        except ValueError as exc:
            raise LocalError(f"{path} is no request to delete packs") from exc


def _join(signed: bytes, packs: Sequence[StoredId]) -> bytes:
    return _MAGIC + len(signed).to_bytes(4, "big") + signed + b"".join(packs)


def _split(data: bytes) -> tuple[bytes, list[StoredId]]:
    """Return what `_join` joined; ValueError for anything else."""
    start = len(_MAGIC) + 4
    end = start + int.from_bytes(data[len(_MAGIC) : start], "big")
    ids = data[end:]
    if not data.startswith(_MAGIC) or not ids or len(ids) % STORED_ID_BYTES or len(data) > _FILE_BYTES:
        raise ValueError
    return data[start:end], [StoredId(ids[at : at + STORED_ID_BYTES]) for at in range(0, len(ids), STORED_ID_BYTES)]


def _match(path: Path) -> re.Match[str] | None:
    return _NAME.fullmatch(path.name)
