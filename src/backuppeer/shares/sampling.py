"""Which leaves of which copies a host is asked for on which day (DESIGN 5, "Audit"; ADR 36).

Knows: copies and their sizes, a secret seed, days. Must not know: hosts, ledgers, challenges, what was answered. Pure;
whatever the number of copies it holds one of them and a day's draws.

    of each copy    one leaf in each cycle of 30 days, on a day drawn anew for each cycle; of a copy below 1 MiB with
                    the chance size / 1 MiB, for there a leaf is much of the bytes
    of all leaves   30 a day from 32 GiB on, each as likely as any other, so that a host can't live on the days when it
                    knows that a copy's turn is over; below, 0.05 % of the bytes in a cycle, one at least
    of all blocks   once in a cycle, in bulk: 1 % of the bytes, 1 GiB at most

Everything follows from seed, day and the copies in their order: nothing has to be kept. The seed is 32 secret bytes,
one for each agreement; without it days and leaves look random. Days count from 1970; `day // 30` is the cycle of a day.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from backuppeer.crypto.digest import hash_keyed
from backuppeer.limits import (
    AUDIT_CYCLE_DAYS,
    AUDIT_SAMPLE_BYTES,
    AUDIT_SMALL_PACK_BYTES,
    AUDIT_UNIFORM_PER_CYCLE,
    AUDIT_UNIFORM_PER_MILLION,
    BLOCK_BYTES,
    BULK_READ_BYTES,
    BULK_READ_PERCENT,
    LEAF_BYTES,
)
from backuppeer.proof.audits import Sample
from backuppeer.proof.merkle import count_leaves
from backuppeer.shares.copies import Copy

_BLOCK_LEAVES: Final = BLOCK_BYTES // LEAF_BYTES
Copies = Callable[[], Iterable[Copy]]
"""Gives the copies under one agreement, each time from the start and in the same order: `Ledger.copies_at`."""


@dataclass(frozen=True, slots=True)
class Draw:
    """Leaves of a copy to ask for: `leaves` of them, from `first_leaf` on."""

    copy: Copy
    first_leaf: int
    leaves: int = 1

    @property
    def sample(self) -> Sample:
        """What a challenge says of it."""
        return Sample(self.copy.stored, self.first_leaf, self.leaves)


def plan_day(seed: bytes, day: int, copies: Copies) -> Iterator[Draw]:
    """Yield what to ask for on a day (since 1970), in the order of the copies, which are read twice.

    A day that was missed is planned in the same way later. A leaf may come twice.

    Raises:
        LocalError: the seed has not 32 bytes.

    """
    cycle, turn = divmod(day, AUDIT_CYCLE_DAYS)
    measure = _Measure(copies(), LEAF_BYTES)
    places = _draw_places(seed, day, measure)
    for copy, here in _walk(copies(), LEAF_BYTES, places):
        yield from (Draw(copy, place) for place in here)
        leaf = _draw_of_copy(seed, cycle, turn, copy)
        if leaf is not None:
            yield Draw(copy, leaf)


def plan_bulk(seed: bytes, cycle: int, copies: Copies) -> Iterator[Draw]:
    """Yield the blocks to read in bulk in a cycle, different ones, in the order of the copies, which are read twice.

    Raises:
        LocalError: the seed has not 32 bytes.

    """
    measure = _Measure(copies(), BLOCK_BYTES)
    wanted = -(-min(BULK_READ_BYTES, measure.size * BULK_READ_PERCENT // 100) // BLOCK_BYTES)
    places: set[int] = set()
    number = 0
    # Never more than a hundredth of the bytes, and none for no copies: so there are enough, and few are drawn in vain.
    while len(places) < wanted:
        places.add(_draw(seed, b"bulk", cycle, number.to_bytes(8, "big")) % measure.pieces)
        number += 1
    for copy, here in _walk(copies(), BLOCK_BYTES, sorted(places)):
        last = count_leaves(copy.size)
        for place in here:
            first = place * _BLOCK_LEAVES
            yield Draw(copy, first, min(_BLOCK_LEAVES, last - first))


def draw_any(copies: Copies, pick: Callable[[int], int]) -> Iterator[Draw]:
    """Yield one leaf, each as likely as any other; nothing when there is no copy. `pick`: a number below its argument.

    For an audit that asks beside the plan: whoever could tell it beforehand could have the leaf ready, and no other.
    """
    pieces = _Measure(copies(), LEAF_BYTES).pieces
    if pieces:
        for copy, here in _walk(copies(), LEAF_BYTES, [pick(pieces)]):
            yield from (Draw(copy, place) for place in here)


def draw_each(copies: Iterable[Copy], pick: Callable[[int], int]) -> Iterator[Draw]:
    """Yield one leaf of each copy, in their order; `pick`: a number below its argument, that nobody can foresee."""
    for copy in copies:
        yield Draw(copy, pick(count_leaves(copy.size)))


def count_uniform(size_bytes: int) -> int:
    """Return how many leaves are drawn in a cycle from all of so many stored bytes, beside one of each copy."""
    share = size_bytes * AUDIT_UNIFORM_PER_MILLION // 1_000_000
    return min(AUDIT_UNIFORM_PER_CYCLE, max(1, share // AUDIT_SAMPLE_BYTES)) if size_bytes else 0


class _Measure:
    """How many bytes the copies have together, and how many pieces of some size, of which the last may be short."""

    __slots__ = ("pieces", "size")

    def __init__(self, copies: Iterable[Copy], piece_bytes: int) -> None:
        self.pieces = self.size = 0
        for copy in copies:
            self.size += copy.size
            self.pieces += -(-copy.size // piece_bytes)


def _walk(copies: Iterable[Copy], piece_bytes: int, places: list[int]) -> Iterator[tuple[Copy, list[int]]]:
    """Yield each copy with those of the places (of all pieces, ascending) that lie in it, counted from its start.

    Copies that came or went since the places were drawn shift them, or leave the last ones out: still leaves of copies.
    """
    start = at = 0
    for copy in copies:
        end = start + -(-copy.size // piece_bytes)
        first = at
        while at < len(places) and places[at] < end:
            at += 1
        yield copy, [place - start for place in places[first:at]]
        start = end


def _draw_places(seed: bytes, day: int, measure: _Measure) -> list[int]:
    """Return the day's share of a cycle's draws from all leaves, ascending."""
    cycle, turn = divmod(day, AUDIT_CYCLE_DAYS)
    count = count_uniform(measure.size)
    # Where the days' shares differ by one, which days have more is drawn, too: of a single one nobody knows the day.
    turn = (turn + _draw(seed, b"turn", cycle, b"")) % AUDIT_CYCLE_DAYS
    today = (turn + 1) * count // AUDIT_CYCLE_DAYS - turn * count // AUDIT_CYCLE_DAYS
    # 256 bits modulo at most 2**63: each leaf is as likely as any other but for 2**-193.
    return sorted(_draw(seed, b"leaf", day, number.to_bytes(8, "big")) % measure.pieces for number in range(today))


def _draw_of_copy(seed: bytes, cycle: int, turn: int, copy: Copy) -> int | None:
    """Return the leaf of a copy that is asked for if this is its day of the cycle, else None."""
    drawn = _draw(seed, b"pack", cycle, copy.stored)
    drawn, own_turn = divmod(drawn, AUDIT_CYCLE_DAYS)
    if own_turn != turn:
        return None
    drawn, chance = divmod(drawn, AUDIT_SMALL_PACK_BYTES)
    return drawn % count_leaves(copy.size) if chance < copy.size else None


def _draw(seed: bytes, what: bytes, when: int, which: bytes) -> int:
    """Return a number of 256 bits that only the seed tells; `what` has four letters, so no two draws are one."""
    return int.from_bytes(hash_keyed(seed, what + when.to_bytes(8, "big") + which), "big")
