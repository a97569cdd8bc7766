"""`recover`: an identity and its backups from the 24 words.

The words come from the terminal without echo, or from standard input with --yes; never from argv, which all can read.
"""

import getpass
import sys
from typing import Annotated, Final

import typer

from backuppeer.cli import homes
from backuppeer.cli.connect import StateView
from backuppeer.cli.context import Context, context_of
from backuppeer.cli.render import escape_line, format_count
from backuppeer.cli.screen import GREEN, Screen
from backuppeer.cli.work import View, run_work
from backuppeer.control.api import RecoverRequest, RecoverResult
from backuppeer.errors import UserError

_HELP: Final = (
    "Bring identity and snapshots back from the 24 words.\n\nHosts are found while they are on offer: ask one that is "
    "not listed to run `backup-peer host` again, then recover again."
)
_MAX_WORDS_CHARS: Final = 1024
"""24 words of eight letters, with generous space between them."""


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="recover", help=_HELP)(recover)


def recover(
    ctx: typer.Context,
    peer: Annotated[
        list[str] | None,
        typer.Option(metavar="ID[@ADDR]", help="A host that keeps your backups; may be repeated. Else all are asked."),
    ] = None,
) -> int:
    """Read the words, write the keys, let the agent find the hosts and rebuild the index."""
    context = context_of(ctx)
    screen = context.screen
    servers = context.servers()
    peer_id = homes.recover_peer(context.home, _read_master(context))
    screen.line(f"identity: {peer_id}")
    request = RecoverRequest(servers=servers, peers=peer or [])
    with StateView(screen) as states:
        view = View(screen, states.on_event)
        result = run_work(context.client(), "recover", request, RecoverResult, view=view)
    tick = screen.paint("✓", GREEN)
    screen.line(
        f"{tick} found {format_count(result.snapshots, 'snapshot')} in {format_count(result.packs, 'pack')} "
        f"with {format_count(len(result.peers), 'peer')}",
        hang=2,
    )
    for note in result.notes:
        screen.line(f"  {escape_line(note)}", hang=4)
    screen.line("  next: `backup-peer snapshots`, then `backup-peer restore latest --target DIR`", hang=4)
    screen.line("  this home may only read: it restores, and can't make backups", hang=4)
    screen.done(result)
    return 0


def _read_master(context: Context) -> bytes:
    from backuppeer.crypto.words import decode_words  # noqa: PLC0415 - crypto libraries

    screen = context.screen
    if screen.can_ask:
        text = _ask_words(screen)
    elif screen.yes:
        text = sys.stdin.read(_MAX_WORDS_CHARS)
    else:
        raise UserError(
            "there is no terminal to read the words from",
            hint="pipe them in with --yes: `backup-peer recover --yes < words.txt`; never as arguments",
        )
    return decode_words(text)


def _ask_words(screen: Screen) -> str:
    try:
        return getpass.getpass("your 24 words (not shown): ")
    except KeyboardInterrupt:
        # The terminal shows ^C behind the question: what comes next starts on a line of its own.
        screen.aside("")
        raise
