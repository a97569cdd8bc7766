"""The newest head of each agreement: set by compare-and-set, durable before it is countersigned.

Knows: `proof.writer`, the file `head` (signed head and grant together, so that a crash can't part them). Must not
know: packs. Within an epoch a head is accepted only as number + 1 upon the hash of the current one, so a fork or a
rollback shows as a conflict that names what the host has. A higher epoch (granted by the authority: taken over)
needs only a higher number, because its new device may never have seen the heads of the old one. A host without any
head takes any valid one. A host that missed heads is brought up by sending them in order.
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import DamagedStateError, PeerFault, ProtocolViolation
from backuppeer.host.disk import replace_file, translate_failures
from backuppeer.host.layout import Layout
from backuppeer.host.leases import Leases
from backuppeer.host.marker import Presence
from backuppeer.ids import AgreementId, StoredId
from backuppeer.limits import STATEMENT_BYTES
from backuppeer.proof.custody import Standing
from backuppeer.proof.removals import NO_HEAD
from backuppeer.proof.statements import Agreement, Head, HeadReceipt, sign_statement, statement_hash
from backuppeer.proof.writer import verify_head

_MAGIC: Final = b"BPHEAD1\n"
_FILE_BYTES: Final = 4 * STATEMENT_BYTES


@dataclass(frozen=True, slots=True)
class StoredHead:
    """A head as the host keeps it: the exact signed bytes, and what they say."""

    signed_head: bytes
    signed_grant: bytes
    head: Head


@dataclass(frozen=True, slots=True)
class HeadAccepted:
    """The head is durable; `receipt` is the host's countersignature (signed HeadReceipt)."""

    receipt: bytes
    stored: StoredHead


@dataclass(frozen=True, slots=True)
class HeadConflict:
    """The head does not follow the one the host has, which is `current`."""

    current: StoredHead


class SettleDrafts(Protocol):
    """What tells the catalogue that a head is about to stand; see `Catalogue.settle_drafts`."""

    def __call__(self, agreement: AgreementId, *, held: int, following: int, drafts: Iterable[StoredId] = ()) -> None:
        """Let drafts be packs as any other, but for `drafts`.

        Raises:
            StoreUnavailable: the disk refuses.

        """


