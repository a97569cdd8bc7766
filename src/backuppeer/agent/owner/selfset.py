"""The `self` set: what this home knows beside its files, carried by each snapshot and brought back first (DESIGN 4).

Knows: what belongs to it, in which order it is cut when there is too much, what of it a home takes back. Must not know:
how snapshots are stored. It travels sealed as all of a snapshot does, and comes with the first thing that a recovery
reads: agreements and whereabouts of hosts not on offer, names and comparisons, what was seen of them, settings.

Taken back is only what a home does not know itself, and nothing that is not our own: agreements are checked by their
signatures. Keys, and what is hosted for others, are no part of it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
import structlog
from msgspec import Meta

from backuppeer.agent.home.config import Config, parse_config, read_config
from backuppeer.agent.home.config_writer import write_config
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.keyring import HomeKeys
from backuppeer.agent.home.records import PeerRecord
from backuppeer.agent.home.sets import NO_HOOKS
from backuppeer.agent.home.state import State
from backuppeer.agent.repute.heirlooms import list_followed, list_newest, take_own
from backuppeer.agent.repute.shelf import Shelf
from backuppeer.agent.repute.standing import Standing
from backuppeer.clock import DAY_S
from backuppeer.errors import BackupPeerError, PeerFault
from backuppeer.ids import AgreementId, PeerId, SnapshotId
from backuppeer.limits import EXTENSION_BYTES, SELF_SET_AHEAD_DAYS, SELF_SET_DAY_BYTES, SELF_SET_DAYS, SELF_SET_PEERS
from backuppeer.repo.snapshot import Snapshot
from backuppeer.trust.evidence import DayCount, Kind

NAME: Final = "self"
"""Its key among the extensions of a snapshot."""
_MOST_BYTES: Final = EXTENSION_BYTES * 3 // 4
"""What it may take of them."""
_VERSION: Final = 1
_DAY_MS: Final = DAY_S * 1000
_Id = Annotated[bytes, Meta(min_length=32, max_length=32)]
_Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_log = structlog.get_logger()


class _Peer(msgspec.Struct, frozen=True, array_like=True):
    peer: _Id
    alias: str
    is_verified: bool
    whereabouts: bytes
    first_seen_ms: _Count


class _Agreed(msgspec.Struct, frozen=True, array_like=True):
    host: _Id
    signed: bytes


class _Seen(msgspec.Struct, frozen=True, array_like=True):
    """A day of one peer, by its place among the peers."""

    peer: _Count
    day: _Count
    kind: _Count
    count: _Count
    size_bytes: _Count


class _SelfSet(msgspec.Struct, frozen=True, kw_only=True):
    """All of it; fields that are not known are passed over, so that a later program may add some."""

    v: int
    agreements: list[_Agreed]
    peers: list[_Peer]
    seen: list[_Seen]
    config: str
    receipts: list[bytes] = []
    """The newest own receipt of each agreement that both signed, as owner and as host."""
    lines: list[bytes] = []
    """Successions of others, as they were signed."""


@dataclass(frozen=True, slots=True)
class TakenBack:
    """What a home learned. hosts: of agreements that it did not know."""

    hosts: Sequence[PeerId] = ()
    peers: int = 0
    observations: int = 0
    has_settings: bool = False


class SelfSet:
    """What a home carries along, and takes back."""

    def __init__(self, home: Home, state: State, standing: Standing, keys: HomeKeys) -> None:
        self._home, self._state, self._standing, self._keys = home, state, standing, keys
        self.shelf: Shelf | None = None
        """Where own receipts lie; set by who has it."""
        self.follow: Callable[[Sequence[bytes]], int] = len
        """Follows the successions that it may; set by who knows which agreement names whose authority."""

    def collect(self, now_ms: int) -> bytes:
        """Return it as it stands now; the same knowledge always gives the same bytes.

        What does not fit is left out: old evidence first, then receipts and successions, peers without an agreement,
        settings.
        """
        agreed = [_Agreed(bytes(host), signed) for _, host, signed in self._state.agreements()]
        hosts = [PeerId(row.host) for row in agreed]
        known = {record.peer: record for record in self._state.peers()}
        order = dict.fromkeys([*(peer for peer in hosts if peer in known), *known])
        peers = [
            _Peer(
                bytes(peer),
                known[peer].alias,
                known[peer].is_verified,
                known[peer].whereabouts,
                known[peer].first_seen_ms,
            )
            for peer in list(order)[:SELF_SET_PEERS]
        ]
        places = {PeerId(row.peer): place for place, row in enumerate(peers)}
        seen = [
            _Seen(places[row.peer], row.day, row.kind.value, row.count, row.size_bytes)
            for row in self._standing.condense(now_ms=now_ms, days=SELF_SET_DAYS)
            if row.peer in places
        ]
        return _fit(
            _SelfSet(
                v=_VERSION,
                agreements=agreed,
                peers=peers,
                seen=seen,
                config=self._settings(),
                receipts=[] if self.shelf is None else list_newest(self.shelf),
                lines=list_followed(self._state.successions.list_all()),
            )
        )

    def take_back(self, data: bytes, now_ms: int) -> TakenBack:
        """Learn from a set what this home does not know; nothing of one that can't be read.

        Whoever had the machine may have written it: no time later than now is taken from it.
        """
        try:
            found = msgspec.msgpack.decode(data, type=_SelfSet)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # Of a later program: the snapshot is none the worse for it.
            _log.warning("a self set can't be read")
            return TakenBack()
        hosts = [host for host in map(self._take_agreement, found.agreements) if host is not None]
        # After the agreements, which say by which authority; before the peers, whose names have gone over already.
        self.follow(found.lines)
        peers = sum(self._take_peer(known, now_ms) for known in found.peers)
        if self.shelf is not None:
            take_own(self.shelf, found.receipts[:SELF_SET_PEERS], self._keys.names)
        seen = self._standing.take_back(_counts(found, now_ms // _DAY_MS + SELF_SET_AHEAD_DAYS))
        return TakenBack(hosts, peers, seen, self._take_settings(found.config))

    def _take_agreement(self, row: _Agreed) -> PeerId | None:
        host = PeerId(row.host)
        try:
            said = self._keys.open_terms(row.signed, host)
        except PeerFault as exc:
            _log.warning("an agreement of a self set is none", reason=exc.message)
            return None
        if any(agreement == said.agreement for agreement, _, _ in self._state.agreements()):
            return None
        self._state.put_agreement(AgreementId(said.agreement), host, row.signed)
        return host

    def _take_peer(self, row: _Peer, now_ms: int) -> bool:
        peer = PeerId(row.peer)
        before = self._state.peer(peer)
        # What this home heard itself is newer; a comparison and a name stay true.
        where = b"" if before is not None and before.whereabouts else row.whereabouts
        seen_ms = min(row.first_seen_ms, now_ms)
        self._state.meet(peer, seen_ms, alias=row.alias, verified=row.is_verified, whereabouts=where)
        return before is None

    def _settings(self) -> str:
        try:
            read_config(self._home)
            return self._home.config.read_text()
        except (BackupPeerError, OSError):
            return ""  # none, or such that nobody could use them

    def _take_settings(self, text: str) -> bool:
        if not text or self._home.config.exists():
            return False
        try:
            write_config(self._home, without_commands(parse_config(text)))
        except BackupPeerError as exc:
            _log.warning("the settings of a self set can't be used", reason=exc.message)
            return False
        return True


def find_newest(snapshots: Sequence[tuple[SnapshotId, Snapshot]]) -> bytes:
    """Return the set of the newest snapshot that has one, b"" if none has. snapshots: in the order of a head."""
    return next((snapshot.ext[NAME] for _, snapshot in reversed(snapshots) if snapshot.ext.get(NAME)), b"")


def _known(record: PeerRecord) -> _Peer:
    return _Peer(bytes(record.peer), record.alias, record.is_verified, record.whereabouts, record.first_seen_ms)


def without_commands(config: Config) -> Config:
    """Return settings without what they would have this machine run.

    They come from a machine that was lost, and whoever took it may have written them: the words don't vouch for that.
    """
    sets = {name: msgspec.structs.replace(one, hooks=NO_HOOKS) for name, one in config.sets.items()}
    return msgspec.structs.replace(config, passphrase_command=None, sets=sets)


def _counts(found: _SelfSet, last_day: int) -> Iterator[DayCount]:
    kinds = {kind.value: kind for kind in Kind}
    for row in found.seen:
        if row.kind in kinds and row.peer < len(found.peers) and row.count and row.day <= last_day:
            size_bytes = min(row.size_bytes, SELF_SET_DAY_BYTES)
            yield DayCount(PeerId(found.peers[row.peer].peer), row.day, kinds[row.kind], row.count, size_bytes)


def _fit(whole: _SelfSet) -> bytes:
    """Return the encoded set, without the least of it as long as it is too long."""
    data = msgspec.msgpack.encode(whole)
    while len(data) > _MOST_BYTES and whole.seen:
        # Newest first, so the older half goes.
        whole = msgspec.structs.replace(whole, seen=whole.seen[: len(whole.seen) // 2])
        data = msgspec.msgpack.encode(whole)
    if len(data) > _MOST_BYTES:
        # They can be had again from the other sides.
        whole = msgspec.structs.replace(whole, receipts=[], lines=[])
        data = msgspec.msgpack.encode(whole)
    while len(data) > _MOST_BYTES and len(whole.peers) > len(whole.agreements):
        kept = max(len(whole.agreements), len(whole.peers) // 2)
        whole = msgspec.structs.replace(whole, peers=whole.peers[:kept])
        data = msgspec.msgpack.encode(whole)
    if len(data) > _MOST_BYTES:
        data = msgspec.msgpack.encode(msgspec.structs.replace(whole, config=""))
    return data if len(data) <= _MOST_BYTES else b""
