"""Receipts, notes and vouches that this home keeps: its own, and those that others showed it (ADR 62).

Knows: its tables, who brought what, how much of it is kept. Must not know: sessions, what a word is worth. What is put
here was verified by whoever puts it. Commits are durable: an own receipt is known to nobody but the other side.

Of others' receipts the newest of each pair is kept, and what contradicts it, so that neither counts. Each deliverer
has the same room; when all of it is taken, whoever has taken most makes way.
"""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from enum import Enum
from pathlib import Path
from typing import Any, Final, NamedTuple

from backuppeer.agent.repute.shelves import ROWS, SCHEMA, Keep, month_in, shown_in
from backuppeer.clock import DAY_S
from backuppeer.db import open_database, translating
from backuppeer.ids import AgreementId, PeerId
from backuppeer.limits import (
    CLAIM_COUNTS_DAYS,
    PROOFS_KEPT,
    PROOFS_PER_DELIVERER,
    RECEIPT_ASKED_PEERS,
    RECEIPTS_KEPT,
    RECEIPTS_PER_DELIVERER,
    RECEIPTS_PER_OWNER,
    VOUCH_TERM_S,
)
from backuppeer.proof.receipts import GapNote, Shown, Vouch
from backuppeer.proof.statements import peek_statement
from backuppeer.trust.conduct import LIE_DAYS
from backuppeer.trust.receipts import Month, contradict, month_of

_DAY_MS: Final = DAY_S * 1000
_CONTRADICTIONS: Final = 6
"""Receipts of one agreement that are kept when they contradict each other: two are enough, whoever makes a thousand."""


class Asked(Enum):
    """What was asked: receipts of a peer, or by it; our opinion by it. Values are on disk."""

    OF_PEER = 1
    BY_PEER = 2
    OPINION = 3


class Taken(NamedTuple):
    """What became of something shown. reason: why it is not kept, or what is wrong with it; "" = as it should be."""

    is_kept: bool
    reason: str = ""


class Lie(NamedTuple):
    """What a proof proves. mark: hash of the proof; told_ms: when the host lied, as `convicts` tells it."""

    mark: bytes
    host: PeerId
    told_ms: int


Pair = tuple[PeerId, PeerId]
"""Who says something, and of whom."""


