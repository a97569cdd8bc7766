"""Packs and their blobs, written into the index's tables: stored now, found at a host, or dropped before.

Knows: the tables of blobs, spares and packs. Must not know: transactions, locks (index.py has them), what relies on
what (turnover.py).
"""

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import chain
from operator import itemgetter
from typing import Final

from backuppeer.ids import LogicalId
from backuppeer.repo.layout import Entry
from backuppeer.repo.turnover import DROPPED, FRESH, NAMED

Contents = tuple[LogicalId, Sequence[Entry]]
"""What the directory of one pack says."""
_Row = tuple[bytes, int, int, int, int, int, int, int]

_SPARE: Final = "INSERT OR IGNORE INTO spares SELECT * FROM blobs WHERE blob = ? AND pack <> ?"
_NO_SPARE: Final = "DELETE FROM spares WHERE blob = ? AND pack = ?"
_REPLACE: Final = "INSERT OR REPLACE INTO blobs VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_ADD: Final = "INSERT OR IGNORE INTO blobs VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_AT_ONCE: Final = 64
_ADD_MANY: Final = _ADD + ", (?, ?, ?, ?, ?, ?, ?, ?)" * (_AT_ONCE - 1)
_NUMBER: Final = "SELECT number, state FROM packs WHERE logical = ?"
_AMONG: Final = f"blob IN ({','.join('?' * _AT_ONCE)})"
_COUNT_PLACED: Final = (
    f"SELECT (SELECT count(*) FROM blobs WHERE pack = ? AND {_AMONG})"  # noqa: S608 - question marks
    f" + (SELECT count(*) FROM spares WHERE pack = ? AND {_AMONG})"
)
_NAMED_ELSEWHERE: Final = (
    f"SELECT blob FROM blobs JOIN packs ON number = pack WHERE {_AMONG} AND pack <> ? AND state = ?"  # noqa: S608
    " AND pack NOT IN (SELECT number FROM temp.absent)"
)
_KEEP_SPARE: Final = "INSERT OR REPLACE INTO spares VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_ADD_SPARE: Final = (
    "INSERT OR IGNORE INTO spares SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8"
    " WHERE NOT EXISTS (SELECT 1 FROM blobs WHERE blob = ?1 AND pack = ?2)"
)
_SPARE_DROPPED: Final = (
    "INSERT OR IGNORE INTO spares SELECT * FROM blobs"
    " WHERE blob = ? AND pack IN (SELECT number FROM packs WHERE state = ?)"
)
_NEW_PACK: Final = "INSERT OR IGNORE INTO packs (logical, state) VALUES (?, ?)"


def record_stored(db: sqlite3.Connection, logical: LogicalId, entries: Sequence[Entry]) -> int:
    """Record a pack that was just stored, as fresh; return its number.

    A blob that lies in a named pack which stays is found there as before, until a head names this one: until then no
    host is owed it, and who has it may be had to erase it.
    """
    number, was = _number(db, logical, FRESH)
    if was > FRESH:
        db.execute("UPDATE packs SET state = ? WHERE number = ?", (FRESH, number))
        db.execute("DELETE FROM temp.absent WHERE number = ?", (number,))
    rows = _rows(number, entries)
    if not _add_new(db, rows):
        elsewhere = _find_named_elsewhere(db, number, rows)
        db.executemany(_KEEP_SPARE, [row for row in rows if row[0] in elsewhere])
        _replace(db, [row for row in rows if row[0] not in elsewhere])
    return number


def record_found(db: sqlite3.Connection, contents: Iterable[Contents]) -> None:
    """Record packs that were met at a host; those that were dropped stay so, without their blobs.

    A pack that was recorded before is passed over: a further host has another copy of it, with the same directory.
    """
    found: list[list[_Row]] = []
    for logical, entries in contents:
        number, was = _number(db, logical, NAMED)
        if was != DROPPED and not _is_recorded(db, number, entries):
            found.append(_rows(number, entries))
    _place(db, found)


