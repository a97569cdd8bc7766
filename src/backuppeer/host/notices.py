"""Notices that end agreements of this store: checked, kept, counted down, taken back (ADR 45).

Knows: `proof.notices`, the file of each side's last one, the store's age. Must not know: sessions, how packs are erased
(endings). Order: statement checked → file durable → answer. The time is the store's age, as of all locks: a machine
that is off, or a clock that jumps, ends nothing.

A notice of an owner of before that is dated after the authority's word of its heir is void (ADR 69): no judge takes it
for an excuse, so nothing is erased for it. A thief may have given it while this host had not heard.

A host's own notice counts twice as long until its owner has been told of it: nobody's data goes because they were away.
"""

import threading
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from backuppeer.errors import BackupPeerError, PeerFault, RefusedError
from backuppeer.host.countersigning import Countersigning
from backuppeer.host.daily import Counted, Daily
from backuppeer.host.disk import replace_file, translate_failures
from backuppeer.host.graveyard import Graveyard
from backuppeer.host.layout import Layout
from backuppeer.host.leases import Lease, Leases
from backuppeer.host.marker import Presence
from backuppeer.host.notice_file import FILE_BYTES, NoticeFile, join_notice, split_notice
from backuppeer.ids import AgreementId
from backuppeer.limits import ENDINGS_PER_DAY
from backuppeer.proof.notices import Notice, kept_s, open_notice
from backuppeer.proof.statements import Agreement, peek_statement, statement_hash
from backuppeer.proof.succession import IN_REVISION, Succession

_UNTOLD_FACTOR: Final = 2
_SIDES: Final = ("owner", "host")


class Given(NamedTuple):
    """The last notice of one side: what it says, its exact bytes, and the store's age until which all is kept."""

    notice: Notice
    file: NoticeFile


