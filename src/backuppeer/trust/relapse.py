"""Whether a host failed again after it had been good for a while: what on-off behaviour looks like. Pure.

Knows: days with faults. Must not know: where they are written down. Sums of evidence can't tell a host that fails for
some days, is good for two months and fails again from one that failed once: whoever meets it seldom sees few faults
beside many good days (ADR 58). So failing twice within a year caps the score, whatever else there is.

    a spell    days with faults, none more than 14 days after the one before, whose kappas are 8 or more together:
               a proven loss, or two days of refusals while online
    relapsed   two spells within 365 days: T ≤ .45 until the first is older than that

A disk that dies and says so weighs 2, lateness 1: neither is a spell by itself.
"""

from collections.abc import Iterable
from typing import Final

from backuppeer.trust.score import Fault

SPELL_KAPPA: Final = 8.0
SPELL_DAYS: Final = 14
WITHIN_DAYS: Final = 365


def has_relapsed(faults: Iterable[tuple[int, Fault]], *, today: int) -> bool:
    """Return whether a host had two spells of failing within a year of `today`.

    faults: days, ascending, each with the worst fault of it.
    """
    spells: list[float] = []
    last = 0
    for day, fault in faults:
        if day <= today - WITHIN_DAYS or fault.value < Fault.REFUSED_ONLINE.value:
            continue
        if not spells or day - last > SPELL_DAYS:
            spells.append(0.0)
        spells[-1] += fault.value
        last = day
    return sum(kappas >= SPELL_KAPPA for kappas in spells) >= 2
