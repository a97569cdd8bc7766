"""The agreements this store lives by: co-signed, hash-chained revisions, the newest in force and all kept.

Knows: `proof.statements.Agreement`, the files `agreement`, `agreement.<revision>` and `ended`. Must not know: who
negotiates or why. A revision is accepted only when both parties signed it, it names this host, and it continues the
chain; authority and repository never change, owner and host only by their authority's word (`proof.revisions`). Such a
one, or one that lowers the lock, carries that word, so the chain proves itself. All that is kept is by agreement and
stays where it is; what an owner of before signed is opened under the line of owners. This host may have several names:
an agreement stays under the one of before until its owner has signed the next (ADR 69).
"""

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeVar

from backuppeer.errors import (
    AuthenticationFault,
    BackupPeerError,
    NotFoundError,
    PeerFault,
    ProtocolViolation,
    RefusedError,
)
from backuppeer.host.catalogue import Catalogue
from backuppeer.host.disk import make_directory, replace_file, translate_failures
from backuppeer.host.layout import AGREEMENT_ID_BYTES, Layout, parse_hex_name
from backuppeer.host.quota import Quota
from backuppeer.ids import AgreementId, PeerId
from backuppeer.limits import AGREEMENTS_PER_OWNER, STATEMENT_BYTES
from backuppeer.proof.case import open_by_any
from backuppeer.proof.revisions import check_successor
from backuppeer.proof.statements import Agreement, open_statement, peek_statement, statement_hash

_FILE_BYTES = 2 * STATEMENT_BYTES
_NAME = "agreement"
S = TypeVar("S")
Former = Collection[PeerId]
"""Names of before of a store's host (ADR 69)."""
ENDED = "ended"
"""The file that says that an agreement was ended by notice, and all of it erased."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The revision in force: what it says, and the exact signed bytes."""

    terms: Agreement
    signed: bytes

    @property
    def agreement(self) -> AgreementId:
        """The stable id over all revisions."""
        return AgreementId(self.terms.agreement)

    @property
    def owner(self) -> PeerId:
        """Whose data it is."""
        return PeerId(self.terms.owner)

    @property
    def host(self) -> PeerId:
        """The name by which the owner knows this host."""
        return PeerId(self.terms.host)


class _Lines(NamedTuple):
    """Who owned an agreement, and under which names this host kept it; those of now first."""

    owners: tuple[PeerId, ...]
    hosts: tuple[PeerId, ...]


