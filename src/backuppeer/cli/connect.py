"""`connect`: agree with one chosen host, after showing who it is, the terms and the risks. 0 only when agreed."""

from collections.abc import Iterator
from types import TracebackType
from typing import Annotated, Final, Self

import msgspec
import typer

from backuppeer.agent.peers.offers import check_storage
from backuppeer.cli.choosing import Choice, choose, pick_peer, read_term
from backuppeer.cli.context import Context, context_of
from backuppeer.cli.groups import takes
from backuppeer.cli.inviting import Wanted, choose_wish
from backuppeer.cli.offers import take_offer
from backuppeer.cli.promises import (
    AuditBudget,
    Availability,
    EgressBudget,
    Reciprocity,
    read_promises,
    say_promises,
    say_times,
)
from backuppeer.cli.render import (
    escape_line,
    format_count,
    format_trust,
    name_peer,
    say_further,
    say_trust,
    write_peer,
)
from backuppeer.cli.screen import BOLD, GREEN, YELLOW, Screen
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.units import format_duration, format_share, format_size
from backuppeer.cli.work import View, read_event, run_work
from backuppeer.clock import parse_duration
from backuppeer.control.api import ConnectRequest, ConnectResult
from backuppeer.control.choosing import ConnectPlan, ConnectPlanRequest
from backuppeer.control.events import Event, EventName, State
from backuppeer.control.promises import Promised
from backuppeer.errors import BackupPeerError, DeclinedError, ExitCode, InterruptedByUserError, UserError
from backuppeer.limits import CONNECT_WAIT_S, LOCK_DEFAULT_S, REQUEST_KEPT_S, TERM_DEFAULT_S

_WORDS: Final = {
    "searching": "looking for {peer} …",
    "knocking": "asking {peer} for space …",
    "waiting": "waiting for {peer} to answer",
    "dialling": "dialling {peer} …",
    "verifying": "verifying that it is {peer} …",
}
"""What a state means, where the agent sends no words of its own."""
_ASKING: Final = frozenset({"knocking", "asking"})
_LABEL: Final = 14
"""Width of the words before the values of the plan."""


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="connect", help="Agree with a host that you chose.")(connect)


@takes(choose, into="choice")
def connect(  # noqa: PLR0913 - one parameter per option
    ctx: typer.Context,
    peer: Annotated[
        str,
        typer.Argument(metavar="[ID|PREFIX|ALIAS|INVITE]", help="The host; of an invite, - reads it."),
    ] = "",
    *,
    choice: Choice,
    storage: Annotated[str, typer.Option(metavar="10GB", help="Space to ask for.")] = "",
    name: Annotated[str, typer.Option(metavar="alice", help="Your own name for this peer.")] = "",
    verified: Annotated[
        bool, typer.Option("--verified", help="You compared id or safety words with the person.")
    ] = False,
    wait: Annotated[
        str, typer.Option(metavar="60s", help="How long to wait for a person's answer without a terminal.")
    ] = "",
    term: Annotated[str, typer.Option(metavar="1y", help="How long the host is to keep the data.")] = "",
    lock: Annotated[str, typer.Option(metavar="30d", help="Time from a deletion to the erasure.")] = "",
    reciprocity: Reciprocity = "",
    audit_budget: AuditBudget = "",
    egress_budget: EgressBudget = "",
    availability: Availability = "",
) -> int:
    """Show the plan, ask, connect."""
    context = context_of(ctx)
    wanted = choose_wish(context, choice, peer, storage)
    request = ConnectRequest(
        servers=context.servers(),
        peer=wanted.peer,
        storage=wanted.size_bytes,
        name=name,
        verified=verified or wanted.is_known,
        wait_s=_waiting_time(context.screen, wait),
        term_s=read_term(choice, term),
        lock_s=parse_duration(lock) if lock else None,
        promises=read_promises(reciprocity, audit_budget, egress_budget, availability),
        lan=choice.lan,
    )
    request.peer = pick_peer(context, choice, wanted.peer, request.storage)
    return _connect(context, request, wanted, is_trial=choice.trial)


