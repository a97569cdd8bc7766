"""`host`: offer space to others, and watch who asks. A view on the agent: leaving it does not end the hosting."""

from pathlib import Path
from typing import Annotated, Final

import typer

from backuppeer.agent.peers.offers import check_storage
from backuppeer.cli import moving, retiring
from backuppeer.cli.context import Context, context_of
from backuppeer.cli.promises import (
    AuditBudget,
    Availability,
    EgressBudget,
    Reciprocity,
    read_promises,
)
from backuppeer.cli.render import (
    escape_line,
    format_count,
    format_moment,
    name_peer,
    shorten_id,
    shorten_request,
)
from backuppeer.cli.requests import describe_request
from backuppeer.cli.screen import BOLD, GREEN, Screen
from backuppeer.cli.slot_terms import describe_share, say_asked, say_refused, say_unseen
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.units import (
    format_duration,
    format_size,
    parse_share,
    parse_size,
    read_span,
)
from backuppeer.cli.work import View, read_event, run_work
from backuppeer.clock import parse_duration
from backuppeer.control.api import (
    HostingState,
    HostPlan,
    HostRequest,
    HostResult,
    Nothing,
    PendingRequest,
    RequestDecision,
    StatusResult,
)
from backuppeer.control.client import Client
from backuppeer.control.events import Agreed, Event, EventName, MassDeletionSeen, State
from backuppeer.errors import BackupPeerError, DeclinedError, InterruptedByUserError, UserError
from backuppeer.limits import LOCK_DEFAULT_S, TERM_DEFAULT_S

_POLICIES: Final = ("ask", "trusted", "all")
_SHOWN: Final = ("listed", "unlisted")
"""States of an offer that stands: whether any server shows it."""
_HELP: Final = (
    "Offer space for others' encrypted backups.\n\nHosting ends when this computer restarts, and `backup-peer agent "
    "start` takes it up again, unless `backup-peer service install` was run: then it goes on by itself. Owners who "
    "lose their machine find you with their 24 words, also when you offer nothing, as long as the agent runs."
)


_Duration = Annotated[str, typer.Option(metavar="2h", help="How long the slot is on offer; else until stopped.")]
_Lock = Annotated[str, typer.Option(metavar="30d", help="Time from an owner's deletion to the erasure; 0s = at once.")]
_Elsewhere = Annotated[
    str, typer.Option("--move-store", metavar="DIR", help="Have the data lie elsewhere; it is served meanwhile.")
]


_Accept = Annotated[str, typer.Option(metavar="|".join(_POLICIES), help="Who gets space without asking you.")]
_MinTrust = Annotated[
    str, typer.Option(metavar="0.6", help="Refuse owners whom you trust less as hosts, without a question.")
]
_Unlisted = Annotated[bool, typer.Option("--unlisted", help="No server lists it: invited peers alone find it.")]


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="host", help=_HELP)(host)


def host(  # noqa: PLR0913 - one parameter per option
    ctx: typer.Context,
    *,
    storage: Annotated[str, typer.Option(metavar="50GB", help="Space to offer.")] = "",
    duration: _Duration = "",
    term: Annotated[str, typer.Option(metavar="1y", help="How long you will keep accepted data.")] = "",
    lock: _Lock = "",
    store: Annotated[str, typer.Option(metavar="DIR", help="Where the data lies; else in the home.")] = "",
    accept: _Accept = "ask",
    region: Annotated[str, typer.Option(metavar="EU", help="Coarse region shown to others.")] = "",
    reciprocity: Reciprocity = "",
    audit_budget: AuditBudget = "",
    egress_budget: EgressBudget = "",
    availability: Availability = "",
    min_trust: _MinTrust = "0",
    unlisted: _Unlisted = False,
    detach: Annotated[bool, typer.Option("--detach", help="Return once the slot is on offer.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Withdraw the slot; accepted data is still served.")] = False,
    retire: Annotated[bool, typer.Option("--retire", help="End all agreements with notice, and host no more.")] = False,
    move_store: _Elsewhere = "",
) -> int:
    """Show the terms, ask, offer, then show what happens."""
    context = context_of(ctx)
    if stop or retire or move_store:
        return _change(context, is_retiring=retire, move_store=move_store)
    _check(storage, accept)
    request = HostRequest(
        servers=context.servers(),
        storage=parse_size(storage),
        duration_s=read_span(duration, "--duration"),
        term_s=read_span(term, "--term") or TERM_DEFAULT_S,
        lock_s=parse_duration(lock) if lock else LOCK_DEFAULT_S,
        promises=read_promises(reciprocity, audit_budget, egress_budget, availability),
        store=_absolute(store),
        accept=accept,
        region=region,
        detach=detach,
        min_trust=parse_share(min_trust),
        unlisted=unlisted,
    )
    return _begin(context, request)


