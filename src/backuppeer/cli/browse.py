"""`browse`: who offers space, best first, with what this viewer believes about each."""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Annotated, Final

import typer

from backuppeer.cli.context import Context, context_of
from backuppeer.cli.lan import Lan, say_places
from backuppeer.cli.promises import say_times
from backuppeer.cli.render import (
    Column,
    escape_line,
    format_count,
    format_trust,
    format_until,
    say_further,
    say_trust,
    shorten_id,
    write_peer,
)
from backuppeer.cli.screen import Screen
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.units import format_share, format_size, parse_share, parse_size, round_size, write_size
from backuppeer.cli.work import read_rows
from backuppeer.control.api import BrowseRequest, BrowseRow, Nothing, PeerRow
from backuppeer.control.browsing import BrowseDone
from backuppeer.control.client import Client
from backuppeer.control.codec import convert_json
from backuppeer.control.events import EventName
from backuppeer.control.servers import ServerState
from backuppeer.errors import LocalError, UserError
from backuppeer.trust.newcomer import BEGINNING, advise_newcomer

WATCH_S: Final = 5.0
_SORTS: Final = ("trust", "free", "availability")
_COLUMNS: Final = (
    Column("peer", keep=True),
    Column("name"),
    Column("trust", keep=True),
    Column("free ≥", "right", keep=True),
    Column("region", spare=True),
    Column("avail", "right", keep=True),
    Column("listed for", "right", keep=True, spare=True),
    Column("because", below=True),
)
_A_FRIEND: Final = "`backup-peer host --storage 50GB` on the other machine offers space"
_HOSTS: Final = frozenset({"host", "both"})
"""Roles of those who keep data for this home."""
_NEAR: Final = "⌂"
_FORKED: Final = (
    "signed two different offers under one number, which no program does: its key seems to be in two places. Ask its "
    "person by another way before you send it anything"
)
_ASKED_BYTES: Final = 10 * 10**9
"""What the suggested command asks for, unless the host has less."""


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="browse", help="List hosts on offer, best first.")(browse)


def browse(  # noqa: PLR0913 - one parameter per option
    ctx: typer.Context,
    *,
    min_trust: Annotated[str, typer.Option(metavar="0.8", help="Only hosts you trust at least this much.")] = "0",
    min_storage: Annotated[str, typer.Option(metavar="10GB", help="Only hosts with this much free.")] = "0",
    region: Annotated[str, typer.Option(metavar="EU", help="Only hosts of this region.")] = "",
    min_availability: Annotated[str, typer.Option(metavar="95%", help="Only hosts that promise this.")] = "0",
    sort: Annotated[str, typer.Option(metavar="|".join(_SORTS), help="What comes first.")] = "trust",
    limit: Annotated[int, typer.Option(min=0, metavar="N", help="Show at most this many.")] = 0,
    everybody: Annotated[bool, typer.Option("--all", help="Read every page of every server.")] = False,
    lan: Lan = None,
    watch: Annotated[bool, typer.Option("--watch", help="Keep the list up to date until Ctrl-C.")] = False,
) -> int:
    """Ask all servers and show the rows."""
    context = context_of(ctx)
    _check_sort(sort)
    request = BrowseRequest(
        servers=context.servers(),
        min_trust=parse_share(min_trust),
        min_storage=parse_size(min_storage),
        region=region,
        min_availability=parse_share(min_availability),
        sort=sort,
        limit=limit,
        all=everybody,
        lan=lan,
    )
    client = context.client()
    shown: set[str] = set()
    # The best of all are known when all have answered, so a limit waits for that.
    is_live = context.screen.is_live and context.screen.out_is_terminal and not limit
    rows = _ask_live(context, client, request, shown) if is_live else _ask(context, client, request)
    _show(context, rows, request, shown=shown)
    _tell_servers(context.screen, client, request.servers)
    while watch:
        time.sleep(WATCH_S)
        fresh = _ask(context, client, request)
        if fresh != rows:
            rows = fresh
            _show(context, rows, request)
    return 0


def _check_sort(sort: str) -> None:
    if sort not in _SORTS:
        raise UserError(f"can't sort by {sort[:40]!r}", hint=f"for example: `backup-peer browse --sort {_SORTS[1]}`")


