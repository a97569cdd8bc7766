"""`server`: a signaling server in the foreground, until Ctrl-C or SIGTERM."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from backuppeer.cli.context import context_of
from backuppeer.cli.descriptors import describe_room
from backuppeer.cli.groups import takes
from backuppeer.cli.operating import Operating, operate
from backuppeer.cli.render import escape_line, escape_name, format_count
from backuppeer.cli.screen import GREEN, Screen
from backuppeer.errors import UserError
from backuppeer.limits import STAMP_BITS, STAMP_BITS_MOST

if TYPE_CHECKING:
    import asyncio

    from backuppeer.signaling.server.certificate import Certificate

_EVERYWHERE: Final = frozenset({"", "0.0.0.0", "[::]", "::"})  # noqa: S104 - compared with, not bound to
_SHARED: Final = "one node of several: all that it is told lies in the Valkey that they share"


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="server", help="Run a signaling server in the foreground.")(server)


@takes(operate, into="operating")
def server(
    ctx: typer.Context,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where to listen; port 0 = any.")] = "127.0.0.1:8443",
    *,
    operating: Operating,
    origin: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="The address clients dial, when behind a proxy; may be repeated."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where recovery notes and what is on show are kept, to outlive a restart."),
    ] = None,
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
    asyncio.run(_serve(screen, listen, origin or [], data=data, stamp_bits=stamp_bits, operating=operating))
    screen.line("stopped")
    return 0


async def _serve(
    screen: Screen, listen: str, origins: list[str], *, data: Path | None, stamp_bits: int, operating: Operating
) -> None:
    import asyncio  # noqa: PLC0415
    import contextlib  # noqa: PLC0415

    from backuppeer.signaling.server.notes import FolderNotes  # noqa: PLC0415 - sqlite3
    from backuppeer.signaling.server.process import run_server  # noqa: PLC0415 - websockets

    operating.check(data)
    caps, certificate, relaying = operating.caps(stamp_bits), operating.certificate(), operating.relaying()
    notes = FolderNotes(data, caps.notes) if data else None

    def tell_ready(port: int) -> None:
        bound = f"{listen.rpartition(':')[0]}:{port}"
        screen.line(f"{screen.paint('✓', GREEN)} signaling server listens on {bound} (Ctrl-C ends it)", hang=2)
        for url in origins or [_url_of(bound, is_secure=certificate is not None)]:
            screen.line(f"  clients use: --server {escape_line(url)}", hang=4)
        kept = _SHARED if operating.cluster else _describe_notes(data, notes.count() if notes else 0)
        for text in (kept, operating.describe_relay(relaying), describe_room(caps)):
            screen.line(f"  {text}", hang=4)
        screen.event("ready", {"listen": bound})

    with contextlib.ExitStack() as held:
        if notes:
            held.callback(notes.close)
        serving = asyncio.ensure_future(
            run_server(
                listen,
                origins=[*origins, *filter(None, [operating.relay_url])],
                caps=caps,
                keeping=operating.keeping(caps, data, notes)._replace(relaying=relaying),
                trusted=operating.trusted,
                tls=certificate.context if certificate else None,
                on_ready=tell_ready,
            )
        )
        _obey_signals(serving, screen, certificate)
        with contextlib.suppress(asyncio.CancelledError):
            await serving


def _obey_signals(serving: "asyncio.Future[None]", screen: Screen, certificate: "Certificate | None") -> None:
    import asyncio  # noqa: PLC0415
    import functools  # noqa: PLC0415
    import signal  # noqa: PLC0415

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, serving.cancel)
    if certificate is not None:
        loop.add_signal_handler(signal.SIGHUP, functools.partial(_renew, screen, certificate))


def _renew(screen: Screen, certificate: "Certificate") -> None:
    """Read the certificate again; one that does not fit leaves the former in use."""
    try:
        certificate.reload()
    except UserError as exc:
        screen.note(f"the former certificate is used on: {escape_line(exc.message)}")
    else:
        screen.line("the certificate was read again; new connections see it")


def _describe_notes(data: Path | None, count: int) -> str:
    if data is not None:
        return f"recovery notes are kept in {escape_name(str(data))} ({format_count(count, 'note')})"
    return (
        "recovery notes are kept in memory: after a restart, owners who lost everything are not found here until "
        "their hosts leave notes again, within a day; --data DIR keeps them"
    )


def _url_of(bound: str, *, is_secure: bool) -> str:
    """Return what clients dial; for all interfaces with a word in place of the address, which only people know."""
    host, _, port = bound.rpartition(":")
    scheme = "wss" if is_secure else "ws"
    return f"{scheme}://{'ADDRESS-OF-THIS-MACHINE' if host in _EVERYWHERE else host}:{port}"