class Leases:
    """All agreements of one store. Thread-safe. Made by `open_store`."""

    def __init__(self, layout: Layout, catalogue: Catalogue, *, quota: Quota, hosts: Collection[PeerId]) -> None:
        """`hosts`: all names of this host."""
        self._layout = layout
        self._catalogue = catalogue
        self._quota = quota
        self._hosts = frozenset(hosts)
        self._leases: dict[AgreementId, Lease] = {}
        self._by_owner: dict[PeerId, set[AgreementId]] = {}
        self._lines: dict[AgreementId, tuple[int, _Lines]] = {}
        self._lock = threading.Lock()

    def load(self) -> list[str]:
        """Read all agreements from their files, or where a file is damaged from the catalogue; return notes about such.

        Raises:
            StoreUnavailable: the disk refuses.

        """
        notes: list[str] = []
        second = self._catalogue.signed_agreements()
        with translate_failures(self._layout.root), self._lock:
            self._leases.clear()
            self._by_owner.clear()
            for folder in sorted(self._layout.agreements.iterdir()):
                raw = parse_hex_name(folder.name, AGREEMENT_ID_BYTES)
                if raw is not None and not (folder / ENDED).exists():
                    self._load_one(AgreementId(raw), folder, second, notes)
        return notes

    def put(self, signed: bytes) -> Lease:
        """Accept a co-signed revision: durable and in force on return. The one in force again is fine.

        Raises:
            AuthenticationFault: a signature that does not hold.
            ProtocolViolation: malformed, for another host, or not continuing the chain.
            RefusedError: it shrinks below what is stored, lowers the lock, exceeds what the store offers, or there
                are too many agreements or revisions.
            StoreUnavailable: the disk refuses; the former revision is in force.

        """
        lease = self._verify(signed)
        with self._lock:
            if lease.agreement not in self._leases and (self._layout.folder(lease.agreement) / ENDED).exists():
                raise RefusedError("this agreement has ended", hint="make a new one")
            current = self._leases.get(lease.agreement)
            if current is not None and statement_hash(current.signed) == statement_hash(lease.signed):
                return current
            self._check_step(current, lease)
            self._quota.set_limit(lease.agreement, lease.terms.size_bytes)
            try:
                self._write(current, lease)
            except BackupPeerError:
                self._restore_limit(current, lease.agreement)
                raise
            self._keep(lease)
            return lease

    def end(self, agreement: AgreementId) -> None:
        """Let go of an agreement of which nothing is left; its folder stays, with what was signed.

        Raises:
            NotFoundError: no such agreement.
            StoreUnavailable: the disk refuses; it goes on.

        """
        lease = self.get(agreement)
        with self._lock:
            with translate_failures(self._layout.root):
                # Durable before it is forgotten: it must not come back from its file when the store is opened.
                replace_file(self._layout.folder(agreement) / ENDED, b"")
            del self._leases[agreement]
            self._by_owner[lease.owner].discard(agreement)
            self._quota.drop_limit(agreement)

    def find(self, agreement: AgreementId) -> Lease | None:
        """Return the revision in force, or None when there is no such agreement."""
        with self._lock:
            return self._leases.get(agreement)

    def get(self, agreement: AgreementId) -> Lease:
        """Return the revision in force.

        Raises:
            NotFoundError: no such agreement.

        """
        lease = self.find(agreement)
        if lease is None:
            raise NotFoundError(f"no agreement {agreement.hex()} in this store")
        return lease

    def list_by_owner(self, owner: PeerId) -> list[Lease]:
        """Return what is in force with one owner, in order of agreement ids."""
        with self._lock:
            return [self._leases[agreement] for agreement in sorted(self._by_owner.get(owner, ()))]

    def list_all(self) -> list[Lease]:
        """Return everything in force, in order of agreement ids."""
        with self._lock:
            return [self._leases[agreement] for agreement in sorted(self._leases)]

    def recall(self, agreement: AgreementId) -> Lease | None:
        """Return the revision in force, or the last one of an agreement that has ended, from its file; None if neither.

        Raises:
            StoreUnavailable: the disk refuses.

        """
        lease = self.find(agreement)
        if lease is not None or len(agreement) != AGREEMENT_ID_BYTES:
            return lease
        folder = self._layout.folder(agreement)
        with translate_failures(self._layout.root):
            if not (folder / ENDED).exists():
                return None
            return self._try_verify(agreement, _read_if_there(folder / _NAME), is_ended=True)

    def history(self, agreement: AgreementId) -> list[bytes]:
        """Return all signed revisions of an agreement, oldest first, as they were signed; also of one that has ended.

        Raises:
            NotFoundError: no such agreement.
            StoreUnavailable: the disk refuses, or an old revision is gone.

        """
        lease = self.recall(agreement)
        if lease is None:
            raise NotFoundError(f"no agreement {agreement.hex()} in this store")
        folder = self._layout.folder(agreement)
        with translate_failures(self._layout.root):
            old = [_read_capped(folder / f"{_NAME}.{number}") for number in range(1, lease.terms.revision)]
        return [*old, lease.signed]

    def line(self, lease: Lease) -> tuple[PeerId, ...]:
        """Return who owned an agreement, the owner of now first, then who that one succeeded, and so on (ADR 69).

        Of whom no revision is left on the disk is left out: what it signed opens no more, and nothing is erased for it.

        Raises:
            StoreUnavailable: the disk refuses.

        """
        return self._trace(lease).owners

    def names(self, lease: Lease) -> tuple[PeerId, ...]:
        """Return the names under which this host keeps and kept an agreement, that of now first; as `line`."""
        return self._trace(lease).hosts

    def _trace(self, lease: Lease) -> _Lines:
        revision, lines = self._lines.get(lease.agreement, (0, _Lines((), ())))
        if revision != lease.terms.revision:
            every = [lease.terms, *self._list_before(lease)]
            owners, hosts = (dict.fromkeys(map(PeerId, one)) for one in zip(*_parties_of(every), strict=True))
            lines = _Lines(tuple(owners), tuple(hosts))
            self._lines[lease.agreement] = (lease.terms.revision, lines)
        return lines

    def _list_before(self, lease: Lease) -> Iterator[Agreement]:
        """Yield each revision that is kept and was in force before, the newest first."""
        folder = self._layout.folder(lease.agreement)
        for number in range(lease.terms.revision - 1, 0, -1):
            with translate_failures(self._layout.root):
                signed = _read_if_there(folder / f"{_NAME}.{number}")
            with suppress(PeerFault):
                yield peek_statement(Agreement, signed)

    def open_by_line(self, lease: Lease, open_as: Callable[[PeerId], S]) -> S:
        """Return what opens as a word of the owner, or else of who owned the agreement before it.

        Raises:
            AuthenticationFault: none of them signed it.
            StoreUnavailable: the disk refuses.
            as `open_as`.

        """
        try:
            return open_as(lease.owner)
        except AuthenticationFault:
            before = self.line(lease)[1:]  # read only now: hardly any agreement has one
            if not before:
                raise
            return open_by_any(before[::-1], open_as)

    def find_step(self, agreement: AgreementId, old: PeerId) -> bytes | None:
        """Return the co-signed revision by which another took the place of the owner, or host, `old`; None: none did.

        Raises:
            NotFoundError: no such agreement.
            StoreUnavailable: the disk refuses, or an old revision is gone.

        """
        steps = pairwise(self.history(agreement))
        found = (other for one, other in steps if old in set(_parties_in(one)) - set(_parties_in(other)))
        return next(found, None)

    def _verify(self, signed: bytes, *, is_ended: bool = False) -> Lease:
        claimed = peek_statement(Agreement, signed)
        terms = open_statement(Agreement, signed, claimed.owner, claimed.host)
        # One that has ended stays under the name that it had, also when this host is known by that to nobody any more.
        if terms.host not in self._hosts and not is_ended:
            raise ProtocolViolation("the agreement is with another host")
        if terms.size_bytes < 1:
            raise ProtocolViolation("the agreement is about no storage")
        return Lease(terms=terms, signed=bytes(signed))

    def _check_step(self, current: Lease | None, new: Lease) -> None:
        if current is None:
            self._check_first(new)
            return
        check_successor(current.signed, new.terms)
        if current.owner != new.owner:
            self._check_count(new.owner)

    def _check_first(self, new: Lease) -> None:
        if new.terms.revision != 1:
            raise ProtocolViolation("the first revision of an agreement has number 1")
        self._check_count(new.owner)
        others = (self._leases[agreement].terms for agreement in self._by_owner.get(new.owner, ()))
        if any(terms.authority != new.terms.authority for terms in others):
            # Whoever has the identity alone could else name an authority of its own, and have that name an heir.
            raise RefusedError(
                "the other agreements with this owner name another authority",
                hint="ask from a home that was made, or recovered, with the same 24 words",
            )

    def _check_count(self, owner: PeerId) -> None:
        if len(self._by_owner.get(owner, ())) >= AGREEMENTS_PER_OWNER:
            raise RefusedError(
                f"there are {AGREEMENTS_PER_OWNER} agreements with this owner already", hint="revise one of them"
            )

    def _keep(self, lease: Lease) -> None:
        before = self._leases.get(lease.agreement)
        if before is not None and before.owner != lease.owner:
            self._by_owner[before.owner].discard(lease.agreement)
        self._leases[lease.agreement] = lease
        self._by_owner.setdefault(lease.owner, set()).add(lease.agreement)

    def _write(self, current: Lease | None, new: Lease) -> None:
        folder = self._layout.folder(new.agreement)
        with translate_failures(self._layout.root):
            make_directory(folder)
            make_directory(folder / "packs")
            if current is not None:
                # The chain must have no gap: the old revision gets its own name before the new one takes the main one.
                replace_file(folder / f"{_NAME}.{current.terms.revision}", current.signed)
            replace_file(folder / _NAME, new.signed)
        self._catalogue.put_agreement(new.agreement, new.signed, owner=new.owner, revision=new.terms.revision)

    def _restore_limit(self, current: Lease | None, agreement: AgreementId) -> None:
        if current is None:
            self._quota.drop_limit(agreement)
        else:
            self._quota.restore_limit(agreement, current.terms.size_bytes)

    def _load_one(
        self, agreement: AgreementId, folder: Path, second: Mapping[AgreementId, bytes], notes: list[str]
    ) -> None:
        lease = self._try_verify(agreement, _read_if_there(folder / _NAME))
        if lease is None:
            lease = self._try_verify(agreement, second.get(agreement, b""))
            if lease is None:
                # A folder made for an agreement that was never acknowledged holds no packs and needs no word.
                if any((folder / "packs").glob("*")):
                    notes.append(f"agreement {agreement.hex()} is damaged; its packs are kept but not served")
                return
            notes.append(f"agreement {agreement.hex()} was damaged and restored from the catalogue")
            replace_file(folder / _NAME, lease.signed)
        make_directory(folder / "packs")
        self._catalogue.put_agreement(agreement, lease.signed, owner=lease.owner, revision=lease.terms.revision)
        self._keep(lease)
        self._quota.restore_limit(agreement, lease.terms.size_bytes)

    def _try_verify(self, agreement: AgreementId, signed: bytes, *, is_ended: bool = False) -> Lease | None:
        try:
            lease = self._verify(signed, is_ended=is_ended)
        except PeerFault:
            return None
        return lease if lease.agreement == agreement else None


def _parties_of(revisions: Iterable[Agreement]) -> Iterator[tuple[bytes, bytes]]:
    return ((terms.owner, terms.host) for terms in revisions)


def _parties_in(signed: bytes) -> tuple[bytes, bytes]:
    return next(_parties_of([peek_statement(Agreement, signed)]))


def _read_capped(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_FILE_BYTES)


def _read_if_there(path: Path) -> bytes:
    try:
        return _read_capped(path)
    except (FileNotFoundError, NotADirectoryError):
        return b""
