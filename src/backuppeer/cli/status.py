"""`status`: the state of this home on one screen."""

import shlex
from collections.abc import Iterator
from typing import Annotated, Final

import typer

from backuppeer.cli.caps import describe_caps
from backuppeer.cli.checkup.itself import advise_overdue, describe_overdue
from backuppeer.cli.context import Context, context_of
from backuppeer.cli.job_words import describe_live
from backuppeer.cli.render import escape_line, escape_name, format_count, format_moment, say_later, shorten_id
from backuppeer.cli.screen import GREEN, RED, YELLOW, Screen
from backuppeer.cli.units import format_size
from backuppeer.control.alarms import SeenAlarms
from backuppeer.control.api import HostingState, LanState, Nothing, StatusResult, StoringState
from backuppeer.control.proven import AuditRow
from backuppeer.control.scheduling import Pruned, ScheduledSet
from backuppeer.control.servers import ServerState

_LABEL: Final = 11
"""Width of the words before the values."""
_ALARM: Final = "ALARM: "
_WAITS: Final = ("waits", "wait")
_READ_ONLY: Final = "; read-only: this home restores and makes no backups"


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="status", help="Show the state of this peer.")(status)


def status(
    ctx: typer.Context,
    *,
    seen: Annotated[
        bool, typer.Option("--seen", help="Repeat no more the alarms that stand; new ones are told.")
    ] = False,
) -> int:
    """Show what the agent says of itself."""
    context = context_of(ctx)
    if seen:
        _see(context)
    result = context.client().call("status", Nothing(), StatusResult)
    if context.screen.json:
        context.screen.value(result)
        return 0
    for line in _describe(context.screen, result):
        context.screen.line(line, hang=_LABEL + 2)
    for overdue in result.overdue:
        label = context.screen.paint("alarm:", RED)
        context.screen.line(f"{label} {describe_overdue(overdue)}; {advise_overdue(overdue)}", hang=6)
    for line in _describe_waiting(result):
        context.screen.line(line, hang=2)
    for note in result.notes:
        is_alarm = note.startswith(_ALARM)
        label = context.screen.paint("alarm:", RED) if is_alarm else context.screen.paint("note:", YELLOW)
        context.screen.line(f"{label} {escape_line(note.removeprefix(_ALARM))}", hang=6)
    return 0


def _see(context: Context) -> None:
    """Note that the alarms that stand were seen, and say which these are."""
    screen = context.screen
    found = context.client().call("status/seen", Nothing(), SeenAlarms).seen
    for text in found:
        screen.line(f"{screen.paint('✓', GREEN)} seen: {escape_line(text.removeprefix(_ALARM))}", hang=2)
    if not found:
        screen.line("there is no alarm that ends by being seen")


def _describe(screen: Screen, result: StatusResult) -> Iterator[str]:
    yield f"peer       {escape_line(result.peer_id)}"
    yield f"agent      {escape_line(result.agent)}"
    for number, server in enumerate(result.servers):
        yield f"{'' if number else 'servers':<{_LABEL}}{describe_server(screen, server)}"
        yield from (f"{'':<{_LABEL}}  {escape_line(fault)}" for fault in server.faults)
    if not result.servers:
        yield "servers    none"
    if result.network:
        yield f"network    {escape_line(result.network)}"
    if lan := _describe_lan(result.lan):
        yield f"lan        {lan}"
    yield f"sessions   {result.sessions}{f', {result.relayed} of them relayed' if result.relayed else ''}"
    if caps := describe_caps(result.caps):
        yield f"bandwidth  {caps}"
    yield f"hosting    {_describe_hosting(result.hosting)}"
    if result.storing.hosts:
        yield f"storing    {_describe_storing(result.storing)}"
    for number, row in enumerate(result.audits):
        yield f"{'' if number else 'proofs':<{_LABEL}}{_describe_proofs(screen, row)}"
    yield from _describe_work(screen, result)
    reads = result.read_only and (result.snapshots or result.storing.hosts)
    yield f"snapshots  {result.snapshots}{_READ_ONLY if reads else ''}"