class Shelf:
    """The database at `path`. Thread-safe; `close` when done."""

    def __init__(self, path: Path) -> None:
        """Open or create it.

        Raises:
            DamagedStateError: not a database of ours, or of a newer version.

        """
        self._path, self._lock = path, threading.RLock()
        with self._translated():
            self._connection = open_database(path, SCHEMA)
        self._changed: set[Pair] = set()

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._connection.close()

    # own receipts: all of them
    def keep(self, shown: Shown, keep: Keep) -> None:
        """Keep a receipt of this home's own, or the co-signed one in place of the one-sided of its month.

        Raises:
            LocalError: a disk that refuses.

        """
        with self._lock:
            known = self.find(AgreementId(shown.said.agreement), shown.said.number, keep)
            if known is not None and not known.is_cosigned and shown.is_cosigned:
                # It may say other things: the other side had this one, and two for a month contradict each other.
                self._run("DELETE FROM receipts WHERE hash = ? AND keep > 0", known.hash)
            if known is None or not known.is_cosigned:
                self._put(shown, keep, b"")

    def find(self, agreement: AgreementId, number: int, keep: Keep) -> Shown | None:
        """Return the own receipt of a month, as owner or as host: another owner may have named its agreement alike."""
        sql = f"{ROWS} WHERE agreement = ? AND month = ? AND keep = ? ORDER BY cosigned DESC LIMIT 1"
        return next(map(shown_in, self._all(sql, agreement, number, keep.value)), None)

    def newest(self, agreement: AgreementId, keep: Keep) -> Shown | None:
        """Return the newest own receipt of an agreement that both sides signed."""
        sql = f"{ROWS} WHERE agreement = ? AND cosigned = 1 AND keep = ? ORDER BY month DESC LIMIT 1"
        return next(map(shown_in, self._all(sql, agreement, keep.value)), None)

    def chain(self, agreement: AgreementId, *others: PeerId, after: int = 0, limit: int = -1) -> list[Shown]:
        """Return own receipts of an agreement with one of `others` that both signed, above month `after`, ascending.

        others: a peer, and whose heir it is. limit: -1 for all.
        """
        with_one = " OR ".join("? IN (owner, host)" for _ in others)
        sql = f"{ROWS} WHERE agreement = ? AND month > ? AND cosigned = 1 AND keep > 0 AND ({with_one})"
        return [shown_in(row) for row in self._all(f"{sql} ORDER BY month LIMIT ?", agreement, after, *others, limit)]

    def own(self, keep: Keep) -> list[Shown]:
        """Return all own receipts as owner, or as host, newest first."""
        return [shown_in(row) for row in self._all(f"{ROWS} WHERE keep = ? ORDER BY until_ms DESC", keep.value)]

    # notes about gaps
    def keep_gap(self, said: GapNote, signed: bytes, *, is_whole: bool) -> None:
        """Keep a note about a gap; `is_whole`: both sides have signed it."""
        row = (said.agreement, said.first, said.last, int(is_whole), signed)
        self._run("INSERT OR REPLACE INTO gaps VALUES (?, ?, ?, ?, ?)", *row)

    def gaps(self, agreement: AgreementId, *, is_whole: bool = True) -> list[tuple[GapNote, bytes]]:
        """Return the notes of an agreement that both signed, or those that wait for it, each with its bytes."""
        sql = "SELECT signed FROM gaps WHERE agreement = ? AND is_whole = ? ORDER BY first"
        return [(peek_statement(GapNote, row[0]), bytes(row[0])) for row in self._all(sql, agreement, int(is_whole))]

    # what others showed
    def take(self, shown: Shown, deliverer: PeerId) -> Taken:
        """Keep a verified receipt of others if it says more than what is kept of its pair.

        Raises:
            LocalError: a disk that refuses.

        """
        if shown.said.private:
            return Taken(is_kept=False, reason="its owner wants it shown to nobody")
        month = month_of(shown)
        with self._lock:
            its = [month_in(row) for row in self._all(f"{ROWS} WHERE agreement = ?", month.agreement)]
            its = [known for known in its if (known.owner, known.host) == (month.owner, month.host)]
            against = [known for known in its if contradict(known, month)]
            if any(_says_as_much(known, month) for known in its) and not against:
                return Taken(is_kept=False)
            if against and len(its) >= _CONTRADICTIONS:
                return Taken(is_kept=False, reason=_FORK)
            # What takes the place of an older word takes its room, too: a known pair is renewed however full it is.
            paid = None if against else self._drop_older(month)
            if paid is None and (full := self._make_room(deliverer, month.owner)):
                return Taken(is_kept=False, reason=full)
            self._put(shown, Keep.OTHERS, deliverer if paid is None else paid)
        return Taken(is_kept=True, reason=_FORK if against else "")

    def take_vouch(self, said: Vouch, signed: bytes, deliverer: PeerId | None = None) -> Taken:
        """Keep a verified vouch if it is later than the one kept; deliverer: None for this home's own.

        Raises:
            LocalError: a disk that refuses.

        """
        with self._lock:
            known = self._all(
                "SELECT time_ms, deliverer FROM vouches WHERE voucher = ? AND peer = ?", said.voucher, said.peer
            )
            if known and known[0][0] >= said.time_ms:
                return Taken(is_kept=False)
            if deliverer is not None and not known and (full := self._make_room(deliverer)):
                return Taken(is_kept=False, reason=full)
            paid = known[0][1] if known and deliverer is not None else deliverer or b""
            row = (said.voucher, said.peer, said.time_ms, said.until_ms, paid, signed)
            self._run("INSERT OR REPLACE INTO vouches VALUES (?, ?, ?, ?, ?, ?)", *row)
            self._changed.add((PeerId(said.voucher), PeerId(said.peer)))
        return Taken(is_kept=True)

    def forget_old(self, now_ms: int) -> None:
        """Forget what others said and what counts no more."""
        since_ms = now_ms - CLAIM_COUNTS_DAYS * _DAY_MS
        with self._lock:
            self._run("DELETE FROM receipts WHERE keep = 0 AND until_ms < ?", since_ms)
            self._run("DELETE FROM proofs WHERE told_ms < ?", now_ms - LIE_DAYS * _DAY_MS)
            # Also one that was taken back is kept for as long as the word itself could be shown by somebody else.
            self._run("DELETE FROM vouches WHERE deliverer != x'' AND time_ms < ?", now_ms - VOUCH_TERM_S * 1000)

    # what is kept
    def months(self, *, of: PeerId | None = None, on: PeerId | None = None) -> list[Month]:
        """Return what all receipts say, own ones included; or those of one owner; or of it on one host."""
        only, names = _narrow("owner", of, "host", on)
        return [month_in(row) for row in self._all(ROWS + only, *names)]

    def vouches(self, *, of: PeerId | None = None, on: PeerId | None = None) -> list[tuple[Vouch, bytes]]:
        """Return all vouches, each with its bytes; or those of one voucher; or of it for one peer."""
        only, names = _narrow("voucher", of, "peer", on)
        rows = self._all(f"SELECT signed FROM vouches{only} ORDER BY voucher, peer", *names)  # noqa: S608 - a constant
        return [(peek_statement(Vouch, row[0]), bytes(row[0])) for row in rows]

    def drain_changed(self) -> set[Pair]:
        """Return the pairs of which something else is said than when this was asked last."""
        with self._lock:
            changed, self._changed = self._changed, set()
            return changed

    def shareable(self, *, is_own_shown: bool) -> Iterator[tuple[Month, bytes]]:
        """Yield the receipts that may be shown, own ones first, each with its bytes; of a row of months the newest.

        is_own_shown: those of which this home is the owner, too. What is private, only its owner may show.
        """
        mine = f"keep = {Keep.OWNER.value}"
        sql = f"{ROWS} WHERE ({mine} AND ?) OR (NOT {mine} AND private = 0) ORDER BY keep DESC, month DESC"
        # With the pair: anybody can name an agreement as another one is named.
        seen: dict[tuple[AgreementId, PeerId, PeerId, bool, bool], Month] = {}
        for row in self._all(sql, int(is_own_shown)):
            month = month_in(row)
            sort = (month.kept, month.is_cosigned)
            newer = seen.setdefault((month.agreement, month.owner, month.host, *sort), month)
            # Of others two contradict each other at times: whoever sees both knows that neither counts.
            if newer is month or contradict(newer, month):
                yield month, bytes(row[10])

    def parties(self, *, are_own: bool = True) -> set[PeerId]:
        """Return the ids of all of whom something is kept; are_own: also of whom only this home's own words are."""
        receipts, vouches = ("", "") if are_own else (" WHERE keep = 0", " WHERE deliverer != x''")
        names = f"SELECT owner FROM receipts{receipts} UNION SELECT host FROM receipts{receipts} UNION "  # noqa: S608 - constants
        names += f"SELECT voucher FROM vouches{vouches} UNION SELECT peer FROM vouches{vouches}"  # noqa: S608 - constants
        return {PeerId(row[0]) for row in self._all(names)}

    # proofs of misbehaviour that others brought
    def put_proof(self, lie: Lie, deliverer: PeerId, bundle: bytes) -> None:
        """Keep a verified proof in place of the one that is kept of its host.

        When a deliverer's share is taken its own oldest makes way; when all is, the oldest of who brought most.
        """
        most = "SELECT deliverer FROM proofs GROUP BY deliverer ORDER BY COUNT(*) DESC LIMIT 1"
        oldest = (
            "DELETE FROM proofs WHERE hash IN (SELECT hash FROM proofs WHERE deliverer = {} ORDER BY told_ms LIMIT 1)"
        )
        with self._lock:
            self._run("DELETE FROM proofs WHERE host = ?", lie.host)
            if self._all("SELECT COUNT(*) FROM proofs WHERE deliverer = ?", deliverer)[0][0] >= PROOFS_PER_DELIVERER:
                self._run(oldest.format("?"), deliverer)
            elif self._all("SELECT COUNT(*) FROM proofs")[0][0] >= PROOFS_KEPT:
                self._run(oldest.format(f"({most})"))
            row = (lie.mark, lie.host, deliverer, bundle, lie.told_ms)
            self._run("INSERT OR REPLACE INTO proofs VALUES (?, ?, ?, ?, ?)", *row)

    def proofs(self) -> list[Lie]:
        """Return what is proven by others' proofs that are kept, the latest first."""
        rows = self._all("SELECT hash, host, told_ms FROM proofs ORDER BY told_ms DESC, hash")
        return [Lie(bytes(row[0]), PeerId(row[1]), int(row[2])) for row in rows]

    def proof(self, mark: bytes) -> bytes:
        """Return a proof that is kept, b"" if it isn't."""
        rows = self._all("SELECT bundle FROM proofs WHERE hash = ?", mark)
        return bytes(rows[0][0]) if rows else b""

    # who was asked when
    def asked(self, peer: PeerId, what: Asked, now_ms: int) -> tuple[int, int]:
        """Return how often today, and when last (ms, 0: never), something was asked."""
        rows = self._all("SELECT day, times, last_ms FROM asked WHERE peer = ? AND what = ?", peer, what.value)
        day, times, last_ms = rows[0] if rows else (0, 0, 0)
        return times if day == now_ms // _DAY_MS else 0, min(last_ms, now_ms)

    def note_asked(self, peer: PeerId, what: Asked, now_ms: int) -> None:
        """Note that something was asked now."""
        with self._lock:
            times, _ = self.asked(peer, what, now_ms)
            row = (peer, what.value, now_ms // _DAY_MS, times + 1, now_ms)
            self._run("INSERT OR REPLACE INTO asked VALUES (?, ?, ?, ?, ?)", *row)
            kept = "SELECT last_ms FROM asked ORDER BY last_ms DESC LIMIT 1 OFFSET ?"
            self._run(f"DELETE FROM asked WHERE last_ms < ({kept})", RECEIPT_ASKED_PEERS - 1)  # noqa: S608 - a constant

    def _make_room(self, deliverer: PeerId, owner: PeerId | None = None) -> str:
        """Return why nothing more is taken of a deliverer, "" if it is; makes whoever has most make way.

        owner: of a receipt; one owner has a share of the room of a deliverer.
        """
        mine = self._count("WHERE deliverer = ?", deliverer)
        if mine >= RECEIPTS_PER_DELIVERER:
            return f"it has shown {RECEIPTS_PER_DELIVERER} of them that are kept here, and no more are"
        its = "SELECT COUNT(*) FROM receipts WHERE deliverer = ? AND owner = ?"
        if owner is not None and self._all(its, deliverer, owner)[0][0] >= RECEIPTS_PER_OWNER:
            return f"it has shown {RECEIPTS_PER_OWNER} of this owner that are kept here, and no more are"
        if self._count("WHERE deliverer != x''") >= RECEIPTS_KEPT:
            most = "SELECT deliverer FROM receipts WHERE keep = 0 GROUP BY deliverer ORDER BY COUNT(*) DESC LIMIT 1"
            oldest = f"{ROWS} WHERE deliverer = ({most}) ORDER BY until_ms LIMIT 1"
            for month in map(month_in, self._all(oldest)):
                self._run("DELETE FROM receipts WHERE hash = ?", month.hash)
                self._changed.add((month.owner, month.host))
        return ""

    def _count(self, where: str, *values: object) -> int:
        return sum(int(self._all(f"SELECT COUNT(*) FROM {table} {where}", *values)[0][0]) for table in _TABLES)  # noqa: S608 - constants

    def _drop_older(self, month: Month) -> bytes | None:
        """Forget what a newer receipt of a pair says better; return who brought that, None if there was nothing."""
        older = "receipts WHERE agreement = ? AND owner = ? AND host = ? AND kept = ? AND cosigned <= ? AND keep = 0"
        named = (month.agreement, month.owner, month.host, int(month.kept), int(month.is_cosigned))
        brought = self._all(f"SELECT deliverer FROM {older} LIMIT 1", *named)  # noqa: S608 - a constant
        self._run(f"DELETE FROM {older}", *named)  # noqa: S608 - a constant
        return bytes(brought[0][0]) if brought else None

    def _put(self, shown: Shown, keep: Keep, deliverer: bytes) -> None:
        said = shown.said
        flags = (int(said.kept), int(shown.is_cosigned), int(said.private), keep.value)
        row = (said.agreement, said.number, said.since_ms, said.until_ms, said.size_bytes, *flags)
        values = (shown.hash, said.owner, said.host, *row, deliverer, shown.signed)
        self._run(f"INSERT OR REPLACE INTO receipts VALUES ({','.join('?' * len(values))})", *values)  # noqa: S608 - only question marks
        self._changed.add((PeerId(said.owner), PeerId(said.host)))

    def _run(self, query: str, *values: object) -> None:
        with self._lock, self._translated():
            self._connection.execute(query, values)

    def _all(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock, self._translated():
            return self._connection.execute(query, values).fetchall()

    def _translated(self) -> AbstractContextManager[None]:
        return translating("the receipts", self._path)


_FORK: Final = "it contradicts another one of the same pair: neither counts"
_TABLES: Final = ("receipts", "vouches")


def _narrow(first: str, of: PeerId | None, second: str, on: PeerId | None) -> tuple[str, tuple[PeerId, ...]]:
    if of is None:
        return "", ()
    return (f" WHERE {first} = ?", (of,)) if on is None else (f" WHERE {first} = ? AND {second} = ?", (of, on))


def _says_as_much(known: Month, new: Month) -> bool:
    """Return whether nothing is learned from `new` beside what is known of its pair."""
    is_sort = known.kept == new.kept and known.is_cosigned >= new.is_cosigned
    return is_sort and known.number >= new.number
