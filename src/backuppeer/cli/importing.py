"""`import`: a home made of a file that `export` wrote (ADR 47).

Knows: the questions. Must not know: what stands in the file.
"""

from pathlib import Path
from typing import Annotated

import typer

from backuppeer.agent.home.belongings import EXPORT_THERE, read_belongings, settle_in
from backuppeer.cli import homes, unlocking
from backuppeer.cli.context import context_of
from backuppeer.cli.export import ExportResult
from backuppeer.cli.passphrase import Typed
from backuppeer.cli.render import format_count
from backuppeer.cli.screen import GREEN
from backuppeer.errors import NotFoundError, UserError
from backuppeer.ids import format_peer_id


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="import", help="Make this home of a file that `export` wrote.")(import_home)


def import_home(
    ctx: typer.Context, file: Annotated[Path, typer.Argument(metavar="FILE", help="Written by `export`.")]
) -> int:
    """Ask for the passphrase of the file, and make a home of it."""
    context = context_of(ctx)
    screen, home = context.screen, context.home
    if home.exists_identity:
        raise UserError(
            f"{home.path} already has an identity", hint="import into another folder with --home DIR; nothing changed"
        )
    homes.check_writable(home)
    if not file.expanduser().is_file():
        raise NotFoundError(f"there is no file {file}", hint=EXPORT_THERE)
    read = None if screen.can_ask else Typed(screen).read_line
    offered = unlocking.offer_typed("passphrase of the file (not shown): ", read)
    belongings = unlocking.try_secrets(offered, lambda secret: read_belongings(file.expanduser().absolute(), secret))
    peer = settle_in(home, belongings)
    hosts = len(belongings.agreements)
    screen.line(f"{screen.paint('✓', GREEN)} this home is {format_peer_id(peer)}, with {format_count(hosts, 'host')}")
    if belongings.may_write:
        screen.line(
            "  it makes the backups from now on; `backup-peer snapshots` asks the hosts for the earlier ones", hang=4
        )
    else:
        screen.line("  it may read: `backup-peer recover` brings its snapshots, without the words", hang=4)
    screen.line("  its keys lie open here: `backup-peer passphrase set` puts them under a passphrase", hang=4)
    screen.done(ExportResult(peer_id=format_peer_id(peer), hosts=hosts, may_write=belongings.may_write))
    return 0
