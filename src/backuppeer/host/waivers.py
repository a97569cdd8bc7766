"""What the owner's 24 words allow at once: deleted packs erased, an agreement ended (ADR 52).

Knows: the statements of `proof.waivers`, their files, the rows and the notice that they change. Must not know:
sessions, how packs are erased (sweep, endings). Order: statement checked against what lies here → file durable → rows
or notice → answer. Killed in between, what the last file says is done when the store is opened, if it still fits.

A lock is lowered by a revision that carries its waiver (leases); what was deleted before follows it here.
"""

import re
import threading
from contextlib import suppress
from typing import Final, NamedTuple

from backuppeer.errors import PeerFault, ProtocolViolation, RefusedError
from backuppeer.host.disk import make_directory, replace_file, translate_failures
from backuppeer.host.layout import Layout
from backuppeer.host.leases import Lease, Leases
from backuppeer.host.marker import Presence
from backuppeer.host.notices import Notices
from backuppeer.host.removals import Removals
from backuppeer.ids import AgreementId
from backuppeer.limits import SIGNED_BYTES, WAIVERS_PER_AGREEMENT
from backuppeer.proof.merkle import root_of_set
from backuppeer.proof.statements import open_statement, peek_statement
from backuppeer.proof.waivers import EndWaiver, PurgeWaiver, Waiver, check_fresh, open_waiver

_KINDS: Final[dict[str, type[PurgeWaiver | EndWaiver]]] = {"purge": PurgeWaiver, "end": EndWaiver}
_NAME: Final = re.compile(r"([0-9]{8})\.([0-9]{8})\.(purge|end)")


class Freed(NamedTuple):
    """What the next sweep erases of it: so many packs of so many bytes."""

    packs: int = 0
    size_bytes: int = 0


class _Last(NamedTuple):
    """The waiver that was kept last. upon: the number of the last request to delete or revive at that time."""

    number: int = 0
    upon: int = 0
    signed: bytes = b""

    @property
    def time_ms(self) -> int:
        """When it was signed; 0 if it can't be read any more: what it allowed is bound to what lay here then."""
        with suppress(PeerFault):
            return peek_statement(_KINDS[_kind_of(self.signed)], self.signed).time_ms
        return 0


