"""`config servers add|remove|list|test`: which signaling servers this home uses, and how they do.

Knows: where the list comes from, how a server's state reads. Must not know: how a server is asked.
"""

import os
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

import msgspec
import typer

from backuppeer.agent.home.config import Config, read_config
from backuppeer.agent.home.config_writer import revise_config
from backuppeer.cli.context import Context, context_of
from backuppeer.cli.lan import say_unserved
from backuppeer.cli.probing import describe_probe, probe_all
from backuppeer.cli.render import escape_line, format_count
from backuppeer.cli.screen import GREEN, RED, YELLOW, Screen
from backuppeer.control.api import Nothing
from backuppeer.control.client import Client
from backuppeer.control.servers import ServerState
from backuppeer.errors import ExitCode, NotFoundError, UserError
from backuppeer.signaling.servers import DEFAULT_SERVER, check_servers

_Urls = Annotated[list[str], typer.Argument(metavar="URL…", help="Addresses, wss:// or ws://, then name and port.")]
_SOURCES: Final = {
    "flag": "named with --server",
    "environment": "from BACKUPPEER_SERVERS, which comes before the settings",
    "config": "from the settings",
    "default": "the default",
}


class ListedServer(msgspec.Struct, kw_only=True):
    """`config servers list`: one server in use. source: flag, environment, config, default.

    state: while an agent runs.
    """

    url: str
    source: str
    state: ServerState | None = None


def add_to(config: typer.Typer) -> None:
    """Add the verbs to those of `config`."""
    group = typer.Typer(rich_markup_mode=None, invoke_without_command=True)
    group.callback()(list_unless_told)
    group.command(name="add", help="Use these servers, too.")(add)
    group.command(name="remove", help="Use these servers no more.")(remove)
    group.command(name="list", help="Say which servers are used, and why these.")(list_servers)
    group.command(name="test", help="Look at servers: reach, TLS, clock, speed.")(look)
    config.add_typer(group, name="servers", help="Signaling servers of this peer.")


def list_unless_told(ctx: typer.Context) -> int:
    """`config servers` alone lists them."""
    return list_servers(ctx) if ctx.invoked_subcommand is None else 0


def add(ctx: typer.Context, urls: _Urls) -> int:
    """Add servers to those of the settings, or to the default one."""
    context = context_of(ctx)
    wanted = check_servers(urls)
    return _change(context, lambda before: check_servers([*before, *(url for url in wanted if url not in before)]))


def remove(ctx: typer.Context, urls: _Urls) -> int:
    """Take servers off the settings.

    Raises:
        NotFoundError: one of them is not in use.

    """
    context = context_of(ctx)
    gone = check_servers(urls)

    def take_out(before: list[str]) -> list[str]:
        for url in gone:
            if url not in before:
                raise NotFoundError(
                    f"{url} is not among the servers of the settings",
                    hint="`backup-peer config servers list` shows them",
                )
        return [url for url in before if url not in gone]

    return _change(context, take_out)


def list_servers(ctx: typer.Context) -> int:
    """Print the servers in use, where the list comes from, and how they do as far as a running agent knows."""
    context = context_of(ctx)
    urls, source = context.servers(), _source(context)
    client = _running(context)
    states = {row.url: row for row in _ask(client, urls)} if client is not None else {}
    rows = [ListedServer(url=url, source=source, state=states.get(url)) for url in urls]
    if context.screen.json:
        context.screen.value(rows)
        return 0
    from backuppeer.cli.status import describe_server  # noqa: PLC0415 - it shows servers, too

    for row in rows:
        context.screen.line(
            describe_server(context.screen, row.state) if row.state else f"· {escape_line(row.url)}", hang=2
        )
        for fault in row.state.faults if row.state else []:
            context.screen.line(f"  {escape_line(fault)}", hang=2)
    context.screen.line(
        f"{format_count(len(rows), 'server')}, {_SOURCES[source]}" if rows else _say_none(context, source)
    )
    return 0


def look(
    ctx: typer.Context,
    urls: Annotated[
        list[str] | None, typer.Argument(metavar="[URL…]", help="Which servers. [those in use]", show_default=False)
    ] = None,
) -> int:
    """Look at servers, from this process: no agent and no identity is needed.

    Returns 0 if all work, 3 if some don't, 14 if none does.
    """
    context = context_of(ctx)
    wanted = check_servers(urls) if urls else context.servers()
    if not wanted:
        raise UserError("there is no server to look at", hint="`backup-peer config servers add wss://…` adds one")
    probes = probe_all(wanted, context.proxy())
    if context.screen.json:
        context.screen.value(probes)
    else:
        for probe in probes:
            _show_probe(context.screen, probe)
    broken = sum(bool(probe.error) for probe in probes)
    if broken == len(probes):
        return ExitCode.NO_SIGNALING
    return ExitCode.INCOMPLETE if broken else ExitCode.DONE


def _change(context: Context, change: Callable[[list[str]], list[str]]) -> int:
    before = list[str]()

    def revise(config: Config) -> Config:
        before.extend(_configured(config))
        return msgspec.structs.replace(config, servers=change(before))

    servers = revise_config(context.home, revise).servers or []
    added = [f"+ {url}" for url in servers if url not in before]
    for line in [*added, *(f"- {url}" for url in before if url not in servers)] or ["nothing new"]:
        context.screen.line(escape_line(line))
    context.screen.line(f"now {format_count(len(servers), 'server')}" if servers else _say_none(context, "config"))
    if (source := _source(context)) != "config":
        context.screen.note(f"this shell's commands go on with servers {_SOURCES[source]}")
    if is_offering(context):
        context.screen.note("your slot stays on offer where it is: `backup-peer host` again puts it at these servers")
    context.screen.done({"key": "servers", "value": servers})
    return 0


def _configured(config: Config) -> list[str]:
    """Return the servers of the settings; the default one while they name none."""
    return [DEFAULT_SERVER] if config.servers is None else check_servers(config.servers)


def _source(context: Context) -> str:
    if context.options.servers is not None:
        return "flag"
    if "BACKUPPEER_SERVERS" in os.environ:
        return "environment"
    return "default" if read_config(context.home).servers is None else "config"


def _running(context: Context) -> Client | None:
    """Return a client for the agent if one runs: to look at a list starts none."""
    from backuppeer.cli.agents import client_of, ping_agent  # noqa: PLC0415 - subprocess

    return client_of(context.home) if context.home.exists_identity and ping_agent(context.home) else None


def is_offering(context: Context) -> bool:
    """Say whether an agent runs and has a slot on offer."""
    client = _running(context)
    if client is None:
        return False
    from backuppeer.control.api import StatusResult  # noqa: PLC0415 - only where an agent runs

    return client.call("status", Nothing(), StatusResult).hosting.offering


def _ask(client: Client, urls: Sequence[str] | None) -> list[ServerState]:
    return client.call("servers", Nothing(servers=None if urls is None else list(urls)), list[ServerState])


def _say_none(context: Context, source: str) -> str:
    return f"no server is used ({_SOURCES[source]}): {say_unserved(context.home)}"


def _show_probe(screen: Screen, probe: Any) -> None:
    url = escape_line(probe.url)
    if probe.connect_ms is None:
        screen.line(f"{screen.paint('✗', RED)} {url}  {escape_line(probe.error)}", hang=2)
    else:
        sign = screen.paint("!", YELLOW) if probe.error else screen.paint("✓", GREEN)
        screen.line(f"{sign} {url}  {'; '.join(describe_probe(probe))}", hang=2)
    if probe.hint:
        screen.line(f"  {escape_line(probe.hint)}", hang=2)
