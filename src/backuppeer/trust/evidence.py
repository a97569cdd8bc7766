"""What this machine saw of others, written down as it happened: the only IO of the room.

Knows: an append-only table of observations, and how a day of them becomes one unit of evidence. Must not know: what
anybody decides upon it. Nothing here ever comes from what the peer or a server says about itself. It can't be rebuilt,
so every commit is durable (`synchronous=FULL`, ~ one fsync): record a session's bytes once, not each pack. Receipts,
hearsay and flow are not here yet.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Final

from backuppeer.db import open_database, translating
from backuppeer.errors import LocalError
from backuppeer.ids import PEER_ID_BYTES, PeerId
from backuppeer.limits import EVIDENCE_DAYS, GIB, OBSERVATION_DETAIL_CHARS, OBSERVATIONS_PER_DAY
from backuppeer.trust.conduct import Act, Conduct, Seen, sum_up
from backuppeer.trust.relapse import has_relapsed
from backuppeer.trust.score import SPANS_MOST, Availability, DayEvidence, Evidence, Fault, sum_days

_DAY_MS: Final = 86_400_000
_AVAILABILITY_DAYS: Final = 30
"""Availability is judged by the contacts of the last month: older habits say little about tomorrow."""


class Kind(Enum):
    """What happened. Values are on disk: never renumber."""

    CONNECTED = 1
    CONNECT_FAILED = 2
    STORED = 3
    RESTORED = 4
    PROTOCOL_VIOLATION = 5
    INTEGRITY_FAULT = 6
    AUTH_FAULT = 7
    REFUSED = 8
    AUDITED = 9
    REPORTED_LOSS = 10
    LATE = 11
    MISBEHAVED = 12
    LOST = 13
    HEALED = 14
    CLEARED = 15
    FORGIVEN = 16


_GOOD: Final = frozenset({Kind.STORED, Kind.RESTORED, Kind.AUDITED})
_SHOWN: Final = frozenset({Kind.RESTORED, Kind.AUDITED})
_FAULTS: Final = {
    Kind.INTEGRITY_FAULT: Fault.PROVEN_LOSS,
    Kind.PROTOCOL_VIOLATION: Fault.REFUSED_ONLINE,
    Kind.REFUSED: Fault.REFUSED_ONLINE,
    Kind.REPORTED_LOSS: Fault.REPORTED_LOSS,
    Kind.LATE: Fault.LATE,
    Kind.MISBEHAVED: Fault.PROVEN_LOSS,
    Kind.LOST: Fault.PROVEN_LOSS,
}
"""AUTH_FAULT is no fault of the peer: somebody *else* answered. CONNECT_FAILED counts as availability only. A broken
protocol weighs like a refusal: the peer was there and did not deliver."""
_ACTS: Final = {
    Kind.MISBEHAVED: Act.LIED,
    Kind.LOST: Act.LOST,
    Kind.INTEGRITY_FAULT: Act.FAILED,
    Kind.REPORTED_LOSS: Act.FAILED,
    Kind.HEALED: Act.HEALED,
    Kind.CLEARED: Act.CLEARED,
    Kind.FORGIVEN: Act.FORGIVEN,
}
_OWN: Final = frozenset({Kind.HEALED, Kind.CLEARED, Kind.FORGIVEN})
"""What counts only in the home that saw it: a snapshot may be written by a thief, who could have forgiven anybody."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One thing seen. `size_bytes`: verified bytes, where the kind has any; `detail`: for people, may be empty.

    Of an audit: the bytes of all packs of which a part was shown within 30 days (ADR 59).
    """

    peer: PeerId
    kind: Kind
    time_ms: int
    size_bytes: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class DayCount:
    """How often a kind was observed of a peer on a day (since 1970), and the bytes of all together."""

    peer: PeerId
    day: int
    kind: Kind
    count: int
    size_bytes: int


_BYTES: Final = f"CASE kind WHEN {Kind.AUDITED.value} THEN MAX(size_bytes) ELSE SUM(size_bytes) END"
"""The bytes of a day: audits all speak of the same packs, whatever else moves bytes of its own."""
_BROUGHT_BACK: Final = "from a snapshot"
_SCHEMA: Final = (
    """
    CREATE TABLE observations (
        number INTEGER PRIMARY KEY,
        peer BLOB NOT NULL,
        day INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        time_ms INTEGER NOT NULL,
        size_bytes INTEGER NOT NULL,
        detail TEXT NOT NULL
    );
    CREATE INDEX observations_by_peer ON observations (peer, day, kind);
    CREATE TRIGGER observations_stay BEFORE UPDATE ON observations
        BEGIN SELECT RAISE(ABORT, 'observations are append-only'); END;
    CREATE TRIGGER observations_remain BEFORE DELETE ON observations
        BEGIN SELECT RAISE(ABORT, 'observations are append-only'); END;
    """,
)


class EvidenceLog:
    """The observations in the database at `path`. Thread-safe; `close` when done."""

    def __init__(self, path: Path) -> None:
        """Open or create it.

        Raises:
            DamagedStateError: not a database of ours, or of a newer version.

        """
        self._path = path
        self._lock = threading.Lock()
        with self._translated():
            self._connection = open_database(path, _SCHEMA)

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._connection.close()

    def record(self, observation: Observation) -> bool:
        """Append an observation, durably; False when that peer filled its day with this kind already.

        A detail longer than 200 characters is cut.

        Raises:
            LocalError: an id of a wrong length, a negative time or size, or a disk that refuses.

        """
        if len(observation.peer) != PEER_ID_BYTES or observation.time_ms < 0 or observation.size_bytes < 0:
            raise LocalError(f"an impossible observation: {observation}")
        day = observation.time_ms // _DAY_MS
        key = (observation.peer, day, observation.kind.value)
        row = (*key, observation.time_ms, observation.size_bytes, observation.detail[:OBSERVATION_DETAIL_CHARS])
        sql = (
            "INSERT INTO observations (peer, day, kind, time_ms, size_bytes, detail) SELECT ?, ?, ?, ?, ?, ?"
            " WHERE (SELECT COUNT(*) FROM observations WHERE peer = ? AND day = ? AND kind = ?) < ?"
        )
        with self._lock, self._translated():
            return self._connection.execute(sql, (*row, *key, OBSERVATIONS_PER_DAY)).rowcount == 1

    def latest(self, peer: PeerId, *, limit: int = 100) -> list[Observation]:
        """Return the newest observations of a peer, newest first."""
        sql = (
            "SELECT kind, time_ms, size_bytes, detail FROM observations WHERE peer = ?"
            " ORDER BY time_ms DESC, number DESC LIMIT ?"
        )
        with self._lock, self._translated():
            rows = self._connection.execute(sql, (peer, limit)).fetchall()
        return [Observation(peer, Kind(kind), int(time), int(size), str(detail)) for kind, time, size, detail in rows]

    def condense(self, *, now_ms: int, days: int) -> list[DayCount]:
        """Return what the last days hold, counted, newest first: what `take_back` puts into another log."""
        sql = (
            f"SELECT peer, day, kind, COUNT(*), {_BYTES} FROM observations WHERE day > ?"  # noqa: S608 - a constant
            " GROUP BY peer, day, kind ORDER BY day DESC, peer, kind"
        )
        with self._lock, self._translated():
            rows = self._connection.execute(sql, (now_ms // _DAY_MS - days,)).fetchall()
        counts = (DayCount(PeerId(peer), int(day), Kind(kind), count, size) for peer, day, kind, count, size in rows)
        return [row for row in counts if row.kind not in _OWN]

    def take_back(self, counts: Iterable[DayCount]) -> int:
        """Write down what another log of this identity held of days that this one has nothing of; return how many rows.

        A day and kind that this one saw itself are left alone: nothing counts twice, however often this is done.
        """
        sql = (
            "INSERT INTO observations (peer, day, kind, time_ms, size_bytes, detail) SELECT ?, ?, ?, ?, ?, ?"
            " WHERE NOT EXISTS (SELECT 1 FROM observations WHERE peer = ? AND day = ? AND kind = ?)"
        )
        more = "INSERT INTO observations (peer, day, kind, time_ms, size_bytes, detail) VALUES (?, ?, ?, ?, 0, ?)"
        written = 0
        with self._lock, self._translated():
            self._connection.execute("BEGIN")
            try:
                for row in (row for row in counts if row.kind not in _OWN):
                    key, time_ms = (row.peer, row.day, row.kind.value), row.day * _DAY_MS
                    # All bytes with the first: a day is judged by their sum, availability by the number of rows.
                    done = self._connection.execute(sql, (*key, time_ms, row.size_bytes, _BROUGHT_BACK, *key)).rowcount
                    rest = min(row.count, OBSERVATIONS_PER_DAY) - 1 if done == 1 else 0
                    self._connection.executemany(more, [(*key, time_ms, _BROUGHT_BACK)] * rest)
                    written += done + rest
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
        return written

    def has_evidence(self, peer: PeerId) -> bool:
        """Return whether anything was ever stored with the peer, shown by it or brought back from it."""
        marks = ",".join("?" * len(_GOOD))
        sql = f"SELECT 1 FROM observations WHERE peer = ? AND kind IN ({marks}) LIMIT 1"  # noqa: S608 - only question marks
        with self._lock, self._translated():
            return self._connection.execute(sql, (peer, *(kind.value for kind in _GOOD))).fetchone() is not None

    def conduct(self, peer: PeerId, *, now_ms: int) -> Conduct:
        """Return what stands against a peer, as far back as a score looks."""
        kinds = [kind for kind in Kind if kind in _ACTS or kind in _FAULTS]
        marks = ",".join("?" * len(kinds))
        sql = (
            f"SELECT kind, time_ms, size_bytes FROM observations WHERE peer = ? AND kind IN ({marks}) AND day > ?"  # noqa: S608 - only question marks
            " ORDER BY number"
        )
        since = now_ms // _DAY_MS - EVIDENCE_DAYS
        with self._lock, self._translated():
            rows = self._connection.execute(sql, (peer, *(kind.value for kind in kinds), since)).fetchall()
        seen = [(Kind(kind), int(time_ms), int(size)) for kind, time_ms, size in rows]
        acts = (Seen(_ACTS[kind], time_ms, size) for kind, time_ms, size in seen if kind in _ACTS)
        relapsed = has_relapsed(_find_faults((kind, time_ms) for kind, time_ms, _ in seen), today=now_ms // _DAY_MS)
        return replace(sum_up(acts, now_ms=now_ms), relapsed=relapsed)

    def days(self, peer: PeerId, *, now_ms: int) -> list[DayEvidence]:
        """Return one unit for each day on which the peer delivered or failed; the worst fault makes the whole day bad.

        A day on which something was shown that had been kept speaks for the days before it, up to the last unit. Days
        in the future (a clock that jumped) count as today.
        """
        today = now_ms // _DAY_MS
        sql = (
            f"SELECT day, kind, {_BYTES} FROM observations WHERE peer = ? AND day > ?"  # noqa: S608 - a constant
            " GROUP BY day, kind ORDER BY day"
        )
        with self._lock, self._translated():
            rows = self._connection.execute(sql, (peer, today - EVIDENCE_DAYS)).fetchall()
        by_day: dict[int, dict[Kind, int]] = {}
        for day, kind, size_bytes in rows:
            by_day.setdefault(int(day), {})[Kind(kind)] = int(size_bytes)
        return list(_judge_days(by_day, today))

    def availability(self, peer: PeerId, *, now_ms: int, promised: float = 0.0) -> Availability:
        """Return the share of our contacts of the last 30 days that were answered; without any contact, 1."""
        sql = "SELECT kind, COUNT(*) FROM observations WHERE peer = ? AND kind IN (?, ?) AND day > ? GROUP BY kind"
        kinds = (Kind.CONNECTED.value, Kind.CONNECT_FAILED.value)
        with self._lock, self._translated():
            counts = dict(self._connection.execute(sql, (peer, *kinds, now_ms // _DAY_MS - _AVAILABILITY_DAYS)))
        answered, failed = int(counts.get(kinds[0], 0)), int(counts.get(kinds[1], 0))
        observed = answered / (answered + failed) if answered + failed else 1.0
        return Availability(observed=observed, promised=promised)

    def summarise(self, peer: PeerId, *, now_ms: int, promised: float = 0.0, is_friend: bool = False) -> Evidence:
        """Return what `score_host` takes; `promised` availability as a share in 0..1."""
        alpha, beta = sum_days(self.days(peer, now_ms=now_ms))
        availability = self.availability(peer, now_ms=now_ms, promised=promised)
        return Evidence(alpha=alpha, beta=beta, is_friend=is_friend, availability=availability)

    def _translated(self) -> AbstractContextManager[None]:
        return translating("the evidence", self._path)


def _judge_days(by_day: dict[int, dict[Kind, int]], today: int) -> Iterator[DayEvidence]:
    """Yield a unit for each day, in ascending order, that has one."""
    last: int | None = None
    for day, kinds in by_day.items():
        faults = [fault for kind, fault in _FAULTS.items() if kind in kinds]
        if not faults and not _GOOD & kinds.keys():
            continue
        size_bytes = sum(size for kind, size in kinds.items() if kind in _GOOD)
        worst = max(faults, key=lambda fault: fault.value, default=None)
        # What was stored today says nothing of yesterday; and before the first unit nothing was there to be kept.
        is_shown = worst is None and last is not None and bool(_SHOWN & kinds.keys())
        spans = min(SPANS_MOST, day - last) if is_shown and last is not None else 1
        yield DayEvidence(float(max(0, today - day)), size_bytes / GIB, worst, spans)
        last = day


def _find_faults(seen: Iterable[tuple[Kind, int]]) -> list[tuple[int, Fault]]:
    """Return the worst fault of each day, ascending; what was forgiven is none any more. Times in ms, in any order."""
    worst: dict[int, Fault] = {}
    for kind, time_ms in seen:
        if kind is Kind.FORGIVEN:
            worst.clear()
        elif kind in _FAULTS:
            day = time_ms // _DAY_MS
            worst[day] = max(worst.get(day, _FAULTS[kind]), _FAULTS[kind], key=lambda fault: fault.value)
    return sorted(worst.items(), key=lambda item: item[0])
