"""`service`: the agent started at each login, and started again if it ends by a fault."""

import os
import time
from contextlib import suppress
from typing import Annotated, Final

import msgspec
import typer

from backuppeer.agent.home.config import read_config
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.keyfile import Custody, read_key_file
from backuppeer.cli.agents import ensure_agent, ping_agent, stop_agent
from backuppeer.cli.context import Context, context_of
from backuppeer.cli.homes import read_peer
from backuppeer.cli.installed import Keeper, keeper_of
from backuppeer.cli.logs import read_log, show_lines
from backuppeer.cli.render import escape_name
from backuppeer.cli.screen import GREEN
from backuppeer.errors import BackupPeerError, LocalError, NotFoundError, UserError
from backuppeer.limits import AGENT_START_S, LOG_LINES_SHOWN

_POLL_S: Final = 0.1
_CARRIED: Final = ("BACKUPPEER_SERVERS", "BACKUPPEER_PROXY", "BACKUPPEER_BIND")
_INSTALL: Final = (
    "Start the agent at each login, and again if it ends by a fault.\n\nBackups by schedule, audits and hosting go on "
    "without you. Nothing needs root: it is a systemd unit of yours, on macOS a launchd agent. Until you log in "
    "nothing of yours runs; on a machine that nobody logs in to, `loginctl enable-linger` has it run all the same."
)


class ServiceState(msgspec.Struct, kw_only=True):
    """`service install|uninstall|status`: whether it is installed and runs, and the file that says so."""

    installed: bool
    running: bool
    file: str


def add_to(app: typer.Typer) -> None:
    """Add the verb and what may follow it."""
    group = typer.Typer(rich_markup_mode=None)
    group.command(name="install", help=_INSTALL)(install)
    group.command(name="uninstall", help="Start it no more; ends the agent. Backups and settings stay.")(uninstall)
    group.command(name="status", help="Say whether the service is installed, and runs.")(status)
    group.command(name="logs", help="Show the end of the agent's log.")(logs)
    app.add_typer(group, name="service", help="The agent as a service, so that all goes on by itself.")


def install(ctx: typer.Context) -> int:
    """Write the service's file and start the agent by it."""
    context = context_of(ctx)
    home, screen = context.home, context.screen
    read_peer(home)
    _check_unlocked(home)
    keeper = keeper_of(home)
    keeper.check()
    _put_in(home, keeper)
    screen.line(f"{screen.paint('✓', GREEN)} the agent runs, and starts at each login: {escape_name(str(keeper.file))}")
    for name in (name for name in _CARRIED if os.environ.get(name)):
        screen.note(
            f"{name} of this terminal does not count for the service: what it is to use stands in `config list`"
        )
    return _tell(context, keeper)


def _put_in(home: Home, keeper: Keeper) -> None:
    """Have the service run in place of an agent that runs without it; if it can't, all is as it was."""
    was_there = keeper.file.exists()
    had_agent = False if keeper.is_running() else stop_agent(home)
    try:
        keeper.install()
        _await_agent(home, keeper)
    except BackupPeerError:
        if not was_there:
            keeper.uninstall()
        if had_agent:
            with suppress(BackupPeerError):
                ensure_agent(home)
        raise


def uninstall(ctx: typer.Context) -> int:
    """End the service and remove its file."""
    context = context_of(ctx)
    keeper = keeper_of(context.home)
    is_gone = keeper.uninstall()
    if is_gone:
        stop_agent(context.home)  # also where the system would not end it
    else:
        raise NotFoundError("no service is installed for this home", hint="`backup-peer service install` installs one")
    context.screen.line(
        f"{context.screen.paint('✓', GREEN)} the service is gone; the agent starts when a command needs it"
    )
    return _tell(context, keeper)


def status(ctx: typer.Context) -> int:
    """Say how it stands; starts nothing."""
    context = context_of(ctx)
    keeper, screen = keeper_of(context.home), context.screen
    state = _state_of(keeper)
    if screen.json:
        screen.value(state)
        return 0
    if not state.installed:
        screen.line("no service is installed: the agent runs from the first command until this machine restarts")
        screen.line("  `backup-peer service install` has it start at each login", hang=4)
    elif state.running:
        screen.line(f"{screen.paint('✓', GREEN)} the service runs: {escape_name(state.file)}")
    else:
        screen.line(f"the service is installed and does not run: {escape_name(state.file)}")
        if ping_agent(context.home) is not None:
            screen.line("  an agent runs without it; at the next login it is the service's", hang=4)
        screen.line(f"  what the system says of it: `{' '.join(keeper.show_logs())}`", hang=4)
    return 0


def logs(
    ctx: typer.Context,
    lines: Annotated[int, typer.Option(min=1, max=LOG_LINES_SHOWN, metavar="N", help="So many lines.")] = 50,
) -> int:
    """Show the last lines of the agent's log, oldest first; `logs` can do more."""
    context = context_of(ctx)
    show_lines(context.screen, read_log(context.home, lines))
    return 0


def _check_unlocked(home: Home) -> None:
    """Refuse a home whose keys only a person can open.

    Raises:
        UserError: such a one.

    """
    if read_key_file(home.keys / "working").custody is Custody.PASSPHRASE and not read_config(home).passphrase_command:
        raise UserError(
            "the keys of this home are under a passphrase, and a service has nobody to type it",
            hint="`backup-peer config set passphrase_command COMMAND` names a command that says it, or "
            "`backup-peer passphrase keyring` puts the keys into the system's keyring",
        )


def _await_agent(home: Home, keeper: Keeper) -> None:
    """Return once the agent answers, and runs by the service.

    Raises:
        LocalError: it doesn't within its time.

    """
    limit = time.monotonic() + AGENT_START_S
    while ping_agent(home) is None or not keeper.is_running():
        if time.monotonic() > limit:
            raise LocalError(
                "the service is installed, but its agent does not answer",
                hint="`backup-peer service status` says where to look; `backup-peer agent run` shows why it can't run",
            )
        time.sleep(_POLL_S)


def _state_of(keeper: Keeper) -> ServiceState:
    return ServiceState(installed=keeper.file.exists(), running=keeper.is_running(), file=os.fspath(keeper.file))


def _tell(context: Context, keeper: Keeper) -> int:
    context.screen.done(_state_of(keeper))
    return 0
