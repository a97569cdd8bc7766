"""What this machine saw of others, written down as it happened: the only IO of the room.

Knows: an append-only table of observations, and how a day of them becomes one unit of evidence. Must not know: what
anybody decides upon it. Nothing here ever comes from what the peer or a server says about itself. It can't be rebuilt,
so every commit is durable (`synchronous=FULL`, ~ one fsync): record a session's bytes once, not each pack. Contacts and
windows are rows of their own (`contacts`), what is old is condensed (`compaction`).
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Final

from backuppeer.db import open_database, translating
from backuppeer.errors import LocalError
from backuppeer.ids import PEER_ID_BYTES, PeerId
from backuppeer.limits import (
    COMPACT_AFTER_DAYS,
    EVIDENCE_DAYS,
    GIB,
    OBSERVATION_DETAIL_CHARS,
    OBSERVATIONS_PER_DAY,
)
from backuppeer.trust.availability import Windows, find_share
from backuppeer.trust.compaction import Rules, compact, plan_steps
from backuppeer.trust.conduct import Act, Conduct, Seen, sum_up
from backuppeer.trust.contacts import DAY_MS, ContactLog, find_peers
from backuppeer.trust.lines import Lines
from backuppeer.trust.recall import Recall
from backuppeer.trust.relapse import has_relapsed
from backuppeer.trust.schema import REMARKABLE, SCRIPTS, among
from backuppeer.trust.score import SPANS_MOST, Availability, DayEvidence, Evidence, Fault, sum_days
from backuppeer.trust.tally import Sums, Tally
from backuppeer.trust.tenants import TenantLog


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
    DECLINED = 17
    """A no that the agreement allows: full, over budget, not agreed on. No fault, shown to people."""


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
    Kind.REPORTED_LOSS: Act.TOLD,
    Kind.HEALED: Act.HEALED,
    Kind.CLEARED: Act.CLEARED,
    Kind.FORGIVEN: Act.FORGIVEN,
}
_CONTACTS: Final = frozenset({Kind.CONNECTED, Kind.CONNECT_FAILED})
_OWN: Final = frozenset({Kind.HEALED, Kind.CLEARED, Kind.FORGIVEN})
"""What counts only in the home that saw it: a snapshot may be written by a thief, who could have forgiven anybody."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One thing seen. `size_bytes`: verified bytes, where the kind has any; `detail`: for people, may be empty.

    Of an audit: the bytes of all packs of which a part was shown within 30 days (ADR 59). Of a loss that the host
    reports: of all that it so reported and that was not made good (`conduct.add_told`).
    """

    peer: PeerId
    kind: Kind
    time_ms: int
    size_bytes: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class DayCount:
    """How often a kind was observed of a peer on a day (since 1970), and the bytes of all together.

    Of contacts: the windows of the day (UTC) in which the peer was there, or tried in vain, as bits; it moved no bytes.
    """

    peer: PeerId
    day: int
    kind: Kind
    count: int
    size_bytes: int


def _numbers(kinds: Iterable[Kind]) -> str:
    return ",".join(str(kind.value) for kind in kinds)


_MOVED: Final = frozenset({Kind.STORED, Kind.RESTORED})
_BYTES: Final = f"CASE WHEN kind IN ({_numbers(_MOVED)}) THEN SUM(size_bytes) ELSE MAX(size_bytes) END"
"""The bytes of a day: of what moved, all together. Audits all speak of the same packs, and so do reports of a loss."""
_BY_KAPPA: Final = {fault.value: fault for fault in Fault}
_KEPT_MOST: Final = ", ".join(
    f"{of}(CASE kind WHEN {kind.value} THEN size_bytes ELSE 0 END)"
    for of, kind in (("SUM", Kind.STORED), ("SUM", Kind.RESTORED), ("MAX", Kind.AUDITED))
)
_DAYS: Final = (
    f"SELECT day, MAX(CASE {' '.join(f'WHEN kind = {kind.value} THEN {_FAULTS[kind].value}' for kind in _FAULTS)}"  # noqa: S608 - constants
    f" ELSE 0 END), SUM(CASE WHEN kind IN ({_numbers(_MOVED)}) THEN size_bytes ELSE 0 END)"
    f" + MAX(CASE kind WHEN {Kind.AUDITED.value} THEN size_bytes ELSE 0 END), MAX(kind IN ({_numbers(_SHOWN)})),"
    f" MAX({_KEPT_MOST})"
    f" FROM observations WHERE day > ? AND kind IN ({_numbers([*_GOOD, *_FAULTS])}) AND "
)
"""Each day that is a unit: kappa of its worst fault (0 = none), its bytes, whether some was shown, what lay there."""
_PARTING: Final = _OWN | {Kind.MISBEHAVED}
"""Rows that stay as they were when old ones are condensed: few, and with a meaning in their order or hour."""
_BLAMELESS: Final = Conduct()
_BROUGHT_BACK: Final = "from a snapshot"


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
            self._connection = open_database(path, SCRIPTS)
            self._known = find_peers(self._connection, "observations")
        self.lines = Lines()
        """Whose heirs are asked for: what is asked of a peer is asked of its line. Filled by who knows successions."""
        self.lines.watchers.append(self._forget)
        self.contacts = ContactLog(self._connection, self._lock, self._translated, self.lines)
        """Connections tried and made, and when the peer was there."""
        self.tenants = TenantLog(self._connection, self._lock, self._translated, self.lines)
        """How others behaved as owners of what is kept here."""
        self._sums: Recall[Sums] = Recall(self._known, Sums(Tally(), 0))
        self._acts: Recall[list[tuple[Kind, int, int]]] = Recall(self._known, [])

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
        day = observation.time_ms // DAY_MS
        key = (observation.peer, day, observation.kind.value)
        row = (*key, observation.time_ms, observation.size_bytes, observation.detail[:OBSERVATION_DETAIL_CHARS])
        sql = (
            "INSERT INTO observations (peer, day, kind, time_ms, size_bytes, detail) SELECT ?, ?, ?, ?, ?, ?"
            " WHERE (SELECT TOTAL(count) FROM observations WHERE peer = ? AND day = ? AND kind = ?) < ?"
        )
        with self._lock, self._translated(), self._connection:
            self._connection.execute("BEGIN")
            if observation.kind in _CONTACTS:
                is_up = observation.kind is Kind.CONNECTED
                self.contacts.note_window(observation.peer, observation.time_ms, is_up=is_up)
            is_new = self._connection.execute(sql, (*row, *key, OBSERVATIONS_PER_DAY)).rowcount == 1
        self._forget(observation.peer)
        return is_new

    def latest(self, peer: PeerId, *, limit: int = 100) -> list[Observation]:
        """Return the newest observations of a peer, newest first."""
        line = self.lines.of(peer)
        sql = (
            f"SELECT kind, time_ms, size_bytes, detail FROM observations WHERE {among(line)}"  # noqa: S608 - only question marks
            " ORDER BY time_ms DESC, number DESC LIMIT ?"
        )
        with self._lock, self._translated():
            rows = self._connection.execute(sql, (*line, limit)).fetchall()
        return [Observation(peer, Kind(kind), int(time), int(size), str(detail)) for kind, time, size, detail in rows]

    def has_noted(self, peer: PeerId, kind: Kind, time_ms: int) -> bool:
        """Return whether an observation of this kind and time is there."""
        line = self.lines.of(peer)
        sql = f"SELECT 1 FROM observations WHERE {among(line)} AND day = ? AND kind = ? AND time_ms = ?"  # noqa: S608 - only question marks
        with self._lock, self._translated():
            row = self._connection.execute(sql, (*line, time_ms // DAY_MS, kind.value, time_ms)).fetchone()
        return row is not None

    def count_kinds(self, peer: PeerId) -> dict[Kind, int]:
        """Return how often each kind was seen of a peer, as far back as anything is known; none that never was."""
        line = self.lines.of(peer)
        sql = f"SELECT kind, SUM(count) FROM observations WHERE {among(line)} GROUP BY kind"  # noqa: S608 - only question marks
        with self._lock, self._translated():
            return {Kind(kind): int(count) for kind, count in self._connection.execute(sql, line)}

    def condense(self, *, now_ms: int, days: int) -> list[DayCount]:
        """Return what the last days hold, counted, newest first: what `take_back` puts into another log.

        Days to come (a clock that jumped) are left out: else they would be among the last for years.
        """
        today = now_ms // DAY_MS
        since = today - days
        sql = (
            f"SELECT peer, day, kind, SUM(count), {_BYTES} FROM observations WHERE day > ? AND day <= ?"  # noqa: S608 - a constant
            " GROUP BY peer, day, kind"
        )
        with self._lock, self._translated():
            rows = self._connection.execute(sql, (since, today)).fetchall()
        counts = {(PeerId(peer), day, Kind(kind)): (int(count), int(size)) for peer, day, kind, count, size in rows}
        for (peer, day), masks in self.contacts.day_masks(since_day=since).items():
            for kind, mask in zip((Kind.CONNECTED, Kind.CONNECT_FAILED), masks, strict=True):
                if mask and day <= today:
                    count, _ = counts.get((peer, day, kind), (mask.bit_count(), 0))
                    counts[peer, day, kind] = (count, mask)
        ordered = sorted(counts.items(), key=lambda item: (-item[0][1], item[0][0], item[0][2].value))
        return [DayCount(*key, *counted) for key, counted in ordered if key[2] not in _OWN]

    def take_back(self, counts: Iterable[DayCount]) -> int:
        """Write down what another log of this identity held of days that this one has nothing of; return how many.

        A day and kind, or a window, that this one saw itself is left alone: nothing counts twice, however often this is
        done.
        """
        sql = (
            "INSERT INTO observations (peer, day, kind, time_ms, size_bytes, detail, count) SELECT ?, ?, ?, ?, ?, ?, ?"
            " WHERE NOT EXISTS (SELECT 1 FROM observations WHERE peer = ? AND day = ? AND kind = ?)"
        )
        written, peers = 0, set[PeerId]()
        with self._lock, self._translated(), self._connection:
            self._connection.execute("BEGIN")
            for row in (row for row in counts if row.kind not in _OWN):
                peers.add(row.peer)
                key, count = (row.peer, row.day, row.kind.value), min(row.count, OBSERVATIONS_PER_DAY)
                size_bytes = 0 if row.kind in _CONTACTS else row.size_bytes
                if row.kind in _CONTACTS:
                    is_up = row.kind is Kind.CONNECTED
                    self.contacts.take_back(row.peer, row.day, row.size_bytes, is_up=is_up)
                told = (*key, row.day * DAY_MS, size_bytes, _BROUGHT_BACK, count)
                written += count * self._connection.execute(sql, (*told, *key)).rowcount
        for peer in peers:
            self._forget(peer)
        return written

    def compact(self, *, now_ms: int) -> tuple[int, int]:
        """Condense what is older than 90 days; return how many rows of observations and contacts that took away.

        No score changes by it, nor what `condense`, `conduct` and `windows` tell (`compaction`).

        Raises:
            LocalError: a disk that refuses; nothing was changed.

        """
        rules = Rules(*(frozenset(kind.value for kind in kinds) for kinds in (_MOVED, _PARTING)))
        with self._lock, self._translated():
            steps = plan_steps(self._connection, before_day=now_ms // DAY_MS - COMPACT_AFTER_DAYS)
        observations = contacts = 0
        for day in steps:
            # The lock is free between steps: whoever writes down a session doesn't wait for years.
            with self._lock, self._translated():
                lines = {peer: self.lines.of(self.lines.newest(peer)) for peer in list(self._known)}
                found = compact(self._connection, lines, rules, before_day=day)
            observations, contacts = observations + found[0], contacts + found[1]
        return observations, contacts

    def has_evidence(self, peer: PeerId) -> bool:
        """Return whether anything was ever stored with the peer, shown by it or brought back from it."""
        line = self.lines.of(peer)
        sql = f"SELECT 1 FROM observations WHERE {among(line)} AND kind IN ({_numbers(_GOOD)}) LIMIT 1"  # noqa: S608 - constants
        with self._lock, self._translated():
            return self._connection.execute(sql, line).fetchone() is not None

    def conduct(self, peer: PeerId, *, now_ms: int) -> Conduct:
        """Return what stands against a peer, as far back as a score looks."""
        since = now_ms // DAY_MS - EVIDENCE_DAYS
        seen = [row for row in self._acts.get(peer, self._read_acts) if row[1] // DAY_MS > since]
        if not seen:
            return _BLAMELESS
        acts = (Seen(_ACTS[kind], time_ms, size) for kind, time_ms, size in seen if kind in _ACTS)
        relapsed = has_relapsed(_find_faults((kind, time_ms) for kind, time_ms, _ in seen), today=now_ms // DAY_MS)
        return replace(sum_up(acts, now_ms=now_ms), relapsed=relapsed)

    def _read_acts(self, peer: PeerId) -> list[tuple[Kind, int, int]]:
        line = self.lines.of(peer)
        sql = f"SELECT kind, time_ms, size_bytes FROM observations WHERE {among(line)} AND {REMARKABLE} ORDER BY number"  # noqa: S608 - constants
        with self._lock, self._translated():
            rows = self._connection.execute(sql, line).fetchall()
        seen = [(Kind(kind), int(time_ms), int(size)) for kind, time_ms, size in rows]
        return [row for row in seen if row[0] in _ACTS or row[0] in _FAULTS]

    def days(self, peer: PeerId, *, now_ms: int) -> list[DayEvidence]:
        """Return one unit for each day on which the peer delivered or failed; the worst fault makes the whole day bad.

        A day on which something was shown that had been kept speaks for the days before it, up to the last unit. Days
        in the future (a clock that jumped) count as today.
        """
        today, line = now_ms // DAY_MS, self.lines.of(peer)
        if self._known.isdisjoint(line):
            return []
        sql = f"{_DAYS}{among(line)} GROUP BY day ORDER BY day"
        with self._lock, self._translated():
            rows = self._connection.execute(sql, (today - EVIDENCE_DAYS, *line)).fetchall()
        return list(_judge_days(rows, today))

    def windows(self, peer: PeerId, *, now_ms: int) -> Windows:
        """Return in which windows of six hours the peer was tried, and in which it was there: 60 days, bit 0 is now."""
        return self.contacts.windows(peer, now_ms=now_ms)

    def availability(self, peer: PeerId, *, now_ms: int, promised: float = 0.0) -> Availability:
        """Return the share of windows of the last 30 days in which the peer was there; without any, 1."""
        return Availability(observed=find_share(self.windows(peer, now_ms=now_ms)), promised=promised)

    def summarise(self, peer: PeerId, *, now_ms: int, promised: float = 0.0, is_friend: bool = False) -> Evidence:
        """Return what `score_host` takes; `promised` availability as a share in 0..1."""
        today = now_ms // DAY_MS
        kept = self._sums.get(peer, partial(self._sum_up, today=today))
        if not kept.holds_on(today):
            self._sums.forget(peer)
            kept = self._sums.get(peer, partial(self._sum_up, today=today))
        tally = kept.tally.at(today)
        # Of a market of thousands nobody promised anything to this home: then nothing follows from the windows.
        availability = self.availability(peer, now_ms=now_ms, promised=promised) if promised else Availability()
        return Evidence(alpha=tally.alpha, beta=tally.beta, is_friend=is_friend, availability=availability)

    def warm(self, *, now_ms: int) -> None:
        """Work out what the next scores ask for: a year of three hundred hosts takes about a second."""
        for peer in list(self._known):
            self.summarise(peer, now_ms=now_ms)

    def _sum_up(self, peer: PeerId, *, today: int) -> Sums:
        days = self.days(peer, now_ms=today * DAY_MS)
        oldest = int(days[0].age_days) if days else 0
        return Sums(Tally(*sum_days(days), today), today - oldest)

    def _forget(self, peer: PeerId) -> None:
        for one in (peer, *self.lines.heirs(peer)):
            self._sums.forget(one)
            self._acts.forget(one)

    def _translated(self) -> AbstractContextManager[None]:
        return translating("the evidence", self._path)


def _judge_days(rows: Iterable[tuple[int, float, int, int, int]], today: int) -> Iterator[DayEvidence]:
    """Yield a unit for each day, in ascending order; rows as of `_DAYS`."""
    last: int | None = None
    for day, kappa, size_bytes, is_shown, kept_bytes in rows:
        # What was stored today says nothing of yesterday; and before the first unit nothing was there to be kept.
        spans = min(SPANS_MOST, day - last) if is_shown and not kappa and last is not None else 1
        yield DayEvidence(float(max(0, today - day)), size_bytes / GIB, _BY_KAPPA.get(kappa), spans, kept_bytes / GIB)
        last = day


def _find_faults(seen: Iterable[tuple[Kind, int]]) -> list[tuple[int, Fault]]:
    """Return the worst fault of each day, ascending; what was forgiven is none any more. Times in ms, in any order."""
    worst: dict[int, Fault] = {}
    for kind, time_ms in seen:
        if kind is Kind.FORGIVEN:
            worst.clear()
        elif kind in _FAULTS:
            day = time_ms // DAY_MS
            worst[day] = max(worst.get(day, _FAULTS[kind]), _FAULTS[kind], key=lambda fault: fault.value)
    return sorted(worst.items(), key=lambda item: item[0])