class Heads:
    """The heads of one store. Thread-safe. Made by `open_store`."""

    def __init__(self, layout: Layout, leases: Leases, presence: Presence, *, settle_drafts: SettleDrafts) -> None:
        self._layout = layout
        self._settle_drafts = settle_drafts
        self._presence = presence
        self._leases = leases
        self._cache: dict[AgreementId, StoredHead] = {}
        self._lock = threading.Lock()

    def get(self, agreement: AgreementId) -> StoredHead | None:
        """Return the newest head of an agreement, or None when it has none yet.

        Raises:
            NotFoundError: no such agreement.
            DamagedStateError: the file is not a valid head; the owner's next head replaces it.
            StoreUnavailable: the disk refuses.

        """
        terms = self._leases.get(agreement).terms
        with self._lock:
            return self._load(agreement, terms)

    def name_held(self, agreement: AgreementId) -> tuple[bytes, int]:
        """Return hash and number of the newest head, as a request about packs names it; NO_HEAD when there is none.

        Raises:
            as `get`.

        """
        held = self.get(agreement)
        return NO_HEAD if held is None else (statement_hash(held.signed_head), held.head.number)

    def name_standing(self, agreement: AgreementId) -> Standing:
        """Return where this host says something about the packs of an agreement now: upon which revision and head.

        Raises:
            as `get`.

        """
        terms = statement_hash(self._leases.get(agreement).signed)
        return Standing(agreement, terms, *self.name_held(agreement))

    def put_head(
        self,
        agreement: AgreementId,
        signed_head: bytes,
        signed_grant: bytes,
        *,
        signer: SigningKey,
        now_ms: int,
        drafts: Sequence[StoredId] = (),
    ) -> HeadAccepted | HeadConflict:
        """Set the head if it follows the current one, make it durable, then countersign it with the host identity.

        The current head again is accepted again. Of two that follow the same head exactly one wins.
        `drafts`: those that it does not name, and that stay drafts.

        Raises:
            NotFoundError: no such agreement.
            AuthenticationFault: head or grant does not verify against the agreement's authority.
            ProtocolViolation: malformed, or of another repository.
            StoreUnavailable: the disk refuses; the former head stands.

        """
        terms = self._leases.get(agreement).terms
        head = verify_head(signed_head, signed_grant, terms.authority)
        if head.repository != terms.repository:
            raise ProtocolViolation("the head belongs to another repository than the agreement")
        new = StoredHead(signed_head=bytes(signed_head), signed_grant=bytes(signed_grant), head=head)
        with self._lock:
            current = self._load_or_none(agreement, terms)
            is_same = _is_same(current, new)
            if current is not None and not is_same and not _may_follow(current, new):
                return HeadConflict(current)
            # Before it stands: whatever it names is no draft. The number that a draft was stored upon says so, too,
            # and is on the disk; this is for a damaged head, in whose place an earlier one may come back. When it comes
            # again as well: the first who brought it may have been a thief, who called what it names drafts.
            held = 0 if current is None else current.head.number
            self._settle_drafts(agreement, held=held, following=head.number, drafts=drafts)
            if not is_same:
                self._write(agreement, new)
                self._cache[agreement] = new
        # Only now: a host behind a head it countersigned would be at fault.
        return HeadAccepted(receipt=_sign_receipt(agreement, new, signer=signer, now_ms=now_ms), stored=new)

    def _load_or_none(self, agreement: AgreementId, terms: Agreement) -> StoredHead | None:
        """Return the current head; a damaged one counts as none here, because the owner's valid head heals it."""
        try:
            return self._load(agreement, terms)
        except DamagedStateError:
            return None

    def _load(self, agreement: AgreementId, terms: Agreement) -> StoredHead | None:
        # Without the store "no file" would read as "no head": a host may never forget a head that way.
        self._presence.check()
        cached = self._cache.get(agreement)
        if cached is not None:
            return cached
        path = self._layout.folder(agreement) / "head"
        with translate_failures(self._layout.root):
            try:
                with path.open("rb") as file:
                    data = file.read(_FILE_BYTES + 1)
            except FileNotFoundError:
                return None
        try:
            signed_head, signed_grant = _split(data)
            head = verify_head(signed_head, signed_grant, terms.authority)
        except PeerFault as exc:
            raise DamagedStateError(f"the head of agreement {agreement.hex()} is damaged") from exc
        stored = StoredHead(signed_head=signed_head, signed_grant=signed_grant, head=head)
        self._cache[agreement] = stored
        return stored

    def _write(self, agreement: AgreementId, new: StoredHead) -> None:
        with translate_failures(self._layout.root):
            # One file, replaced atomically: after any crash head and grant belong together.
            replace_file(self._layout.folder(agreement) / "head", _join(new.signed_head, new.signed_grant))


def _is_same(current: StoredHead | None, new: StoredHead) -> bool:
    return current is not None and statement_hash(current.signed_head) == statement_hash(new.signed_head)


def _may_follow(current: StoredHead, new: StoredHead) -> bool:
    if new.head.epoch > current.head.epoch:
        return new.head.number > current.head.number
    return (
        new.head.epoch == current.head.epoch
        # Two devices of one epoch are two histories, whatever a head says that it follows.
        and new.head.device == current.head.device
        and new.head.number == current.head.number + 1
        and new.head.previous == statement_hash(current.signed_head)
    )


def _sign_receipt(agreement: AgreementId, stored: StoredHead, *, signer: SigningKey, now_ms: int) -> bytes:
    receipt = HeadReceipt(
        agreement=agreement, head_hash=statement_hash(stored.signed_head), number=stored.head.number, time_ms=now_ms
    )
    return sign_statement(receipt, signer)


def _join(signed_head: bytes, signed_grant: bytes) -> bytes:
    """Magic ‖ u32be(length of head) ‖ head ‖ grant."""
    return _MAGIC + len(signed_head).to_bytes(4, "big") + signed_head + signed_grant


def _split(data: bytes) -> tuple[bytes, bytes]:
    start = len(_MAGIC) + 4
    if not data.startswith(_MAGIC) or len(data) > _FILE_BYTES:
        raise ProtocolViolation("not a head file")
    end = start + int.from_bytes(data[len(_MAGIC) : start], "big")
    return data[start:end], data[end:]
