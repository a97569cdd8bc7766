"""The command by which a person vouches for a friend: vouch (control.api routes).

Knows: whose words were compared. Must not know: HTTP, who hears of it. A vouch names a person's own judgement, and
others build on it: it is given for nobody but whose safety words were compared.
"""

import shlex

from backuppeer.agent.agent import Agent
from backuppeer.agent.peers.names import alias_of, name_of, resolve_peer
from backuppeer.agent.reporter import Emit
from backuppeer.clock import format_time
from backuppeer.control.vouching import VouchRequest, VouchResult
from backuppeer.errors import UserError
from backuppeer.ids import PeerId, format_peer_id
from backuppeer.limits import VOUCH_TERM_S
from backuppeer.proof.receipts import Vouch
from backuppeer.proof.statements import sign_statement


class VouchCommands:
    """vouch."""

    def __init__(self, agent: Agent) -> None:
        self._agent, self._parts = agent, agent.parts

    async def vouch(self, request: VouchRequest, _: Emit) -> VouchResult:
        """Give a word for a friend for a year, or take it back.

        Raises:
            NotFoundError: no such peer.
            UserError: it is no friend, or was not vouched for.
            LocalError: it can't be written down.

        """
        state, shelf = self._parts.state, self._agent.repute.shelf
        peer, me = resolve_peer(state, request.peer), self._parts.keys.peer
        if peer == me:
            raise UserError("that is your own id", hint="see `backup-peer peers` for the others")
        name, now_ms = name_of(state, peer), self._parts.clock.now_ms()
        known = [vouch for vouch, _ in shelf.vouches(of=me, on=peer)]
        if request.withdraw and not any(vouch.until_ms > now_ms for vouch in known):
            raise UserError(f"you don't vouch for {name}", hint=f"`backup-peer vouch {shlex.quote(name)}` does")
        if not request.withdraw and not self._parts.standing.is_friend(peer):
            raise UserError(
                f"you have not compared safety words with {name}: a vouch says that you know the person",
                hint=f"`backup-peer peers verify {shlex.quote(name)}` compares them",
            )
        # Above the last one's time, be it that the clock was set back: the later one counts.
        time_ms = max([now_ms, *(vouch.time_ms + 1 for vouch in known)])
        until_ms = time_ms if request.withdraw else time_ms + VOUCH_TERM_S * 1000
        said = Vouch(voucher=me, peer=peer, time_ms=time_ms, until_ms=until_ms)
        shelf.take_vouch(said, sign_statement(said, self._parts.keys.identity))
        return self._result(peer, "" if request.withdraw else format_time(until_ms))

    def _result(self, peer: PeerId, until: str) -> VouchResult:
        alias = alias_of(self._parts.state, peer)
        return VouchResult(peer_id=format_peer_id(peer), alias=alias, vouched=bool(until), until=until)