def _change(context: Context, *, is_retiring: bool, move_store: str) -> int:
    if move_store:
        return moving.move_store(context, move_store)
    return retiring.retire(context) if is_retiring else _withdraw(context)


def _begin(context: Context, request: HostRequest) -> int:
    check_storage(request.storage, example="backup-peer host --storage 50GB")
    client = context.client()  # first: a home without identity has no terms to agree to
    _agree(context, request, client.call("host/plan", request, HostPlan))
    return _offer(context, client, request)


def _check(storage: str, accept: str) -> None:
    if accept not in _POLICIES:
        raise UserError(
            f"no such policy: {accept[:40]!r}", hint="for example: `backup-peer host --storage 50GB --accept ask`"
        )
    if not storage:
        raise UserError(
            "how much space? --storage is missing",
            hint="for example: `backup-peer host --storage 50GB`; with --duration 2h it ends by itself",
        )


def _absolute(store: str) -> str:
    return str(Path(store).expanduser().absolute()) if store else ""


def _agree(context: Context, request: HostRequest, plan: HostPlan) -> None:
    """Show the terms of hosting and have a person, or --yes, agree.

    Raises:
        DeclinedError: the person said no.
        UserError: nobody is there to ask.

    """
    screen = context.screen
    if not screen.json:
        who = {
            "": "whom you invite",
            "ask": "whom you accept",
            "trusted": "compared friends and your partners, others after your yes",
        }
        screen.aside(f"You offer {screen.paint(format_size(request.storage), BOLD)} of this disk. That means:")
        for line in describe_share(request, plan):
            screen.aside(line, hang=4)
        whom = (
            "whom you invite" if request.unlisted else who.get(request.accept, "anybody who asks, without a question")
        )
        screen.aside(f"  · space goes to {whom}", hang=4)
        for said in say_refused(request.min_trust):
            screen.aside(f"  · {said}", hang=4)
        kept, locked = format_duration(request.term_s or 0), format_duration(request.lock_s or 0)
        screen.aside(f"  · accepted data is kept for {kept}, whether the offer still stands or not", hang=4)
        screen.aside(f"  · what its owner deletes stays another {locked}, as a lock against thieves", hang=4)
        for said in say_asked(request):
            screen.aside(f"  · {said}", hang=4)
        screen.aside("  · you can't read any of it", hang=4)
        screen.aside("  · it ends when this computer restarts, unless `backup-peer service install` was run", hang=4)
    if not screen.confirm("offer it?", unanswered="hosting needs your yes to its terms"):
        raise DeclinedError("nothing is on offer: you said no")


def _offer(context: Context, client: Client, request: HostRequest) -> int:
    with Spinner(context.screen) as spinner:
        live = _HostView(context.screen, client, spinner, asks=request.accept != "all")
        try:
            view = View(context.screen, live.on_event)
            result = run_work(client, "host", request, HostResult, view=view)
        except KeyboardInterrupt:
            spinner.rest()
            return _leave(context, client, live.offered)
    if request.detach:
        context.screen.line(
            "  it goes on in the background: `backup-peer requests` shows who asks, `backup-peer host --stop` ends it",
            hang=4,
        )
    else:
        context.screen.line("the offer has ended; accepted data is still served")
        context.screen.line("`backup-peer status` says for which owners no word is left, should they lose all", hang=2)
    context.screen.done(result)
    return 0


