"""What an operator says of a server's relay and observers, and what is said of them."""

from typing import TYPE_CHECKING

from backuppeer.cli.units import format_size
from backuppeer.errors import ProtocolViolation, UserError

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


def describe_relay(relaying: "Relaying | None", rate: int) -> str:
    """Return what a server does for peers that can't reach each other; rate: bytes per second."""
    if relaying is None:
        return "no relay: peers that can't reach each other directly don't meet by this server"
    ports = ", ".join(f"{port}/udp" for port in relaying.observer_ports)
    seen = f"; peers ask {ports} for their address outside: let these in, too" if ports else ""
    return f"relays up to {format_size(rate)}/s between peers that can't reach each other directly{seen}"
