"""`notify`: whether those who are to be told of trouble can be."""

from typing import Final

import typer

from backuppeer.cli.context import context_of
from backuppeer.cli.render import escape_line, format_count
from backuppeer.cli.screen import GREEN, RED
from backuppeer.cli.spinner import Spinner
from backuppeer.control.api import Nothing
from backuppeer.control.reporting import NotifiedPlace
from backuppeer.errors import ExitCode
from backuppeer.limits import NOTIFY_SEND_S

_WAIT_S: Final = NOTIFY_SEND_S + 5.0
"""The agent says so itself when nothing came of it."""
_HELP: Final = (
    "Send a trial notification to each address of notify.urls.\n\n"
    "`config set notify.urls -` asks for the addresses: mail, ntfy, a webhook and many others, as apprise writes them."
)


def add_to(app: typer.Typer) -> None:
    """Add the verb and what may follow it."""
    group = typer.Typer(rich_markup_mode=None)
    group.callback()(_tell_what_for)
    group.command(name="test", help=_HELP)(test)
    app.add_typer(group, name="notify", help="Notifications of trouble: mail, ntfy, desktop, webhook.")


def _tell_what_for() -> None:
    """Keep `test` a word of its own while it is the only one."""


def test(ctx: typer.Context) -> int:
    """Send one; 0 if all have it, 3 if some have, 11 if none has."""
    context = context_of(ctx)
    screen = context.screen
    with Spinner(screen) as spinner:
        spinner.show("sending a trial …")
        rows = context.client().call("notify/test", Nothing(), list[NotifiedPlace], timeout_s=_WAIT_S)
    if screen.json:
        screen.value(rows)
    else:
        for number, row in enumerate(rows, 1):
            which = f"{escape_line(row.service)} (number {number})" if len(rows) > 1 else escape_line(row.service)
            if row.sent:
                screen.line(f"{screen.paint('✓', GREEN)} {which} took it: look whether it has come", hang=2)
            else:
                screen.line(f"{screen.paint('✗', RED)} {which}: {escape_line(row.reason)}", hang=2)
    told = sum(row.sent for row in rows)
    if told < len(rows):
        lost = format_count(len(rows) - told, "address", "addresses")
        screen.note(f"{lost} of {len(rows)} can't be told")
        screen.hint("mend the address: `backup-peer config set notify.urls -` sets all of them anew")
    if told == len(rows):
        return ExitCode.DONE
    return ExitCode.INCOMPLETE if told else ExitCode.UNREACHABLE
