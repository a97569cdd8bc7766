"""The receipts of an agreement as people are told of them: a part of peers/show (control.api routes).

Knows: names, what a person can do about a month that lacks. Must not know: HTTP, terminals, how a month is judged.
"""

import shlex
from collections.abc import Collection
from typing import Final

from backuppeer.agent.agent import Agent
from backuppeer.agent.peers.names import name_of
from backuppeer.agent.repute.months import Lack, Months, Stretch, recount_months
from backuppeer.agent.repute.shelves import Keep
from backuppeer.clock import format_time
from backuppeer.control.showing import Lacking, ReceiptsHeld
from backuppeer.ids import PeerId
from backuppeer.limits import CLAIM_COUNTS_DAYS
from backuppeer.proof.receipts import begin_of
from backuppeer.proof.statements import Agreement

_REASONS: Final = {
    Lack.DUE: "all was kept, and both sign when you meet",
    Lack.UNSIGNED: "you signed it, and it has not yet",
    Lack.PASSED_OVER: "you signed it, and it signed a later one instead: your word alone counts a tenth",
    Lack.CLAIMED: f"you signed that it failed: others count that for {CLAIM_COUNTS_DAYS} days",
    Lack.LOST: "it failed",
    Lack.UNSHOWN: "it showed nothing of yours, or told of a loss itself, so nobody signed",
    Lack.UNMET: "all was kept, but you did not meet in the month after, when it is signed",
    Lack.UNASKED: "its owner had nothing signed",
}


def describe_receipts(agent: Agent, terms: Agreement, keep: Keep, before: Collection[PeerId] = ()) -> ReceiptsHeld:
    """Return the receipts of an agreement in which this home is the OWNER, or the HOST; before: who was a side once.

    Raises:
        LocalError: they can't be read.

    """
    receipting, now_ms = agent.repute.receipting, agent.parts.clock.now_ms()
    judge = receipting.judging(PeerId(terms.host))
    months = recount_months(terms, agent.repute.shelf, now_ms, keep=keep, judge=judge, before=before)
    newest = months.signed[-1].said if months.signed else None
    number = newest.number if newest else 0
    is_private = newest is not None and newest.private
    other = PeerId(terms.host if keep is Keep.OWNER else terms.owner)
    typed = shlex.quote(name_of(agent.parts.state, other))
    return ReceiptsHeld(
        months=months.over,
        signed=len(months.signed),
        newest=number,
        newest_ends=format_time(newest.until_ms) if newest else "",
        newest_bytes=newest.size_bytes if newest else 0,
        since=format_time(newest.since_ms) if newest else "",
        theirs=_find_theirs(months, keep),
        is_told=receipting.is_shared() if keep is Keep.OWNER else not is_private,
        is_private=is_private,
        next_over=format_time(begin_of(terms.start_ms, months.over + 2)),
        lacking=[_describe(each, terms, typed, other, newest=number) for each in months.lacking],
    )


def _find_theirs(months: Months, keep: Keep) -> int:
    """Return up to which month the other side is known to hold receipts that both signed, 0 = of none.

    A host keeps what it signs before it shows it. Of its owner the host knows only that it had the one that a later
    one names.
    """
    if not months.signed:
        return 0
    if keep is Keep.OWNER:
        return months.signed[-1].said.number
    named = months.signed[-1].said.previous
    return next((shown.said.number for shown in months.signed if shown.hash == named), 0)


def _describe(stretch: Stretch, terms: Agreement, typed: str, other: PeerId, *, newest: int) -> Lacking:
    return Lacking(
        first=stretch.first,
        last=stretch.last,
        begins=format_time(begin_of(terms.start_ms, stretch.first)),
        ends=format_time(begin_of(terms.start_ms, stretch.last + 1)),
        reason=_REASONS.get(stretch.lack) or _say_explained(stretch, other),
        # What a later receipt went on from is over: nothing can be done about it.
        todo=_say_todo(stretch.lack, typed) if stretch.last > newest else "",
        is_explained=stretch.lack is Lack.EXPLAINED,
    )


def _say_explained(stretch: Stretch, other: PeerId) -> str:
    whose = "its" if stretch.note is not None and stretch.note.by == other else "your"
    return f"{whose} home was lost and recovered then; both signed that, and the row of months goes on"


def _say_todo(lack: Lack, typed: str) -> str:
    match lack:
        case Lack.DUE:
            return f"that happens with the next session; `backup-peer audit --now {typed}` begins one"
        case Lack.UNSIGNED:
            return "it is asked again with each session; if it stays so, ask its person why"
        case Lack.UNSHOWN:
            return (
                f"one audit or restore a month is enough: `backup-peer audit --now {typed}` does it now, the agent "
                "each day by itself while both machines are on, unless `backup-peer config get audits` says off"
            )
        case Lack.UNMET:
            return "the agents of both must run at one time once a month"
        case Lack.UNASKED:
            return "its machine asks when you meet; nothing is to be done here"
        case _:
            return ""
