"""The commands by which a person compares safety words with a peer's: peers/verify (control.api routes).

Knows: what equal and different words mean for a peer. Must not know: HTTP, who asks the person. Different words are no
fault of the peer's: whoever stands between is not it. Nothing is asked of the network: both ids are here.
"""

import shlex

from backuppeer.agent.agent import Agent
from backuppeer.agent.home.identity_alarms import Sort, doubts_about
from backuppeer.agent.peers import misbinding
from backuppeer.agent.peers.anew import note_compared
from backuppeer.agent.peers.names import alias_of, name_of, resolve_peer
from backuppeer.agent.peers.words import spell_safety_words
from backuppeer.agent.reporter import Emit
from backuppeer.control.api import PeerRequest
from backuppeer.control.verifying import VerifyPlan, VerifyRequest, VerifyResult
from backuppeer.errors import UserError
from backuppeer.ids import PeerId, format_peer_id, shorten_peer_id
from backuppeer.trust.evidence import Kind
from backuppeer.trust.score import round_down


class VerifyCommands:
    """peers/verify/plan, peers/verify."""

    def __init__(self, agent: Agent) -> None:
        self._parts = agent.parts

    async def plan(self, request: PeerRequest, _: Emit) -> VerifyPlan:
        """Return what is to be compared with a peer's screen."""
        peer, state = self._resolve(request.peer), self._parts.state
        return VerifyPlan(
            peer_id=format_peer_id(peer),
            alias=alias_of(state, peer),
            safety_words=await spell_safety_words(self._parts.keys.peer, peer),
            verified=self._parts.standing.is_friend(peer),
            alarms=[misbinding.say_alarm(state, alarm) for alarm in doubts_about(state, peer)],
        )

    async def verify(self, request: VerifyRequest, _: Emit) -> VerifyResult:
        """Record what a person found: a friend, or an alarm."""
        peer, standing = self._resolve(request.peer), self._parts.standing
        before, level_before = standing.trust(peer)
        if request.same:
            now_ms = self._parts.clock.now_ms()
            self._parts.state.befriend(peer, now_ms)
            note_compared(self._parts.state, self._parts.keys, peer)
            misbinding.settle(self._parts.state, peer, now_ms=now_ms)
        else:
            self._doubt(peer)
        trust, level = standing.trust(peer)
        return VerifyResult(
            peer_id=format_peer_id(peer),
            alias=alias_of(self._parts.state, peer),
            verified=standing.is_friend(peer),
            trust_before=round_down(before),
            trust_level_before=level_before.value,
            trust=round_down(trust),
            trust_level=level.value,
        )

    def _doubt(self, peer: PeerId) -> None:
        """Take the mark of a friend away, and remember why; evidence of what happened, and no fault of the peer."""
        now_ms = self._parts.clock.now_ms()
        self._parts.state.doubt(peer)
        misbinding.raise_alarm(self._parts.state, peer, Sort.WORDS, now_ms=now_ms)
        self._parts.standing.saw(peer, Kind.AUTH_FAULT, detail="the safety words on the two screens differed")

    def _resolve(self, text: str) -> PeerId:
        peer = resolve_peer(self._parts.state, text)
        if peer == self._parts.keys.peer:
            raise UserError("that is your own id", hint="see `backup-peer peers` for the others")
        newest = self._parts.state.successions.newest(peer)
        if newest != peer:
            # Whoever has the old key may be a thief: equal words with it prove nothing.
            name, typed = name_of(self._parts.state, newest), shlex.quote(name_of(self._parts.state, newest))
            raise UserError(
                f"{shorten_peer_id(peer)} is shut out: {name} goes on as {format_peer_id(newest)}",
                hint=f"compare with that one: `backup-peer peers verify {typed}`",
            )
        return peer
