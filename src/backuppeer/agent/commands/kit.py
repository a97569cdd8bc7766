"""The command of the recovery kit: which hosts stand in it, and when a new one is due.

Knows: agreements, whereabouts, when a kit was made last. Must not know: pages, words.
"""

from datetime import UTC, datetime
from typing import Final

from backuppeer.agent.agent import Agent
from backuppeer.agent.home.config import is_loopback_only
from backuppeer.agent.home.state import State
from backuppeer.agent.peers.names import alias_of
from backuppeer.agent.peers.partners import remembered
from backuppeer.agent.reporter import Emit
from backuppeer.control.paper import KitHost, KitRequest, KitResult
from backuppeer.control.recovering import Place
from backuppeer.ids import PeerId, format_peer_id
from backuppeer.limits import KIT_DUE_S
from backuppeer.transport.addresses import select_dialable

_MADE: Final = "kit.made"


class KitCommands:
    """kit."""

    def __init__(self, agent: Agent) -> None:
        self._parts = agent.parts

    async def kit(self, request: KitRequest, _: Emit) -> KitResult:
        """Return what a kit says, or note that one was made."""
        parts, made_ms = self._parts, read_made_ms(self._parts.state)
        if request.is_made:
            parts.state.put_setting(_MADE, str(parts.clock.now_ms()).encode())
        return KitResult(
            peer_id=format_peer_id(parts.keys.peer),
            hosts=[self._host(host, signed) for _, host, signed in parts.state.agreements()],
            made=datetime.fromtimestamp(made_ms / 1000, UTC).isoformat().replace("+00:00", "Z") if made_ms else "",
        )

    def _host(self, host: PeerId, signed: bytes) -> KitHost:
        state, where = self._parts.state, remembered(self._parts.state, host)
        # What a peer signed as its address is any text: only what can be dialled goes on paper, and into a command.
        addresses = select_dialable(where.addresses, may_loopback=is_loopback_only()) if where else []
        return KitHost(
            peer_id=format_peer_id(host),
            alias=alias_of(state, host),
            size_bytes=self._parts.keys.open_terms(signed, host).size_bytes,
            place=Place(peer_id=format_peer_id(host), transport=where.transport.hex(), addresses=addresses)
            if where and addresses
            else None,
        )


def read_made_ms(state: State) -> int:
    """Return when a kit was made last, 0 for never or if what is noted can't be read."""
    noted = state.setting(_MADE) or b""
    return int(noted) if noted.isdigit() else 0


def remind_of_kit(state: State, now_ms: int) -> str:
    """Return what to tell a person about the kit, "" as long as there is nothing: once there are hosts, and yearly."""
    if not state.agreements():
        return ""
    made_ms = read_made_ms(state)
    if not made_ms:
        return "no recovery kit names your hosts yet: `backup-peer kit --to kit.html` makes a page to print"
    if now_ms - made_ms < KIT_DUE_S * 1000:
        return ""
    return (
        "the recovery kit is over a year old: `backup-peer kit --to kit.html` makes a new one, and "
        "`backup-peer recover --check` tries whether your words still bring everything back"
    )
