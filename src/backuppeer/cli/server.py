"""`server`: a signaling server in the foreground, until Ctrl-C or SIGTERM."""

from typing import Annotated, Final

import typer

from backuppeer.cli.context import context_of
from backuppeer.cli.render import escape_line
from backuppeer.cli.screen import GREEN, Screen

_EVERYWHERE: Final = frozenset({"", "0.0.0.0", "[::]", "::"})  # noqa: S104 - compared with, not bound to


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="server", help="Run a signaling server in the foreground.")(server)


def server(
    ctx: typer.Context,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where to listen; port 0 = any.")] = "127.0.0.1:8443",
    origin: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="The address clients dial, when behind a proxy; may be repeated."),
    ] = None,
) -> int:
    """Serve until told to end."""
    import asyncio  # noqa: PLC0415 - 56 ms that no other verb needs

    screen = context_of(ctx).screen
    asyncio.run(_serve(screen, listen, origin or []))
    screen.line("stopped")
    return 0


async def _serve(screen: Screen, listen: str, origins: list[str]) -> None:
    import asyncio  # noqa: PLC0415
    import contextlib  # noqa: PLC0415
    import signal  # noqa: PLC0415

    from backuppeer.signaling.server.process import run_server  # noqa: PLC0415 - websockets

    def tell_ready(port: int) -> None:
        bound = f"{listen.rpartition(':')[0]}:{port}"
        screen.line(f"{screen.paint('✓', GREEN)} signaling server listens on {bound} (Ctrl-C ends it)", hang=2)
        for url in origins or [_url_of(bound)]:
            screen.line(f"  clients use: --server {escape_line(url)}", hang=4)
        screen.event("ready", {"listen": bound})

    serving = asyncio.ensure_future(run_server(listen, origins=origins, on_ready=tell_ready))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await serving


def _url_of(bound: str) -> str:
    """Return what clients dial; for all interfaces with a word in place of the address, which only people know."""
    host, _, port = bound.rpartition(":")
    return f"ws://{'ADDRESS-OF-THIS-MACHINE' if host in _EVERYWHERE else host}:{port}"
