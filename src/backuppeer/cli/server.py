"""`server`: a signaling server in the foreground, until Ctrl-C or SIGTERM."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer

from backuppeer.cli.context import context_of
from backuppeer.cli.render import escape_line, escape_name, format_count
from backuppeer.cli.screen import GREEN, Screen
from backuppeer.cli.units import format_size, parse_size, write_size
from backuppeer.clock import SystemClock
from backuppeer.errors import ProtocolViolation, UserError
from backuppeer.limits import RELAY_BYTES_PER_S, STAMP_BITS, STAMP_BITS_MOST

if TYPE_CHECKING:
    from backuppeer.signaling.server.relaying import Relaying

_EVERYWHERE: Final = frozenset({"", "0.0.0.0", "[::]", "::"})  # noqa: S104 - compared with, not bound to
_USUAL_RATE: Final = write_size(RELAY_BYTES_PER_S)

_RelayRate = Annotated[
    str,
    typer.Option(metavar="SIZE", help="Bytes per second to relay, all peers together, for example 20MB; 0 = no relay."),
]
_Observe = Annotated[
    str,
    typer.Option(
        metavar="IP:PORT",
        help="Where peers ask for their address outside (UDP), behind a proxy; without, where the server listens.",
    ),
]


class _Relay(NamedTuple):
    """What an operator says of the relay: bytes per second (0 = none), and where observers listen (empty: as usual)."""

    rate: int
    observe_at: tuple[tuple[str, int], ...]


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="server", help="Run a signaling server in the foreground.")(server)


def server(
    ctx: typer.Context,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where to listen; port 0 = any.")] = "127.0.0.1:8443",
    *,
    origin: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="The address clients dial, when behind a proxy; may be repeated."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where to keep recovery notes, so that they outlive a restart."),
    ] = None,
    relay_rate: _RelayRate = _USUAL_RATE,
    observe: _Observe = "",
    stamp_bits: Annotated[
        int,
        typer.Option(
            metavar="BITS",
            min=0,
            max=STAMP_BITS_MOST,
            help="Work that an offer of a new key must show, doubled with each bit; 0 = none.",
        ),
    ] = STAMP_BITS,
) -> int:
    """Serve until told to end."""
    import asyncio  # noqa: PLC0415 - 56 ms that no other verb needs

    screen = context_of(ctx).screen
    relay = _Relay(parse_size(relay_rate), _read_observe(observe))
    asyncio.run(_serve(screen, listen, origin or [], data=data, stamp_bits=stamp_bits, relay=relay))
    screen.line("stopped")
    return 0


async def _serve(
    screen: Screen, listen: str, origins: list[str], *, data: Path | None, stamp_bits: int, relay: _Relay
) -> None:
    import asyncio  # noqa: PLC0415
    import contextlib  # noqa: PLC0415
    import signal  # noqa: PLC0415

    from backuppeer.signaling.server.caps import Caps  # noqa: PLC0415
    from backuppeer.signaling.server.notes import FolderNotes  # noqa: PLC0415 - sqlite3
    from backuppeer.signaling.server.process import Keeping, run_server  # noqa: PLC0415 - websockets
    from backuppeer.signaling.server.relaying import Relaying  # noqa: PLC0415 - iroh

    caps = Caps(stamp_bits=stamp_bits)
    notes = FolderNotes(data, caps.notes) if data else None
    relaying = Relaying(SystemClock(), bytes_per_s=relay.rate, observe_at=relay.observe_at) if relay.rate else None

    def tell_ready(port: int) -> None:
        bound = f"{listen.rpartition(':')[0]}:{port}"
        screen.line(f"{screen.paint('✓', GREEN)} signaling server listens on {bound} (Ctrl-C ends it)", hang=2)
        for url in origins or [_url_of(bound)]:
            screen.line(f"  clients use: --server {escape_line(url)}", hang=4)
        screen.line(f"  {_describe_notes(data, notes.count() if notes else 0)}", hang=4)
        screen.line(f"  {_describe_relay(relaying, relay.rate)}", hang=4)
        screen.event("ready", {"listen": bound})

    with contextlib.ExitStack() as held:
        if notes:
            held.callback(notes.close)
        serving = asyncio.ensure_future(
            run_server(
                listen, origins=origins, caps=caps, keeping=Keeping(notes=notes, relaying=relaying), on_ready=tell_ready
            )
        )
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await serving


def _describe_notes(data: Path | None, count: int) -> str:
    if data is not None:
        return f"recovery notes are kept in {escape_name(str(data))} ({format_count(count, 'note')})"
    return (
        "recovery notes are kept in memory: after a restart, owners who lost everything are not found here until "
        "their hosts leave notes again, within a day; --data DIR keeps them"
    )


def _read_observe(text: str) -> tuple[tuple[str, int], ...]:
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


def _describe_relay(relaying: "Relaying | None", rate: int) -> str:
    if relaying is None:
        return "no relay: peers that can't reach each other directly don't meet by this server"
    ports = ", ".join(f"{port}/udp" for port in relaying.observer_ports)
    seen = f"; peers ask {ports} for their address outside: let these in, too" if ports else ""
    return f"relays up to {format_size(rate)}/s between peers that can't reach each other directly{seen}"


def _url_of(bound: str) -> str:
    """Return what clients dial; for all interfaces with a word in place of the address, which only people know."""
    host, _, port = bound.rpartition(":")
    return f"ws://{'ADDRESS-OF-THIS-MACHINE' if host in _EVERYWHERE else host}:{port}"
