"""A host in session told that this home goes on as another identity, and the terms that it shows for that (ADR 69).

Knows: the message, what a host must answer, the chain of revisions up to it. Must not know: where hosts are, the words.

All agreements go over or none. So the host is asked for its terms first: a thief of the identity revises agreements,
and makes further ones, of which nobody else hears.
"""

from collections.abc import Collection
from typing import Final

from backuppeer.agent.home.state import State
from backuppeer.agent.peers.channel import SucceededError
from backuppeer.agent.peers.session import Session
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import AuthenticationFault, PeerFault, ProtocolViolation, RefusedError
from backuppeer.ids import AgreementId, PeerId, shorten_peer_id
from backuppeer.limits import AGREEMENTS_PER_HELLO
from backuppeer.proof.revisions import check_successor, succeed
from backuppeer.proof.statements import Agreement, open_statement, peek_statement, sign_statement
from backuppeer.proof.succession import Succession, open_succession
from backuppeer.wire.succeeding import Succeed, Succeeded
from backuppeer.wire.terms import GetTerms, TermsAre

_ROUNDS: Final = 8
"""How often a host is asked for its terms while it revises agreements with whoever has the identity of before, too."""


async def tell_host(session: Session, state: State, succession: bytes, heir: SigningKey) -> list[AgreementId]:
    """Tell a host in a session of the identity of before, and keep what it signs; return what of ours went over.

    succession: signed. Nothing is kept here before the host has it durably. What went over with revisions between that
    are not known here is returned, and not kept: who has the session of an heir learns them (`learn_terms`). None: it
    follows, and holds nothing of ours by that.

    Raises:
        RefusedError: it won't, or it revises agreements faster than it can be asked.
        PeerFault: it answered what it may not; with AuthenticationFault: it follows another heir.
        PeerUnreachable: it went away, or is of a version that knows nothing of this.

    """
    said = peek_statement(Succession, succession)
    answer = await _succeed(session, state, succession, heir)
    _check_answer(answer, said)
    mine = agreements_with(state, session.peer)
    gone = []
    for signed in answer.revisions:
        agreement = peek_statement(Agreement, signed)
        known = mine.get(AgreementId(agreement.agreement))
        # It may have been met as the heir of the one that the agreement names: it signed as that one.
        open_statement(Agreement, signed, said.new, session.peer if known is None else host_of(known))
        if known is None:
            continue
        gone.append(AgreementId(agreement.agreement))
        # Later than the next one: another home of these words changed terms before it, and that is no host's fault.
        if owner_of(known) == said.old and agreement.revision <= peek_statement(Agreement, known).revision + 1:
            check_successor(known, agreement)
            state.put_agreement(AgreementId(agreement.agreement), host_of(known), signed)
    return gone


async def learn_terms(session: Session, state: State, agreement: AgreementId, names: Collection[PeerId]) -> None:
    """Keep the revisions of an agreement that a host has and this home lacks. names: all by which hosts know this home.

    The host may be met as the heir of the one that the revision known here names: it signed what follows as either.

    Raises:
        RefusedError: it shows none to the identity of this session.
        ProtocolViolation: what it shows does not follow what is known here.
        PeerUnreachable: it went away.

    """
    known = agreements_with(state, session.peer)[agreement]
    for signed in await _list_newer(session, agreement, known, names):
        state.put_agreement(agreement, host_of(signed), signed)


async def _succeed(session: Session, state: State, succession: bytes, heir: SigningKey) -> Succeeded:
    """Say it with a proposal for each agreement; again, as long as the host had revised one meanwhile."""
    said = peek_statement(Succession, succession)
    standing = await _find_standing(session, state, said)
    for _ in range(_ROUNDS):
        try:
            return await _say(session, succession, standing, heir)
        except RefusedError as exc:
            before, standing = standing, await _find_standing(session, state, said)
            if isinstance(exc, SucceededError) or standing == before:
                raise
    return await _say(session, succession, standing, heir)