def record_dropped(db: sqlite3.Connection, logical: LogicalId, entries: Sequence[Entry]) -> bool:
    """Record a pack that no head names, for readers alone; False for one that is known, and not dropped."""
    number, was = _number(db, logical, DROPPED)
    if was != DROPPED:
        return False
    db.execute("INSERT OR IGNORE INTO temp.absent VALUES (?)", (number,))
    rows = _rows(number, entries)
    # Where a blob lies in a pack that is alive it is found there; another dropped one may be erased by now.
    keys = [(row[0], DROPPED) for row in rows]
    db.executemany(_SPARE_DROPPED, keys)
    db.executemany("DELETE FROM blobs WHERE blob = ? AND pack IN (SELECT number FROM packs WHERE state = ?)", keys)
    _add(db, rows)
    db.executemany(_ADD_SPARE, rows)
    return True


def _number(db: sqlite3.Connection, logical: LogicalId, state: int) -> tuple[int, int]:
    """Return number and state of a pack, which is new with `state` if it was not known."""
    db.execute(_NEW_PACK, (logical, state))
    number, was = db.execute(_NUMBER, (logical,)).fetchone()
    return int(number), int(was)


def _is_recorded(db: sqlite3.Connection, number: int, entries: Sequence[Entry]) -> bool:
    """Say whether all blobs of a pack have a place in it; if not, it is known by its name only, or in part."""
    wanted = sorted({entry.blob for entry in entries})
    for at in range(0, len(wanted), _AT_ONCE):
        batch = _fill_up(wanted[at : at + _AT_ONCE])
        count = db.execute(_COUNT_PLACED, (number, *batch, number, *batch)).fetchone()[0]
        if count < len(set(batch)):
            return False
    return True


def _find_named_elsewhere(db: sqlite3.Connection, number: int, rows: Sequence[_Row]) -> set[bytes]:
    """Return the blobs that are found in another pack, which a head names."""
    found: set[bytes] = set()
    for at in range(0, len(rows), _AT_ONCE):
        batch = _fill_up([row[0] for row in rows[at : at + _AT_ONCE]])
        found.update(row[0] for row in db.execute(_NAMED_ELSEWHERE, (*batch, number, NAMED)))
    return found


def _fill_up(batch: Sequence[bytes]) -> list[bytes]:
    return [*batch, *[batch[-1]] * (_AT_ONCE - len(batch))]


def _rows(number: int, entries: Sequence[Entry]) -> list[_Row]:
    # Sorted by the key: neighbouring rows share B-tree pages, half the page writes for packs of small blobs. Plain
    # integers: SQLite's module looks for an adapter of any other type, once for each value.
    rows: list[_Row] = [
        (e.blob, number, e.slot, e.offset, e.sealed_bytes, e.plain_bytes, int(e.kind), int(e.codec)) for e in entries
    ]
    rows.sort(key=itemgetter(0))
    return rows


def _place(db: sqlite3.Connection, packs: Sequence[Sequence[_Row]]) -> None:
    """Let the blobs of these packs be found there, pack after pack; where they were found before is a spare place."""
    if not _add_new(db, sorted(chain.from_iterable(packs), key=itemgetter(0))):
        for each in packs:
            _replace(db, each)


def _replace(db: sqlite3.Connection, rows: Sequence[_Row]) -> None:
    """Let the blobs of one pack be found there."""
    keys = [row[:2] for row in rows]
    db.executemany(_SPARE, keys)
    db.executemany(_REPLACE, rows)
    db.executemany(_NO_SPARE, keys)


def _add_new(db: sqlite3.Connection, rows: Sequence[_Row]) -> bool:
    """Add rows if none of their blobs has a place yet, as most have none: half of the time goes without looking."""
    db.execute("SAVEPOINT adding")
    is_new = _add(db, rows) == len(rows)
    if not is_new:
        db.execute("ROLLBACK TO adding")
    db.execute("RELEASE adding")
    return is_new


def _add(db: sqlite3.Connection, rows: Sequence[_Row]) -> int:
    """Add those of the rows whose blob has no place yet; return how many these are."""
    whole, added = len(rows) - len(rows) % _AT_ONCE, 0
    for at in range(0, whole, _AT_ONCE):  # a statement costs more than a row of it
        added += db.execute(_ADD_MANY, tuple(chain.from_iterable(rows[at : at + _AT_ONCE]))).rowcount
    rest = rows[whole:]
    return added + (db.executemany(_ADD, rest).rowcount if rest else 0)
