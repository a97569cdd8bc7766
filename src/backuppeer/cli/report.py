"""`report`: what the last seven days brought, as the weekly notification tells it."""

import typer

from backuppeer.agent.overview.wording import write_parts
from backuppeer.cli.context import context_of
from backuppeer.cli.render import escape_line
from backuppeer.cli.screen import BOLD, GREEN, YELLOW
from backuppeer.control.api import Nothing
from backuppeer.control.reporting import Report

_HELP = (
    "Show what the last seven days brought.\n\nBackups, proofs, hosts, space, and what needs attention. "
    "`config set notify.report weekly` sends it each week to the addresses of notify.urls."
)


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="report", help=_HELP)(report)


def report(ctx: typer.Context) -> int:
    """Show the report."""
    context = context_of(ctx)
    screen = context.screen
    found = context.client().call("report", Nothing(), Report)
    if screen.json:
        screen.value(found)
        return 0
    screen.line(f"the week from {found.since[:10]} to {found.until[:10]}")
    for part in write_parts(found):
        screen.line()
        screen.line(screen.paint(part.heading, BOLD))
        sign = screen.paint("!", YELLOW) if part.heading == "needs attention" and found.attention else ""
        is_well = part.heading == "needs attention" and not found.attention
        for line in part.lines:
            mark = "   " if line.startswith("→") else f"{sign} " if sign else ""
            mark = f"{screen.paint('✓', GREEN)} " if is_well else mark
            screen.line(f"  {mark}{escape_line(line)}", hang=6)
    return 0
