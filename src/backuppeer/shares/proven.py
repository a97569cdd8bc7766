"""What hosts have proven, owe a proof of, and have signed about it: the memory of audits (ADR 43).

Knows: its own tables. Must not know: hosts' answers, what is asked for when (`sampling`), what a charge is. Signed
bytes are kept as they came; who puts them here has checked them.

Losing the file costs questions, never data: acknowledgements are asked for anew, what was proven has to be proven
again, and a host that owed an answer gets its day once more. So all commits are `synchronous=NORMAL`: a power cut may
cost the last rows, never consistency. Growth is bounded: a row for each pack that lies with a host, one acknowledgement
for 1,024 of them, and caps for all else. One connection, one lock; thread-safe.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from backuppeer.db import open_database, translating
from backuppeer.errors import LocalError
from backuppeer.ids import AgreementId, LogicalId, StoredId
from backuppeer.limits import AUDIT_PENDING, AUDIT_RECEIPTS, PROOF_AGREEMENTS
from backuppeer.proof.audits import Sample
from backuppeer.shares.accounts import SCHEMA, Account, Ack, Coverage, KeptHead, Owed
from backuppeer.shares.copies import Copy

_TABLES: Final = ("packs", "acks", "pending", "receipts", "terms", "accounts")
_OF: Final = "number = (SELECT number FROM accounts WHERE agreement = ?)"
_STORED_BYTES: Final = 32


class Proven:
    """The database at `path`; `close` when done."""

    def __init__(self, path: Path) -> None:
        """Open or create it.

        Raises:
            DamagedStateError: not a database of ours, or of a newer version.

        """
        self._path = path
        self._lock = threading.Lock()
        with self._translated():
            self._connection = open_database(path, SCHEMA, synchronous="NORMAL")

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._connection.close()

    # how it stands
    def account(self, agreement: AgreementId) -> Account | None:
        """Return how audits under an agreement stand; None: there was none yet."""
        sql = (
            "SELECT agreement, seed, day, bulk_cycle, due_ms, failures, heard_ms, good_ms, reports, fault, fault_ms,"
            " is_mute FROM accounts WHERE agreement = ?"
        )
        rows = self._fetch(sql, agreement)
        if not rows:
            return None
        _, seed, day, bulk_cycle, due_ms, failures, heard_ms, good_ms, reports, fault, fault_ms, is_mute = rows[0]
        return Account(
            agreement=agreement,
            seed=bytes(seed),
            day=int(day),
            bulk_cycle=int(bulk_cycle),
            due_ms=int(due_ms),
            failures=int(failures),
            heard_ms=int(heard_ms),
            good_ms=int(good_ms),
            reports=int(reports),
            fault=str(fault),
            fault_ms=int(fault_ms),
            is_mute=bool(is_mute),
        )

    def write(self, account: Account) -> None:
        """Note how an account stands now; a new one is begun.

        Raises:
            LocalError: a disk that refuses.

        """
        sql = (
            "INSERT INTO accounts (agreement, seed, day, bulk_cycle, due_ms, failures, heard_ms, good_ms, reports,"
            " fault, fault_ms, is_mute) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (agreement) DO UPDATE"
            " SET day = excluded.day, bulk_cycle = excluded.bulk_cycle, due_ms = excluded.due_ms,"
            " failures = excluded.failures, heard_ms = excluded.heard_ms, good_ms = excluded.good_ms,"
            " reports = excluded.reports, fault = excluded.fault, fault_ms = excluded.fault_ms,"
            " is_mute = excluded.is_mute"
        )
        a = account
        row = (a.agreement, a.seed, a.day, a.bulk_cycle, a.due_ms, a.failures, a.heard_ms, a.good_ms, a.reports)
        with self._transaction() as connection:
            connection.execute(sql, (*row, a.fault, a.fault_ms, a.is_mute))

    def drop_agreements(self, kept: Iterable[AgreementId]) -> None:
        """Forget all of the agreements that are not among `kept`: they are over."""
        names = {bytes(name) for name in kept}
        with self._transaction() as connection:
            rows = connection.execute("SELECT number, agreement FROM accounts").fetchall()
            gone = [(number,) for number, agreement in rows if bytes(agreement) not in names]
            for table in _TABLES:
                connection.executemany(f"DELETE FROM {table} WHERE number = ?", gone)  # noqa: S608 - names above

    # packs
    def take_in(self, agreement: AgreementId, copies: Sequence[Copy], round_ms: int) -> list[StoredId]:
        """Note of some copies (a page, PAGE_ROWS) that they lie there; return those that are not acknowledged.

        `round_ms`: names the walk over all copies that this is part of, see `sweep`.
        """
        upsert = (
            f"INSERT INTO packs (number, stored, size, seen) SELECT number, ?, ?, ? FROM accounts WHERE {_OF}"  # noqa: S608 - a constant
            " ON CONFLICT (number, stored) DO UPDATE SET seen = excluded.seen, size = excluded.size"
        )
        marks = ",".join("?" * len(copies))
        ids = [copy.stored for copy in copies]
        with self._transaction() as connection:
            connection.executemany(upsert, ((c.stored, c.size, round_ms, agreement) for c in copies))
            sql = f"SELECT stored FROM packs WHERE {_OF} AND ack = 0 AND stored IN ({marks})"  # noqa: S608 - only question marks
            found = {bytes(row[0]) for row in connection.execute(sql, (agreement, *ids))}
        return [stored for stored in ids if bytes(stored) in found]

    def sweep(self, agreement: AgreementId, round_ms: int) -> None:
        """Forget the packs that the walk `round_ms` did not come by, and acknowledgements of such packs alone."""
        with self._transaction() as connection:
            connection.execute(f"DELETE FROM packs WHERE {_OF} AND seen != ?", (agreement, round_ms))  # noqa: S608 - a constant
            connection.execute("DELETE FROM acks WHERE NOT EXISTS (SELECT 1 FROM packs WHERE packs.ack = acks.ack)")

    def keep_ack(self, agreement: AgreementId, ack: Ack) -> None:
        """Keep an acknowledgement of packs that were taken in."""
        mark = f"UPDATE packs SET ack = ? WHERE {_OF} AND stored = ?"  # noqa: S608 - a constant
        with self._transaction() as connection:
            number = self._number(connection, agreement)
            row = (number, ack.head, ack.signed, b"".join(ack.packs))
            sql = "INSERT INTO acks (number, head, signed, packs) VALUES (?, ?, ?, ?)"
            made = connection.execute(sql, row).lastrowid
            connection.executemany(mark, ((made, agreement, stored) for stored in ack.packs))

    def ack_of(self, agreement: AgreementId, stored: StoredId) -> Ack | None:
        """Return the acknowledgement of a pack."""
        sql = f"SELECT head, signed, packs FROM acks WHERE ack = (SELECT ack FROM packs WHERE {_OF} AND stored = ?)"  # noqa: S608 - a constant
        rows = self._fetch(sql, agreement, stored)
        if not rows:
            return None
        head, signed, packs = rows[0]
        ids = bytes(packs)
        cut = tuple(StoredId(ids[at : at + _STORED_BYTES]) for at in range(0, len(ids), _STORED_BYTES))
        return Ack(int(head), bytes(signed), cut)

    def note_proven(self, agreement: AgreementId, packs: Iterable[StoredId], now_ms: int) -> None:
        """Note that a part of each of these packs was shown as it should be."""
        sql = f"UPDATE packs SET proven_ms = ? WHERE {_OF} AND stored = ?"  # noqa: S608 - a constant
        with self._transaction() as connection:
            connection.executemany(sql, ((now_ms, agreement, stored) for stored in packs))

    def disown(self, agreement: AgreementId, packs: Iterable[StoredId]) -> None:
        """Forget of packs that they were acknowledged and shown: stored again, they have to be acknowledged again."""
        sql = f"UPDATE packs SET ack = 0, proven_ms = 0 WHERE {_OF} AND stored = ?"  # noqa: S608 - a constant
        with self._transaction() as connection:
            connection.executemany(sql, ((agreement, stored) for stored in packs))

    def proven_ms(self, agreement: AgreementId, stored: StoredId) -> int:
        """Return when a part of a pack was last shown as it should be; 0: never."""
        rows = self._fetch(f"SELECT proven_ms FROM packs WHERE {_OF} AND stored = ?", agreement, stored)  # noqa: S608 - a constant
        return int(rows[0][0]) if rows else 0

    def cover(self, agreement: AgreementId, since_ms: int) -> Coverage:
        """Return how much of what lies there was proven since a time."""
        sql = (
            "SELECT SUM(size), SUM(size) FILTER (WHERE proven_ms >= ?), COUNT(*), COUNT(*) FILTER (WHERE ack > 0)"  # noqa: S608 - a constant
            f" FROM packs WHERE {_OF}"
        )
        size, proven, packs, acked = self._fetch(sql, since_ms, agreement)[0]
        return Coverage(int(size or 0), int(proven or 0), int(packs), int(acked))

    def stale(self, agreement: AgreementId, before_ms: int, *, limit: int) -> set[StoredId]:
        """Return packs of which nothing was shown since a time, the longest first, of those never shown the large."""
        sql = f"SELECT stored FROM packs WHERE {_OF} AND proven_ms < ? ORDER BY proven_ms, size DESC, stored LIMIT ?"  # noqa: S608 - a constant
        return {StoredId(bytes(row[0])) for row in self._fetch(sql, agreement, before_ms, limit)}

    # what is owed
    def owed(self, agreement: AgreementId) -> list[Owed]:
        """Return the samples that were not shown, the longest owed first."""
        sql = (
            "SELECT logical, stored, first_leaf, leaves, challenge, first_ms, last_ms, times, is_alone FROM pending"  # noqa: S608 - a constant
            f" WHERE {_OF} ORDER BY first_ms, stored, first_leaf"
        )
        return [
            Owed(
                LogicalId(bytes(logical)),
                Sample(StoredId(bytes(stored)), int(first), int(leaves)),
                bytes(challenge),
                int(first_ms),
                int(last_ms),
                int(times),
                bool(is_alone),
            )
            for logical, stored, first, leaves, challenge, first_ms, last_ms, times, is_alone in self._fetch(
                sql, agreement
            )
        ]

    def owe(self, agreement: AgreementId, rows: Iterable[Owed]) -> None:
        """Note samples that were not shown, or how they stand now; beyond AUDIT_PENDING the later ones are let go."""
        with self._transaction() as connection:
            number = self._number(connection, agreement)
            connection.executemany(
                "INSERT OR REPLACE INTO pending (number, stored, first_leaf, leaves, logical, challenge, first_ms,"
                " last_ms, times, is_alone) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    (number, *o.sample_key, o.logical, o.challenge, o.first_ms, o.last_ms, o.times, o.is_alone)
                    for o in rows
                ),
            )
            # A host that answers nothing for weeks fills no disk; what is owed for longest is what counts.
            keep = "SELECT stored, first_leaf, leaves FROM pending WHERE number = ? ORDER BY first_ms LIMIT ?"
            connection.execute(
                f"DELETE FROM pending WHERE number = ? AND (stored, first_leaf, leaves) NOT IN ({keep})",  # noqa: S608 - a constant
                (number, number, AUDIT_PENDING),
            )

    def settle(self, agreement: AgreementId, samples: Iterable[Sample]) -> None:
        """Note that samples are owed no more: they were shown, count as lost, or are wanted no more."""
        sql = f"DELETE FROM pending WHERE {_OF} AND stored = ? AND first_leaf = ? AND leaves = ?"  # noqa: S608 - a constant
        with self._transaction() as connection:
            connection.executemany(sql, ((agreement, s.stored, s.first_leaf, s.leaves) for s in samples))

    # what was signed
    def keep_head(self, agreement: AgreementId, kept: KeptHead) -> None:
        """Keep a countersigned head whole; of more than AUDIT_RECEIPTS the oldest go."""
        with self._transaction() as connection:
            number = self._number(connection, agreement)
            connection.execute(
                "INSERT OR IGNORE INTO receipts (number, head_number, receipt, head, authority_grant)"
                " VALUES (?, ?, ?, ?, ?)",
                (number, kept.number, kept.receipt, kept.head, kept.grant),
            )
            connection.execute(
                "DELETE FROM receipts WHERE number = ? AND rowid NOT IN"
                " (SELECT rowid FROM receipts WHERE number = ? ORDER BY head_number DESC LIMIT ?)",
                (number, number, AUDIT_RECEIPTS),
            )

    def heads(self, agreement: AgreementId) -> list[KeptHead]:
        """Return the countersigned heads that are kept, in ascending order of number."""
        sql = f"SELECT head_number, receipt, head, authority_grant FROM receipts WHERE {_OF} ORDER BY head_number"  # noqa: S608 - a constant
        rows = self._fetch(sql, agreement)
        return [
            KeptHead(int(number), bytes(receipt), bytes(head), bytes(grant)) for number, receipt, head, grant in rows
        ]

    def keep_terms(self, agreement: AgreementId, name: bytes, signed: bytes) -> None:
        """Keep a co-signed revision of the agreement by its hash; of more than a proof may hold the oldest go."""
        with self._transaction() as connection:
            number = self._number(connection, agreement)
            connection.execute(
                "INSERT OR IGNORE INTO terms (number, hash, signed) VALUES (?, ?, ?)", (number, name, signed)
            )
            connection.execute(
                "DELETE FROM terms WHERE number = ? AND rowid NOT IN"
                " (SELECT rowid FROM terms WHERE number = ? ORDER BY rowid DESC LIMIT ?)",
                (number, number, PROOF_AGREEMENTS),
            )

    def terms(self, agreement: AgreementId) -> dict[bytes, bytes]:
        """Return the revisions that are kept, by their hashes, in the order in which they came."""
        rows = self._fetch(f"SELECT hash, signed FROM terms WHERE {_OF} ORDER BY rowid", agreement)  # noqa: S608 - a constant
        return {bytes(name): bytes(signed) for name, signed in rows}

    def _number(self, connection: sqlite3.Connection, agreement: AgreementId) -> int:
        row = connection.execute("SELECT number FROM accounts WHERE agreement = ?", (agreement,)).fetchone()
        if row is None:
            raise LocalError("something is to be kept of an agreement that was never audited")
        return int(row[0])

    def _fetch(self, sql: str, *values: bytes | int) -> list[tuple[bytes, ...]]:
        with self._lock, self._translated():
            return self._connection.execute(sql, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._translated(), self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection

    def _translated(self) -> AbstractContextManager[None]:
        return translating(
            "the record of audits", self._path, mend="move it away: audits begin anew, and no backup is touched"
        )
