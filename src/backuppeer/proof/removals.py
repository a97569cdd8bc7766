"""The owner's word on packs that a host may erase, and on those that it must keep after all (ADR 22, 31).

Knows: the three statements, how a list of packs hangs on one. Must not know: stores, sessions, when a lock is over. A
statement names the packs by the root of their set, so one signature stands for as many as a message carries, and the
list beside it can't be changed. It names the head that the host holds at that time: none of the packs is part of it
(delete, withdraw), or all are (revive). An old statement is of an old head, so it can't be replayed.
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Final, TypeVar

from msgspec import Meta

from backuppeer.crypto.digest import Buffer
from backuppeer.crypto.identity import Purpose, SigningKey
from backuppeer.errors import ProtocolViolation
from backuppeer.ids import AgreementId, StoredId
from backuppeer.limits import REMOVAL_PACKS
from backuppeer.proof.merkle import root_of_set
from backuppeer.proof.statements import (
    ZERO_HASH,
    Count,
    Extensions,
    Hash,
    Statement,
    WriterGrant,
    check_beside,
    open_statement,
    sign_statement,
)

PackCount = Annotated[int, Meta(ge=1, le=REMOVAL_PACKS)]


class Removal(Statement, frozen=True, kw_only=True):
    """Base of all. `packs`: how many, `packs_root`: `root_of_set` of their stored ids; signed by the owner's identity.

    head_hash, number: `statement_hash` and number of the head that the host holds; of a host without one, zero.
    """

    may_lack_head: ClassVar[bool] = False

    agreement: Annotated[AgreementId, Meta(min_length=16, max_length=16)]
    head_hash: Hash
    number: Count
    packs: PackCount
    packs_root: Hash
    time_ms: Count
    v: int = 1
    ext: Extensions = {}  # noqa: RUF012 - msgspec copies it

    def find_fault(self) -> str:
        """Return what is wrong with the head that is named: without one there is nothing to delete or revive."""
        if (self.number == 0) != (self.head_hash == ZERO_HASH) or not (self.number or self.may_lack_head):
            return f"a request about packs names head {self.number} by a hash that is not its own"
        return ""


class PackDelete(Removal, frozen=True, tag="pack-delete"):
    """These packs are no part of this head: the host may erase them once the agreement's lock is over."""

    purpose: ClassVar[Purpose] = Purpose.PACK_DELETE


class PackRevive(Removal, frozen=True, tag="pack-revive"):
    """These packs are part of this head, which came after the delete: the host keeps them."""

    purpose: ClassVar[Purpose] = Purpose.PACK_REVIVE


class PackWithdraw(Removal, frozen=True, tag="pack-withdraw"):
    """No head ever named these packs: the host may erase at once those of them that it stored upon this head."""

    purpose: ClassVar[Purpose] = Purpose.PACK_WITHDRAW
    may_lack_head: ClassVar[bool] = True


NO_HEAD: Final = (ZERO_HASH, 0)
"""What stands for the head of a host that holds none."""
R = TypeVar("R", bound=Removal)


def sign_removal(
    kind: type[R],
    packs: Sequence[StoredId],
    identity: SigningKey,
    *,
    agreement: AgreementId,
    head: tuple[bytes, int],
    time_ms: int,
) -> bytes:
    """Return the signed statement about 1 to REMOVAL_PACKS different packs; `head`: hash and number.

    Raises:
        LocalError: none or too many packs, or one twice.

    """
    statement = kind(
        agreement=agreement,
        head_hash=head[0],
        number=head[1],
        packs=len(packs),
        packs_root=root_of_set(packs),
        time_ms=time_ms,
    )
    return sign_statement(statement, identity)


def check_countersigned(
    kind: type[Removal], signed: Buffer, device_sig: bytes, *, grant: Buffer, authority: bytes
) -> None:
    """Check that the device of a signed grant signed a statement too, which its owner signed.

    Raises:
        AuthenticationFault: it did not, or the grant is not by `authority`.
        ProtocolViolation: malformed.

    """
    check_beside(kind, signed, device_sig, open_statement(WriterGrant, grant, authority).device)


def open_removal(
    kind: type[R], signed: Buffer, packs: Sequence[StoredId], *, owner: bytes, agreement: AgreementId
) -> R:
    """Return a statement, having checked that it is `owner`'s, of this agreement, and about exactly these packs.

    Raises:
        AuthenticationFault: another signer.
        ProtocolViolation: malformed, of another agreement, or about other packs.

    """
    statement = open_statement(kind, signed, owner)
    if statement.agreement != agreement:
        raise ProtocolViolation("a request to delete or revive packs is of another agreement")
    if len(packs) != statement.packs or len(set(packs)) != len(packs) or root_of_set(packs) != statement.packs_root:
        raise ProtocolViolation("a request to delete or revive packs names others than it was signed for")
    return statement
