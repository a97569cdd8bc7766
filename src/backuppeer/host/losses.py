"""Packs that this host lost or whose bytes its disk spoiled: looked at again, signed for, and kept for their owner.

Knows: the reports (`proof.custody`), their files, the rows of what is lost. Must not know: sessions, who found it out.
Order: suspected (a row, number 0) → read whole once more, from the disk → report durable → row. Killed in between, the
suspicion stays, or the file is found when the store is opened. What turns out to be whole is no loss; neither is what
its owner asked to remove. A disk that is away, or that can't be read, is no loss either: it may come back.

    losses/<number>  "BPLOSS1" 0x0A ‖ u32be(length) ‖ signed report ‖ stored ids, 32 bytes each

The files can't be made again from anything, as they are signed and were perhaps shown: they are never removed. The file
of a damaged pack stays for LOSS_KEPT_S, or the lock if that is longer, as most ranges of it may be good; a new upload
replaces it. It counts as used no more: its owner needs the room to send again what was in it.
"""

import re
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import BackupPeerError, LocalError, PeerFault, StoreUnavailable
from backuppeer.host.catalogue import Catalogue, Count, PackRow, count_reported
from backuppeer.host.disk import make_directory, replace_file, translate_failures
from backuppeer.host.heads import Heads
from backuppeer.host.layout import STORED_ID_BYTES, Layout
from backuppeer.host.leases import Leases
from backuppeer.host.marker import Presence
from backuppeer.host.quota import Quota
from backuppeer.host.reader import DamagedPackError, PackReader
from backuppeer.host.removals import Removals
from backuppeer.ids import AgreementId, StoredId
from backuppeer.limits import (
    ACK_PACKS,
    LOSS_KEPT_S,
    LOSS_REPORTS_PER_AGREEMENT,
    LOSS_RETRY_S,
    LOSSES_SETTLED_AT_ONCE,
    PACK_TARGET_BYTES,
    STATEMENT_BYTES,
)
from backuppeer.proof.case import open_by_any
from backuppeer.proof.custody import LossCause, LossReport, open_packs, sign_loss

_MAGIC: Final = b"BPLOSS1\n"
_NAME: Final = re.compile(r"[0-9]{8}")
_FILE_BYTES: Final = 2 * STATEMENT_BYTES + ACK_PACKS * STORED_ID_BYTES
_SPOILED: Final = """
    SELECT p.stored, p.size FROM lost l JOIN packs p ON p.agreement = l.agreement AND p.stored = l.stored
    WHERE l.agreement = ? AND l.number > 0 AND l.age_s <= (SELECT age_s FROM ages) - ? AND p.due_s IS NULL LIMIT ?
"""


class KeptReport(NamedTuple):
    """A report as it was signed: its number here, from 1 on, when that was, and the packs that it is about."""

    number: int
    signed: bytes
    packs: tuple[StoredId, ...]
    time_ms: int


class LossCount(NamedTuple):
    """How many packs of an agreement were reported since a time and are still lost; `time_ms`: of the last report."""

    agreement: AgreementId
    packs: int
    time_ms: int