def _say_asking(request: BrowseRequest) -> str:
    return f"asking {format_count(len(request.servers), 'server')} …" if request.servers else "looking around …"


def _ask(context: Context, client: Client, request: BrowseRequest) -> list[BrowseRow]:
    with Spinner(context.screen) as spinner:
        spinner.show(_say_asking(request))
        return client.call("browse", request, list[BrowseRow])


def _ask_live(context: Context, client: Client, request: BrowseRequest, shown: set[str]) -> list[BrowseRow]:
    """Ask, and show what came while a server is still silent; `shown` gets the ids of these rows."""
    screen = context.screen
    with Spinner(screen) as spinner:
        spinner.show(_say_asking(request))
        for event in client.work("browse/live", request):
            if event.event == EventName.DONE:
                return convert_json(event.data, BrowseDone).offers
            if event.event == EventName.ROWS:
                rows = [row for row in read_rows(event, BrowseRow) if row.peer_id not in shown]
                spinner.rest()
                _draw(context, rows)
                shown.update(row.peer_id for row in rows)
                spinner.show("waiting for the servers that have not answered …")
    raise LocalError("the agent ended the browse without a result")


def _tell_servers(screen: Screen, client: Client, urls: list[str] | None) -> None:
    """Tell what is wrong with servers that were just asked: who is silent, and whose rows are not as they should be."""
    for server in client.call("servers", Nothing(servers=urls), list[ServerState]):
        if server.error and not server.connected:
            screen.note(server.error if server.url in server.error else f"{server.url}: {server.error}")
        for fault in server.faults:
            screen.note(f"{server.url}: {fault}")


def _draw(context: Context, rows: Sequence[BrowseRow]) -> dict[str, PeerRow]:
    """Draw rows as a table; return who is known here, by id."""
    peers = {row.peer_id: row for row in context.client().call("peers", Nothing(), list[PeerRow])}
    friends = {peer for peer, row in peers.items() if row.verified}
    if rows:
        context.screen.table(_COLUMNS, [_cells(row, time.time(), friends) for row in rows])
    return peers


def _show(context: Context, rows: Sequence[BrowseRow], request: BrowseRequest, *, shown: Collection[str] = ()) -> None:
    """Show rows, and what to do with them; shown: the ids of those that were drawn already."""
    screen = context.screen
    if screen.json:
        screen.value(list(rows))
        return
    if not rows:
        _show_nobody(context, request)
        return
    peers = _draw(context, [row for row in rows if row.peer_id not in shown])
    for row in rows:
        for text in _describe_further(row, peers.get(row.peer_id)):
            screen.line(f"{escape_line(row.alias) or shorten_id(row.peer_id)}{text}", hang=2)
    screen.line()
    # Who keeps data for this home need not be told to choose them.
    mine = {peer: row for peer, row in peers.items() if row.role in _HOSTS}
    if any(row.lan for row in rows):
        screen.line(f"{_NEAR} = in this network: reached without any server", hang=4)
    if any(row.peer_id in peers and peers[row.peer_id].verified for row in rows):
        screen.line("♥ = you compared id or safety words with the person", hang=4)
    screen.line(f"{format_count(len(rows), 'host')} · {_suggest(rows, request.min_storage, mine)}", hang=2)


def _describe_further(row: BrowseRow, known: PeerRow | None) -> Iterator[str]:
    """Yield what is to be said of a host beside its row, to be read after its name."""
    if row.forked:
        yield f" {_FORKED}"
    if row.promises.reciprocity:
        yield f" wants {say_times(row.promises.reciprocity)} kept for it in return"
    for text in (*map(escape_line, known.lineage if known else ()), *say_further(row.capped, row.reason)):
        yield f": {text}"


def _is_filtered(request: BrowseRequest) -> bool:
    return bool(request.min_trust or request.min_storage or request.region or request.min_availability)


