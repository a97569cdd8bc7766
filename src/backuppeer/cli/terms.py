"""`peers resize`, `peers renew`: agree with a host on another size, or for longer."""

from typing import Annotated, Final

import typer

from backuppeer.cli.connect import StateView
from backuppeer.cli.context import Context, context_of
from backuppeer.cli.promises import AuditBudget, Availability, EgressBudget, Reciprocity, read_promises, say_promises
from backuppeer.cli.render import format_moment, name_peer
from backuppeer.cli.screen import GREEN
from backuppeer.cli.units import format_size, parse_size, read_span
from backuppeer.cli.work import View, run_work
from backuppeer.clock import parse_duration
from backuppeer.control.promises import NO_WISH
from backuppeer.control.terms import RenewRequest, ResizeRequest, TermsResult
from backuppeer.errors import InterruptedByUserError, UserError
from backuppeer.limits import CONNECT_WAIT_S, REQUEST_KEPT_S

RESIZE_HELP: Final = (
    "Agree with a host on more space, or on less, or on other promises.\n\nMore is asked for: its policy answers, or "
    "its person, whom this waits for; the agent keeps the request for 7 days. Less takes "
    "effect at once, but never below what is stored there."
)
RENEW_HELP: Final = (
    "Agree with a host that it keeps your data for longer.\n\nNothing is erased when a term is over: the host "
    "keeps all until one of you ends the agreement, with notice. If you ended it, with `peers end`, this takes that "
    "back: as owner or as host."
)
_Host = Annotated[str, typer.Argument(metavar="ID|PREFIX|ALIAS", help="The host, as `peers` shows it.")]
_Wait = Annotated[
    str, typer.Option("--wait", metavar="60s", help="How long to wait for a person's answer without a terminal.")
]


def resize(  # noqa: PLR0913 - one parameter per option
    ctx: typer.Context,
    peer: _Host,
    size: Annotated[str, typer.Argument(metavar="20GB", help="The whole space from now on; left out: as now.")] = "",
    *,
    wait: _Wait = "",
    reciprocity: Reciprocity = "",
    audit_budget: AuditBudget = "",
    egress_budget: EgressBudget = "",
    availability: Availability = "",
) -> int:
    """Ask for another size, or for other promises."""
    context = context_of(ctx)
    promises = read_promises(reciprocity, audit_budget, egress_budget, availability)
    if not size and promises == NO_WISH:
        raise UserError("nothing to change", hint="for example: `backup-peer peers resize alice 20GB`")
    storage = parse_size(size) if size else 0
    if size and storage < 1:
        raise UserError("a size of 0 is no agreement", hint="for example: `backup-peer peers resize alice 20GB`")
    request = ResizeRequest(
        servers=context.servers(),
        peer=peer,
        storage=storage,
        promises=promises,
        wait_s=read_patience(context, wait),
    )
    return _change(context, "peers/resize", request)


def renew(
    ctx: typer.Context,
    peer: _Host,
    term: Annotated[str, typer.Option(metavar="1y", help="For how long from now on.")] = "",
    wait: _Wait = "",
    side: Annotated[
        str, typer.Option("--as", metavar="owner|host", help="owner: it keeps your data; host: you keep its.")
    ] = "",
) -> int:
    """Ask for a longer term."""
    context = context_of(ctx)
    request = RenewRequest(
        servers=context.servers(),
        peer=peer,
        term_s=read_span(term, "--term"),
        side=side,
        wait_s=read_patience(context, wait),
    )
    return _change(context, "peers/renew", request)


def read_patience(context: Context, wait: str) -> float:
    """Return how long to wait for a person: as said, else on a terminal as long as the request lives."""
    if wait:
        return float(parse_duration(wait))
    return float(REQUEST_KEPT_S) if context.screen.can_ask else CONNECT_WAIT_S


def _change(context: Context, route: str, request: ResizeRequest | RenewRequest) -> int:
    screen = context.screen
    with StateView(screen, request.peer) as states:
        try:
            result = run_work(context.client(), route, request, TermsResult, view=View(screen, states.on_event))
        except KeyboardInterrupt:
            raise _interrupted(states.state, request.peer) from None
    called = name_peer(result.peer_id, result.alias)
    until = format_moment(result.until)[:10]
    if result.taken_back:
        later = "" if result.told else "; it is told when it is met"
        screen.line(f"{screen.paint('✓', GREEN)} the agreement with {called} goes on{later}", hang=2)
        screen.done(result)
        return 0
    screen.line(
        f"{screen.paint('✓', GREEN)} agreed with {called}: {format_size(result.quota_bytes)} until {until}", hang=2
    )
    for said in say_promises(result.promises, result.quota_bytes, is_ours=True):
        screen.line(f"  {said}", hang=4)
    screen.done(result)
    return 0


def _interrupted(state: str, called: str) -> InterruptedByUserError:
    if state == "waiting":
        return InterruptedByUserError(
            f"stopped waiting for {called}; the request is kept for 7 days",
            hint="`backup-peer requests` shows the answer; the same command goes on with it",
        )
    return InterruptedByUserError(f"stopped before {called} answered", hint="run the same command again")
