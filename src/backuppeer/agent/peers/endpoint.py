"""This home's transport endpoint: the same key and ports every time, so that partners find it without any server.

Knows: which ports were bound last. Must not know: sessions.
"""

import msgspec

from backuppeer.agent.home.keyring import HomeKeys
from backuppeer.agent.home.state import State
from backuppeer.agent.peers.relays import Relays
from backuppeer.agent.peers.whereabouts import Whereabouts
from backuppeer.clock import Clock
from backuppeer.crypto.identity import SigningKey
from backuppeer.ids import PeerId
from backuppeer.limits import PEER_ADDRESSES
from backuppeer.proof.statements import TransportBinding, sign_statement
from backuppeer.transport.addresses import format_address, parse_address
from backuppeer.transport.base import Transport
from backuppeer.transport.iroh import open_iroh

_BOUND = "transport.bound"


async def open_transport(state: State, keys: HomeKeys, binds: list[str]) -> Transport:
    """Bind to the ports of the last time where they are free, else to others, and remember them.

    Raises:
        LocalError: nothing can be bound.

    """
    raw = state.setting(_BOUND)
    last = msgspec.json.decode(raw, type=list[str]) if raw else []
    ports = {str(parse_address(text)[0]): parse_address(text)[1] for text in last}
    wanted = [format_address(parse_address(_with_port(ip))[0], ports.get(_plain(ip), 0)) for ip in binds]
    transport = await open_iroh(keys.transport_seed, bind=wanted)
    bound = msgspec.json.encode(transport.bound())
    if bound != raw:  # else a full disk would keep an agent from starting even to restore
        state.put_setting(_BOUND, bound)
    return transport


def whereabouts_of(transport: Transport, clock: Clock, relays: Relays | None = None) -> Whereabouts:
    """Return where this home can be dialled now."""
    addresses = tuple(transport.addresses()[:PEER_ADDRESSES])
    relay, nat = (relays.home, relays.nat.value) if relays is not None else ("", "")
    return Whereabouts(transport.transport_id, addresses, clock.now_ms(), relay, nat)


def make_binding(transport: Transport, clock: Clock, relays: Relays, identity: SigningKey) -> bytes:
    """Return the signed statement of where this home is, for partners and accepted knocks only.

    identity: this home's, or one of before by which somebody knows it.
    """
    where = whereabouts_of(transport, clock, relays)
    binding = TransportBinding(
        peer=PeerId(identity.public),
        transport=transport.transport_id,
        addresses=list(where.addresses),
        time_ms=where.time_ms,
        ext=where.extensions(),
    )
    return sign_statement(binding, identity)


def _plain(ip: str) -> str:
    return str(parse_address(_with_port(ip))[0])


def _with_port(ip: str) -> str:
    return f"[{ip}]:1" if ":" in ip else f"{ip}:1"