def _connect(context: Context, request: ConnectRequest, wanted: Wanted, *, is_trial: bool) -> int:
    """Plan, have the person agree, connect."""
    screen, client = context.screen, context.client()
    with Spinner(screen) as spinner:
        spinner.show(_WORDS["searching"].format(peer=request.peer))
        plan = client.call(
            "connect/plan",
            ConnectPlanRequest(servers=request.servers, peer=request.peer, name=request.name, lan=request.lan),
            ConnectPlan,
        )
    called = name_peer(plan.peer_id, request.name or plan.alias)
    if plan.agreed and is_trial:
        raise UserError(
            f"{called} has an agreement with you already: a trial is for a host that has none",
            hint=f"`backup-peer peers show {write_peer(plan.peer_id, plan.alias)}` tells its terms",
        )
    if not plan.agreed:
        check_storage(request.storage, example="backup-peer connect PEER --storage 10GB")
        # From here on said in full, so that what is shown is what is asked for.
        request.term_s = _choose(request.term_s, TERM_DEFAULT_S, plan.term_s)
        request.lock_s = _choose(request.lock_s, LOCK_DEFAULT_S, plan.lock_s)
        if request.promises.availability is None and plan.promises.availability:
            request.promises = msgspec.structs.replace(request.promises, availability=plan.promises.availability)
        _agree(context, plan, request, called, say_words=wanted.say_words())
    # The full id from here on: what was shown and agreed to is what is dialled, whatever a prefix means later.
    request.peer = plan.peer_id
    request.confirmed = True
    try:
        result = _pursue(context, request, called)
    except BackupPeerError as exc:
        # Only a person takes other terms than were asked for: --yes was said before there were any.
        if exc.exit_code is not ExitCode.REFUSED or not take_offer(context, request, called):
            raise
        result = _pursue(context, request, called)
    _tell_connected(screen, result, called, is_compared=request.verified or plan.agreed)
    screen.done(result)
    return 0


def _pursue(context: Context, request: ConnectRequest, called: str) -> ConnectResult:
    with StateView(context.screen, called) as states:
        try:
            view = View(context.screen, states.on_event)
            return run_work(context.client(), "connect", request, ConnectResult, view=view)
        except KeyboardInterrupt:
            raise _interrupted(states.state, called) from None


def _choose(given: int | None, default: int, offered: int) -> int:
    """Return a time to ask for: as given, else the default, or what the host offers if that is less."""
    return min(default, offered) if given is None else given


def _tell_connected(screen: Screen, result: ConnectResult, called: str, *, is_compared: bool) -> None:
    typed = write_peer(result.peer_id, result.alias)
    screen.line(f"{screen.paint('✓', GREEN)} connected to {called}: {format_size(result.quota_bytes)} agreed", hang=2)
    if not is_compared:
        screen.line(f"  to compare the safety words with its person: `backup-peer peers verify {typed}`", hang=4)
    screen.line(f"  next: `backup-peer backup PATH --to {typed}`", hang=4)


class StateView:
    """Shows `state` events: a spinner while something is awaited. `connected` is for the caller to celebrate."""

    def __init__(self, screen: Screen, peer: str = "the peer") -> None:
        self.state = ""
        self._peer = peer
        self._spinner = Spinner(screen)

    def __enter__(self) -> Self:
        self._spinner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spinner.__exit__(kind, exc, trace)

    def on_event(self, event: Event) -> None:
        """Show one event if it is a state."""
        if event.event != EventName.STATE:
            return
        said = read_event(event, State)
        if said.state in _ASKING and self.state == "waiting":
            # Asked again while the person has not answered: for who watches, it is the same waiting.
            return
        self.state = said.state
        words = said.text or _WORDS.get(said.state, f"{said.state} …").format(peer=self._peer)
        if said.state == "connected":
            self._spinner.rest()
        elif said.state == "waiting":
            self._spinner.show(words, tail="(Ctrl-C keeps the request)", timed=True)
        else:
            self._spinner.show(words)


def _agree(context: Context, plan: ConnectPlan, request: ConnectRequest, called: str, *, say_words: str) -> None:
    """Show what connecting means and have a person, or --yes, agree. say_words: what to do with the safety words.

    Raises:
        DeclinedError: the person said no.
        UserError: nobody is there to ask.

    """
    screen = context.screen
    if not screen.json:
        for line in _describe_plan(screen, plan, request, called, say_words=say_words):
            screen.aside(line, hang=_LABEL)
    if not screen.confirm(f"ask {called} for {format_size(request.storage)}?", unanswered="connecting to a new peer"):
        raise DeclinedError("not connected: you said no", hint="`backup-peer browse` shows the others")


