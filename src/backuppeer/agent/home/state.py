"""What the agent remembers across restarts: peers, agreements, requests, heads, the slot on offer (one database).

Knows: its own tables. Must not know: sessions, messages. Losing it loses comfort (aliases, addresses, requests), never
data: keys are files, agreements and heads come back from the hosts. What a host could not be found without has a
second copy beside it (agent.anchor).
"""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import structlog

from backuppeer.agent.home.anchor import Anchor
from backuppeer.agent.home.blocks import BLOCKS_SCHEMA, Blocks
from backuppeer.agent.home.deeds import DEEDS_SCHEMA, Deeds
from backuppeer.agent.home.records import (
    PEER_COLUMNS,
    PEER_QUERY,
    REQUEST_COLUMNS,
    REQUEST_QUERY,
    Direction,
    PeerRecord,
    RequestRecord,
    peer_of,
    request_of,
)
from backuppeer.agent.home.successions import SUCCESSIONS_SCHEMA, Successions
from backuppeer.db import explain_full, mark_place, open_database, put_back
from backuppeer.errors import DamagedStateError, LocalError
from backuppeer.ids import AgreementId, PeerId, RepositoryId
from backuppeer.limits import HEARD_PEERS
from backuppeer.proof.promises import NOTHING

SCRIPTS: Final = (
    """
    CREATE TABLE peers(
        peer BLOB PRIMARY KEY, alias TEXT UNIQUE, verified INTEGER NOT NULL DEFAULT 0,
        whereabouts BLOB NOT NULL DEFAULT x'', first_seen_ms INTEGER NOT NULL, last_seen_ms INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE agreements(
        agreement BLOB PRIMARY KEY, host BLOB NOT NULL, signed BLOB NOT NULL
    ) STRICT;
    CREATE TABLE requests(
        request TEXT PRIMARY KEY, direction TEXT NOT NULL, peer BLOB NOT NULL, size_bytes INTEGER NOT NULL,
        term_s INTEGER NOT NULL, lock_s INTEGER NOT NULL, state TEXT NOT NULL, since_ms INTEGER NOT NULL,
        alias TEXT NOT NULL DEFAULT '', verified INTEGER NOT NULL DEFAULT 0, whereabouts BLOB NOT NULL DEFAULT x'',
        reason TEXT NOT NULL DEFAULT ''
    ) STRICT;
    CREATE TABLE heads(
        repository BLOB NOT NULL, number INTEGER NOT NULL, signed BLOB NOT NULL, writer_grant BLOB NOT NULL,
        PRIMARY KEY(repository, number)
    ) STRICT;
    CREATE TABLE browsed(peer BLOB PRIMARY KEY, listing BLOB NOT NULL, servers TEXT NOT NULL) STRICT;
    CREATE TABLE envelope_keys(key_id BLOB PRIMARY KEY, private BLOB NOT NULL, created_ms INTEGER NOT NULL) STRICT;
    CREATE TABLE settings(key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
    """,
    # Ids are all that is read of what a browse heard; the rows before were those of one browse only.
    """
    DROP TABLE browsed;
    CREATE TABLE heard(peer BLOB PRIMARY KEY) STRICT;
    """,
    # The nonces were one value, written whole for every knock. The keys go too, so that no knock can be replayed.
    """
    CREATE TABLE nonces(nonce BLOB PRIMARY KEY, until_ms INTEGER NOT NULL) STRICT;
    CREATE INDEX nonces_by_time ON nonces(until_ms);
    CREATE INDEX requests_by_peer ON requests(peer, direction, since_ms);
    DELETE FROM settings WHERE key='host.nonces';
    DELETE FROM envelope_keys;
    """,
    # Agreements change and end (ADR 44). There was no way to revise one before: all that are kept are first revisions.
    f"""
    {DEEDS_SCHEMA}
    {BLOCKS_SCHEMA}
    ALTER TABLE requests ADD COLUMN offer_bytes INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE requests ADD COLUMN offer_term_s INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE requests ADD COLUMN offer_lock_s INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE requests ADD COLUMN revises BLOB NOT NULL DEFAULT x'';
    """,
    # Agreements promise more than space and time (ADR 51).
    """
    ALTER TABLE requests ADD COLUMN reciprocity INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE requests ADD COLUMN audit_bytes INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE requests ADD COLUMN egress_bytes INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE requests ADD COLUMN offer_reciprocity INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE requests ADD COLUMN offer_audit_bytes INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE requests ADD COLUMN offer_egress_bytes INTEGER NOT NULL DEFAULT 0;
    """,
    # Hosts promise to be there (ADR 70).
    """
    ALTER TABLE requests ADD COLUMN availability INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE requests ADD COLUMN offer_availability INTEGER NOT NULL DEFAULT 0;
    """,
    # Identities go on as others (ADR 69).
    SUCCESSIONS_SCHEMA,
)
_ANCHORED: Final = frozenset(
    {"store.directory", "store.moving", "store.offered", "store.seen", "host.offer", "transport.bound"}
)
"""Settings with a second copy: partners could not come back to a host that forgot them."""
_ANCHOR_NAME: Final = "anchor.json"
_log = structlog.get_logger()


