"""`peers show`: who keeps how much for whom, and on which terms."""

from typing import Annotated, Final

import typer

from backuppeer.cli.context import context_of
from backuppeer.cli.render import escape_line, format_moment, name_peer, say_later
from backuppeer.cli.screen import Screen
from backuppeer.cli.units import format_duration, format_size
from backuppeer.control.api import PeerRequest
from backuppeer.control.showing import Account, PeerAccount

HELP: Final = "Show your account with one peer: who keeps how much, on which terms."
_LABEL: Final = 10


def show(
    ctx: typer.Context,
    peer: Annotated[str, typer.Argument(metavar="ID|PREFIX|ALIAS", help="The peer, as `peers` shows it.")],
) -> int:
    """Show the account."""
    context = context_of(ctx)
    screen = context.screen
    row = context.client().call("peers/show", PeerRequest(servers=context.servers(), peer=peer), PeerAccount)
    if screen.json:
        screen.value(row)
        return 0
    marks = [text for text, holds in (("compared", row.verified), ("blocked", row.blocked)) if holds]
    screen.line(name_peer(row.peer_id, row.alias) + (f": {', '.join(marks)}" if marks else ""), hang=2)
    screen.line(f"full id   {escape_line(row.peer_id)}", hang=_LABEL)
    _show_side(screen, "keeps for you", row.there)
    _show_side(screen, "you keep for it", row.here)
    if row.there and row.here:
        who = "you keep" if row.owed_bytes >= 0 else "it keeps"
        screen.line(f"together: {who} {format_size(abs(row.owed_bytes))} more than the other", hang=2)
    return 0


def _show_side(screen: Screen, label: str, account: Account | None) -> None:
    if account is None:
        screen.line(f"{label}: nothing is agreed", hang=2)
        return
    free = f"{format_size(max(0, account.agreed_bytes - account.used_bytes))} free now"
    free += say_later(account.next_free_bytes, account.next_free)
    used = f"{format_size(account.used_bytes)} of {format_size(account.agreed_bytes)}"
    screen.line(f"{label}: {used}, {'nothing more, as it ends' if account.ends else free}", hang=2)
    lock, notice = format_duration(account.lock_s), format_duration(account.notice_s)
    changed = f", changed {account.revision - 1} times" if account.revision > 1 else ""
    screen.line(f"  until {format_moment(account.until)[:10]}, lock {lock}, notice {notice}{changed}", hang=4)
    if account.ends:
        who = "you ended it" if account.ended_by_us else "it ends it"
        screen.line(f"  {who}: all is kept until {format_moment(account.ends)[:10]} at least", hang=4)
