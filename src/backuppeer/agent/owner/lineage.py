"""What follows what among the heads of one repository: pure decisions on signed bytes that were verified before.

Knows: numbers, epochs, hashes of heads. Must not know: hosts, the database. Every head here is by a writer of ours,
which no host can forge. So two that contradict each other were both signed by this device: it was set back to an older
state, or copied; or by two devices that took over without hearing of each other. That is never the fault of the host
that shows one of them.

A head of an earlier epoch is *stray* when the newest head does not descend from it: its writer went on at a host that
the next writer could not hear when it took over. What only it names must be joined before that host gets a newer head.
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


def check_writer(head: Head, mine: Head) -> None:
    """Check that two heads of one epoch are by one device: neither of two descends from the other, whatever it names.

    Raises:
        DamagedStateError: they are by two devices.

    """
    if head.epoch == mine.epoch and head.device != mine.device:
        raise DamagedStateError(
            f"a host keeps what another machine wrote, which took over at the same time (both epoch {head.epoch})",
            hint="`backup-peer recover --take-over` on the machine that is to make the backups ends that; nothing is "
            "lost meanwhile",
        )


def is_stray(head: Head, signed: bytes, rows: Sequence[HeadRow]) -> bool:
    """Whether the newest head does not descend from `head`, which is of an earlier epoch. `rows`: all heads known.

    The first known head of a later epoch names the one it follows: what its writer saw of the earlier epochs. Where
    that one is not known here nothing can be told, and what can't be told is taken for stray: joined twice is no loss.
    """
    later = [known for known in (peek_statement(Head, row[1]) for row in rows) if known.epoch > head.epoch]
    if not later:
        return False
    base = next((row for row in rows if statement_hash(row[1]) == later[0].previous), None)
    if base is None:
        return True
    seen = peek_statement(Head, base[1])
    is_same_writer = (seen.epoch, seen.device) == (head.epoch, head.device)
    return not is_same_writer or head.number > seen.number or not _is_one_history(seen, base[1], head, signed)


def plan_way(held: bytes, rows: Sequence[HeadRow], name: str) -> Sequence[HeadRow]:
    """Return the heads that bring a host from `held` to the newest, each the next of the one before.

    rows: those known from the number of `held` on, ascending, by its number. `name`: what a person calls the host.

    Raises:
        DamagedStateError: `held` is not in our history, or heads between are not known here any more.

    """
    last = peek_statement(Head, held)
    number = last.number
    if rows and peek_statement(Head, rows[-1][1]).epoch > last.epoch:
        # A host takes the head of a later epoch whatever lies between (host.heads). That nothing which only it has is
        # lost by that is for those to see to who ask for the way (`is_stray`).
        return rows[-1:]
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
        "let only one of them write; `backup-peer recover --take-over` on that one joins what the host keeps",
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
