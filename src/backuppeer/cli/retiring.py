"""`host --retire`: end all agreements as host, with notice, and show when the disk is free."""

from collections.abc import Sequence
from typing import Final

from backuppeer.cli.context import Context
from backuppeer.cli.render import Column, escape_line, format_count, format_moment, shorten_id
from backuppeer.cli.screen import GREEN, Screen
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.units import format_size
from backuppeer.control.ending import RetiredOwner, RetirePlan, RetireRequest, RetireResult
from backuppeer.errors import DeclinedError, InterruptedByUserError

_COLUMNS: Final = (
    Column("owner"),
    Column("used", "right", keep=True),
    Column("kept until", keep=True),
    Column("told", keep=True),
)


def retire(context: Context) -> int:
    """Show the plan, ask, give notice to all."""
    client, screen = context.client(), context.screen
    request = RetireRequest(servers=context.servers())
    plan = client.call("host/retire/plan", request, RetirePlan)
    if plan.is_new:
        _agree(context, plan)
    request.confirmed = True
    try:
        with Spinner(screen) as spinner:
            spinner.show("telling the owners …")
            result = client.call("host/retire", request, RetireResult)
    except KeyboardInterrupt:
        raise InterruptedByUserError("stopped; `backup-peer peers` shows to whom notice was given") from None
    _tell(context, result)
    screen.done(result)
    return 0


def _agree(context: Context, plan: RetirePlan) -> None:
    screen, owners = context.screen, format_count(plan.owners, "owner")
    if not screen.json:
        until = format_moment(plan.until)[:10]
        screen.aside(
            f"{owners} with {format_size(plan.used_bytes)} here; all of it is kept until {until} at least,", hang=2
        )
        screen.aside("and longer for those who can't be told now; only days on which this agent runs count", hang=2)
    if not screen.confirm(f"end the agreements with {owners}, and host no more?", unanswered="retiring as a host"):
        raise DeclinedError("nothing was ended: you said no")


def _tell(context: Context, result: RetireResult) -> None:
    screen = context.screen
    if screen.json:
        return
    tick = screen.paint("✓", GREEN)
    if not result.owners:
        screen.line(f"{tick} the slot is withdrawn, and nothing is kept here for anybody: the disk is free", hang=2)
        return
    screen.line(f"{tick} the slot is withdrawn, and notice given; until all is over keep the agent running", hang=2)
    show_owners(screen, result.owners)
    day = format_moment(result.until)[:10]
    screen.line(f"the disk is free on {day} at the soonest; `backup-peer host --retire` shows where it stands", hang=2)


def show_owners(screen: Screen, owners: Sequence[RetiredOwner]) -> None:
    """Draw whose data is kept here, how much, until when, and who has heard of the notice."""
    screen.table(_COLUMNS, [_cells(row) for row in owners])


def _cells(row: RetiredOwner) -> list[str]:
    name = escape_line(row.alias) or shorten_id(row.peer_id)
    return [name, format_size(row.used_bytes), format_moment(row.until)[:10], "yes" if row.told else "not yet"]