async def _say(session: Session, succession: bytes, standing: list[bytes], heir: SigningKey) -> Succeeded:
    proposals = tuple(sign_statement(succeed(signed, succession), heir) for signed in standing)
    async with session.request(Succeed(succession=succession, proposals=proposals)) as channel:
        return await channel.receive(Succeeded)


async def _find_standing(session: Session, state: State, said: Succession) -> list[bytes]:
    """Return the revision in force of each agreement that the host has with the identity of before.

    Also of those that are not known here: a thief of it made them, and the host goes on with all or none.
    """
    mine = agreements_with(state, session.peer)
    found = {}
    for signed in session.hello.agreements:
        try:
            shown = open_statement(Agreement, signed, said.old, session.peer)
        except PeerFault:
            continue  # of the other direction, or nobody's
        if shown.authority == said.authority:
            found[AgreementId(shown.agreement)] = signed
    found |= {agreement: signed for agreement, signed in mine.items() if owner_of(signed) == said.old}
    if not session.hello.succeeded:  # else it shows nothing more to this identity
        for agreement, signed in found.items():
            newer = await _list_shown(session, agreement, signed, said.old)
            found[agreement] = [signed, *newer][-1]
            for one in newer if agreement in mine else ():
                state.put_agreement(agreement, host_of(one), one)
    return list(found.values())[:AGREEMENTS_PER_HELLO]


async def _list_shown(session: Session, agreement: AgreementId, known: bytes, old: PeerId) -> list[bytes]:
    try:
        return await _list_newer(session, agreement, known, {old})
    except RefusedError:
        return []  # its store is away, or the agreement is over: what that means is in its answer to Succeed


async def _list_newer(session: Session, agreement: AgreementId, known: bytes, names: Collection[PeerId]) -> list[bytes]:
    """Return the co-signed revisions that follow the one known here, each checked against the one before it."""
    chain, more = [known], True
    while more:
        after = peek_statement(Agreement, chain[-1]).revision
        async with session.request(GetTerms(agreement=agreement, after=after)) as channel:
            answer = await channel.receive(TermsAre)
        for signed in answer.revisions:
            _check_next(chain[-1], signed, names)
            chain.append(signed)
        more = answer.more and bool(answer.revisions)
    return chain[1:]


def _check_next(known: bytes, signed: bytes, names: Collection[PeerId]) -> None:
    owner = owner_of(signed)
    if owner not in names:
        raise ProtocolViolation("the host shows terms of somebody else")
    try:
        # The host is the one of before, or by the word of its authority the heir.
        check_successor(known, open_statement(Agreement, signed, owner, host_of(signed)))
    except (PeerFault, RefusedError) as exc:
        raise ProtocolViolation(f"the host shows terms that do not follow those agreed on: {exc.message}") from exc


def agreements_with(state: State, host: PeerId) -> dict[AgreementId, bytes]:
    """Return the newest revision of each agreement of this home with a host, signed, as it is known here.

    Of one that goes on for another, also those that are still with that one.
    """
    newest = state.successions.newest
    return {agreement: signed for agreement, peer, signed in state.agreements() if host in {peer, newest(peer)}}


def owner_of(signed: bytes) -> PeerId:
    """Return who is the owner in a revision of an agreement.

    Raises:
        ProtocolViolation: malformed.

    """
    return PeerId(peek_statement(Agreement, signed).owner)


def host_of(signed: bytes) -> PeerId:
    """Return who is the host in a revision of an agreement; malformed as `owner_of`."""
    return PeerId(peek_statement(Agreement, signed).host)


def _check_answer(answer: Succeeded, said: Succession) -> None:
    followed = open_succession(answer.succession, said.authority)
    if followed.old != said.old:
        raise ProtocolViolation("the host answered with the succession of somebody else")
    if followed.new != said.new:
        raise AuthenticationFault(
            f"the host follows another heir: {shorten_peer_id(followed.new)}, signed with your words",
            hint="somebody else has your words: talk to the people who keep your backups",
        )