def _describe_work(screen: Screen, result: StatusResult) -> Iterator[str]:
    for number, kept in enumerate([] if result.read_only else result.scheduled):
        yield f"{'' if number else 'schedule':<{_LABEL}}{_describe_schedule(screen, kept)}"
        yield from (f"{'':<{_LABEL}}  {line}" for line in _describe_old(screen, kept))
    if pruned := _describe_pruned(screen, result.pruned):
        yield f"pruning    {pruned}"
    for number, job in enumerate(result.jobs):
        yield f"{'' if number else 'jobs':<{_LABEL}}{describe_live(job)}"


def _describe_lan(lan: LanState) -> str:
    """Return what is known of the local network; empty while it is not used."""
    where = f"announced at {', '.join(map(escape_line, lan.announced))}" if lan.announced else ""
    if where and not lan.on:
        where += " for the slot alone"
    parts = ["on" if lan.on else "", where]
    if lan.on or lan.seen:
        parts.append(f"{format_count(len(lan.seen), 'host') if lan.seen else 'no host'} seen there lately")
    return ", ".join(filter(None, parts))


def _describe_waiting(result: StatusResult) -> Iterator[str]:
    """Return what waits for a person, here or elsewhere, and where to see it."""
    if count := result.waiting_in:
        yield f"{format_count(count, 'request')} {_WAITS[count > 1]} for your answer: see `backup-peer requests`"
    if count := result.waiting_out:
        yield f"{format_count(count, 'request')} of yours {_WAITS[count > 1]} for an answer: see `backup-peer requests`"
    has_begun = result.storing.hosts or result.hosting.offering or result.hosting.agreements or result.snapshots
    if not (has_begun or result.waiting_in or result.waiting_out or result.notes):
        yield "next: `backup-peer browse` to find a host, or `backup-peer host --storage 50GB` to be one"


def describe_server(screen: Screen, server: ServerState) -> str:
    """Return one server's line; a server is dialled only while something needs it."""
    url, error = escape_line(server.url), escape_line(server.error)
    met = f"last reached {format_moment(server.last_reached)}" if server.last_reached else "never reached"
    if server.connected:
        sign = screen.paint("!", YELLOW) if server.faults else screen.paint("✓", GREEN)
        return f"{sign} {url}  connected{f', but: {error}' if error else ''}"
    if error:
        tried = f", {server.failures} tries in a row" if server.failures > 1 else ""
        return f"{screen.paint('✗', RED)} {url}  {error} ({met}{tried})"
    if server.faults:
        return f"{screen.paint('!', YELLOW)} {url}  {met}"
    return f"· {url}  not in use{f', {met}' if server.last_reached else ''}"


def _describe_proofs(screen: Screen, row: AuditRow) -> str:
    """Return one host's line: when it last showed all that an audit asked for, or what it was caught at."""
    name = escape_line(row.alias) or shorten_id(row.peer_id)
    if row.state == "caught":
        return f"{screen.paint('✗', RED)} {name}, {format_moment(row.fault_time)}: {escape_line(row.fault)}"
    if row.state == "deaf":
        return f"! {name}: its program is too old to be audited"
    if row.state == "never":
        return f"· {name}: not audited yet"
    owes = f", and owes {format_count(row.owed, 'answer')}" if row.owed else ""
    proven = f"last showed all that it was asked for {format_moment(row.proven)}" if row.proven else "showed a part"
    return f"{'!' if row.owed else screen.paint('✓', GREEN)} {name} {proven}{owes}"


def _describe_schedule(screen: Screen, kept: ScheduledSet) -> str:
    """Return one set's line: when it was backed up and will be, and what stands in the way."""
    last = f"last backed up {format_moment(kept.last)}" if kept.last else "never backed up yet"
    following = f"next {format_moment(kept.next)}{f', within {escape_line(kept.window)}' if kept.window else ''}"
    if kept.running:
        return f"{screen.paint('✓', GREEN)} {kept.set}: {last}; being backed up since {format_moment(kept.running)}"
    if kept.idle:
        return f"{screen.paint('!', YELLOW)} {kept.set}: {last}; nothing new is backed up: {escape_line(kept.idle)}"
    if kept.failure:
        failed = f"the try at {format_moment(kept.failed)} failed: {escape_line(kept.failure)}"
        return f"{screen.paint('✗', RED)} {kept.set}: {last}; {failed}; {following}"
    if kept.waiting:
        waits = f"{last}{', which is late' if kept.late else ''}; due, and waits: {escape_line(kept.waiting)}"
        return f"{screen.paint('!', YELLOW)} {kept.set}: {waits}"
    sign = screen.paint("!", YELLOW) if kept.late else screen.paint("✓", GREEN) if kept.last else "·"
    return f"{sign} {kept.set}: {last}{', which is late' if kept.late else ''}; {following}"


