"""How one revision of an agreement follows another (ADR 44).

Knows: the chain of `proof.statements.Agreement`, which changes ask more of a host. Must not know: who decides, where
revisions are kept. Pure.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from backuppeer.crypto.digest import Buffer
from backuppeer.errors import ProtocolViolation, RefusedError
from backuppeer.ids import PeerId
from backuppeer.limits import (
    AGREEMENT_REVISIONS,
    LISTING_TERM_S,
    NOTICE_MOST_S,
    STATEMENT_BYTES,
    SUCCESSION_SPARE_BYTES,
    SUCCESSION_STEPS,
)
from backuppeer.proof.promises import (
    NOTHING,
    Promises,
    asks_more_of_host,
    check_promises,
    join_promises,
    other_fields,
    split_promises,
)
from backuppeer.proof.statements import Agreement, peek_statement, statement_hash
from backuppeer.proof.succession import HOST_AUTHORITY, Succession, check_heir
from backuppeer.proof.succession import IN_REVISION as SUCCESSION
from backuppeer.proof.waivers import IN_REVISION, check_lowered, lasting_fields

SECOND_MS: Final = 1000
AUTHORITY_BYTES: Final = 32


class Wish(NamedTuple):
    """What an owner asks for, or a host offers: bytes, seconds of term and lock, and what is promised beyond."""

    size_bytes: int
    term_s: int
    lock_s: int
    promises: Promises = NOTHING


def revise(signed: Buffer, wish: Wish, waiver: bytes = b"") -> Agreement:
    """Return the revision that follows the co-signed one, with other terms; the same each time it is asked for.

    The term counts from when the agreement began: to renew it is to make it longer. waiver: the signed one by which the
    lock is lowered; that of the revision before was for it alone.

    Raises:
        ProtocolViolation: `signed` is no agreement.

    """
    current = peek_statement(Agreement, signed)
    availability, promised = split_promises(wish.promises)
    return msgspec.structs.replace(
        current,
        revision=current.revision + 1,
        previous=statement_hash(signed),
        size_bytes=wish.size_bytes,
        term_s=wish.term_s,
        lock_s=wish.lock_s,
        availability=availability,
        ext=other_fields(lasting_fields(current)) | promised | ({IN_REVISION: waiver} if waiver else {}),
    )


def succeed(signed: Buffer, succession: bytes) -> Agreement:
    """Return the revision that follows the co-signed one, in which the heir takes the place of the one it succeeds.

    Nothing else changes, so it is the same each time it is asked for. succession: the signed one.

    Raises:
        ProtocolViolation: malformed, or who is succeeded is no party.

    """
    current, said = peek_statement(Agreement, signed), peek_statement(Succession, succession)
    if said.old not in {current.owner, current.host}:
        raise ProtocolViolation("who is succeeded is no party of this agreement")
    return msgspec.structs.replace(
        current,
        revision=current.revision + 1,
        previous=statement_hash(signed),
        owner=said.new if current.owner == said.old else current.owner,
        host=said.new if current.host == said.old else current.host,
        ext=lasting_fields(current) | {SUCCESSION: succession},
    )


def list_parties(revisions: Iterable[bytes]) -> frozenset[PeerId]:
    """Return who is, and was, a party of an agreement, by those co-signed revisions of it that are left.

    Raises:
        ProtocolViolation: malformed.

    """
    every = [peek_statement(Agreement, signed) for signed in revisions]
    words = [terms.ext[SUCCESSION] for terms in every if SUCCESSION in terms.ext]
    before = [peek_statement(Succession, signed).old for signed in words]
    return frozenset(map(PeerId, [*before, *(party for terms in every for party in (terms.owner, terms.host))]))


def name_authority(terms: Agreement, authority: bytes) -> Agreement:
    """Return a proposal in which the host's own authority stands, unless one does already, or none was told (b"").

    It is the host's to tell, and both sign it: from then on nobody but its words can have another identity go on as it.
    """
    if len(authority) != AUTHORITY_BYTES or HOST_AUTHORITY in terms.ext:
        return terms
    return msgspec.structs.replace(terms, ext=terms.ext | {HOST_AUTHORITY: authority})


def check_named(terms: Agreement, authority: bytes) -> None:
    """Return if a proposal names no authority of the host, or the one that it has.

    Raises:
        RefusedError: another one.

    """
    if terms.ext.get(HOST_AUTHORITY, authority) != authority:
        raise RefusedError("the agreement names another authority than this host's", hint="ask in a new session")


def check_spare(terms: Agreement) -> None:
    """Return if a proposal leaves room for the word by which an heir goes on with it: a thief would else use that up.

    Raises:
        RefusedError: it does not.

    """
    lasting = msgspec.structs.replace(terms, ext=lasting_fields(terms))
    if len(msgspec.msgpack.encode(lasting)) > STATEMENT_BYTES - SUCCESSION_SPARE_BYTES:
        raise RefusedError(
            "the agreement is so long that no succession would fit in", hint="ask with the program as it is published"
        )


def other_terms(terms: Agreement) -> dict[str, bytes]:
    """Return what a revision says beyond its fields that is no promise, no word of an authority and not its id."""
    fields = other_fields(lasting_fields(terms))
    return {name: value for name, value in fields.items() if name != HOST_AUTHORITY}


def wish_of(terms: Agreement) -> Wish:
    """Return what a revision is about."""
    return Wish(terms.size_bytes, terms.term_s, terms.lock_s, promises_of(terms))


def promises_of(terms: Agreement) -> Promises:
    """Return what a revision promises beyond space, term and lock."""
    return join_promises(terms.availability, terms.ext)


def end_ms(terms: Agreement) -> int:
    """Return when a term is over, in milliseconds since 1970 UTC. Nothing ends by itself then (ADR 44)."""
    return terms.start_ms + terms.term_s * SECOND_MS


def check_spans(wish: Wish, notice_s: int = 0) -> None:
    """Return if nobody is bound for longer, or to more, than anybody may ask for: by term, lock, notice or promises.

    Raises:
        RefusedError: somebody would be.

    """
    if max(wish.term_s, wish.lock_s) > LISTING_TERM_S:
        raise RefusedError(
            "term or lock is longer than 100 years from when the agreement began", hint="ask for less: --term 10y"
        )
    if notice_s > NOTICE_MOST_S:
        raise RefusedError(
            f"the notice is longer than {NOTICE_MOST_S // 86400} days", hint="ask with the program as it is published"
        )
    check_promises(wish.promises)


def asks_more(old: Agreement, new: Agreement) -> bool:
    """Return whether a revision asks more of the host than the one in force, so that a person must agree."""
    promises_old = (old.size_bytes, end_ms(old), old.lock_s, old.notice_s)
    promises_new = (new.size_bytes, end_ms(new), new.lock_s, new.notice_s)
    is_other = other_terms(old) != other_terms(new)
    is_promised = asks_more_of_host(promises_of(old), promises_of(new))
    return is_other or is_promised or any(more > less for less, more in zip(promises_old, promises_new, strict=True))


def add_steps(shown: Sequence[bytes], history: Iterable[bytes], *, after: int = 0) -> list[bytes]:
    """Return some revisions with those above number `after` by which a party changed, ascending.

    A judge follows a line of identities by these alone. Of more than SUCCESSION_STEPS the latest are added.

    Raises:
        ProtocolViolation: one is no agreement.

    """
    numbered = {peek_statement(Agreement, signed).revision: signed for signed in shown}
    every = [(peek_statement(Agreement, signed), signed) for signed in history]
    steps = [(terms.revision, signed) for terms, signed in every if SUCCESSION in terms.ext and terms.revision > after]
    return [signed for _, signed in sorted((dict(steps[-SUCCESSION_STEPS:]) | numbered).items())]


def check_successor(current: Buffer, new: Agreement) -> None:
    """Return if a revision may follow `current`, the co-signed one in force.

    Raises:
        RefusedError: a later one is in force, there were too many, or it lowers the notice, or the lock without waiver.
        AuthenticationFault: its waiver, or its succession, is not by the authority.
        ProtocolViolation: it does not continue the chain, or changes the parties, the authority, the repository or when
            the agreement began, or its waiver says something else; but for a party that a succession lets change.

    """
    old = peek_statement(Agreement, current)
    if new.revision <= old.revision:
        raise RefusedError(f"revision {old.revision} of the agreement is in force", hint="continue from it")
    if new.revision != old.revision + 1 or new.previous != statement_hash(current):
        raise ProtocolViolation(f"revision {new.revision} does not continue revision {old.revision}")
    succession = check_parties(old, new)
    if succession is not None and new != succeed(current, new.ext[SUCCESSION]):
        raise ProtocolViolation("a revision by which a party changes may change nothing else")
    # Whose words go on must be heard also when all other changes are used up, or a thief would use them up.
    if new.revision > AGREEMENT_REVISIONS + (SUCCESSION_STEPS if succession else 0):
        raise RefusedError("the agreement was revised too often", hint="make a new agreement")
    if _lasting(old) != _lasting(new):
        raise ProtocolViolation("a revision may not change the authority, the repository or the beginning")
    _check_host_authority(old, new)
    check_lowered(current, old, new)
    if new.notice_s < old.notice_s:
        # Whoever has an owner's machine could else take the time in which a person notices.
        raise RefusedError("a revision may not shorten the notice", hint="make a new agreement")


def check_parties(old: Agreement, new: Agreement) -> Succession | None:
    """Return the succession by which a party changes between two revisions, None if none does (ADR 69).

    The two need not follow each other: `new` is the one by which the party changes, `old` any before it with the
    parties of before.

    Raises:
        AuthenticationFault: it is not by the authority of the one that changes.
        ProtocolViolation: a party changes without succession, or both do, or the succession names others.

    """
    signed = new.ext.get(SUCCESSION)
    if (old.owner, old.host) == (new.owner, new.host):
        if signed is not None:
            raise ProtocolViolation("a revision has a succession, and its parties are those of before")
        return None
    is_owner = old.host == new.host
    if signed is None or not (is_owner or old.owner == new.owner) or new.owner == new.host:
        raise ProtocolViolation("a revision may not change the parties")
    authority = old.authority if is_owner else old.ext.get(HOST_AUTHORITY)
    if authority is None:
        raise ProtocolViolation("a revision changes a host that named no authority of its own before")
    before, after = (old.owner, new.owner) if is_owner else (old.host, new.host)
    return check_heir(signed, authority, PeerId(before), PeerId(after))


def _lasting(terms: Agreement) -> tuple[object, ...]:
    """Return what is the same in all revisions."""
    return terms.agreement, terms.authority, terms.repository, terms.start_ms


def _check_host_authority(old: Agreement, new: Agreement) -> None:
    """Return if the host's authority is as it was, or named for the first time (ADR 69).

    Raises:
        ProtocolViolation: it is another, or none any more.

    """
    before = old.ext.get(HOST_AUTHORITY)
    if before is not None and new.ext.get(HOST_AUTHORITY) != before:
        raise ProtocolViolation("a revision may not change the host's authority")
