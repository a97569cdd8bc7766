"""`agent`: start, stop and look at the background process of this home."""

import os
import time
from typing import Annotated, Final, NoReturn

import typer

from backuppeer.agent.home.home import Home
from backuppeer.cli.agents import agent_command, opening, ping_agent, start_agent, stop_agent
from backuppeer.cli.context import context_of
from backuppeer.cli.homes import read_peer
from backuppeer.cli.render import shorten_id
from backuppeer.cli.unlocking import offer_secrets
from backuppeer.cli.upgrading import check_format, tell_replaced, telling_upgrade
from backuppeer.control.api import PingResult
from backuppeer.errors import LocalError
from backuppeer.limits import SERVICE_LOOK_S

_STATUS: Final = "Say whether it runs. The exit code is 0 either way: it starts by itself when a command needs it."


def add_to(app: typer.Typer) -> None:
    """Add the verb and what may follow it."""
    group = typer.Typer(rich_markup_mode=None)
    group.command(name="start", help="Start it, if it isn't running.")(start)
    group.command(name="stop", help="Park its jobs and end it; returns when it has ended.")(stop)
    group.command(name="status", help="Say whether it runs; code 0 if so or not, as it starts by itself when needed.")(
        status
    )
    group.command(name="run", help="Run it in the foreground.")(run)
    app.add_typer(group, name="agent", help="The background process of this peer.")


def start(ctx: typer.Context) -> int:
    """Start the agent; one that runs already is left alone, one of another version is replaced."""
    from backuppeer import __version__  # noqa: PLC0415

    context = context_of(ctx)
    found = ping_agent(context.home)
    if found is not None and found.version != __version__:
        check_format(context.home)
        stop_agent(context.home)
        tell_replaced(found.version, context.screen.note)
        found = None
    started = found is None
    if found is None:
        with telling_upgrade(context.home, context.screen.note):
            found = start_agent(context.home)
    context.screen.line(f"agent {'started' if started else 'runs already'}: {_describe(found)}")
    context.screen.done({"started": started, "pid": found.pid, "version": found.version})
    return 0


def stop(ctx: typer.Context) -> int:
    """Stop the agent; never asks."""
    context = context_of(ctx)
    stopped = stop_agent(context.home)
    context.screen.line("agent stopped" if stopped else "no agent was running")
    context.screen.done({"stopped": stopped})
    return 0


def status(ctx: typer.Context) -> int:
    """Say whether an agent runs; starts none."""
    context = context_of(ctx)
    found = ping_agent(context.home)
    if context.screen.json:
        context.screen.value(
            {
                "running": found is not None,
                "pid": found.pid if found else 0,
                "version": found.version if found else "",
                "peer_id": found.peer_id if found else "",
            }
        )
    else:
        context.screen.line(f"agent runs: {_describe(found)}" if found else "no agent is running")
    return 0


def run(
    ctx: typer.Context,
    *,
    keep: Annotated[
        bool, typer.Option("--keep", hidden=True, help="For services: wait for one that runs to end.")
    ] = False,
) -> int:
    """Become the agent, unless one runs: signals and exit code are its own from here on."""
    context = context_of(ctx)
    screen = context.screen
    while keep and _is_there(context.home):
        time.sleep(SERVICE_LOOK_S)
    found = ping_agent(context.home)
    if found is not None:
        screen.line(f"agent runs already: {_describe(found)}")
        screen.event("running", {"pid": found.pid, "peer_id": found.peer_id})
        return 0
    peer_id = read_peer(context.home)
    screen.line(f"agent of {shorten_id(peer_id)} runs in the foreground, process {os.getpid()} (Ctrl-C ends it)")
    screen.event("running", {"pid": os.getpid(), "peer_id": peer_id})
    return _become(agent_command(context.home), next(offer_secrets(context.home)))


def _is_there(home: Home) -> bool:
    try:
        return ping_agent(home) is not None
    except LocalError:  # one that is stuck holds the home, too
        return True


def _become(command: list[str], secret: bytes) -> NoReturn:
    with opening(secret) as (options, descriptors):
        for descriptor in descriptors:
            os.set_inheritable(descriptor, True)  # noqa: FBT003 - the only way to call it
        command = [*command, *options]
        os.execv(command[0], command)  # noqa: S606 - this interpreter, our own module, no shell


def _describe(found: PingResult) -> str:
    return f"process {found.pid}, version {found.version}, {shorten_id(found.peer_id)}"
