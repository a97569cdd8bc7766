"""Hosts told that this home goes on as another identity, and what they answered (ADR 69).

Knows: the message, what a host must answer, the sessions in which it is said. Must not know: the words, files of keys.

A host that has not heard knows this home as it was. So it is dialled as that, told, and dialled as what this home is
now: whenever it is met, whoever wants it. Until then it is a host that is away: what it keeps is not lost.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

from backuppeer.agent.home.keyring import HomeKeys
from backuppeer.agent.home.state import State
from backuppeer.agent.peers.channel import Channel
from backuppeer.agent.peers.names import name_of
from backuppeer.agent.peers.session import Session
from backuppeer.agent.peers.sessions import Hooks, Sessions
from backuppeer.clock import Clock, format_time
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import (
    AuthenticationFault,
    ExitCode,
    PeerFault,
    PeerUnreachable,
    ProtocolViolation,
    RefusedError,
    UserError,
)
from backuppeer.ids import AgreementId, PeerId, TransportId, shorten_peer_id
from backuppeer.proof.revisions import check_successor, succeed
from backuppeer.proof.statements import Agreement, open_statement, peek_statement, sign_statement
from backuppeer.proof.succession import Succession, open_succession
from backuppeer.transport.base import Transport
from backuppeer.wire.messages import Hello
from backuppeer.wire.succeeding import Succeed, Succeeded

SEEN: Final = "succession.seen"
"""The setting that holds the signed succession by which another home goes on in place of this one."""


_OLDER: Final = "ask its person to update backup-peer; it is told again whenever it is met"


async def tell_host(session: Session, state: State, succession: bytes, heir: SigningKey) -> list[AgreementId]:
    """Tell a host in a session of the identity of before, or of the heir, and keep what it signs; return of which.

    succession: signed. Nothing is kept here before the host has it durably.

    Raises:
        RefusedError: it won't, or it revised an agreement meanwhile.
        PeerFault: it answered what it may not; with AuthenticationFault: it follows another heir.
        PeerUnreachable: it went away, or is of a version that knows nothing of this.

    """
    said = peek_statement(Succession, succession)
    _adopt_shown(session, state, said.old)
    mine = {agreement: signed for agreement, host, signed in state.agreements() if host == session.peer}
    proposals = tuple(
        sign_statement(succeed(signed, succession), heir)
        for signed in mine.values()
        if peek_statement(Agreement, signed).owner == said.old
    )
    async with session.request(Succeed(succession=succession, proposals=proposals)) as channel:
        answer = await channel.receive(Succeeded)
    _check_answer(answer, said)
    for signed in answer.revisions:
        agreement = open_statement(Agreement, signed, said.new, session.peer)
        known = mine.get(AgreementId(agreement.agreement))
        if known is not None and peek_statement(Agreement, known).owner == said.old:
            check_successor(known, agreement)
            state.put_agreement(AgreementId(agreement.agreement), session.peer, signed)
    return [AgreementId(peek_statement(Agreement, signed).agreement) for signed in answer.revisions]


def _adopt_shown(session: Session, state: State, old: PeerId) -> None:
    """Take the revisions that a host shows and that follow those known here: the next one must follow the last."""
    known = {agreement: signed for agreement, host, signed in state.agreements() if host == session.peer}
    for signed in session.hello.agreements:
        try:
            shown = open_statement(Agreement, signed, old, session.peer)
        except PeerFault:
            continue  # of the other direction, or nobody's
        mine = known.get(AgreementId(shown.agreement))
        if mine is not None and may_follow(mine, shown):
            state.put_agreement(AgreementId(shown.agreement), session.peer, signed)


def may_follow(current: bytes, agreement: Agreement) -> bool:
    """Return whether a revision, signed by both, follows the co-signed one known here."""
    try:
        check_successor(current, agreement)
    except (PeerFault, RefusedError):
        return False
    return True


def _check_answer(answer: Succeeded, said: Succession) -> None:
    followed = open_succession(answer.succession, said.authority)
    if followed.old != said.old:
        raise ProtocolViolation("the host answered with the succession of somebody else")
    if followed.new != said.new:
        raise AuthenticationFault(
            f"the host follows another heir: {shorten_peer_id(followed.new)}, signed with your words",
            hint="somebody else has your words: talk to the people who keep your backups",
        )


class Announcing:
    """The hosts that know this home by a name of before, dialled so and told."""

    def __init__(self, state: State, keys: HomeKeys, transport: Transport, clock: Clock) -> None:
        self._state, self._keys, self.transport, self.clock = state, keys, transport, clock
        self._telling: dict[PeerId, asyncio.Lock] = {}
        self._asked_anew: set[PeerId] = set()

    def waiting(self) -> list[PeerId]:
        """Return the hosts that know this home by a name of before, as far as is known, in order of agreement."""
        former = {one.peer for one in self._keys.former}
        rows = self._state.agreements()
        return list(dict.fromkeys(host for _, host, signed in rows if _owner(signed) in former))

    def identity_at(self, peer: PeerId) -> SigningKey:
        """Return the identity by which a host knows this home: of before, as long as it has not heard."""
        names = self._names_at(peer)
        return next((one.identity for one in self._keys.former if one.peer in names), self._keys.identity)

    async def follow(self, peer: PeerId, transport: TransportId, addresses: Sequence[str]) -> None:
        """Tell a host at its place whatever it has not heard yet; at once if there is nothing.

        Raises:
            PeerUnreachable, AuthenticationFault: as `Sessions.dial`; or it can't or won't follow.

        """
        if peer not in self.waiting():
            return
        async with self._telling.setdefault(peer, asyncio.Lock()):
            for number, one in enumerate(self._keys.former):
                if one.peer in self._names_at(peer):
                    later = self._keys.former[number + 1 :]
                    heir = later[0].identity if later else self._keys.identity
                    await self._tell(peer, transport, list(addresses), (one.identity, one.succession, heir))

    def check(self, session: Session) -> None:
        """Return if a host still takes this home for what it is; called before a session is used.

        Raises:
            UserError: it goes on with another home in our place; with code 12. No host is waited for then.
            PeerUnreachable: what it says of that is wrong.

        """
        session.on_succeeded = partial(self._ask_anew, session.peer)
        try:
            said = find_successor(self._keys, session.hello)
        except PeerFault as exc:
            raise PeerUnreachable(exc.message, hint=exc.hint) from exc
        if said is not None:
            raise explain_successor(said, name_of(self._state, session.peer))

    def _ask_anew(self, peer: PeerId) -> bool:
        """Return whether a host is dialled anew that says we were succeeded: once, or it could say so for ever."""
        # While our own heir is being told the host is right, and the session in which it is told must not go.
        is_due = peer not in self._asked_anew and self._keys.heir is None
        self._asked_anew.add(peer)
        return is_due

    def _names_at(self, peer: PeerId) -> set[PeerId]:
        return {_owner(signed) for _, host, signed in self._state.agreements() if host == peer}

    async def _tell(
        self, peer: PeerId, transport: TransportId, addresses: list[str], who: tuple[SigningKey, bytes, SigningKey]
    ) -> None:
        identity, succession, heir = who
        # For this alone: nobody is served, and nothing else is said, under a name of before.
        sessions = Sessions(self.transport, identity, self.clock, _HOOKS)
        try:
            session = await sessions.dial(peer, transport, addresses)
            await tell_host(session, self._state, succession, heir)
        except RefusedError as exc:
            # It is there, and keeps what it has: nothing to hold against it.
            raise PeerUnreachable(f"it does not follow this home's new identity: {exc.message}", hint=_OLDER) from exc
        finally:
            await sessions.close_all()


def find_successor(keys: HomeKeys, hello: Hello) -> Succession | None:
    """Return the succession by which a host says that another home goes on in place of this one; None: it says none.

    Raises:
        PeerFault: what it says is not signed by our words, or is of another identity.

    """
    if not hello.succeeded:
        return None
    said = open_succession(hello.succeeded, keys.authority)
    if said.old != keys.peer:
        raise ProtocolViolation("a host speaks of the succession of somebody else")
    return None if keys.heir is not None and said.new == keys.heir.peer else said


def explain_successor(said: Succession, name: str) -> UserError:
    """Return what to tell of a host that goes on with another home in our place."""
    error = UserError(
        f"{name} goes on with {shorten_peer_id(said.new)} in place of this home: since "
        f"{format_time(said.time_ms)[:10]} your identity is another, signed with your words",
        hint="was it you? then `backup-peer recover` with the words makes this home follow. If not, somebody has your "
        "words: talk to the people who keep your backups",
    )
    error.exit_code = ExitCode.AUTHENTICATION
    return error


def describe_seen(state: State) -> list[str]:
    """Return what `status` says of a home in whose place another goes on; nothing of any other."""
    signed = state.setting(SEEN)
    if not signed:
        return []
    said = peek_statement(Succession, signed)
    if said.old not in {_owner(row) for _, _, row in state.agreements()}:
        return []
    heir, date = shorten_peer_id(said.new), format_time(said.time_ms)[:10]
    gone = f"this identity goes on as {heir} since {date}, and hosts give this home nothing any more"
    return [f"{gone}: `backup-peer recover` with the words makes it follow"]


def describe_waiting(state: State, announcing: Announcing, keys: HomeKeys) -> list[str]:
    """Return what `status` says of a succession that is not over: nobody has followed yet, or some have not heard."""
    if keys.heir is not None:
        return ["a new identity waits for the first host that follows: `backup-peer recover --new-identity` goes on"]
    names = [name_of(state, host) for host in announcing.waiting()]
    return [f"{name} has not heard of your new identity, and serves the old one until it is met" for name in names]


def _owner(signed: bytes) -> PeerId:
    return PeerId(peek_statement(Agreement, signed).owner)


async def _ignore(_: Session) -> None:
    """Learn nothing: what a host shows to a name of before is looked into where it is told."""


async def _refuse(_: PeerId, channel: Channel) -> None:
    await channel.abort()


_HOOKS: Final = Hooks(
    may_answer=lambda _: False,
    make_hello=lambda _: Hello(),
    on_hello=_ignore,
    serve=_refuse,
    on_fault=lambda _peer, _error: None,
)
