"""`leave`: end both roles with notice, say what remains and until when, and let the service go when nothing does.

Knows: what a person must see before and after (ADR 90). Must not know: how a notice counts down, what a home is
made of.
"""

from collections.abc import Iterator
from typing import Annotated, Final

import msgspec
import typer

from backuppeer.cli import vacating
from backuppeer.cli.context import Context, context_of
from backuppeer.cli.render import Column, escape_line, format_count, format_moment, name_peer, shorten_id
from backuppeer.cli.retiring import show_owners
from backuppeer.cli.screen import GREEN, YELLOW, Screen
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.units import format_size
from backuppeer.control.ending import RetiredOwner
from backuppeer.control.leaving import LeavePlan, LeaveRequest, LeaveResult, LeftHost
from backuppeer.errors import DeclinedError, ExitCode, InterruptedByUserError

_HELP: Final = (
    "End all agreements, as owner and as host, with notice.\n\nNothing is lost at once: hosts keep your "
    "backups, and you keep others', until notice and locks are over. Run again it shows what remains and tells who was "
    "away. "
    "When nothing of others lies here any more it removes the service; with --purge the home goes, too.\n\n"
    "For example: `backup-peer leave`, and some weeks later `backup-peer leave --purge`"
)
_HOSTS: Final = (
    Column("host"),
    Column("has of yours", "right", keep=True),
    Column("kept until", keep=True),
    Column("told", keep=True),
)

_NAMES: Final = 8
"""How many names of what stays are shown; --json has all."""


class Left(msgspec.Struct, kw_only=True):
    """`leave`: as `LeaveResult`. service: `none`, `stays` or `removed`. agent: whether it runs on.

    purged: the home is gone, but for `remaining`: what in its folder this program did not make.
    """

    hosts: list[LeftHost] = []
    owners: list[RetiredOwner] = []
    until: str = ""
    store: str = ""
    service: str = "none"
    agent: bool = False
    purged: bool = False
    remaining: list[str] = []


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="leave", help=_HELP)(leave)


def leave(
    ctx: typer.Context,
    *,
    purge: Annotated[
        bool, typer.Option("--purge", help="Delete this home, too; refused while anything of others lies here.")
    ] = False,
) -> int:
    """Show what it means, ask, give notice to all, show what remains."""
    context = context_of(ctx)
    if purge and context.home.is_half_removed:
        return _finish(context, Left(), vacating.finish(context))
    client, screen = context.client(), context.screen
    request = LeaveRequest(servers=context.servers())
    plan = client.call("leave/plan", request, LeavePlan)
    if plan.is_new:
        _agree(context, plan)
    request.confirmed = True
    try:
        with Spinner(screen) as spinner:
            spinner.show("telling hosts and owners …")
            result = client.call("leave", request, LeaveResult)
    except KeyboardInterrupt:
        raise InterruptedByUserError("stopped; `backup-peer leave` goes on, and shows who was told") from None
    left = _close(context, result)
    if purge:
        vacating.check_empty(result)
        return _finish(context, left, vacating.vacate(context, result))
    screen.done(left)
    return ExitCode.INCOMPLETE if _is_incomplete(result) else ExitCode.DONE


def _is_incomplete(result: LeaveResult) -> bool:
    """Whether somebody takes no notice from here, or nobody knows who is to get one."""
    return bool(result.store_fault) or any(row.refused for row in result.hosts)


def _agree(context: Context, plan: LeavePlan) -> None:
    screen = context.screen
    if not screen.json:
        screen.aside("Leaving means:")
        for line in _describe(plan):
            screen.aside(f"  · {line}", hang=4)
    if not screen.confirm("leave?", unanswered="leaving ends all agreements"):
        raise DeclinedError("nothing was ended: you said no")


