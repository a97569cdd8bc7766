"""Hosts told that this home goes on as another identity, and what they answered (ADR 69).

Knows: which hosts have not heard, the sessions in which they are told (`telling`). Must not know: the words, files of
keys.

A host that has not heard knows this home as it was. So it is dialled as that, told, and dialled as what this home is
now: whenever it is met, whoever wants it. Until then it is a host that is away: what it keeps is not lost.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final

from backuppeer.agent.home.keyring import HomeKeys
from backuppeer.agent.home.state import State
from backuppeer.agent.home.successions import SEEN
from backuppeer.agent.owner.telling import agreements_with, learn_terms, owner_of, tell_host
from backuppeer.agent.peers.channel import Channel
from backuppeer.agent.peers.names import name_of
from backuppeer.agent.peers.partners import Dial
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
    StoreUnavailable,
    UserError,
)
from backuppeer.ids import AgreementId, PeerId, shorten_peer_id
from backuppeer.proof.revisions import check_successor
from backuppeer.proof.statements import Agreement, peek_statement
from backuppeer.proof.succession import Succession, open_succession
from backuppeer.transport.base import Transport
from backuppeer.wire.messages import Hello

_OLDER: Final = "ask its person to update backup-peer; it is told again whenever it is met"


def may_follow(current: bytes, agreement: Agreement) -> bool:
    """Return whether a revision, signed by both, follows the co-signed one known here."""
    try:
        check_successor(current, agreement)
    except (PeerFault, RefusedError):
        return False
    return True


class Announcing:
    """The hosts that know this home by a name of before, dialled so and told."""

    def __init__(self, state: State, keys: HomeKeys, transport: Transport, clock: Clock) -> None:
        self.state, self._keys, self.transport, self.clock = state, keys, transport, clock
        self._telling: dict[PeerId, asyncio.Lock] = {}
        self._asked_anew: set[PeerId] = set()

    def waiting(self) -> list[PeerId]:
        """Return the hosts that know this home by a name of before, as far as is known, in order of agreement.

        Of one that goes on as another itself, the heir: what it was is dialled no more.
        """
        former, newest = {one.peer for one in self._keys.former}, self.state.successions.newest
        rows = self.state.agreements()
        return list(dict.fromkeys(newest(host) for _, host, signed in rows if owner_of(signed) in former))

    def identity_at(self, peer: PeerId) -> SigningKey:
        """Return the identity by which a host knows this home: of before, as long as it has not heard."""
        names = self._names_at(peer)
        return next((one.identity for one in self._keys.former if one.peer in names), self._keys.identity)

    async def follow(self, peer: PeerId, dial: Dial) -> None:
        """Tell a host at its place whatever it has not heard yet; at once if there is nothing.

        Raises:
            PeerUnreachable, AuthenticationFault: as `Sessions.dial`; or it can't or won't follow.

        """
        if peer not in self.waiting():
            return
        former = self._keys.former
        heirs = [*(one.identity for one in former[1:]), self._keys.identity]
        async with self._telling.setdefault(peer, asyncio.Lock()):
            for number, one in enumerate(former):
                if one.peer not in self._names_at(peer):
                    continue
                async with self._meet(dial, one.identity) as session:
                    gone = await tell_host(session, self.state, one.succession, heirs[number])
                if behind := [agreement for agreement in gone if self._name_in(peer, agreement) == one.peer]:
                    await self._catch_up(dial, behind, heirs[number:])

    async def _catch_up(self, dial: Dial, behind: list[AgreementId], heirs: list[SigningKey]) -> None:
        """Learn the revisions up to the heir that the host knows, from it: only as that one it shows any."""
        for heir in reversed(heirs):
            with suppress(PeerUnreachable):
                async with self._meet(dial, heir) as session:
                    for agreement in behind:
                        await learn_terms(session, self.state, agreement, self._keys.names)
                return

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
            raise explain_successor(said, name_of(self.state, session.peer))

    def _ask_anew(self, peer: PeerId) -> bool:
        """Return whether a host is dialled anew that says we were succeeded: once, or it could say so for ever."""
        # While our own heir is being told the host is right, and the session in which it is told must not go.
        is_due = peer not in self._asked_anew and self._keys.heir is None
        self._asked_anew.add(peer)
        return is_due

    def _names_at(self, peer: PeerId) -> set[PeerId]:
        return set(map(owner_of, agreements_with(self.state, peer).values()))

    def _name_in(self, peer: PeerId, agreement: AgreementId) -> PeerId:
        return owner_of(agreements_with(self.state, peer)[agreement])

    @asynccontextmanager
    async def _meet(self, dial: Dial, identity: SigningKey) -> AsyncIterator[Session]:
        """Give a session of another identity with a host, and translate what may go wrong in it."""
        # For this alone: nobody is served, and nothing else is said, under a name of before.
        sessions = Sessions(self.transport, identity, self.clock, _HOOKS)
        try:
            yield await dial(sessions)
        except AuthenticationFault:
            raise
        except (RefusedError, StoreUnavailable, PeerFault) as exc:
            # It is there, and keeps what it has: nothing to hold against it here.
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
    if said.old not in {owner_of(row) for _, _, row in state.agreements()}:
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