class State:
    """The database, behind one lock: a few statements per second at most."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = _open(path)
        self._mark = mark_place(path)
        for copy in path.parent.glob(f"{path.name}.v*"):
            if copy.suffix != ".bak":
                copy.unlink()  # made by an earlier program: it holds keys of knocks, which must be gone after 48 h
        self._lock = threading.RLock()
        self.deeds, self.blocks = Deeds(self._run, self._all), Blocks(self._run, self._all)
        self.successions = Successions(self._run, self._all)
        self._anchor = Anchor(path.with_name(_ANCHOR_NAME))
        for key, value in self._all("SELECT key,value FROM settings"):
            if key in _ANCHORED:
                self._anchor.put(key, value)  # of a version without it, or while the disk was full

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._db.close()

    def look_after(self) -> None:
        """Write the file again if somebody deleted it under us: what it says is known to nobody else.

        Raises:
            LocalError: another file stands in its place, or the disk refuses.

        """
        with self._lock:
            found = mark_place(self._path)
            if found == self._mark:
                return
            if found is not None:
                raise LocalError(
                    f"{self._path} was replaced while the agent was running",
                    hint="`backup-peer agent stop` lets go of the old one; the agent then begins with the new one",
                )
            put_back(self._db, self._path)
            self._db.close()
            self._db, self._mark = _open(self._path), mark_place(self._path)
            _log.warning("the state was deleted, and is written again", file=self._path.name)

    # peers
    def peer(self, peer: PeerId) -> PeerRecord | None:
        """Return what is known of a peer."""
        rows = self._all(f"{PEER_QUERY} WHERE peer=?", peer)
        return peer_of(rows[0]) if rows else None

    def peers(self) -> list[PeerRecord]:
        """Return all peers, oldest acquaintance first."""
        return [peer_of(row) for row in self._all(f"{PEER_QUERY} ORDER BY first_seen_ms, peer")]

    def peer_by_alias(self, alias: str) -> PeerRecord | None:
        """Return the peer that this home calls `alias`; nobody is called what can't be shown."""
        rows = self._all(f"{PEER_QUERY} WHERE alias=?", alias) if alias.isprintable() else []
        return peer_of(rows[0]) if rows else None

    def meet(
        self, peer: PeerId, now_ms: int, *, alias: str = "", verified: bool = False, whereabouts: bytes = b""
    ) -> None:
        """Remember a peer, or add to what is known; nothing known is taken away, also not another peer's alias."""
        with self._lock:
            self._merge(peer, now_ms, alias=alias, verified=verified, whereabouts=whereabouts, seen_ms=now_ms)

    def call(self, peer: PeerId, alias: str, now_ms: int) -> None:
        """Give a name to a peer that need not have been seen yet; as `meet`, but it was not seen by that."""
        with self._lock:
            self._merge(peer, now_ms, alias=alias, verified=False, whereabouts=b"", seen_ms=0)

    def befriend(self, peer: PeerId, now_ms: int) -> None:
        """Count a peer as a friend, whose words were compared; it was not seen by that."""
        with self._lock:
            self._merge(peer, now_ms, alias="", verified=True, whereabouts=b"", seen_ms=0)

    def unname(self, peer: PeerId) -> None:
        """Call a peer by no name any more."""
        self._run("UPDATE peers SET alias=NULL WHERE peer=?", peer)

    def doubt(self, peer: PeerId) -> None:
        """Count a peer as a friend no more: the words that were compared differ."""
        self._run("UPDATE peers SET verified=0 WHERE peer=?", peer)
        self._run("UPDATE requests SET verified=0 WHERE peer=?", peer)  # or the agreement would bring the mark back

    def _merge(
        self, peer: PeerId, now_ms: int, *, alias: str, verified: bool, whereabouts: bytes, seen_ms: int
    ) -> None:
        known = self.peer(peer) or PeerRecord(peer, first_seen_ms=now_ms)
        holder = self.peer_by_alias(alias) if alias else None
        if holder is not None and holder.peer != peer:
            alias = ""  # the column is unique: REPLACE would delete the whole record of who has it
        merged = replace(
            known,
            alias=alias or known.alias,
            is_verified=verified or known.is_verified,
            whereabouts=whereabouts or known.whereabouts,
            last_seen_ms=max(seen_ms, known.last_seen_ms),
        )
        self._run(
            f"INSERT OR REPLACE INTO peers({PEER_COLUMNS}) VALUES(?,?,?,?,?,?)",
            merged.peer,
            merged.alias or None,
            int(merged.is_verified),
            merged.whereabouts,
            merged.first_seen_ms,
            merged.last_seen_ms,
        )

    # agreements in which this home is the owner (those it hosts belong to host.leases)
    def put_agreement(self, agreement: AgreementId, host: PeerId, signed: bytes) -> None:
        """Keep the newest revision of an agreement with a host, and it among all of them."""
        self.deeds.keep(agreement, signed)
        self._run("INSERT OR REPLACE INTO agreements(agreement,host,signed) VALUES(?,?,?)", agreement, host, signed)

    def agreements(self) -> list[tuple[AgreementId, PeerId, bytes]]:
        """Return (agreement, host, signed) of every agreement as owner, in order of agreement."""
        rows = self._all("SELECT agreement,host,signed FROM agreements ORDER BY rowid")
        return [(AgreementId(row[0]), PeerId(row[1]), row[2]) for row in rows]

    def latest_agreement(self, host: PeerId) -> bytes | None:
        """Return the signed agreement with a host that was made last; None: there is none."""
        rows = self._all("SELECT signed FROM agreements WHERE host=? ORDER BY rowid DESC LIMIT 1", host)
        return rows[0][0] if rows else None

    def end_agreement(self, agreement: AgreementId) -> None:
        """Count an agreement no more: a notice ended it. What was signed stays among the deeds."""
        self._run("DELETE FROM agreements WHERE agreement=?", agreement)

    # requests
    def put_request(self, record: RequestRecord) -> None:
        """Add or replace a request."""
        self._run(
            f"INSERT OR REPLACE INTO requests({REQUEST_COLUMNS}) VALUES({','.join('?' * 24)})",
            record.request,
            record.direction,
            record.peer,
            record.size_bytes,
            record.term_s,
            record.lock_s,
            record.state,
            record.since_ms,
            record.alias,
            int(record.is_verified),
            record.whereabouts,
            record.reason,
            *(record.offer or (0, 0, 0))[:3],
            record.revises,
            *record.promises,
            *(record.offer.promises if record.offer else NOTHING),
        )

    def requests(self) -> list[RequestRecord]:
        """Return all requests, oldest first."""
        return [request_of(row) for row in self._all(f"{REQUEST_QUERY} ORDER BY since_ms")]

    def requests_of(self, direction: Direction, peer: PeerId) -> list[RequestRecord]:
        """Return the requests of this direction with one peer, oldest first."""
        query = f"{REQUEST_QUERY} WHERE direction=? AND peer=? ORDER BY since_ms"
        return [request_of(row) for row in self._all(query, direction, peer)]

    def find_request(self, direction: Direction, peer: PeerId) -> RequestRecord | None:
        """Return the newest request of this direction with this peer."""
        rows = self._all(
            f"{REQUEST_QUERY} WHERE direction=? AND peer=? ORDER BY since_ms DESC LIMIT 1", direction, peer
        )
        return request_of(rows[0]) if rows else None

    def drop_requests(self, before_ms: int) -> None:
        """Forget requests older than `before_ms`."""
        self._run("DELETE FROM requests WHERE since_ms<?", before_ms)

    # heads of own repositories: all kept, so that a host that lagged can be brought up one by one
    def put_head(self, repository: RepositoryId, number: int, signed: bytes, grant: bytes) -> None:
        """Keep a head this home made or adopted."""
        self._run(
            "INSERT OR REPLACE INTO heads(repository,number,signed,writer_grant) VALUES(?,?,?,?)",
            repository,
            number,
            signed,
            grant,
        )

    def heads_after(self, repository: RepositoryId, number: int) -> list[tuple[int, bytes, bytes]]:
        """Return (number, signed, grant) of heads above `number`, ascending."""
        query = "SELECT number,signed,writer_grant FROM heads WHERE repository=? AND number>? ORDER BY number"
        return [(row[0], row[1], row[2]) for row in self._all(query, repository, number)]

    def last_head(self, repository: RepositoryId) -> tuple[int, bytes, bytes] | None:
        """Return (number, signed, grant) of the newest head."""
        query = "SELECT number,signed,writer_grant FROM heads WHERE repository=? ORDER BY number DESC LIMIT 1"
        rows = self._all(query, repository)
        return (rows[0][0], rows[0][1], rows[0][2]) if rows else None

    # hosts heard of by browsing: prefixes resolve among them (ADR 0014)
    def put_heard(self, peers: Sequence[PeerId]) -> None:
        """Remember hosts, the last of them longest: beyond HEARD_PEERS those go that were heard of least recently."""
        with self._lock, self._translated():
            self._db.execute("BEGIN")
            # A replaced row gets a new, higher rowid: their order is that of the last hearing.
            self._db.executemany("INSERT OR REPLACE INTO heard(peer) VALUES(?)", [(peer,) for peer in peers])
            kept = "SELECT rowid FROM heard ORDER BY rowid DESC LIMIT ?"
            self._db.execute(f"DELETE FROM heard WHERE rowid NOT IN ({kept})", (HEARD_PEERS,))  # noqa: S608 - constant
            self._db.execute("COMMIT")

    def heard(self) -> list[PeerId]:
        """Return the hosts heard of by browsing, the least recent first."""
        return [PeerId(row[0]) for row in self._all("SELECT peer FROM heard ORDER BY rowid")]

    # keys of knocks
    def put_envelope_key(self, key_id: bytes, private: bytes, created_ms: int) -> None:
        """Keep a key to open knocks with."""
        self._run(
            "INSERT OR REPLACE INTO envelope_keys(key_id,private,created_ms) VALUES(?,?,?)", key_id, private, created_ms
        )

    def envelope_keys(self) -> list[tuple[bytes, bytes, int]]:
        """Return (id, private, created_ms), newest first."""
        query = "SELECT key_id,private,created_ms FROM envelope_keys ORDER BY created_ms DESC"
        return [(row[0], row[1], row[2]) for row in self._all(query)]

    def date_back_envelope_keys(self, after_ms: int, *, to_ms: int) -> None:
        """Let keys made after a time that can't have been count as made at another."""
        self._run("UPDATE envelope_keys SET created_ms=? WHERE created_ms>?", to_ms, after_ms)

    def erase_envelope_keys(self, before_ms: int) -> None:
        """Erase keys made before: older knocks can't be opened by anybody then."""
        self._run("DELETE FROM envelope_keys WHERE created_ms<?", before_ms)

    def put_nonce(self, nonce: bytes, until_ms: int, *, now_ms: int) -> None:
        """Keep the nonce of a knock, durably, and drop those that matter no more."""
        with self.together():
            self._run("DELETE FROM nonces WHERE until_ms<=?", now_ms)
            self._run("INSERT OR REPLACE INTO nonces(nonce,until_ms) VALUES(?,?)", nonce, until_ms)

    def nonces(self) -> dict[bytes, int]:
        """Return the nonces kept, each with the time until which it matters."""
        return {bytes(row[0]): int(row[1]) for row in self._all("SELECT nonce,until_ms FROM nonces")}

    # settings
    def setting(self, key: str) -> bytes | None:
        """Return a stored value."""
        rows = self._all("SELECT value FROM settings WHERE key=?", key)
        return rows[0][0] if rows else self._anchor.get(key)

    def put_setting(self, key: str, value: bytes) -> None:
        """Store a value."""
        self._run("INSERT OR REPLACE INTO settings(key,value) VALUES(?,?)", key, value)
        if key in _ANCHORED:
            self._anchor.put(key, value)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Let all that is written within become durable at once, or nothing of it."""
        with self._lock, self._translated():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def _run(self, query: str, *values: object) -> None:
        with self._lock, self._translated():
            self._db.execute(query, values)

    def _all(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock, self._translated():
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            raise explain_full(exc, "the state of this home", self._path) or LocalError(
                f"can't use the state of this home: {exc}", hint="is its disk in order? (dmesg, SMART)"
            ) from exc


def _open(path: Path) -> sqlite3.Connection:
    try:
        # A copy is kept for long; the keys to open knocks must be gone after 48 h, whatever becomes of the copy.
        return open_database(path, SCRIPTS, forget="DELETE FROM envelope_keys")
    except DamagedStateError as exc:
        # Not moved aside by itself: an owner's home without it knows no host, and should not seem to have none.
        exc.hint = exc.hint or (
            f"move {path.name} away: a host goes on by itself, an owner finds its hosts with `backup-peer recover`"
        )
        raise