class Notices:
    """All notices of one store. Thread-safe. Made by `open_store`."""

    def __init__(
        self,
        layout: Layout,
        graveyard: Graveyard,
        *,
        leases: Leases,
        signing: Countersigning,
        daily: Daily,
        presence: Presence,
    ) -> None:
        self._layout, self._graveyard = layout, graveyard
        self._leases, self._countersigning, self._presence = leases, signing, presence
        self._daily = daily
        self._given: dict[AgreementId, dict[str, Given]] = {}
        self._void: dict[bytes, bool] = {}
        self._lock = threading.Lock()

    def load(self) -> list[str]:
        """Read what is kept, and let the store be as old as it was then; return notes about what can't be read.

        Raises:
            StoreUnavailable: the disk refuses.

        """
        notes = []
        for lease in self._leases.list_all():
            for side in _SIDES:
                path = self._path(lease.agreement, side)
                try:
                    found = self._read(path, lease)
                except (ValueError, PeerFault):
                    # Fail closed: without the word of a party nothing is erased.
                    notes.append(f"a notice can't be read and is not followed: {path}")
                    continue
                if found is not None:
                    self._graveyard.recall_age(found.file.given_s)
                    self._given.setdefault(lease.agreement, {})[side] = found
        return notes

    def give(self, agreement: AgreementId, signed: bytes, device_sig: bytes = b"") -> int:
        """Take a notice of either side, durably; return for how many seconds all is kept, 0 if it goes on.

        The last one again is fine: who gave it did not hear our answer.

        Raises:
            NotFoundError: no such agreement.
            PeerFault: not by a party, malformed, or of another agreement.
            RefusedError: another number is due, it is too late to take it back, the writing device did not sign, or the
                owner ended the agreement too often within a day. To take that back is never too often.
            StoreUnavailable: the disk refuses; nothing was taken.

        """
        self._presence.check()
        with self._lock:
            lease = self._leases.get(agreement)
            said = open_notice(signed, lease.terms)
            side = _side_of(lease, said)
            last = self._given.get(agreement, {}).get(side)
            if last is not None and statement_hash(last.file.signed) == statement_hash(signed):
                return self._left_s(agreement) or 0
            self._check(agreement, said, last)
            is_owners = side == "owner"
            grant = self._countersigning.check(lease, Notice, signed, device_sig) if is_owners else b""
            file = self._measure(lease, said, NoticeFile(0, 0, signed, grant, device_sig if grant else b""))
            if is_owners and said.ends:
                self._check_day(agreement)
            self._keep(agreement, side, Given(said, file))
            if is_owners and said.ends:
                self._daily.add(agreement, Counted.ENDED)
            return self._left_s(agreement) or 0

    def note_told(self, agreement: AgreementId) -> None:
        """Count a notice of this host from now on at its usual length, if that was not done: the owner knows of it.

        However late that is: the owner can't know since when it was told, and believes no sooner end than was agreed.

        Raises:
            StoreUnavailable: the disk refuses.

        """
        with self._lock:
            given = self._given.get(agreement, {}).get("host")
            lease = self._leases.find(agreement)
            if given is None or lease is None or not given.notice.ends:
                return
            usual_s = kept_s(lease.terms, given.notice.party)
            due_s = self._graveyard.age_s() + usual_s
            is_untold = given.file.due_s == given.file.given_s + _UNTOLD_FACTOR * usual_s
            if is_untold or due_s < given.file.due_s:
                self._keep(agreement, "host", Given(given.notice, given.file._replace(due_s=due_s)))

    def hasten(self, agreement: AgreementId) -> None:
        """Let the owner's notice be over now, durably; again is fine.

        Raises:
            StoreUnavailable: the disk refuses.

        """
        with self._lock:
            given, age_s = self._given.get(agreement, {}).get("owner"), self._graveyard.age_s()
            if given is not None and given.notice.ends and given.file.due_s > age_s:
                self._keep(agreement, "owner", Given(given.notice, given.file._replace(due_s=age_s)))

    def list_given(self, agreement: AgreementId) -> list[Given]:
        """Return the last notice of each side that gave one, the owner's first; none that is void."""
        with self._lock:
            given = self._given.get(agreement, {})
            return [given[side] for side in _SIDES if side in given and not self._is_void(given[side])]

    def recall(self, lease: Lease) -> bytes:
        """Return the owner's last notice as it was signed, also of an agreement that is over; b"" if none can be read.

        Raises:
            StoreUnavailable: the disk refuses.

        """
        with suppress(ValueError, PeerFault):
            found = self._read(self._path(lease.agreement, "owner"), lease)
            return found.file.signed if found is not None else b""
        return b""

    def last_of_host(self, agreement: AgreementId) -> Given | None:
        """Return this host's own last notice, under whichever name it gave it; None before the first."""
        with self._lock:
            return self._given.get(agreement, {}).get("host")

    def is_ended_by_host(self, agreement: AgreementId) -> bool:
        """Return whether a notice of this host's own stands."""
        last = self.last_of_host(agreement)
        return last is not None and last.notice.ends

    def left_s(self, agreement: AgreementId) -> int | None:
        """Return for how many seconds all is kept still; None: no notice stands."""
        with self._lock:
            return self._left_s(agreement)

    def is_over(self, agreement: AgreementId) -> bool:
        """Return whether a notice ended the agreement, so that nothing more is taken and all of it is erased."""
        with self._lock:
            left_s = self._left_s(agreement)
        return left_s is not None and left_s <= 0

    def list_over(self) -> list[AgreementId]:
        """Return the agreements that a notice has ended."""
        with self._lock:
            return [agreement for agreement in self._given if self._left_s(agreement) == 0]

    def next_due_s(self) -> int | None:
        """Return in how many seconds the next agreement ends; None if none does."""
        with self._lock:
            return min((left for a in self._given if (left := self._left_s(a)) is not None), default=None)

    def forget(self, agreement: AgreementId) -> None:
        """Count no more what is over and erased; the files stay, to answer a charge with."""
        with self._lock:
            self._given.pop(agreement, None)

    def _check(self, agreement: AgreementId, said: Notice, last: Given | None) -> None:
        due = last.notice.number + 1 if last is not None else 1
        # The heir may never have heard of a void one. It gave none here yet, so none of its own is given again.
        if said.number != due and (last is None or not self._is_void(last)):
            raise RefusedError(f"notice {due} of this side is due, not {said.number}", hint="ask what is known here")
        if not said.ends and self._left_s(agreement) == 0:
            raise RefusedError("the agreement has ended already, and all of it is being erased")

    def _check_day(self, agreement: AgreementId) -> None:
        if self._daily.today(agreement, Counted.ENDED).times >= ENDINGS_PER_DAY:
            raise RefusedError(
                f"the agreement was ended {ENDINGS_PER_DAY} times within a day, and goes on until tomorrow",
                hint="end it once more then; to take a notice back is always possible",
            )

    def _measure(self, lease: Lease, said: Notice, file: NoticeFile) -> NoticeFile:
        age_s = self._graveyard.age_s()
        factor = _UNTOLD_FACTOR if said.party == lease.terms.host else 1
        due_s = age_s + kept_s(lease.terms, said.party) * factor if said.ends else 0
        return file._replace(given_s=age_s, due_s=due_s)

    def _left_s(self, agreement: AgreementId) -> int | None:
        given = self._given.get(agreement, {}).values()
        dues = [one.file.due_s for one in given if one.notice.ends and not self._is_void(one)]
        return max(0, min(dues) - self._graveyard.age_s()) if dues else None

    def _is_void(self, given: Given) -> bool:
        said = given.notice
        lease = self._leases.find(said.agreement)
        if lease is None or said.party in {lease.terms.owner, *self._leases.names(lease)}:
            return False
        if given.file.signed not in self._void:
            try:
                step = self._leases.find_step(said.agreement, said.party)
            except BackupPeerError:
                return True  # fail closed: nothing is erased by who may have been no owner
            self._void[given.file.signed] = step is None or said.time_ms > _succeeded_ms(step)
        return self._void[given.file.signed]

    def _keep(self, agreement: AgreementId, side: str, given: Given) -> None:
        # Durable before the answer: who was told until when all is kept can rely on it, and so can who took it back.
        with translate_failures(self._layout.root):
            replace_file(self._path(agreement, side), join_notice(given.file))
        self._given.setdefault(agreement, {})[side] = given

    def _read(self, path: Path, lease: Lease) -> Given | None:
        with translate_failures(self._layout.root):
            try:
                with path.open("rb") as file:
                    data = file.read(FILE_BYTES + 1)
            except FileNotFoundError:
                return None
        found = split_notice(data)
        claimed = peek_statement(Notice, found.signed)
        is_of_before = claimed.party not in {lease.terms.owner, lease.terms.host}
        before = (*self._leases.line(lease)[1:], *self._leases.names(lease)[1:]) if is_of_before else ()
        return Given(open_notice(found.signed, lease.terms, *before), found)

    def _path(self, agreement: AgreementId, side: str) -> Path:
        return self._layout.folder(agreement) / f"notice.{side}"


def _succeeded_ms(step: bytes) -> int:
    """Return when the authority said that another goes on, by the revision by which the owner changed."""
    return peek_statement(Succession, peek_statement(Agreement, step).ext[IN_REVISION]).time_ms


def _side_of(lease: Lease, said: Notice) -> str:
    return "host" if said.party == lease.terms.host else "owner"
