"""Each link to others tried at once, so that a person learns which one is broken: doctor/… (control.api routes).

Knows: which peers there are, what a question to one of them tells. Must not know: HTTP, terminals, what a finding is
called. A host is asked how much it keeps for us: it must find and prove its agreement for that, whatever it answers.
"""

import asyncio
from collections.abc import Sequence

import msgspec

from backuppeer.agent.agent import Agent
from backuppeer.agent.commands.room import Room, find_open_room, room_at, room_for
from backuppeer.agent.commands.wishes import describe_end, terms_with
from backuppeer.agent.jobs.audit import describe_all
from backuppeer.agent.peers.names import alias_of
from backuppeer.agent.peers.parting import LeftAlone
from backuppeer.agent.peers.partners import Reach
from backuppeer.agent.peers.session import Session
from backuppeer.agent.peers.whereabouts import read_binding
from backuppeer.agent.reporter import Emit
from backuppeer.clock import Clock, format_time
from backuppeer.control.api import Nothing
from backuppeer.control.doctor import NetworkCheck, PeerCheck, PeersChecked
from backuppeer.control.events import Event, EventName
from backuppeer.control.proven import AuditRow
from backuppeer.errors import AuthenticationFault, BackupPeerError, ExitCode
from backuppeer.ids import AgreementId, PeerId, format_peer_id
from backuppeer.limits import CLOCK_TOLD_S, DOCTOR_PEERS, DOCTOR_S
from backuppeer.proof.revisions import end_ms
from backuppeer.wire.messages import GetUsage, Usage


class DoctorCommands:
    """doctor/peers, doctor/network."""

    def __init__(self, agent: Agent) -> None:
        self._agent, self._parts = agent, agent.parts

    async def peers(self, _: Nothing, emit: Emit) -> PeersChecked:
        """Ask all hosts side by side, and tell what came of each as soon as that is known."""
        hosts = {host: agreement for agreement, host, _ in self._parts.state.agreements()}
        owners = [owner for owner in self._agent.host.premises.owners() if owner not in hosts]
        asked = list(hosts.items())[:DOCTOR_PEERS]
        audits = {row.peer_id: row for row in describe_all(self._agent.owner.vault, self._agent.owner.auditor)}
        await _tell(emit, [self._describe(owner, "owner") for owner in owners])
        async with asyncio.TaskGroup() as group:
            for host, agreement in asked:
                group.create_task(self._tell_host(host, agreement, audits.get(format_peer_id(host)), emit))
        return PeersChecked(peers=len(asked) + len(owners), left_out=len(hosts) - len(asked))

    async def network(self, request: Nothing, _: Emit) -> NetworkCheck:
        """Ask servers how they see this machine, and whether their relays let us in."""
        relays = self._parts.relays
        found = await relays.examine(self._agent.servers(request.servers), DOCTOR_S)
        return NetworkCheck(looked=relays.is_usable, nat=relays.nat.value, relays=found, home=relays.home)

    async def _tell_host(self, host: PeerId, agreement: AgreementId, audit: AuditRow | None, emit: Emit) -> None:
        row = self._describe(host, "host")
        row.audit = audit
        await try_host(self._parts.reach, self._parts.clock, (host, agreement), row)
        if (record := self._parts.state.peer(host)) is not None and record.last_seen_ms:
            row.last_seen = format_time(record.last_seen_ms)  # a session that was found dead just now was noted
        await _tell(emit, [row])

    def _describe(self, peer: PeerId, role: str) -> PeerCheck:
        """Return what is known of a peer without asking it."""
        record, terms = self._parts.state.peer(peer), terms_with(self._agent, peer)
        room = (room_at if role == "host" else room_for)(self._agent, peer) or Room()
        return PeerCheck(
            peer_id=format_peer_id(peer),
            alias=alias_of(self._parts.state, peer),
            role=role,
            reached=role == "owner" and self._parts.sessions.get(peer) is not None,
            verified=self._parts.standing.is_friend(peer),
            differs=self._parts.standing.differs(peer),
            agreed_bytes=room.quota_bytes,
            used_bytes=room.used_bytes,
            room_bytes=find_open_room(self._agent, peer) if role == "host" else None,
            until=format_time(end_ms(terms)) if terms else "",
            **describe_end(self._agent, peer),
            last_seen=format_time(record.last_seen_ms) if record and record.last_seen_ms else "",
        )


async def try_host(reach: Reach, clock: Clock, place: tuple[PeerId, AgreementId], row: PeerCheck) -> None:
    """Ask a host how much it keeps under an agreement, and note in `row` what came of it within DOCTOR_S."""
    host, agreement = place
    try:
        async with asyncio.timeout(DOCTOR_S):
            session = await reach.session(host)
            asked_s = clock.monotonic_s()
            async with session.request(GetUsage(agreement=agreement)) as channel:
                await channel.receive(Usage)
            row.rtt_ms = round((clock.monotonic_s() - asked_s) * 1000, 1)
            row.path, row.skew_s = session.connection.path().kind.value, find_skew(session)
            row.reached = True
    except TimeoutError:
        row.error, row.code = f"no answer within {DOCTOR_S:.0f} s", ExitCode.UNREACHABLE
    except BackupPeerError as exc:
        row.error, row.hint, row.code = exc.message, exc.hint, exc.exit_code
        row.left_alone = isinstance(exc, LeftAlone)
        # A binding that does not hold is the peer's fault, as whoever answers in its place is.
        row.differs = row.differs or isinstance(exc, AuthenticationFault)


def find_skew(session: Session) -> float | None:
    """Return the peer's clock less ours in seconds, by when it says it signed its Hello; None where it said nothing.

    The peer may say any time: no more than CLOCK_TOLD_S becomes of it.
    """
    if not session.hello.binding:
        return None
    signed_ms = read_binding(session.hello.binding, session.peer).time_ms
    return max(-CLOCK_TOLD_S, min(round((signed_ms - session.since_ms) / 1000, 1), CLOCK_TOLD_S))


async def _tell(emit: Emit, rows: Sequence[PeerCheck]) -> None:
    if rows:
        await emit(Event(event=EventName.ROWS, data={"rows": msgspec.to_builtins(list(rows))}))
