"""Commands of recovery: recover, and where this home can be dialled, for owners who have only their words.

Knows: what a recovery is made of, and what is different when words are only tried. Must not know: how hosts are found.
"""

from backuppeer.agent.agent import Agent
from backuppeer.agent.heap import returning_memory
from backuppeer.agent.peers.endpoint import whereabouts_of
from backuppeer.agent.recovery.finding import Ways
from backuppeer.agent.recovery.recovery import Recovery
from backuppeer.agent.reporter import Emit, reporting
from backuppeer.control.api import Nothing
from backuppeer.control.recovering import Place, RecoverRequest, RecoverResult
from backuppeer.errors import UserError
from backuppeer.ids import format_peer_id


class RecoverCommands:
    """recover, where."""

    def __init__(self, agent: Agent) -> None:
        self._agent, self._parts = agent, agent.parts

    async def recover(self, request: RecoverRequest, emit: Emit) -> RecoverResult:
        """Find hosts and rebuild the index.

        Raises:
            UserError: a check is asked for in a home that is not there for it: it would go silent, and end.

        """
        parts, owner = self._parts, self._agent.owner
        if request.check and not parts.home.is_passing:
            raise UserError(
                "words are not tried in a home that is in use", hint="`backup-peer recover --check` makes one for it"
            )
        if request.check:
            # A passing home: hosts must not look for their owner where it was, nor get slots of it. Nor may their
            # people be told that it answered from another machine: they might shut out the one that has the words.
            self._agent.host.heirship.bind = lambda _: b""
            owner.knocking.is_passing = owner.slots.is_silent = True
        ways = Ways(owner.market, owner.knocking, parts.reach)
        recovery = Recovery(parts.keys, parts.state, owner.vault, ways=ways, slots=owner.slots)
        recovery.is_keeping = bool(self._agent.host.premises.owners()) and not request.check
        try:
            async with owner.vault.busy, returning_memory(), reporting(emit) as reporter:
                return await recovery.run(request, self._agent.servers(request.servers), reporter)
        finally:
            if request.check:
                # Also when the command was killed: nobody else knows of this home.
                self._agent.stopping.set()

    async def where(self, _: Nothing, __: Emit) -> Place:
        """Return where this home can be dialled now."""
        ends = whereabouts_of(self._parts.transport, self._parts.clock)
        return Place(
            peer_id=format_peer_id(self._parts.keys.peer),
            transport=ends.transport.hex(),
            addresses=list(ends.addresses),
        )
