"""Old evidence condensed to days, so that it grows with peers and days and not with how often something happened.

Knows: the tables of `trust.schema`, which rows of a day may stand for each other. Must not know: scores. What a score
is made of stays the same to the last bit (tests/trust/test_compaction.py, over random histories):

- Of a kind, the bytes of a day are their sum or their largest, as a score takes them; so is what the one row holds.
- What a host did and what was made good count in the order in which they were seen. So only rows between which nothing
  was healed, cleared or forgiven become one; and that one has the place and time of the last of them, which is the one
  that counts. Acts of our own stay as they are: they are few.
- Windows are days already, and stay.

A step is one transaction: killed anywhere, all rows of its days are there or all counts.
"""

import sqlite3
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backuppeer.ids import PeerId
from backuppeer.limits import COMPACT_STEP_DAYS
from backuppeer.trust.schema import among

Row = tuple[int, int, int, int]
"""number, kind, size_bytes, count."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How rows of a kind become one. summed: kinds whose bytes are added up, of all others the largest counts.

    kept: kinds whose rows stay, and part the others.
    """

    summed: frozenset[int]
    kept: frozenset[int]


def plan_steps(connection: sqlite3.Connection, *, before_day: int) -> Sequence[int]:
    """Return up to which days (since 1970) to condense, one after the other, so that none takes long; [] = all is."""
    (done,) = connection.execute("SELECT before_day FROM compaction").fetchone()
    if not done:
        sql = "SELECT MIN(day) FROM (SELECT day FROM observations UNION ALL SELECT day FROM contacts)"
        (first,) = connection.execute(sql).fetchone()
        done = before_day if first is None else first
    return [*range(done + COMPACT_STEP_DAYS, before_day, COMPACT_STEP_DAYS), before_day] if done < before_day else []


def compact(
    connection: sqlite3.Connection, lines: Mapping[PeerId, Sequence[PeerId]], rules: Rules, *, before_day: int
) -> tuple[int, int]:
    """Condense what is older than a day (since 1970); return how many rows of observations and contacts that took away.

    lines: each peer with all that are one with it, whose acts part its rows (`trust.lines`). The caller holds the lock.

    Raises:
        sqlite3.Error: the disk refuses; nothing was changed.

    """
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        (done,) = connection.execute("SELECT before_day FROM compaction").fetchone()
        if before_day <= done:
            return 0, 0
        # The triggers let nobody but this transaction touch days before this one.
        connection.execute("UPDATE compaction SET is_on = 1, before_day = ?", (before_day,))
        observations = 0
        for peer, line in lines.items():
            observations += _merge_peer(connection, (peer, line), (done, before_day), rules)
        contacts = _count_contacts(connection, before_day)
        connection.execute("UPDATE compaction SET is_on = 0")
    return observations, contacts


def _merge_peer(
    connection: sqlite3.Connection, whose: tuple[PeerId, Sequence[PeerId]], days: tuple[int, int], rules: Rules
) -> int:
    peer, line = whose
    sql = (
        "SELECT day FROM observations WHERE peer = ? AND day >= ? AND day < ? GROUP BY day"
        " HAVING COUNT(*) > COUNT(DISTINCT kind)"
    )
    crowded = connection.execute(sql, (peer, *days)).fetchall()
    if not crowded:
        return 0
    marks = ",".join("?" * len(rules.kept))
    sql = f"SELECT number FROM observations WHERE {among(line)} AND kind IN ({marks}) ORDER BY number"  # noqa: S608 - only question marks
    acts = [number for (number,) in connection.execute(sql, (*line, *rules.kept))]
    merged = 0
    for (day,) in crowded:
        groups: dict[tuple[int, int], list[Row]] = {}
        sql = "SELECT number, kind, size_bytes, count FROM observations WHERE peer = ? AND day = ? ORDER BY number"
        for row in connection.execute(sql, (peer, day)):
            if row[1] not in rules.kept:
                groups.setdefault((row[1], bisect_left(acts, row[0])), []).append(row)
        merged += sum(_merge(connection, group, is_sum=kind in rules.summed) for (kind, _), group in groups.items())
    return merged


def _merge(connection: sqlite3.Connection, group: Sequence[Row], *, is_sum: bool) -> int:
    """Let the last of some rows stand for all of them; return how many went."""
    if len(group) == 1:
        return 0
    sizes = [size for _, _, size, _ in group]
    last, count = group[-1][0], sum(count for *_, count in group)
    connection.executemany("DELETE FROM observations WHERE number = ?", [(number,) for number, *_ in group[:-1]])
    row = (sum(sizes) if is_sum else max(sizes), count, last)
    connection.execute("UPDATE observations SET size_bytes = ?, count = ? WHERE number = ?", row)
    return len(group) - 1


def _count_contacts(connection: sqlite3.Connection, before_day: int) -> int:
    connection.execute(
        "INSERT INTO contact_days SELECT peer, day, SUM(is_made), SUM(NOT is_made), SUM(sent_bytes),"
        " SUM(received_bytes), SUM(length_ms) FROM contacts WHERE day < ? GROUP BY peer, day"
        " ON CONFLICT (peer, day) DO UPDATE SET made = made + excluded.made, failed = failed + excluded.failed,"
        " sent_bytes = sent_bytes + excluded.sent_bytes, received_bytes = received_bytes + excluded.received_bytes,"
        " length_ms = length_ms + excluded.length_ms",
        (before_day,),
    )
    return connection.execute("DELETE FROM contacts WHERE day < ?", (before_day,)).rowcount
