"""What a host signs about what it keeps, upon being asked: that it has packs, what they say, which head it holds.

Knows: the store, the statements of `proof.custody` and `proof.audits`. Must not know: messages, sessions. It signs what
it has looked at, and nothing else: of a pack its row *and* its file, of a range its bytes under the pack's own id. What
is wrong is suspected (losses.py) and left out; of a store that is away nothing is said at all.

Head and revision are read first, then the packs: so a delete that comes in between names this head or a later one, and
excuses the host (ADR 36). A deleted pack is never acknowledged, though it is kept for a while: the delete is older than
the word, and would excuse nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import (
    NotFoundError,
    PeerFault,
    ProtocolViolation,
    RefusedError,
    StoreBusy,
    StoreUnavailable,
)
from backuppeer.host.budget import day_budget
from backuppeer.host.heads import StoredHead
from backuppeer.host.leases import Lease
from backuppeer.host.quota import leaves_bytes
from backuppeer.host.reader import DamagedPackError
from backuppeer.host.store import Store
from backuppeer.ids import AgreementId, PeerId, StoredId
from backuppeer.limits import AUDIT_ANSWER_BYTES, LEAF_BYTES, PACK_TARGET_BYTES
from backuppeer.proof.audits import AuditChallenge, Sample, Shown, check_shown, sign_answer
from backuppeer.proof.case import open_by_any
from backuppeer.proof.custody import Standing, open_bound, sign_ack, sign_held
from backuppeer.proof.promises import read_promises
from backuppeer.proof.removals import NO_HEAD
from backuppeer.proof.statements import HeadReceipt, open_statement, statement_hash

_DAY_MS = 86_400_000


class Denial(Enum):
    """Why a challenge is not answered; neither says anything about the host."""

    STALE = auto()
    """It names another revision or head than the ones in force."""
    OVER_BUDGET = auto()


@dataclass(frozen=True, slots=True)
class Answer:
    """The signed answer to a challenge, and for each sample what is shown, None if it is not answered."""

    signed: bytes
    shown: tuple[Shown | None, ...]


def acknowledge(
    store: Store, agreement: AgreementId, packs: Sequence[StoredId], *, signer: SigningKey, now_ms: int
) -> tuple[bytes, list[StoredId]]:
    """Return a signed acknowledgement and the packs it is about: those of `packs` that are here; b"" for none.

    Raises:
        NotFoundError: no such agreement.
        StoreUnavailable: the disk is gone or failing.
        DamagedStateError: the head that is held can't be read.

    """
    standing = store.heads.name_standing(agreement)
    kept = [stored for stored in dict.fromkeys(packs) if store.keeps(agreement, stored)]
    return (sign_ack(kept, signer, standing=standing, time_ms=now_ms) if kept else b""), kept


def answer_challenge(
    store: Store, lease: Lease, challenge: bytes, *, signer: SigningKey, now_ms: int
) -> Answer | Denial:
    """Return a signed answer to an owner's challenge; what is found to be wrong on the way is suspected.

    Raises:
        AuthenticationFault, ProtocolViolation: it is no challenge of this owner about this agreement.
        StoreUnavailable: the disk is gone or failing.
        DamagedStateError: the head that is held can't be read.

    """
    said = open_bound(AuditChallenge, challenge, lease.owner, agreement=lease.agreement)
    standing = store.heads.name_standing(lease.agreement)
    if said.standing != standing:
        return Denial.STALE
    promised_bytes = read_promises(lease.terms.ext).audit_bytes
    most_bytes, cost = day_budget(lease.terms.size_bytes, promised_bytes), sum(map(_count_cost, said.samples))
    if not store.budget.take(lease.agreement, cost, most_bytes=most_bytes, day=now_ms // _DAY_MS):
        return Denial.OVER_BUDGET
    shown = _show_all(store, lease.agreement, said.samples)
    signed = sign_answer(challenge, shown, signer, owner=lease.owner, standing=standing, time_ms=now_ms)
    return Answer(signed, shown)


def say_held(
    lease: Lease,
    held: StoredHead | None,
    *,
    receipt: bytes,
    nonce: bytes,
    signer: SigningKey,
    now_ms: int,
    names: Sequence[PeerId] = (),
) -> bytes:
    """Return this host's signed word that it holds the head `held`, upon a countersignature that it is shown (or b"").

    names: all under which it kept this agreement; none: but the one of the revision in force.

    Raises:
        RefusedError: it is none of this host under this agreement.

    """
    if receipt:
        _check_receipt(lease, names or (lease.host,), receipt)
    name = NO_HEAD if held is None else (statement_hash(held.signed_head), held.head.number)
    standing = Standing(lease.agreement, statement_hash(lease.signed), *name)
    return sign_held(signer, standing=standing, receipt=receipt, nonce=nonce, time_ms=now_ms)


def _check_receipt(lease: Lease, names: Sequence[PeerId], receipt: bytes) -> None:
    try:
        said = open_by_any(names[::-1], lambda host: open_statement(HeadReceipt, receipt, host))
        if said.agreement != lease.agreement:
            raise ProtocolViolation("it is of another agreement")
    except PeerFault as exc:
        # The owner may have it from somebody who lied to it: no word is given upon it, and nobody is blamed.
        raise RefusedError(
            f"this is no countersignature of ours: {exc.message}", hint="ask without one, or with the newest you have"
        ) from exc


def _count_cost(sample: Sample) -> int:
    """Return what is read for a sample at most: its leaves, and the hashes of all leaves of the pack for the path."""
    return sample.leaves * LEAF_BYTES + leaves_bytes(PACK_TARGET_BYTES)


def _show_all(store: Store, agreement: AgreementId, samples: Sequence[Sample]) -> tuple[Shown | None, ...]:
    """Read what is asked for, till AUDIT_ANSWER_BYTES are in memory: what would go beyond is left out."""
    shown: list[Shown | None] = []
    room = AUDIT_ANSWER_BYTES
    for sample in samples:
        one = _show(store, agreement, sample) if sample.leaves * LEAF_BYTES <= room else None
        room -= len(one.data) if one else 0
        shown.append(one)
    return tuple(shown)


def _show(store: Store, agreement: AgreementId, sample: Sample) -> Shown | None:
    try:
        with store.open_pack(agreement, sample.stored) as reader:
            path = reader.path(sample.first_leaf, sample.leaves)
            start = sample.first_leaf * LEAF_BYTES
            data = reader.read(start, min(sample.leaves * LEAF_BYTES, reader.size - start))
            shown = Shown(reader.size, data, tuple(path))
        check_shown(sample, shown)
    except (NotFoundError, ProtocolViolation):
        return None  # never here or erased, or leaves that no such pack has: the owner's ledger is wrong, or ours old
    except (DamagedPackError, PeerFault):
        store.losses.suspect(agreement, [sample.stored])
        return None
    except StoreBusy:
        raise
    except StoreUnavailable:
        # A bad sector must not keep the others from being answered. If it is all of the disk, this raises.
        store.check_present()
        return None
    return shown
