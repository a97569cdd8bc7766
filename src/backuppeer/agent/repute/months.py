"""The months of an agreement as this home holds them: which both signed, which lack, and why (ADR 62, `peers show`).

Knows: the shelf, notes about gaps, what a month without a receipt means. Must not know: sessions, terminals, evidence:
whether a month was good is asked of whoever has it.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from enum import Enum
from itertools import groupby

from backuppeer.agent.repute.shelf import Shelf
from backuppeer.agent.repute.shelves import Keep
from backuppeer.ids import AgreementId, PeerId
from backuppeer.proof.receipts import GapNote, Shown, begin_of, count_months
from backuppeer.proof.statements import Agreement


class Lack(Enum):
    """Why a month has no receipt that both signed."""

    DUE = "due"
    """It was over last, was good, and is signed when the two meet."""
    UNSIGNED = "unsigned"
    """The owner signed it, and the host has not: it is asked again when they meet."""
    PASSED_OVER = "passed over"
    """The owner signed it, and the host signed a later one instead: it stays one-sided."""
    CLAIMED = "claimed"
    """The owner signed that the host failed."""
    LOST = "lost"
    """The host failed in it, and the owner has not said so yet."""
    UNSHOWN = "unshown"
    """The host showed nothing in it, or said itself that it lost something: nobody signs for it."""
    UNMET = "unmet"
    """It was good, and the two did not meet in the month after."""
    EXPLAINED = "explained"
    """A home was lost in it and brought back, and both signed that: it breaks no row."""
    UNASKED = "unasked"
    """As the host: its owner asked for no signature."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Months that follow each other and lack a receipt for one reason. note: of EXPLAINED ones, what both signed."""

    first: int
    last: int
    lack: Lack
    note: GapNote | None = None


@dataclass(frozen=True, slots=True)
class Months:
    """over: how many months of the agreement are. signed: receipts that both signed, ascending. lacking: the others."""

    over: int
    signed: tuple[Shown, ...]
    lacking: tuple[Stretch, ...]


Judge = Callable[[int], bool | None]
"""When a month begins (ms) → whether all was kept in it; None: nobody can say (`owner.receipting.judge_month`)."""


def recount_months(
    terms: Agreement, shelf: Shelf, now_ms: int, *, keep: Keep, judge: Judge, before: Collection[PeerId] = ()
) -> Months:
    """Return the months of an agreement; keep: OWNER or HOST, which side this home is on it.

    judge: asked as the owner alone, of months without a receipt. before: who was a side of the agreement once (ADR 69).

    Raises:
        LocalError: the shelf can't be read.

    """
    agreement, over = AgreementId(terms.agreement), count_months(terms.start_ms, now_ms)
    sides = {terms.owner, terms.host, *before}
    every = (shown for shown in shelf.own(keep) if shown.said.agreement == agreement)
    own = [shown for shown in every if {shown.said.owner, shown.said.host} <= sides]
    signed = sorted((shown for shown in own if shown.is_cosigned), key=lambda shown: shown.said.number)
    alone = {shown.said.number: shown for shown in own if not shown.is_cosigned}
    notes = [said for said, _ in shelf.gaps(agreement) if {said.by, said.other} <= sides]
    newest = signed[-1].said.number if signed else 0
    held = {shown.said.number for shown in signed}

    def explain(number: int) -> tuple[Lack, GapNote | None]:
        note = next((note for note in notes if note.first <= number <= note.last), None)
        if note is not None:
            return Lack.EXPLAINED, note
        if keep is Keep.HOST:
            return Lack.UNASKED, None
        if number in alone:
            return _find_one_sided(alone[number], newest), None
        kept = judge(begin_of(terms.start_ms, number))
        return _find_lack(kept=kept, is_last=number == over), None

    missing = [(number, *explain(number)) for number in range(1, over + 1) if number not in held]
    return Months(over, tuple(signed), tuple(_join(missing)))


def _find_one_sided(shown: Shown, newest: int) -> Lack:
    if not shown.said.kept:
        return Lack.CLAIMED
    return Lack.UNSIGNED if shown.said.number > newest else Lack.PASSED_OVER


def _find_lack(*, kept: bool | None, is_last: bool) -> Lack:
    if not kept:
        return Lack.UNSHOWN if kept is None else Lack.LOST
    return Lack.DUE if is_last else Lack.UNMET


def _join(missing: Iterable[tuple[int, Lack, GapNote | None]]) -> list[Stretch]:
    """Return months that follow each other for one reason as one."""
    found = []
    numbered = enumerate(missing)
    for (_, lack, note), run in groupby(numbered, key=lambda pair: (pair[1][0] - pair[0], pair[1][1], pair[1][2])):
        numbers = [month[0] for _, month in run]
        found.append(Stretch(numbers[0], numbers[-1], lack, note))
    return found
