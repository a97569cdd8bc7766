"""The command that asks partners what they think of this home as a host: reputation/me (control.api routes).

Knows: who is a partner, how long to wait. Must not know: HTTP, terminals, how an opinion travels. What a partner says
is its own word, shown as that, and enters nothing here.
"""

import asyncio
from collections.abc import Iterable

from backuppeer.agent.agent import Agent
from backuppeer.agent.peers.names import alias_of
from backuppeer.agent.peers.opinions import Answers, Told, ask_opinion
from backuppeer.agent.reporter import Emit
from backuppeer.clock import format_time
from backuppeer.control.reputation import OpinionRow, OpinionsRequest
from backuppeer.errors import BackupPeerError, NotFoundError, UserError
from backuppeer.ids import PeerId, format_peer_id
from backuppeer.limits import OPINION_ASK_S, OPINIONS_AT_ONCE, OPINIONS_WAIT_S


class OpinionCommands:
    """reputation/me."""

    def __init__(self, agent: Agent) -> None:
        self._agent, self._parts = agent, agent.parts
        self._answers = Answers(agent.parts.state)

    async def ask_all(self, request: OpinionsRequest, _: Emit) -> list[OpinionRow]:
        """Return what each partner says, those that say something first, by what they say.

        Raises:
            UserError: a wait that is none, or too long.
            NotFoundError: there is no partner.

        """
        if not 0 < request.wait_s <= OPINIONS_WAIT_S:
            raise UserError(f"--wait is more than nothing and at most {OPINIONS_WAIT_S:.0f}s", hint="like --wait 10s")
        partners = self._list_partners()
        if not partners:
            raise NotFoundError(
                "nobody keeps anything for you or has you keep something: nobody has an opinion of you",
                hint="`backup-peer host --storage 50GB` offers space; `backup-peer browse` shows who does",
            )
        places = asyncio.Semaphore(OPINIONS_AT_ONCE)
        known = self._answers.read()
        rows = await asyncio.gather(*(self._ask(peer, request.wait_s, places, known) for peer in partners))
        self._answers.keep({peer: known[peer] for peer in partners if peer in known})
        return sorted(rows, key=lambda row: (bool(row.error), -row.trust, row.peer_id))

    def _list_partners(self) -> list[PeerId]:
        hosts: Iterable[PeerId] = (host for _, host, _ in self._parts.state.agreements())
        return list(dict.fromkeys([*self._agent.host.premises.owners(), *hosts]))

    async def _ask(
        self, peer: PeerId, wait_s: float, places: asyncio.Semaphore, known: dict[PeerId, Told]
    ) -> OpinionRow:
        """Return what a partner says now, or said within the hour; `known` learns what it says now."""
        row = OpinionRow(peer_id=format_peer_id(peer), alias=alias_of(self._parts.state, peer))
        now_ms, last = self._parts.clock.now_ms(), known.get(peer)
        if last is None or not 0 <= now_ms - last.time_ms < OPINION_ASK_S * 1000:
            try:
                async with places, asyncio.timeout(wait_s):
                    said = await ask_opinion(await self._parts.reach.session(peer))
            except TimeoutError:
                row.error = f"no answer within {wait_s:g} s"
                return row
            except BackupPeerError as exc:
                row.error = exc.message
                return row
            last = known[peer] = Told(now_ms, said)
        else:
            # It would refuse: it tells once an hour.
            row.told = format_time(last.time_ms)
        said = last.said
        row.trust, row.trust_level, row.reasons = round(said.trust, 3), said.level, list(said.reasons)
        return row
