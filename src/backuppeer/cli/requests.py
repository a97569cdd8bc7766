"""`requests`: who asks me for space, and whom I asked; accept or reject."""

from typing import Annotated, Final

import typer

from backuppeer.cli.context import context_of
from backuppeer.cli.offers import show_both
from backuppeer.cli.promises import (
    AuditBudget,
    Availability,
    EgressBudget,
    Reciprocity,
    read_promises,
    say_promises,
    say_wanted,
)
from backuppeer.cli.render import (
    Column,
    escape_line,
    format_count,
    format_moment,
    format_trust,
    name_peer,
    say_further,
    say_trust,
    shorten_id,
    shorten_request,
    write_peer,
)
from backuppeer.cli.screen import BOLD, Screen
from backuppeer.cli.units import format_duration, format_size, parse_size, read_span
from backuppeer.clock import parse_duration
from backuppeer.control.api import Nothing, PendingRequest, RequestDecision
from backuppeer.control.terms import OfferRequest
from backuppeer.limits import REQUEST_KEPT_S

_COLUMNS: Final = (
    Column("request", keep=True),
    Column("", keep=True),
    Column("peer", keep=True),
    Column("name"),
    Column("space", "right", keep=True),
    Column("state", keep=True),
    Column("since", keep=True),
)
_HELP: Final = (
    "Requests for space, both directions. The ids are this machine's own, the other side has others: by telephone the "
    "safety words tell which request is meant."
)
_OFFER_HELP: Final = (
    "Offer other terms than were asked for.\n\nWhat is not given stays as it was asked for. Whoever asked "
    "sees both, and has the space by agreeing to yours."
)
_DIRECTIONS: Final = {"in": "from", "out": "to"}

_Which = Annotated[str, typer.Argument(metavar="REQUEST|PEER", help="Id of the request, or id or alias of its peer.")]


def add_to(app: typer.Typer) -> None:
    """Add the verb and what may follow it."""
    group = typer.Typer(rich_markup_mode=None, invoke_without_command=True)
    group.callback(help=_HELP)(_default)
    group.command(name="list", help="Show all requests.")(list_requests)
    group.command(name="accept", help="Give the space that was asked for, or take what is offered instead.")(accept)
    group.command(name="reject", help="Refuse a request.")(reject)
    group.command(name="offer", help=_OFFER_HELP)(offer)
    app.add_typer(group, name="requests")


def _default(ctx: typer.Context) -> int:
    return list_requests(ctx) if ctx.invoked_subcommand is None else 0


def list_requests(ctx: typer.Context) -> int:
    """Show all requests; those that wait for my answer with the words to compare."""
    context = context_of(ctx)
    screen = context.screen
    rows = context.client().call("requests", Nothing(), list[PendingRequest])
    if screen.json:
        screen.value(rows)
        return 0
    if not rows:
        screen.line("no requests")
        return 0
    screen.table(_COLUMNS, [_cells(row) for row in rows])
    for row in rows:
        if row.direction == "in" and row.state == "waiting":
            screen.line()
            screen.line(
                f"{shorten_id(row.peer_id)} must show these safety words: {escape_line(row.safety_words)}", hang=2
            )
            for label, text in say_regard(row):
                screen.line(f"  {label} {text}", hang=4)
            screen.line(f"  then: `backup-peer requests accept {shorten_request(row.request_id)}`", hang=4)
    for row in rows:
        if row.invite:
            screen.line(f"{shorten_request(row.request_id)} came by the invite {escape_line(row.invite)}", hang=2)
        _tell_terms(screen, row)
    last = {(row.direction, row.peer_id): row for row in rows}
    rejected = [row for row in last.values() if row.state == "rejected"]
    if rejected:
        screen.line()
    for row in rejected:
        _tell_rejection(screen, row)
    return 0


