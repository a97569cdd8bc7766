"""What follows what among the heads of one repository: pure decisions on signed bytes that were verified before.

Knows: numbers, epochs, hashes of heads. Must not know: hosts, the database. Every head here is by a writer of ours,
which no host can forge. So two that contradict each other were both signed by this device: it was set back to an older
state, or copied. That is never the fault of the host that shows one of them.
"""

from collections.abc import Sequence
from itertools import pairwise

from backuppeer.errors import DamagedStateError
from backuppeer.proof.statements import Head, peek_statement, statement_hash

HeadRow = tuple[int, bytes, bytes]
"""Number, signed head, signed grant."""


def check_fits(head: Head, signed: bytes, rows: Sequence[HeadRow]) -> None:
    """Check that a head contradicts none of those known.

    Across a gap only the time can tell: it ascends from head to head (`plan_head`), so a head with a higher number that
    was made earlier does not descend from the lower one, and adopting it would drop the snapshots of that one.

    Raises:
        DamagedStateError: two histories.

    """
    for _, known_signed, _ in rows:
        known = peek_statement(Head, known_signed)
        if known.epoch == head.epoch and not _is_one_history(known, known_signed, head, signed):
            raise two_histories(head.number)


def plan_way(held: bytes, rows: Sequence[HeadRow], name: str) -> Sequence[HeadRow]:
    """Return the heads that bring a host from `held` to the newest, each the next of the one before.

    rows: those known from the number of `held` on, ascending. `name`: what a person calls the host.

    Raises:
        DamagedStateError: `held` is not in our history, or heads between are not known here any more.

    """
    number = peek_statement(Head, held).number
    if rows and rows[0][0] == number and statement_hash(rows[0][1]) != statement_hash(held):
        raise two_histories(number)
    has_gap = not rows or rows[0][0] != number
    if has_gap or not all(_is_next(before, after) for (_, before, _), (_, after, _) in pairwise(rows)):
        raise DamagedStateError(
            f"{name} lags behind at head {number}, and this machine does not know the heads that follow",
            hint=f"this machine was set back to an older state: {name} takes no new backups from it, but what it keeps "
            "can still be restored; `backup-peer browse` shows further hosts",
        )
    return rows[1:]


def two_histories(number: int) -> DamagedStateError:
    """Return the error for two heads that can't both be of one history."""
    return DamagedStateError(
        f"a host keeps a head {number} that does not belong to the history known here: two histories",
        hint="this machine was set back to an older state and has written since, or a copy of it writes too: "
        "let only one of them write; what the host keeps is still there",
    )


def _is_one_history(known: Head, known_signed: bytes, head: Head, signed: bytes) -> bool:
    if known.number == head.number:
        return statement_hash(known_signed) == statement_hash(signed)
    if known.number == head.number - 1:
        return head.previous == statement_hash(known_signed)
    if known.number == head.number + 1:
        return known.previous == statement_hash(signed)
    return (known.number < head.number) == (known.time_ms < head.time_ms)


def _is_next(before_signed: bytes, after_signed: bytes) -> bool:
    """Whether a host that holds one head takes the other (host.heads): its compare-and-set."""
    before, after = peek_statement(Head, before_signed), peek_statement(Head, after_signed)
    if after.epoch > before.epoch:
        return after.number > before.number
    return after.number == before.number + 1 and after.previous == statement_hash(before_signed)
