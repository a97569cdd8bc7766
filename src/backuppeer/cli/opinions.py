"""`reputation --me`: what partners say of this home as a host."""

from typing import Final

from backuppeer.cli.context import Context
from backuppeer.cli.render import Column, escape_line, format_count, format_moment, shorten_id
from backuppeer.cli.spinner import Spinner
from backuppeer.clock import parse_duration
from backuppeer.control.reputation import OpinionRow, OpinionsRequest
from backuppeer.errors import ExitCode, UserError

_COLUMNS: Final = (
    Column("peer", keep=True),
    Column("name"),
    Column("trusts you", keep=True),
    Column("because", below=True),
)
_WAIT_S: Final = 10.0


def show_opinions(context: Context, peer: str, wait: str) -> int:
    """Ask all partners; return 0, 3 if some did not answer, 11 if none did.

    Raises:
        UserError: a peer was named beside.

    """
    if peer:
        raise UserError("--me asks all your partners", hint="for example: `backup-peer reputation --me`")
    screen = context.screen
    wait_s = float(parse_duration(wait)) if wait else _WAIT_S
    request = OpinionsRequest(servers=context.servers(), wait_s=wait_s)
    with Spinner(screen) as spinner:
        spinner.show("asking your partners …")
        rows = context.client().call("reputation/me", request, list[OpinionRow])
    told = [row for row in rows if not row.error]
    if screen.json:
        screen.value(rows)
    elif told:
        screen.table(_COLUMNS, [_cells(row) for row in told])
        screen.line()
        screen.line(f"{format_count(len(told), 'partner')} said so; it is their word, and counts for nothing", hang=2)
    for row in rows:
        if row.told:
            when = format_moment(row.told)
            screen.note(f"{row.alias or shorten_id(row.peer_id)} said so at {when}; it is asked once an hour at most")
        if row.error:
            screen.note(f"{row.alias or shorten_id(row.peer_id)} did not say: {row.error}")
    if len(told) == len(rows):
        return ExitCode.DONE
    return ExitCode.INCOMPLETE if told else ExitCode.UNREACHABLE


def _cells(row: OpinionRow) -> list[str]:
    return [
        shorten_id(row.peer_id),
        escape_line(row.alias) or "-",
        f"{row.trust:.2f} {escape_line(row.trust_level)}",
        _quote("; ".join(row.reasons)) if row.reasons else "-",
    ]


def _quote(words: str) -> str:
    """Return a peer's words as such: what they advise is not our advice."""
    return '"' + escape_line(words).replace('"', "'") + '"'
