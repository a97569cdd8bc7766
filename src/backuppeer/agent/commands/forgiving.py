"""The command by which a person takes back what this home holds against a host: peers/forgive (control.api routes).

Knows: how a host stands. Must not know: HTTP, how it came to stand so. Evidence stays, and the score with it: a person
decides that a host gets data again, not that nothing happened.
"""

import shlex

from backuppeer.agent.agent import Agent
from backuppeer.agent.peers.names import alias_of, name_of, resolve_peer
from backuppeer.agent.reporter import Emit
from backuppeer.control.api import PeerRequest
from backuppeer.control.forgiving import ForgiveResult
from backuppeer.errors import UserError
from backuppeer.ids import format_peer_id


class ForgiveCommands:
    """peers/forgive."""

    def __init__(self, agent: Agent) -> None:
        self._agent, self._parts = agent, agent.parts

    async def forgive(self, request: PeerRequest, _: Emit) -> ForgiveResult:
        """Let nothing stand against a peer any more but a block.

        Raises:
            NotFoundError: no such peer.
            UserError: nothing does.
            LocalError: it can't be written down.

        """
        state, standing = self._parts.state, self._parts.standing
        peer = resolve_peer(state, request.peer)
        forgiven = standing.forgive(peer)
        if not forgiven:
            name = name_of(state, peer)
            raise UserError(f"nothing stands against {name}", hint=f"see `backup-peer peers show {shlex.quote(name)}`")
        self._agent.owner.auditor.close_case(peer)
        return ForgiveResult(peer_id=format_peer_id(peer), alias=alias_of(state, peer), forgiven=forgiven)