class Losses:
    """What is lost of one store. Thread-safe. Made by `open_store`."""

    def __init__(
        self,
        layout: Layout,
        catalogue: Catalogue,
        removals: Removals,
        *,
        leases: Leases,
        heads: Heads,
        presence: Presence,
        quota: Quota,
    ) -> None:
        self._layout, self._catalogue, self._quota = layout, catalogue, quota
        self._leases, self._heads, self._removals, self._presence = leases, heads, removals, presence
        self.lock = threading.Lock()
        """Held while suspects are looked at and reported: who takes packs off the list meanwhile would count twice."""
        self._retry_ms: dict[AgreementId, int] = {}
        self._absent: frozenset[AgreementId] = frozenset()

    def suspect(self, agreement: AgreementId, packs: Iterable[StoredId]) -> None:
        """Note that packs may be lost; `settle` finds out.

        Raises:
            StoreUnavailable: the disk refuses.

        """
        self._catalogue.suspect(agreement, packs)

    def clear(self, agreement: AgreementId, stored: StoredId) -> None:
        """Note that a pack is whole."""

        def act(db: sqlite3.Connection) -> Count:
            uncounted = count_reported(db, agreement, [stored])
            db.execute("DELETE FROM lost WHERE agreement = ? AND stored = ?", (agreement, stored))
            return uncounted

        uncounted = self._catalogue.run(act)
        self._quota.put_back(agreement, uncounted.size_bytes, packs=uncounted.packs)

    def is_lost(self, agreement: AgreementId, stored: StoredId) -> bool:
        """Return whether a pack is lost, or suspected to be."""
        sql = "SELECT 1 FROM lost WHERE agreement = ? AND stored = ?"
        return self._catalogue.run(lambda db: db.execute(sql, (agreement, stored)).fetchone()) is not None

    def list_suspected(self) -> list[AgreementId]:
        """Return the agreements that have something to settle."""
        sql = "SELECT DISTINCT agreement FROM lost WHERE number = 0"
        rows = self._catalogue.run(lambda db: db.execute(sql).fetchall())
        return [AgreementId(row[0]) for row in rows]

    def count_since(self, time_ms: int) -> list[LossCount]:
        """Return what was reported since then and is still lost."""
        sql = "SELECT agreement, COUNT(*), MAX(time_ms) FROM lost WHERE number > 0 AND time_ms >= ? GROUP BY agreement"
        rows = self._catalogue.run(lambda db: db.execute(sql, (time_ms,)).fetchall())
        return [LossCount(AgreementId(agreement), int(packs), int(last)) for agreement, packs, last in rows]

    def list_spoiled(self) -> list[tuple[AgreementId, PackRow]]:
        """Return packs that were reported long ago, lie here still, and are read again in vain; a few at a time.

        Raises:
            StoreUnavailable: the disk is gone.

        """
        spoiled = []
        for agreement in self._list_aged():
            for row in self._list_kept(agreement):
                with self._unless_unreadable():
                    if self._look_again(agreement, row.stored) is None:
                        self.clear(agreement, row.stored)
                    else:
                        spoiled.append((agreement, row))
        return spoiled

    def settle(
        self, agreement: AgreementId, *, signer: SigningKey, now_ms: int, may_return: bool = False
    ) -> list[StoredId]:
        """Look at up to LOSSES_SETTLED_AT_ONCE suspects again, report those that are lost, durably; return these.

        `may_return`: the store was opened a moment ago; of agreements that lacked packs then, what is not there may
        come yet, and stays suspected.

        After a failure nothing is tried for LOSS_RETRY_S: an owner who asks on and on must not have all read each time.

        Raises:
            StoreUnavailable: the disk is gone, or can't be written: what is left stays suspected.
            DamagedStateError: the head that is held can't be read, so nothing can be signed.
            LocalError: there are too many reports.

        """
        if 0 < self._retry_ms.get(agreement, 0) - now_ms <= LOSS_RETRY_S * 1000:
            return []
        try:
            return self._settle(agreement, signer=signer, now_ms=now_ms, may_return=may_return)
        except BackupPeerError:
            self._retry_ms[agreement] = now_ms + LOSS_RETRY_S * 1000
            raise

    def _settle(self, agreement: AgreementId, *, signer: SigningKey, now_ms: int, may_return: bool) -> list[StoredId]:
        sql = "SELECT stored FROM lost WHERE agreement = ? AND number = 0 LIMIT ?"
        with self.lock:
            rows = self._catalogue.run(lambda db: db.execute(sql, (agreement, LOSSES_SETTLED_AT_ONCE)).fetchall())
            suspects = {StoredId(stored) for (stored,) in rows}
            removed = self._list_removed(agreement, suspects)
            causes: defaultdict[LossCause, list[StoredId]] = defaultdict(list)
            for stored in sorted(suspects):
                with self._unless_unreadable():
                    cause = None if stored in removed else self._look_again(agreement, stored)
                    if cause is None:
                        self.clear(agreement, stored)
                    elif cause is not LossCause.MISSING or not may_return or agreement not in self._absent:
                        causes[cause].append(stored)
            for cause, packs in causes.items():
                self._report(agreement, packs, cause, signer=signer, now_ms=now_ms)
        return [stored for packs in causes.values() for stored in packs]

    def list_reports(self, agreement: AgreementId, *, after: int, limit: int) -> tuple[list[KeptReport], bool]:
        """Return up to `limit` reports with numbers above `after`, ascending, and whether there are more.

        One whose file is damaged is passed over.

        Raises:
            StoreUnavailable: the disk refuses.

        """
        self._presence.check()
        later = [(number, path) for number, path in self._files(agreement) if number > after]
        reports: list[KeptReport] = []
        for number, path in later:
            if len(reports) == limit:
                return reports, True
            report = self._read(agreement, number, path)
            reports += [] if report is None else [report]
        return reports, False

    def replay(self) -> list[str]:
        """Note again what the catalogue does not know of, after a crash or without a catalogue; return notes.

        Raises:
            StoreUnavailable: the disk refuses.

        """
        notes: list[str] = []
        for lease in self._leases.list_all():
            agreement = lease.agreement
            known = self._last_known(agreement)
            for number, path in self._files(agreement):
                if number > known and (report := self._read(agreement, number, path)) is not None:
                    lost = self._still_lost(agreement, report.packs)
                    self.suspect(agreement, lost)
                    self._note(agreement, number, lost, report.time_ms)  # the quotas are set after this
                elif number > known:
                    notes.append(f"a report of lost packs is damaged, and told nobody any more: {path}")
        return notes

    def note_absent(self) -> None:
        """Note which agreements lack packs as the store is opened."""
        self._absent = frozenset(self.list_suspected())

    # --- looking
    def _look_again(self, agreement: AgreementId, stored: StoredId) -> LossCause | None:
        """Return why a pack is lost, None when it is whole."""
        path = self._layout.pack(agreement, stored)
        with translate_failures(self._layout.root):
            try:
                size = path.stat(follow_symlinks=False).st_size
                if not 0 < size <= PACK_TARGET_BYTES:
                    return LossCause.DAMAGED
                with PackReader(path, root=self._layout.root, stored=stored, size=size) as reader:
                    reader.verify()
            except FileNotFoundError:
                # Of a store that is away nothing is lost.
                self._presence.check()
                return LossCause.MISSING
            except DamagedPackError:
                self._presence.check()
                return LossCause.DAMAGED
        return None

    @contextmanager
    def _unless_unreadable(self) -> Iterator[None]:
        """Leave a pack that can't be read for later, so that the others don't wait for it.

        Raises:
            StoreUnavailable: it is all of the store.

        """
        try:
            yield
        except StoreUnavailable:
            self._presence.check()

    def _list_removed(self, agreement: AgreementId, packs: set[StoredId]) -> set[StoredId]:
        """Return those of the packs of which the owner's last word was to remove them.

        From the files: rows of the catalogue may come back after a power cut, and packs seem lost that were erased.
        """
        graveyard = self._removals.graveyard
        removed = {stored for stored in packs if graveyard.is_deleted(agreement, stored)}
        for name, kept in self._removals.each_signed(agreement) if packs else ():
            named = packs.intersection(kept.packs)
            removed = removed - named if name.kind == "revive" else removed | named
        return removed

    def _still_lost(self, agreement: AgreementId, packs: Sequence[StoredId]) -> list[StoredId]:
        """Return those of an old report that were not stored again since; what can't be read is not taken for whole."""
        whole = set()
        for stored in packs:
            with self._unless_unreadable():
                whole |= {stored} if self._look_again(agreement, stored) is None else set()
        return [stored for stored in packs if stored not in whole]

    # --- reports
    def _report(
        self, agreement: AgreementId, packs: list[StoredId], cause: LossCause, *, signer: SigningKey, now_ms: int
    ) -> None:
        files = self._files(agreement)
        if len(files) >= LOSS_REPORTS_PER_AGREEMENT:
            raise LocalError(
                f"there are {LOSS_REPORTS_PER_AGREEMENT} reports of losses already",
                hint="replace the disk of the store",
            )
        # Last: whatever the owner asked for before this is excused by its number (ADR 36).
        standing = self._heads.name_standing(agreement)
        signed = sign_loss(packs, signer, standing=standing, cause=cause, time_ms=now_ms)
        number = files[-1][0] + 1 if files else 1
        folder = self._layout.losses(agreement)
        with translate_failures(self._layout.root):
            make_directory(folder)
            # Durable before anybody is told: what a host said once it says again.
            replace_file(folder / f"{number:08d}", join_report(signed, packs))
        uncounted = self._note(agreement, number, packs, now_ms)
        self._quota.release(agreement, uncounted.size_bytes, packs=uncounted.packs)

    def _note(self, agreement: AgreementId, number: int, packs: list[StoredId], time_ms: int) -> Count:
        """Write down that suspects were reported; return what so is counted no more. Not what came again meanwhile."""
        sql = (
            "UPDATE lost SET number = ?, time_ms = ?, age_s = (SELECT age_s FROM ages)"
            " WHERE agreement = ? AND stored = ?"
        )

        def act(db: sqlite3.Connection) -> Count:
            with db:
                db.execute("BEGIN")
                db.executemany(sql, [(number, time_ms, agreement, stored) for stored in packs])
                db.execute("INSERT OR REPLACE INTO reports VALUES (?, ?)", (agreement, number))
                return count_reported(db, agreement, packs)

        return self._catalogue.run(act)

    def _list_aged(self) -> list[AgreementId]:
        sql = "SELECT DISTINCT agreement FROM lost WHERE number > 0 AND age_s <= (SELECT age_s FROM ages) - ?"
        rows = self._catalogue.run(lambda db: db.execute(sql, (LOSS_KEPT_S,)).fetchall())
        return [AgreementId(row[0]) for row in rows]

    def _list_kept(self, agreement: AgreementId) -> list[PackRow]:
        """Return packs of which only spoiled bytes were kept, for as long as a deleted one is kept at least."""
        lease = self._leases.find(agreement)
        kept_s = max(LOSS_KEPT_S, lease.terms.lock_s if lease else 0)
        values = (agreement, kept_s, LOSSES_SETTLED_AT_ONCE)
        rows = self._catalogue.run(lambda db: db.execute(_SPOILED, values).fetchall())
        return [PackRow(StoredId(stored), int(size)) for stored, size in rows]

    def _last_known(self, agreement: AgreementId) -> int:
        sql = "SELECT number FROM reports WHERE agreement = ?"
        row = self._catalogue.run(lambda db: db.execute(sql, (agreement,)).fetchone())
        return int(row[0]) if row else 0

    def _files(self, agreement: AgreementId) -> list[tuple[int, Path]]:
        with translate_failures(self._layout.root):
            try:
                found = list(self._layout.losses(agreement).iterdir())
            except FileNotFoundError:
                self._presence.check()
                return []
        return sorted((int(path.name), path) for path in found if _NAME.fullmatch(path.name))

    def _read(self, agreement: AgreementId, number: int, path: Path) -> KeptReport | None:
        with translate_failures(self._layout.root), path.open("rb") as file:
            data = file.read(_FILE_BYTES + 1)
        try:
            signed, packs = split_report(data)
            names = self._leases.names(self._leases.get(agreement))
            said = open_by_any(
                names[::-1], lambda host: open_packs(LossReport, signed, packs, host=host, agreement=agreement)
            )
        except (ValueError, PeerFault):
            return None  # spoiled by the disk: nobody would believe it
        return KeptReport(number, signed, packs, said.time_ms)


def join_report(signed: bytes, packs: Iterable[StoredId]) -> bytes:
    """Return the bytes of a file."""
    return _MAGIC + len(signed).to_bytes(4, "big") + signed + b"".join(packs)


def split_report(data: bytes) -> tuple[bytes, tuple[StoredId, ...]]:
    """Return what `join_report` joined.

    Raises:
        ValueError: it is anything else.

    """
    start = len(_MAGIC) + 4
    end = start + int.from_bytes(data[len(_MAGIC) : start], "big")
    ids = data[end:]
    if not data.startswith(_MAGIC) or len(data) > _FILE_BYTES or not ids or len(ids) % STORED_ID_BYTES:
        raise ValueError
    packs = (StoredId(ids[at : at + STORED_ID_BYTES]) for at in range(0, len(ids), STORED_ID_BYTES))
    return data[start:end], tuple(packs)