class _HostView:
    """Shows the offer and what comes of it, and asks about requests where somebody is there to answer."""

    def __init__(self, screen: Screen, client: Client, spinner: Spinner, *, asks: bool) -> None:
        self.offered: HostResult | None = None
        self._screen = screen
        self._client = client
        self._spinner = spinner
        self._asks = asks
        self._waiting = "waiting for requests …"

    def on_event(self, event: Event) -> None:
        """Show one event."""
        if event.event == EventName.STATE:
            said = read_event(event, State)
            if said.state in _SHOWN:
                self._waiting = said.text
            self._spinner.show(said.text or f"{said.state} …")
        elif event.event == EventName.OFFERED:
            self._show_offer(read_event(event, HostResult))
        elif event.event == EventName.AGREED:
            self._show_agreed(read_event(event, Agreed))
        elif event.event == EventName.ALARM:
            self._spinner.rest()
            self._screen.note(escape_line(read_event(event, MassDeletionSeen).text))
            self._show_waiting()
        elif event.event == EventName.REQUEST:
            self._show_request(read_event(event, PendingRequest))

    def _show_offer(self, offered: HostResult) -> None:
        first, self.offered = self.offered is None, offered
        if first:
            self._screen.line(_describe_offer(self._screen, offered), hang=2)
            if offered.unlisted:
                self._screen.line("  nobody finds it without an invite: `backup-peer invite create`", hang=4)
        self._show_waiting()

    def _show_agreed(self, agreed: Agreed) -> None:
        called, tick = name_peer(agreed.peer_id, agreed.alias), self._screen.paint("✓", GREEN)
        came = f", by the invite {escape_line(agreed.invite)}" if agreed.invite else ""
        self._screen.line(f"{tick} {called} has {format_size(agreed.quota_bytes)} here now{came}")
        if agreed.invite:
            self._screen.line(f"  safety words  {escape_line(agreed.safety_words)}", hang=16)
            self._screen.line(f"  to compare them: `backup-peer peers verify {escape_line(agreed.peer_id)}`", hang=4)

    def _show_request(self, asked: PendingRequest) -> None:
        screen = self._screen
        called = name_peer(asked.peer_id, asked.alias)
        self._spinner.rest()
        if not screen.json:
            for line in describe_request(screen, asked):
                screen.aside(line, hang=16)
        if self._asks and screen.can_ask:
            self._decide(asked, called)
        elif not screen.json:
            screen.hint(f"`backup-peer requests accept {shorten_request(asked.request_id)}` gives it the space")
        self._show_waiting()

    def _show_waiting(self) -> None:
        if self._screen.is_live:
            self._spinner.show(f"{self._waiting} (Ctrl-C leaves this view)")

    def _decide(self, asked: PendingRequest, called: str) -> None:
        answer = self._screen.read_answer(f"accept {called}? [y/N] ").strip().lower()
        route = "requests/accept" if answer in {"y", "yes"} else "requests/reject"
        try:
            self._client.call(route, RequestDecision(request=asked.request_id), PendingRequest)
        except BackupPeerError as exc:
            # The request may have lapsed while the person thought; the offer goes on.
            self._screen.note(f"{exc.message}{f' ({exc.hint})' if exc.hint else ''}")
            return
        if route.endswith("reject"):
            self._screen.aside("  rejected")
            return
        compare = f"`backup-peer peers verify {escape_line(asked.peer_id)}`"
        self._screen.aside(f"  accepted; to compare the words, or to record that you did: {compare}", hang=4)


def _describe_offer(screen: Screen, offered: HostResult) -> str:
    until = f"until {format_moment(offered.expires)}" if offered.expires else "until you stop it"
    size = format_size(offered.storage_bytes)
    tick = screen.paint("✓", GREEN)
    where = f"{'unlisted, by way of' if offered.unlisted else 'on'} {format_count(len(offered.servers), 'server')}"
    return f"{tick} offering {size} {where} {until}, as {shorten_id(offered.peer_id)}"


def _withdraw(context: Context) -> int:
    client = context.client()
    before = client.call("status", Nothing(), StatusResult).hosting
    state = client.call("host/stop", Nothing(), HostingState)
    done = "the slot is withdrawn" if before.offering else "no slot was on offer"
    context.screen.line(f"{done}; {format_count(state.agreements, 'agreement')} still served")
    if state.agreements:
        context.screen.line(say_unseen(before.storage_bytes, state), hang=2)
    if state.invites:
        live = format_count(state.invites, "live invite")
        context.screen.line(
            f"{live} lead{'s' if state.invites == 1 else ''} nowhere until you offer space again", hang=2
        )
    context.screen.done(state)
    return 0


def _leave(context: Context, client: Client, offered: HostResult | None) -> int:
    """Ask whether to stop offering; a second Ctrl-C, or nobody to ask, leaves the offer running."""
    screen = context.screen
    stays = InterruptedByUserError(
        "view closed; the offer goes on in the background", hint="`backup-peer host --stop` withdraws it"
    )
    if offered is None:
        raise InterruptedByUserError("stopped before the slot was on offer", hint="`backup-peer status` shows what is")
    if not screen.can_ask:
        raise stays
    try:
        answer = screen.read_answer("\nstop offering? accepted data is served either way [y/N] ").strip().lower()
    except KeyboardInterrupt:
        raise stays from None
    if answer not in {"y", "yes"}:
        raise stays
    state = client.call("host/stop", Nothing(), HostingState)
    screen.line("the slot is withdrawn")
    if state.agreements:
        screen.line(say_unseen(offered.storage_bytes, state), hang=2)
    screen.done(offered)
    return 0
