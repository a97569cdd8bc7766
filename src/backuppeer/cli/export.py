"""`export`: this home in one file under a passphrase (ADR 47).

Knows: the questions, the order of steps. Must not know: what stands in the file.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from backuppeer.agent.home.belongings import Belongings, collect_belongings, read_belongings, write_belongings
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.keyring import HomeKeys, give_up_writing, load_keys
from backuppeer.agent.home.state import State
from backuppeer.cli import homes, unlocking
from backuppeer.cli.context import context_of
from backuppeer.cli.passphrase import Typed
from backuppeer.cli.render import escape_name
from backuppeer.cli.screen import GREEN, Screen
from backuppeer.errors import BackupPeerError, DeclinedError, LocalError

_EXPORT: Final = (
    "Write this home into a file, under a passphrase.\n\nIt has identity, hosts and settings, not what you keep for "
    "others. A machine that imports it reads the backups; with --move it makes them from then on, and this one stops."
)


class ExportResult(msgspec.Struct, kw_only=True):
    """`export`, `import`: whose home, how many hosts it knows, whether it may make backups."""

    peer_id: str
    hosts: int
    may_write: bool


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="export", help=_EXPORT)(export)


def export(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="To be written; must not be there yet.")],
    move: Annotated[  # noqa: FBT002 - a flag of the command line
        bool, typer.Option("--move", help="Move the right to make backups along: this machine makes none any more.")
    ] = False,
) -> int:
    """Ask for a passphrase, write the file while no agent runs, and give up the right to write if wished."""
    context = context_of(ctx)
    screen, home, typed = context.screen, context.home, Typed(context.screen)
    homes.require_identity(home)
    offered = unlocking.offer_secrets(home, None if screen.can_ask else typed.read_line)
    secret, keys = unlocking.try_secrets(offered, lambda each: (each, load_keys(home, each)))
    if move and not screen.confirm(
        "this machine makes no more backups then; go on?", unanswered="--move ends the backups of this machine"
    ):
        raise DeclinedError("nothing was exported: you said no")
    passphrase = typed.read_new()
    with _parked(screen, home, secret), home.lock() as is_ours:
        if not is_ours:
            raise LocalError("the agent of this home started again", hint="`backup-peer agent stop`, and once more")
        result = _write(home, keys, file.expanduser().absolute(), passphrase, move=move)
    screen.line(f"{screen.paint('✓', GREEN)} {escape_name(str(file))} holds this home, under the passphrase", hang=2)
    what = "this machine makes no more backups" if move else "whoever imports it may read backups, not make them"
    screen.line(f"  {what}; next: `backup-peer import FILE` on the other machine", hang=4)
    screen.done(result)
    return 0


@contextmanager
def _parked(screen: Screen, home: Home, secret: bytes) -> Iterator[None]:
    """Have no agent run in the block, and one afterwards if one ran before, whatever the block comes to."""
    from backuppeer.cli.agents import start_agent, stop_agent  # noqa: PLC0415 - subprocess; not for verbs without agent

    ran = stop_agent(home)
    try:
        yield
    finally:
        if ran:
            try:
                start_agent(home, secret)
            except BackupPeerError as exc:
                screen.note(f"the agent of this home was stopped for this, and does not start again: {exc.message}")
                screen.hint("start it with `backup-peer agent start`; any command that needs it does so, too")


def _write(home: Home, keys: HomeKeys, file: Path, passphrase: bytes, *, move: bool) -> ExportResult:
    state = State(home.state)
    try:
        belongings = collect_belongings(home, keys, state, with_right=move)
    finally:
        state.close()
    write_belongings(file, belongings, passphrase)
    if move:
        _read_back(file, belongings, passphrase)
        # After the file is durable: a crash in between leaves the right in both, and whoever writes second is told.
        give_up_writing(home)
    return ExportResult(peer_id=homes.read_peer(home), hosts=len(belongings.agreements), may_write=belongings.may_write)


def _read_back(file: Path, belongings: Belongings, passphrase: bytes) -> None:
    """Check that another machine will read the file, before this one gives up what only the file has then.

    Raises:
        LocalError: it would not; the file is gone, so that the same command can be given again.

    """
    try:
        is_whole = read_belongings(file, passphrase) == belongings
    except BackupPeerError:
        is_whole = False
    if not is_whole:
        file.unlink(missing_ok=True)
        raise LocalError(
            f"{file} could not be read back, and was removed: this machine goes on making backups",
            hint="export once more, into a file on another disk",
        )