def _describe_old(screen: Screen, kept: ScheduledSet) -> Iterator[str]:
    """Yield what became of old snapshots of a set, and why they stay."""
    if kept.forgot_time:
        count = format_count(kept.forgot, "snapshot")
        yield f"its rules let go of {count} {format_moment(kept.forgot_time)}"
    if kept.kept_why:
        by_hand = f"; `backup-peer forget --set {shlex.quote(kept.set)}` shows what would go"
        says_how = "`backup-peer" in kept.kept_why
        yield f"{screen.paint('!', YELLOW)} old snapshots: {escape_line(kept.kept_why)}{'' if says_how else by_hand}"


def _describe_pruned(screen: Screen, pruned: Pruned) -> str:
    """Return when what nobody needs was dropped last by itself; empty if it never was."""
    done = f"{format_size(pruned.freed_bytes)} {format_moment(pruned.time)}" if pruned.time else "nothing yet"
    if pruned.failure:
        failed = f"the try at {format_moment(pruned.failed)} failed: {escape_line(pruned.failure)}"
        return f"{screen.paint('!', YELLOW)} {done}; {failed}"
    return f"{screen.paint('✓', GREEN)} {done}, by itself" if pruned.time else ""


def _describe_storing(storing: StoringState) -> str:
    closed = storing.ended_bytes + storing.withheld_bytes
    free = format_size(max(0, storing.agreed_bytes - storing.used_bytes - closed))
    later = say_later(storing.next_free_bytes, storing.next_free)
    used = f"{format_size(storing.used_bytes)} of {format_size(storing.agreed_bytes)} used"
    return f"{used} at {format_count(storing.hosts, 'host')}, {free} free now{later}{_say_withheld(storing)}"


def _say_withheld(storing: StoringState) -> str:
    if not storing.withheld_bytes:
        return ""
    return (
        f"; {format_size(storing.withheld_bytes)} agreed on may not be used yet: `backup-peer peers show PEER` says why"
    )


def _describe_hosting(hosting: HostingState) -> str:
    parts = []
    if hosting.offering:
        until = f" until {format_moment(hosting.expires)}" if hosting.expires else ""
        whom = f" to owners at {hosting.min_trust:.2f} or more" if hosting.min_trust else ""
        hidden = " unlisted" if hosting.unlisted else ""
        parts.append(f"offering {format_size(hosting.storage_bytes)}{hidden}{whom}{until}")
        if hosting.invites or hosting.unlisted:
            live = format_count(hosting.invites, "invite") if hosting.invites else "no invite"
            parts.append(f"{live} to it{' is' if hosting.invites <= 1 else ' are'} live")
    if hosting.agreements:
        used = f"{format_size(hosting.used_bytes)} of {format_size(hosting.agreed_bytes)} used"
        gone = f", {format_size(hosting.deleted_bytes)} of it deleted by its owners" if hosting.deleted_bytes else ""
        if later := say_later(hosting.next_free_bytes, hosting.next_free):
            free = format_size(max(0, hosting.agreed_bytes - hosting.used_bytes - hosting.ended_bytes))
            gone += f", {free} free now{later}"
        parts.append(f"{format_count(hosting.agreements, 'agreement')}, {used}{gone}")
        if (lacking := hosting.agreements - hosting.noted) > 0:
            parts.append(f"no word of the newest state left yet for the recovery of {format_count(lacking, 'owner')}")
    if hosting.store_state not in {"", "none", "ok"}:
        parts.append(f"store {escape_name(hosting.store)}: {escape_line(hosting.store_state)}")
    return "; ".join(parts) or "nothing"