def accept(
    ctx: typer.Context,
    request: _Which,
    name: Annotated[str, typer.Option(metavar="alice", help="Your own name for this peer.")] = "",
) -> int:
    """Accept one request, also one rejected before."""
    return _decide(ctx, "accept", RequestDecision(request=request, alias=name))


def reject(
    ctx: typer.Context,
    request: _Which,
    reason: Annotated[str, typer.Option(help="Told to the one who asked.")] = "",
) -> int:
    """Reject one request."""
    return _decide(ctx, "reject", RequestDecision(request=request, reason=reason))


def offer(  # noqa: PLR0913 - one parameter per option
    ctx: typer.Context,
    request: _Which,
    *,
    storage: Annotated[str, typer.Option(metavar="5GB", help="Space to offer.")] = "",
    term: Annotated[str, typer.Option(metavar="6mo", help="How long you keep the data, from now on.")] = "",
    lock: Annotated[str, typer.Option(metavar="14d", help="Time from a deletion to the erasure.")] = "",
    reciprocity: Reciprocity = "",
    audit_budget: AuditBudget = "",
    egress_budget: EgressBudget = "",
    availability: Availability = "",
) -> int:
    """Offer other terms."""
    context = context_of(ctx)
    wanted = OfferRequest(
        servers=context.servers(),
        request=request,
        storage=parse_size(storage) if storage else None,
        term_s=read_span(term, "--term"),
        lock_s=parse_duration(lock) if lock else None,
        promises=read_promises(reciprocity, audit_budget, egress_budget, availability),
    )
    offered = context.client().call("requests/offer", wanted, PendingRequest)
    context.screen.line(f"offered to {name_peer(offered.peer_id, offered.alias)}; it is told when it asks again")
    if not context.screen.json:
        _tell_terms(context.screen, offered)
    context.screen.done(offered)
    return 0


def _decide(ctx: typer.Context, verb: str, decision: RequestDecision) -> int:
    context = context_of(ctx)
    decision.servers = context.servers()
    decided = context.client().call(f"requests/{verb}", decision, PendingRequest)
    called = name_peer(decided.peer_id, decided.alias)
    context.screen.line(f"{decided.state}: {called}, {format_size(decided.storage_bytes)}")
    if decided.state == "rejected":
        _tell_way_back(context.screen, decided)
    elif not context.screen.json:
        _tell_whom(context.screen, decided)
        if decided.now_bytes and decided.direction == "in" and decided.state == "accepted":
            context.screen.line(f"  takes effect when the machine of {called} asks again", hang=4)
    context.screen.done(decided)
    return 0


def describe_request(screen: Screen, asked: PendingRequest) -> list[str]:
    """Return what a person must see of a request before answering it."""
    called, size = name_peer(asked.peer_id, asked.alias), format_size(asked.storage_bytes)
    kept = (
        f"kept until {format_moment(asked.until)[:10]}" if asked.until else f"kept for {format_duration(asked.term_s)}"
    )
    was = f" (now {format_duration(asked.now_lock_s)})" if asked.now_lock_s not in {0, asked.lock_s} else ""
    terms = f"{kept}, lock {format_duration(asked.lock_s)}{was}"
    now = f"{format_size(asked.now_bytes)} until {format_moment(asked.now_until)[:10]}"
    instead = f", instead of the {now} that you agreed on" if asked.now_bytes else ""
    return [
        f"{screen.paint('request', BOLD)} {shorten_request(asked.request_id)}: {called} asks for {size}{instead}",
        f"  full id       {escape_line(asked.peer_id)}",
        f"  safety words  {screen.paint(escape_line(asked.safety_words), BOLD)}",
        f"{'':<16}the other screen must show the same words: compare them before you say yes",
        f"  terms         {terms}",
        *(f"  {label:<14}{text}" for label, text in say_regard(asked)),
        *(f"{'':<16}{said}" for said in say_wanted(asked)),
    ]


