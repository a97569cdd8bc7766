"""Who is connected, how well, and how a person ends that: sessions, disconnect (control.api routes).

Knows: open sessions, dials under way, what is looked for again. Must not know: HTTP, terminals.
"""

from backuppeer.agent.agent import Agent
from backuppeer.agent.peers.attempts import CONNECTING
from backuppeer.agent.peers.names import alias_of, name_of, resolve_peer
from backuppeer.agent.peers.parting import HERE
from backuppeer.agent.peers.partners import remembered
from backuppeer.agent.peers.paths import explain_path
from backuppeer.agent.peers.rates import InForce
from backuppeer.agent.peers.session import Session
from backuppeer.agent.reporter import Emit
from backuppeer.clock import format_time
from backuppeer.control.api import Nothing
from backuppeer.control.bandwidth import CapState
from backuppeer.control.sessions import DisconnectRequest, DisconnectResult, SessionRow
from backuppeer.errors import NotFoundError
from backuppeer.ids import PeerId, format_peer_id
from backuppeer.limits import PARTED_S

_RECONNECTING = "reconnecting"


def describe_cap(cap: InForce) -> CapState:
    """Return what is told of a cap."""
    return CapState(
        direction=cap.direction,
        role=cap.role,
        bytes_per_s=cap.bytes_per_s,
        until=format_time(cap.until_ms) if cap.until_ms else "",
    )


class SessionCommands:
    """sessions, disconnect."""

    def __init__(self, agent: Agent) -> None:
        self._agent, self._parts = agent, agent.parts

    async def list_all(self, _: Nothing, __: Emit) -> list[SessionRow]:
        """Return the open sessions, then who is being dialled, then who is looked for again."""
        sessions, gaps = self._parts.sessions, self._parts.reach.keeping.gaps
        rows = {session.peer: self._describe(session) for session in sessions.all()}
        for peer, gap in gaps.items():
            row = self._describe_absent(peer, _RECONNECTING, gap.since_ms)
            row.reason, row.next_try = gap.reason, format_time(gap.next_ms) if gap.next_ms else ""
            rows.setdefault(peer, row)
        for peer, attempt in sessions.attempts.all().items():
            if peer not in gaps or attempt.state != CONNECTING:
                rows.setdefault(peer, self._describe_absent(peer, attempt.state, attempt.since_ms))
        return list(rows.values())

    async def disconnect(self, request: DisconnectRequest, _: Emit) -> DisconnectResult:
        """End the session with a peer: what is under way first, unless at once; work leaves it alone for a while.

        Raises:
            NotFoundError: no session with it, and it is not looked for.

        """
        peer = resolve_peer(self._parts.state, request.peer)
        reach = self._parts.reach
        is_sought = reach.keeping.stop(peer)
        is_open = self._parts.sessions.get(peer) is not None
        if is_open or is_sought:
            reach.parting.hold(peer, HERE)  # before it ends: work under way would dial again within the second
        cut = await self._parts.sessions.part(peer, at_once=request.now)
        if cut is None and not is_sought:
            raise NotFoundError(
                f"there is no session with {name_of(self._parts.state, peer)}", hint="see `backup-peer sessions`"
            )
        return DisconnectResult(
            peer_id=format_peer_id(peer), closed=cut is not None, cut=cut or 0, rest_s=int(PARTED_S)
        )

    def _describe(self, session: Session) -> SessionRow:
        session.look()
        path, there = session.connection.path(), remembered(self._parts.state, session.peer)
        quality, loss = session.quality, session.meter.loss
        return SessionRow(
            peer_id=format_peer_id(session.peer),
            alias=alias_of(self._parts.state, session.peer),
            state=session.state,
            path=path.kind.value,
            rtt_ms=round(path.rtt_ms, 2),
            sent_bytes=session.sent_bytes,
            received_bytes=session.received_bytes,
            since=format_time(session.since_ms),
            path_reason=explain_path(path.kind, own=self._parts.relays.nat, theirs=there.nat if there else ""),
            bytes_per_s=session.course.rate(session.sent_bytes + session.received_bytes),
            now_bytes_per_s=session.meter.rate,
            loss=None if loss is None else round(loss, 4),
            quality=quality.grade.value,
            quality_reason=quality.reason,
            work=session.work,
            caps=[describe_cap(cap) for cap in session.caps],
        )

    def _describe_absent(self, peer: PeerId, state: str, since_ms: int) -> SessionRow:
        return SessionRow(
            peer_id=format_peer_id(peer),
            alias=alias_of(self._parts.state, peer),
            state=state,
            path="none",
            rtt_ms=0.0,
            sent_bytes=0,
            received_bytes=0,
            since=format_time(since_ms),
        )