class Waivers:
    """All waivers of one store. Thread-safe. Made by `open_store`."""

    def __init__(
        self, layout: Layout, removals: Removals, notices: Notices, *, leases: Leases, presence: Presence
    ) -> None:
        self._layout, self._notices, self._leases, self._presence = layout, notices, leases, presence
        self._removals, self._graveyard = removals, removals.graveyard
        self._lock = threading.Lock()

    def take(self, agreement: AgreementId, signed: bytes, *, now_ms: int) -> Freed:
        """Do what the authority allows, durably; return what is erased with the next sweep.

        The last one again is fine: who sent it did not hear our answer. So is the one that ended an agreement which is
        let go of since.

        Raises:
            NotFoundError: no such agreement.
            AuthenticationFault: not signed by its authority.
            ProtocolViolation: malformed, no waiver of these kinds, or of another agreement or host.
            RefusedError: too old, not later than the one before, or what it names is no longer so.
            StoreUnavailable: the disk refuses; nothing was done, or it will be when the store is opened.

        """
        self._presence.check()
        kind = _kind_of(signed)
        with self._lock, self._removals.lock:
            if self._is_ended_by(agreement, signed):
                return Freed()
            lease, last = self._leases.get(agreement), self._last(agreement)
            said = open_waiver(_KINDS[kind], signed, lease.signed, lease.terms)
            if last.signed == signed:
                return self._do(lease, said, last.upon)
            check_fresh(said, now_ms, after_ms=last.time_ms)
            if not self._fits(lease, said):
                raise _explain(said)
            upon = self._removals.last_number(agreement)
            self._keep(agreement, f"{last.number + 1:08d}.{upon:08d}.{kind}", signed)
            return self._do(lease, said, upon)

    def follow_lock(self, lease: Lease) -> None:
        """Let what was deleted before go no later than the lock in force says, counted from when it was asked for.

        Raises:
            StoreUnavailable: the disk refuses; it is done when the store is opened.

        """
        with self._removals.lock:
            self._graveyard.shorten(lease.agreement, lease.terms.lock_s)

    def load(self) -> list[str]:
        """Do again what a crash may have left undone; return notes about what can't be read.

        Raises:
            StoreUnavailable: the disk refuses.

        """
        notes = []
        for lease in self._leases.list_all():
            self.follow_lock(lease)
            try:
                with self._removals.lock:
                    last = self._last(lease.agreement)
                    if last.signed:
                        said = open_statement(_KINDS[_kind_of(last.signed)], last.signed, lease.terms.authority)
                        self._do(lease, said, last.upon)
            except PeerFault:
                # Fail closed: without the authority's word nothing goes early.
                path = self._layout.waivers(lease.agreement)
                notes.append(f"a word of an owner's 24 words can't be read and is not followed: {path}")
        return notes

    def recall_end(self, lease: Lease) -> bytes:
        """Return the word that let an agreement end early, as it was signed, also when it is over; b"" if none did.

        Raises:
            StoreUnavailable: the disk refuses.

        """
        last = self._last(lease.agreement)
        with suppress(PeerFault):
            peek_statement(EndWaiver, last.signed)
            return last.signed
        return b""

    def _is_ended_by(self, agreement: AgreementId, signed: bytes) -> bool:
        """Return whether an agreement is over and erased, and these very bytes were the word that ended it."""
        if self._leases.find(agreement) is not None:
            return False
        ended = self._leases.recall(agreement)
        return ended is not None and self.recall_end(ended) == signed

    def _fits(self, lease: Lease, said: Waiver) -> bool:
        """Return whether what lies here is just what the person with the words was shown."""
        if isinstance(said, PurgeWaiver):
            deleted = self._graveyard.deleted_ids(lease.agreement)
            return (len(deleted), root_of_set(deleted)) == (said.packs, said.packs_root)
        notices = [given.notice for given in self._notices.list_given(lease.agreement)]
        own = [notice for notice in notices if notice.party != lease.terms.host and notice.ends]
        return isinstance(said, EndWaiver) and [notice.number for notice in own] == [said.notice]

    def _do(self, lease: Lease, said: Waiver, upon: int) -> Freed:
        """Do what a kept waiver says. What was revived since, and deleted again, is another matter: it has its lock."""
        if not self._fits(lease, said):
            return Freed()  # done before, and erased since
        if isinstance(said, EndWaiver):
            self._notices.hasten(lease.agreement)
            return Freed(*self._graveyard.count(lease.agreement))
        is_same = self._removals.last_number(lease.agreement) == upon
        return Freed(*self._graveyard.purge(lease.agreement)) if is_same else Freed()

    def _keep(self, agreement: AgreementId, name: str, signed: bytes) -> None:
        with translate_failures(self._layout.root):
            folder = self._layout.waivers(agreement)
            make_directory(folder)
            if sum(1 for _ in folder.iterdir()) >= WAIVERS_PER_AGREEMENT:
                raise RefusedError("too many words of this kind were given", hint="make a new agreement")
            # Durable before the rows: the host must be able to show what it erased packs early for.
            replace_file(folder / name, signed)

    def _last(self, agreement: AgreementId) -> _Last:
        folder = self._layout.waivers(agreement)
        with translate_failures(self._layout.root):
            try:
                names = [match for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
            except FileNotFoundError:
                self._presence.check()
                return _Last()
            found = max(names, key=lambda match: int(match[1]), default=None)
            if found is None:
                return _Last()
            with (folder / found.string).open("rb") as file:
                signed = file.read(SIGNED_BYTES + 1)
        return _Last(int(found[1]), int(found[2]), signed)


def _kind_of(signed: bytes) -> str:
    """Return which of the kinds a waiver claims to be.

    Raises:
        ProtocolViolation: none of them.

    """
    for name, kind in _KINDS.items():
        with suppress(PeerFault):
            peek_statement(kind, signed)
            return name
    raise ProtocolViolation("that is no word that lets anything be erased early")


def _explain(said: Waiver) -> RefusedError:
    if isinstance(said, PurgeWaiver):
        return RefusedError(
            "what is deleted has changed since you were shown it: nothing was erased",
            hint="look again: run the same command once more",
        )
    return RefusedError("no notice of yours of that number stands", hint="give it first: `backup-peer peers end PEER`")
