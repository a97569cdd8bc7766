"""Which requests to delete are kept twice as long: those that take a large part of the data within a week (DESIGN 5).

Knows: numbers of requests. Must not know: packs, files, the clock. Pure: the same requests give the same answer, so a
store whose catalogue was lost doubles again what it had doubled.

Whoever has an owner's machine can sign deletes. The lock is the time in which somebody notices, and this makes it
longer where it matters. The time is the store's age, and the measure is what was there when the window began:

- all requests of a window count together, or many small ones would pass; the one that goes over the share doubles
  every request of its window;
- what is stored or deleted within the window changes nothing of the measure, else pruning would inflate the share,
  and rubbish sent first would deflate it. So there are two measures, and one is enough: all that was deleted against
  all that was held before the window's first request; and what was older than a window, among both. Drafts are no
  data (ADR 31): they can be sent and withdrawn at will.
"""

from collections.abc import Sequence
from typing import NamedTuple

from backuppeer.ids import AgreementId
from backuppeer.limits import HOLD_FACTOR, HOLD_PERMILLE, HOLD_WINDOW_S


class Measure(NamedTuple):
    """Bytes of packs that are no drafts and not deleted: all, and those that were stored a window ago or earlier."""

    all_bytes: int = 0
    old_bytes: int = 0

    def plus(self, other: "Measure") -> "Measure":
        """Return the sum."""
        return Measure(self.all_bytes + other.all_bytes, self.old_bytes + other.old_bytes)


class Asked(NamedTuple):
    """A request to delete: its number, the store's age at that time, what was `held` before it, and what it `took`."""

    number: int
    age_s: int
    held: Measure
    took: Measure


class Alarm(NamedTuple):
    """A mass deletion that is not over: of `held_bytes`, `deleted_bytes` still lie there and are erased in `left_s`.

    `first`, `last`: numbers of the first and last request that is held longer for it.
    """

    agreement: AgreementId
    first: int
    last: int
    asked_bytes: int
    held_bytes: int
    deleted_bytes: int
    left_s: int

    @property
    def is_much(self) -> bool:
        """Whether what still lies there is more than the share: of the rest, nobody need be told."""
        return _is_over(self.deleted_bytes, self.held_bytes)

    @property
    def percent(self) -> int:
        """Return which share of the data it was, rounded up, 100 at most."""
        return min(100, -(-100 * self.asked_bytes // max(1, self.held_bytes)))


def make_alarm(agreement: AgreementId, requests: Sequence[Asked], *, deleted_bytes: int, left_s: int) -> Alarm:
    """Return the alarm of requests that are held longer, told by the measure of which they take the larger share.

    So rubbish that was sent before makes it look no smaller. `requests`: at least one, in order of their numbers.
    """
    held, took = requests[0].held, _sum(requests)
    pairs = [(took.all_bytes, held.all_bytes), (took.old_bytes, held.old_bytes)]
    asked_bytes, held_bytes = max(pairs, key=lambda pair: pair[0] / max(1, pair[1]))
    first, last = requests[0].number, requests[-1].number
    return Alarm(agreement, first, last, asked_bytes, held_bytes, deleted_bytes, left_s)


def in_window(requests: Sequence[Asked], age_s: int) -> list[Asked]:
    """Return the requests of the window before `age_s`; `requests`: of one agreement, in order of their numbers."""
    return [asked for asked in requests if asked.age_s > age_s - HOLD_WINDOW_S]


def find_doubled(requests: Sequence[Asked]) -> set[int]:
    """Return the numbers of those that the last request makes be held longer, itself included; most often none."""
    window = in_window(requests, requests[-1].age_s) if requests else []
    return {asked.number for asked in window} if window and _is_mass(window) else set()


def spare_bytes(requests: Sequence[Asked], age_s: int, held: Measure) -> int:
    """Return how many bytes may be deleted now before the hold doubles; `held`: what is there now."""
    window = in_window(requests, age_s)
    base = window[0].held if window else held
    took = _sum(window)
    spare = min(
        base.all_bytes * HOLD_PERMILLE // 1000 - took.all_bytes,
        # What is deleted may be old to the last byte; without anything old this measure says nothing.
        base.old_bytes * HOLD_PERMILLE // 1000 - took.old_bytes if base.old_bytes else base.all_bytes,
    )
    return max(0, spare)


def held_s(lock_s: int, *, is_doubled: bool) -> int:
    """Return for how long what a request deletes is kept."""
    return lock_s * HOLD_FACTOR if is_doubled else lock_s


def _is_mass(window: Sequence[Asked]) -> bool:
    base, took = window[0].held, _sum(window)
    return _is_over(took.all_bytes, base.all_bytes) or _is_over(took.old_bytes, base.old_bytes)


def _is_over(took_bytes: int, base_bytes: int) -> bool:
    return took_bytes * 1000 > base_bytes * HOLD_PERMILLE


def _sum(window: Sequence[Asked]) -> Measure:
    total = Measure()
    for asked in window:
        total = total.plus(asked.took)
    return total
