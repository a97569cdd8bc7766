"""`connect --best` and `connect --trial`: who is proposed, and how little is asked for at first.

Knows: options, and what they make of a request. Must not know: how connecting goes on.
"""

from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
import typer

from backuppeer.cli.context import Context
from backuppeer.cli.lan import Lan
from backuppeer.cli.render import escape_line, format_count, format_trust, name_peer
from backuppeer.cli.screen import BOLD, Screen
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.units import format_size, parse_size, read_span
from backuppeer.control.api import BrowseRow
from backuppeer.control.choosing import BestChoice, BestRequest
from backuppeer.errors import UserError
from backuppeer.limits import TRIAL_TERM_S
from backuppeer.trust.exposure import TRIAL_BYTES

_ASKED: Final = "10GB"
"""What --best asks for if nothing is said."""
_LABEL: Final = 14


@dataclass(frozen=True, slots=True)
class Choice:
    """best: the best host is to be proposed, one of `region` if that is not empty. trial: a trial is asked for.

    lan: whether the local network is asked, too; None: as configured.
    """

    best: bool
    region: str
    trial: bool
    lan: bool | None = None


def choose(
    *,
    best: Annotated[bool, typer.Option("--best", help="Propose the best host that has the room, and ask.")] = False,
    region: Annotated[str, typer.Option(metavar="EU", help="With --best: only hosts of this region.")] = "",
    trial: Annotated[
        bool, typer.Option("--trial", help=f"Ask for {format_size(TRIAL_BYTES)} for 30 days, to see how the host does.")
    ] = False,
    lan: Lan = None,
) -> Choice:
    """Return what the options say."""
    return Choice(best, region, trial, lan)


def read_storage(choice: Choice, storage: str) -> int:
    """Return how many bytes to ask for.

    Raises:
        UserError: not a size, none where there is no default, or more than a trial is.

    """
    if choice.trial:
        size_bytes = parse_size(storage) if storage else TRIAL_BYTES
        if size_bytes > TRIAL_BYTES:
            raise UserError(
                f"a trial is {format_size(TRIAL_BYTES)} at most, not {format_size(size_bytes)}",
                hint="leave --storage out; or leave --trial out, and name your own terms",
            )
        return size_bytes
    if not storage and not choice.best:
        raise UserError(
            "how much space? --storage is missing", hint="for example: `backup-peer connect PEER --storage 10GB`"
        )
    return parse_size(storage or _ASKED)


def read_term(choice: Choice, term: str) -> int | None:
    """Return for how many seconds to ask; None = the default.

    Raises:
        UserError: not a duration, or other than a trial is.

    """
    if choice.trial and term:
        raise UserError(
            "a trial is for 30 days", hint="leave --term out; or leave --trial out, and name your own terms"
        )
    return TRIAL_TERM_S if choice.trial else read_span(term, "--term")


def pick_peer(context: Context, choice: Choice, peer: str, storage: int) -> str:
    """Return the peer that was named, or the full id of the one that is proposed, once it is shown why.

    Raises:
        UserError: both, or neither.
        NotFoundError: nobody can be proposed.

    """
    if bool(peer) == choice.best:
        raise UserError(
            "name a host or --best, not both" if peer else "which host?",
            hint="for example: `backup-peer connect --best --storage 10GB`; `backup-peer browse` shows all",
        )
    if choice.region and not choice.best:
        raise UserError("--region goes with --best", hint="a host that is named has the region it has")
    if peer:
        return peer
    with Spinner(context.screen) as spinner:
        spinner.show("looking for the best host …")
        request = BestRequest(servers=context.servers(), storage=storage, region=choice.region, lan=choice.lan)
        found = context.client().call("connect/best", request, BestChoice)
    context.screen.event("proposed", msgspec.to_builtins(found))
    if not context.screen.json:
        _show(context.screen, found)
    return found.best.peer_id


def _show(screen: Screen, found: BestChoice) -> None:
    count = format_count(found.seen, "host")
    screen.aside(f"{'proposed':<{_LABEL}}{screen.paint(_describe(found.best), BOLD)}", hang=_LABEL)
    after = f"the best of {count}" if found.next is None else f"before {_describe(found.next)}"
    screen.aside(f"{'':<{_LABEL}}{after}", hang=_LABEL)


def _describe(row: BrowseRow) -> str:
    place = f", {escape_line(row.region)}" if row.region else ""
    return (
        f"{name_peer(row.peer_id, row.alias)}, {format_trust(row.trust, row.trust_level, row.capped)} "
        f"({escape_line(row.reason)}), {format_size(row.free_bytes)} free{place}"
    )