def _show_nobody(context: Context, request: BrowseRequest) -> None:
    """Say that nobody is shown, who was seen all the same, and what a newcomer does then."""
    screen = context.screen
    if not _is_filtered(request):
        screen.line(f"nobody offers space {say_places(context, request.servers, request.lan)} yet")
        screen.hint(f"ask a friend: {_A_FRIEND}; or name more servers with --server")
        return
    everybody = BrowseRequest(servers=request.servers, all=request.all, lan=request.lan)
    seen = _ask(context, context.client(), everybody)
    if not seen:
        screen.line("nobody offers space like that right now")
        screen.hint(f"loosen the filters, name more servers with --server, or ask a friend: {_A_FRIEND}")
        return
    best = seen[0]
    if best.trust >= request.min_trust:
        count = format_count(len(seen), "host is", "hosts are")
        screen.line(f"nobody offers space like that right now; {count} on offer without the filters", hang=2)
        screen.hint("loosen the filters: `backup-peer browse` shows all")
        return
    passes = f"none of the {len(seen)} hosts passes" if len(seen) > 1 else "the only host on offer does not pass"
    called = escape_line(best.alias) or shorten_id(best.peer_id)
    score = say_trust(format_trust(best.trust, best.trust_level, best.capped, limit=request.min_trust), best.reason)
    screen.line(f"{passes} {request.min_trust:.2f}; the best, {called}, has {score}", hang=2)
    mine = {row.peer_id for row in context.client().call("peers", Nothing(), list[PeerRow]) if row.role in _HOSTS}
    _advise(screen, next((row.peer_id for row in seen if row.peer_id not in mine and not row.capped), ""))


def _advise(screen: Screen, peer_id: str) -> None:
    """Say what a newcomer does; peer_id: of a host to try, empty where there is none."""
    screen.line()
    screen.line(BEGINNING, hang=2)
    for number, text in enumerate(advise_newcomer(shorten_id(peer_id) if peer_id else ""), 1):
        screen.line(f"  {number}. {text}", hang=5)


def _suggest(rows: Sequence[BrowseRow], wanted: int, mine: Mapping[str, PeerRow]) -> str:
    """Return a command that the best row with space can grant, one that keeps nothing for this home yet."""
    others = [row for row in rows if row.peer_id not in mine]
    if not others:
        return _say_mine([mine[row.peer_id] for row in rows])
    row = next((row for row in others if row.free_bytes and not row.capped), None)
    row = row or next((row for row in others if row.free_bytes), None)
    if row is None:
        return "nobody here has space free now: look again later"
    asked = wanted or _ASKED_BYTES
    size = asked if asked <= row.free_bytes else round_size(row.free_bytes)
    return f"choose one: `backup-peer connect {shorten_id(row.peer_id)} --storage {write_size(size)}`"


def _say_mine(hosts: Sequence[PeerRow]) -> str:
    """Return what to do where everybody on offer keeps data for this home: no new data goes where that ends."""
    whom = "it keeps" if len(hosts) == 1 else "all of them keep"
    open_ones = [host for host in hosts if host.room_bytes != 0]
    if not open_ones:
        return f"{whom} data for you already, and may get no more now: `backup-peer peers` says why"
    staying = [host for host in open_ones if not host.ends]
    if staying and len(open_ones) < len(hosts):
        return f"{whom} data for you already: `backup-peer backup` goes to those that may get more: `backup-peer peers`"
    if len(staying) == len(hosts):
        return f"{whom} space for you already: `backup-peer backup` goes there"
    if staying:
        return f"{whom} data for you already: `backup-peer backup` goes to those whose agreement goes on"
    ended = next((host for host in hosts if host.ended_by_us), None)
    said = f"{whom} data for you, but your agreement ends: no backups go there"
    if ended is None:
        return said
    return f"{said}; `backup-peer peers renew {write_peer(ended.peer_id, ended.alias)}` takes your notice back"


def _mark(row: BrowseRow, friends: set[str]) -> str:
    return (f"{_NEAR} " if row.lan else "") + ("♥ " if row.peer_id in friends else "")


def _cells(row: BrowseRow, now_s: float, friends: set[str]) -> list[str]:
    return [
        shorten_id(row.peer_id),
        _mark(row, friends) + (escape_line(row.alias) or "-"),
        format_trust(row.trust, row.trust_level, row.capped),
        format_size(row.free_bytes),
        escape_line(row.region) or "-",
        format_share(row.availability) if row.availability else "-",
        format_until(row.expires, now_s) if row.expires else "open end",
        escape_line(row.reason),
    ]