def _describe_plan(
    screen: Screen, plan: ConnectPlan, request: ConnectRequest, called: str, *, say_words: str
) -> list[str]:
    kept, locked = format_duration(request.term_s or 0), format_duration(request.lock_s or 0)
    lines = [
        f"host          {screen.paint(called, BOLD)}",
        f"full id       {escape_line(plan.peer_id)}",
        f"safety words  {screen.paint(escape_line(plan.safety_words), BOLD)}",
        f"{'':<{_LABEL}}{say_words}",
        f"trust         {say_trust(format_trust(plan.trust, plan.trust_level, plan.capped), plan.reason)}",
        f"space         {format_size(request.storage)} of at least {format_size(plan.free_bytes)} free",
        f"terms         kept for {kept}; erased {locked} after a deletion",
        *(f"{'':<{_LABEL}}{said}" for said in _say_wanted(request)),
    ]
    warnings = [("capped", text) for text in say_further(plan.capped, plan.reason)]
    warnings += [("risk", risk) for risk in plan.risks]
    if request.storage > plan.free_bytes:
        asked, free = format_size(request.storage), format_size(plan.free_bytes)
        warnings.insert(0, ("note", f"{asked} is more than the {free} that the host lists as free: it may refuse"))
    warnings = [("note", note) for note in _say_notes(plan, request)] + warnings
    return lines + [f"{screen.paint(f'{label:<{_LABEL}}', YELLOW)}{escape_line(text)}" for label, text in warnings]


def _say_wanted(request: ConnectRequest) -> list[str]:
    wish = request.promises
    promised = Promised(
        reciprocity=wish.reciprocity or 0.0,
        audit_bytes=wish.audit_bytes or 0,
        egress_bytes=wish.egress_bytes or 0,
        availability=wish.availability or 0.0,
    )
    return say_promises(promised, request.storage, is_ours=True)


def _say_notes(plan: ConnectPlan, request: ConnectRequest) -> Iterator[str]:
    yield from _say_return(plan, request)
    yield from _say_beyond(plan, request)
    yield from _say_cap(plan, request)


def _say_beyond(plan: ConnectPlan, request: ConnectRequest) -> Iterator[str]:
    """Return that the host is asked to be there more than it offers, if it is."""
    listed = plan.promises.availability
    if (request.promises.availability or 0.0) > listed:
        offered = f"{format_share(listed)} of the time" if listed else "nothing of when it is there"
        yield f"its offer promises {offered}: more is for its person to agree to; else it may offer you its own terms"


def _say_cap(plan: ConnectPlan, request: ConnectRequest) -> Iterator[str]:
    """Return how much of what is asked for will be used at first, if the host is a stranger."""
    cap = plan.cap_bytes
    if cap is not None and cap < request.storage and not request.verified:
        yield (
            f"a stranger: your backups put {format_size(cap)} there at most until audits have seen it, then four times "
            "what they saw within 30 days; with --verified, once the words were compared, all of it at once"
        )


def _say_return(plan: ConnectPlan, request: ConnectRequest) -> Iterator[str]:
    """Return that the host wants more in return than is promised to it, if it does."""
    times = plan.promises.reciprocity
    if times > (request.promises.reciprocity or 0):
        kept = format_size(round(request.storage * times))
        yield (
            f"it gives space to whoever keeps {say_times(times)} for it, here {kept}: --reciprocity {times:g} "
            "promises that; else it may offer you these terms"
        )


def _waiting_time(screen: Screen, wait: str) -> float:
    """Return how long to wait for a person: as said, else on a terminal as long as the request lives."""
    if wait:
        return float(parse_duration(wait))
    return float(REQUEST_KEPT_S) if screen.can_ask else CONNECT_WAIT_S


def _interrupted(state: str, called: str) -> InterruptedByUserError:
    if state == "waiting":
        return InterruptedByUserError(
            f"stopped waiting for {called}; the request is kept for {format_count(REQUEST_KEPT_S // 86400, 'day')}",
            hint="`backup-peer requests` shows the answer; connecting again goes on with it",
        )
    return InterruptedByUserError(f"stopped before {called} answered", hint="run the same command again")
