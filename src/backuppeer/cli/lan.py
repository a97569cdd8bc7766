"""The local network in commands: the option that allows it, and how places that were asked are called.

Knows: words. Must not know: how anybody is found.
"""

from typing import Annotated

import typer

from backuppeer.agent.home.config import may_use_lan
from backuppeer.agent.home.home import Home
from backuppeer.cli.context import Context
from backuppeer.cli.render import format_count

Lan = Annotated[
    bool | None,
    typer.Option("--lan/--no-lan", help="Find peers in this network, too, without any server; else as configured."),
]


def say_unserved(home: Home) -> str:
    """Return who is reached without any server."""
    strangers = "strangers only in this network" if may_use_lan(home) else "strangers are not"
    return f"hosts you have agreed with are reached without, {strangers}"


def say_places(context: Context, servers: list[str] | None, wish: bool | None) -> str:  # noqa: FBT001 - as the option has it
    """Return where offers were looked for, after "nobody offers space"."""
    if not (may_use_lan(context.home) if wish is None else wish):
        return "at these servers"
    return f"at {format_count(len(servers), 'server')} or in this network" if servers else "in this network"
