"""The parts of a case: who the parties are, and what each signed part is worth by itself.

Knows: agreement, head with its countersignature, acknowledgement, as a charge shows them. Must not know: what two of
them prove together (`misbehaviour` does). Pure.

A party is a line of identities where one went on as another: the revision by which it did is shown, and has the word of
the authority (ADR 69). What names a revision is opened under the parties of that one; what names none, under any of the
line.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from backuppeer.errors import AuthenticationFault, PeerFault, ProtocolViolation
from backuppeer.ids import AgreementId, PeerId, RepositoryId, StoredId
from backuppeer.proof.charges import PackCharge
from backuppeer.proof.custody import Bound, StoreAck, open_packs
from backuppeer.proof.revisions import check_parties
from backuppeer.proof.statements import (
    Agreement,
    Head,
    HeadReceipt,
    open_statement,
    peek_statement,
    statement_hash,
)
from backuppeer.proof.writer import verify_head

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Parties:
    """What the revisions shown have in common; the latest of them, and each by its `statement_hash`.

    owners, hosts: the lines, oldest first. left_ms: of each that another succeeded, when the authority said so.
    """

    agreement: AgreementId
    owners: tuple[PeerId, ...]
    hosts: tuple[PeerId, ...]
    authority: bytes
    repository: RepositoryId
    last: Agreement
    revisions: Mapping[bytes, Agreement]
    left_ms: Mapping[PeerId, int]

    @property
    def owner(self) -> PeerId:
        """The owner, under the latest revision shown."""
        return self.owners[-1]

    @property
    def host(self) -> PeerId:
        """The host, under the latest revision shown."""
        return self.hosts[-1]


def open_parties(signed: Sequence[bytes]) -> Parties:
    """Return the parties of co-signed revisions of one agreement, at least one, in ascending order.

    Raises:
        ProtocolViolation: a signature is missing or wrong, or they are not revisions of one agreement in order.

    """
    with naming("the agreement"):
        revisions = [open_agreement(one) for one in signed]
        first, last = revisions[0], revisions[-1]
        if any(name_lasting(one) != name_lasting(first) for one in revisions):
            raise ProtocolViolation("its revisions are not of one agreement")
        if any(later.revision <= earlier.revision for earlier, later in pairwise(revisions)):
            raise ProtocolViolation("its revisions are not in order")
        if first.owner == first.host:
            raise ProtocolViolation("owner and host are the same")
        steps = [said for one, other in pairwise(revisions) if (said := check_parties(one, other)) is not None]
    return Parties(
        agreement=first.agreement,
        owners=tuple(dict.fromkeys(PeerId(one.owner) for one in revisions)),
        hosts=tuple(dict.fromkeys(PeerId(one.host) for one in revisions)),
        authority=first.authority,
        repository=first.repository,
        last=last,
        revisions=dict(zip(map(statement_hash, signed), revisions, strict=True)),
        left_ms={PeerId(said.old): said.time_ms for said in steps},
    )


def open_agreement(signed: bytes) -> Agreement:
    """Return a revision, having checked that those whom it names as owner and host have signed it.

    Raises:
        AuthenticationFault: they have not.
        ProtocolViolation: malformed.

    """
    said = peek_statement(Agreement, signed)
    return open_statement(Agreement, signed, said.owner, said.host)


def name_lasting(terms: Agreement) -> tuple[bytes, ...]:
    """Return what never changes between the revisions of an agreement."""
    return (terms.agreement, terms.authority, terms.repository)


def open_by_any(line: Sequence[PeerId], open_as: Callable[[PeerId], S]) -> S:
    """Return what opens under one of a line, the latest first.

    Raises:
        AuthenticationFault: none of them signed it.
        ProtocolViolation: as `open_as`.

    """
    for one in reversed(line[1:]):
        try:
            return open_as(one)
        except AuthenticationFault:
            continue
    return open_as(line[0])


def open_head(parties: Parties, head: bytes, grant: bytes, receipt: bytes) -> tuple[Head, HeadReceipt]:
    """Return a head and the host's word that it holds it.

    Raises:
        ProtocolViolation: a signature does not hold, or they don't belong together, or to this agreement.

    """
    with naming("the head"):
        said = verify_head(head, grant, parties.authority)
        if said.repository != parties.repository:
            raise ProtocolViolation("it is of another repository")
    with naming("the countersignature"):
        held = open_by_any(parties.hosts, lambda host: open_statement(HeadReceipt, receipt, host))
        if held.agreement != parties.agreement:
            raise ProtocolViolation("it is of another agreement")
        if (held.head_hash, held.number) != (statement_hash(head), said.number):
            raise ProtocolViolation("it is of another head")
    return said, held


def open_ack(charge: PackCharge, parties: Parties, stored: StoredId, head: Head) -> StoreAck:
    """Return the host's word that it keeps a pack, given before it countersigned the head, which so covers it.

    Raises:
        ProtocolViolation: it does not hold, or is not about this pack, or came later.

    """
    with naming("the acknowledgement"):
        host = find_terms(StoreAck, charge.ack, parties).host
        ack = open_packs(StoreAck, charge.ack, charge.acked, host=host, agreement=parties.agreement)
        check_terms(ack, parties)
        if stored not in charge.acked:
            raise ProtocolViolation("it does not name this pack")
        if ack.number >= head.number:
            raise ProtocolViolation(f"it came after head {head.number}, which so does not cover the pack")
    return ack


def find_terms(kind: type[Bound], signed: bytes, parties: Parties) -> Agreement:
    """Return the revision that a statement names, the latest for one that is not shown: by whose parties it must be.

    Raises:
        ProtocolViolation: malformed.

    """
    return parties.revisions.get(peek_statement(kind, signed).terms, parties.last)


def check_terms(said: Bound, parties: Parties) -> None:
    """Check that a statement is of one of the revisions that are shown.

    Raises:
        ProtocolViolation: it is not.

    """
    if said.terms not in parties.revisions:
        raise ProtocolViolation("it is of a revision of the agreement that is not shown")


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Say of which part a fault within is.

    Raises:
        ProtocolViolation: any PeerFault within.

    """
    try:
        yield
    except PeerFault as exc:
        raise ProtocolViolation(f"{what} proves nothing: {exc.message}") from exc
