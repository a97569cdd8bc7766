"""The evidence of one peer, kept up day by day: what `sum_days` gives, without going through all days again. Pure.

Knows: two sums and the day they stand for. Must not know: where days come from. Fading is exponential, so the sums of a
day follow from those of any day before: a score costs the same after a week and after ten years.
"""

from dataclasses import dataclass
from typing import Final

from backuppeer.limits import EVIDENCE_DAYS
from backuppeer.trust.score import BAD_HALF_LIFE_DAYS, GOOD_HALF_LIFE_DAYS, DayEvidence, sum_days

SILENT_DAYS: Final = 14
"""Without a word for longer than this a host is silent beyond grace: holidays are mostly shorter (DESIGN 8)."""


@dataclass(frozen=True, slots=True)
class Tally:
    """alpha, beta ≥ 0 as they stand on `day` (counted from any day, the same for all)."""

    alpha: float = 0.0
    beta: float = 0.0
    day: int = 0

    def at(self, day: int) -> "Tally":
        """Return the same evidence as it has faded by `day`; a day before its own changes nothing."""
        age = day - self.day
        if age <= 0:
            return self
        return Tally(self.alpha * 2 ** (-age / GOOD_HALF_LIFE_DAYS), self.beta * 2 ** (-age / BAD_HALF_LIFE_DAYS), day)

    def add(self, unit: DayEvidence, *, day: int) -> "Tally":
        """Return the evidence with one more unit, seen `unit.age_days` before `day`."""
        faded = self.at(day)
        alpha, beta = sum_days((unit,))
        return Tally(faded.alpha + alpha, faded.beta + beta, faded.day)


def is_silent(days_since_answer: float) -> bool:
    """Return whether a host that answered last so many days ago is silent beyond grace."""
    return days_since_answer > SILENT_DAYS


@dataclass(frozen=True, slots=True)
class Sums:
    """The evidence of a peer as it stood on a day, and the day of the first of it."""

    tally: Tally
    first_day: int

    def holds_on(self, today: int) -> bool:
        """Whether it only has to fade until `today`: nothing of it gets too old, and no clock was set back."""
        if not self.tally.alpha and not self.tally.beta:
            return True
        return self.tally.day <= today and self.first_day > today - EVIDENCE_DAYS
