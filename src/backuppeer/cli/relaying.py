"""What an operator says of a server's relay and observers, and what is said of them."""

from typing import TYPE_CHECKING, Final

from backuppeer.cli.render import escape_line
from backuppeer.cli.units import format_size
from backuppeer.errors import ProtocolViolation, UserError

_OF_NODES: Final = "--relay-url gives each node a relay of its own"

if TYPE_CHECKING:
    from backuppeer.signaling.server.relay.relaying import Relaying


def read_observe(text: str) -> tuple[tuple[str, int], ...]:
    """Return (ip, port) of `--observe`, none where it is not given.

    Raises:
        UserError: not an IP address and a port.

    """
    from backuppeer.transport.addresses import parse_address  # noqa: PLC0415

    if not text:
        return ()
    try:
        ip, port = parse_address(text)
    except ProtocolViolation as exc:
        raise UserError(
            f"--observe takes an IP address and a port, not {text[:80]!r}", hint="for example 0.0.0.0:8443 or [::]:8443"
        ) from exc
    return ((str(ip), port),)


def read_relay_url(text: str) -> str:
    """Return the address of `--relay-url`, empty where it is not given.

    Raises:
        UserError: no address of a signaling server, or one below a path, where no relay is found.

    """
    from backuppeer.signaling.asking import relay_url  # noqa: PLC0415 - websockets
    from backuppeer.signaling.servers import parse_server  # noqa: PLC0415

    url = parse_server(text) if text else ""
    if url and not relay_url(url):
        raise UserError("--relay-url takes an address without a path", hint="for example wss://node-1.example")
    return url


def describe_relay(relaying: "Relaying | None", rate: int, *, is_shared: bool = False) -> str:
    """Return what a server does for peers that can't reach each other; rate: bytes per second, shared: with nodes."""
    if relaying is None:
        return "no relay: peers that can't reach each other directly don't meet by this server" + (
            f"; {_OF_NODES}" if is_shared and rate else ""
        )
    ports = ", ".join(f"{port}/udp" for port in relaying.observer_ports)
    seen = f"; peers ask {ports} for their address outside: let these in, too" if ports else ""
    where = f"; as {escape_line(relaying.at)}, where clients must reach this node" if relaying.at else ""
    return f"relays up to {format_size(rate)}/s between peers that can't reach each other directly{where}{seen}"