def _describe(plan: LeavePlan) -> Iterator[str]:
    for host in plan.hosts:
        name, size = escape_line(host.alias) or shorten_id(host.peer_id), format_size(host.used_bytes)
        yield f"{name} keeps {size} of your backups until {_day(host.until)} at least; then they are erased there"
    if plan.hosts:
        yield "until then you can restore, and `peers renew PEER` takes the end back"
        schedules = f", nor by schedule ({', '.join(map(escape_line, plan.sets))})" if plan.sets else ""
        yield f"no backups are made any more{schedules}"
    if plan.owners:
        owners, size = format_count(plan.owners, "owner"), format_size(plan.used_bytes)
        yield f"{owners} with {size} here can read it until {_day(plan.until)} at least; then it is erased"
    if plan.store_fault:
        yield f"owners are told once the store can be used: {escape_line(plan.store_fault)}"
    if plan.is_offering:
        yield "your slot is withdrawn, and who still asks is turned down"
    if plan.requests:
        yield f"{format_count(plan.requests, 'request')} of yours to hosts {'is' if plan.requests == 1 else 'are'} void"
    if plan.owners or plan.store_fault:
        yield "the agent goes on for those owners: only days on which it runs count"
    yield "this home stays; `leave --purge` deletes it, once nothing of others lies here"


def _show(screen: Screen, result: LeaveResult) -> None:
    if screen.json:
        return
    if result.hosts:
        screen.table(_HOSTS, [_cells(row) for row in result.hosts])
    for row in (row for row in result.hosts if row.refused):
        screen.line(f"  {name_peer(row.peer_id, row.alias)} takes no notice: {escape_line(row.refused)}", hang=4)
    if result.hosts and result.owners:
        screen.line()
    if result.owners:
        show_owners(screen, result.owners)


def _close(context: Context, result: LeaveResult) -> Left:
    """Let the service and the agent go, unless somebody still needs them, and say which it is."""
    screen, untold = context.screen, [row for row in result.hosts if not row.told and not row.refused]
    is_needed = bool(result.owners or result.store_fault)
    service = vacating.release(context, is_needed=is_needed or bool(untold))
    if _is_incomplete(result):
        screen.line(f"{screen.paint('!', YELLOW)} not all could be ended; nothing is on offer any more")
    else:
        screen.line(f"{screen.paint('✓', GREEN)} you have left: notice is given, nothing is on offer")
    _show(screen, result)
    for line in _say_remains(result, untold, service):
        screen.line(f"  · {line}", hang=4)
    return Left(
        hosts=result.hosts,
        owners=result.owners,
        until=result.until,
        store=result.store,
        service=service,
        agent=is_needed or bool(untold),
    )


def _say_remains(result: LeaveResult, untold: list[LeftHost], service: str) -> Iterator[str]:
    runs = "the service stays" if service == "stays" else "keep the agent running"
    if result.store_fault:
        yield f"not looked at: {escape_line(result.store_fault)}; mend that, then `backup-peer leave` again"
    elif result.owners:
        size, owners = format_size(sum(row.used_bytes for row in result.owners)), len(result.owners)
        yield f"{size} of {format_count(owners, 'owner')} stay here until {_day(result.until)} at least, as agreed"
        yield f"{runs} until then: only days on which it runs count; then `backup-peer leave` again"
    else:
        gone = ", and the service is gone" if service == "removed" else ""
        yield f"nothing of others lies here{gone}; `backup-peer leave --purge` deletes this home, too"
    if untold:
        yield f"{format_count(len(untold), 'host')} could not be told yet: {runs}, or `backup-peer leave` again"
    if any(row.used_bytes for row in result.hosts):
        yield "your backups can be restored until the dates above, here or with your 24 words"


def _finish(context: Context, left: Left, remaining: list[str]) -> int:
    screen, tick = context.screen, context.screen.paint("✓", GREEN)
    place = escape_line(str(context.home.path))
    if remaining:
        more = f" and {len(remaining) - _NAMES} more" if len(remaining) > _NAMES else ""
        names = ", ".join(map(escape_line, remaining[:_NAMES])) + more
        screen.line(f"{tick} the home is gone; {place} has other things in it, which stay: {names}", hang=2)
    else:
        screen.line(f"{tick} the home is gone: {place}", hang=2)
    if vacating.lies_outside(context, left.store):
        place = escape_line(left.store)
        screen.line(f"  the store was {place}: no data is left in it, and the folder is yours to delete", hang=2)
    left.purged, left.agent, left.remaining = True, False, remaining
    left.service = "removed" if left.service == "stays" else left.service
    screen.done(left)
    return 0


def _cells(row: LeftHost) -> list[str]:
    name = escape_line(row.alias) or shorten_id(row.peer_id)
    told = "refused" if row.refused else "yes" if row.told else "not yet"
    return [name, format_size(row.used_bytes), _day(row.until), told]


def _day(time: str) -> str:
    return format_moment(time)[:10]