def say_regard(row: PendingRequest) -> list[tuple[str, str]]:
    """Return what is thought of a peer that asks for space, in lines with their labels."""
    score = f"{format_trust(row.trust, row.trust_level, row.capped)} as a host"
    further = [("capped", text) for text in say_further(row.capped, row.trust_reason)]
    return [("trust", say_trust(score, row.trust_reason)), *further]


def _tell_whom(screen: Screen, row: PendingRequest) -> None:
    """Show whom the space was given to, and what is left to compare."""
    peer_id = escape_line(row.peer_id)
    screen.line(f"  full id       {peer_id}")
    screen.line(f"  terms         kept for {format_duration(row.term_s)}, lock {format_duration(row.lock_s)}", hang=16)
    for said in say_promises(row.promises, row.storage_bytes, is_ours=row.direction == "out"):
        screen.line(f"{'':<16}{said}", hang=16)
    screen.line(f"  safety words  {escape_line(row.safety_words)}", hang=16)
    other = "owner" if row.direction == "in" else "host"
    screen.line(
        f"{'':<16}the {other}'s screen shows the same words; if it does not, somebody stands between you", hang=16
    )
    typed = write_peer(row.peer_id, row.alias)
    screen.line(f"  once you can compare them: `backup-peer peers verify {typed}`", hang=4)


def _tell_terms(screen: Screen, row: PendingRequest) -> None:
    """Show what was asked for beside what is agreed, and what is offered instead."""
    if row.state in {"waiting", "offered"} and row.now_bytes:
        now = f"{format_size(row.now_bytes)} until {format_moment(row.now_until)[:10]}"
        asked = f"{format_size(row.storage_bytes)} until {format_moment(row.until)[:10]}"
        if now != asked:
            screen.line(f"{shorten_request(row.request_id)} would change {now} to {asked}", hang=2)
        if row.now_lock_s not in {0, row.lock_s}:
            lock = f"lock {format_duration(row.now_lock_s)} → {format_duration(row.lock_s)}"
            screen.line(f"{shorten_request(row.request_id)} would change the {lock}", hang=2)
    _tell_promises(screen, row)
    if row.state != "offered":
        return
    screen.line()
    show_both(screen, row)
    if row.direction == "out":
        peer = name_peer(row.peer_id, row.alias)
        screen.line(f"{peer} offers this instead; to take it: {_accept(row)}", hang=2)
    else:
        screen.line(f"to give what was asked for after all: {_accept(row)}", hang=2)


def _tell_promises(screen: Screen, row: PendingRequest) -> None:
    """Show what is asked for beyond space and time, where an answer is due and no table says it."""
    if row.state == "waiting":
        for said in say_wanted(row):
            screen.line(f"{shorten_request(row.request_id)}: {said}", hang=2)


def _accept(row: PendingRequest) -> str:
    return f"`backup-peer requests accept {shorten_request(row.request_id)}`"


def _tell_rejection(screen: Screen, row: PendingRequest) -> None:
    if row.direction == "in":
        _tell_way_back(screen, row)
    else:
        screen.line(f"{shorten_id(row.peer_id)} gave no space: {escape_line(row.reason) or 'no reason given'}", hang=2)


def _tell_way_back(screen: Screen, row: PendingRequest) -> None:
    if row.reason:
        screen.line(f"  {shorten_id(row.peer_id)} is told: {escape_line(row.reason)}", hang=4)
    screen.line(
        f"  {shorten_id(row.peer_id)} is refused the same for {format_count(REQUEST_KEPT_S // 86400, 'day')}; "
        f"if you change your mind: `backup-peer requests accept {shorten_request(row.request_id)}`",
        hang=4,
    )


def _cells(row: PendingRequest) -> list[str]:
    return [
        shorten_request(row.request_id),
        _DIRECTIONS.get(row.direction, escape_line(row.direction)),
        shorten_id(row.peer_id),
        escape_line(row.alias) or "-",
        format_size(row.storage_bytes),
        escape_line(row.state),
        format_moment(row.since),
    ]
