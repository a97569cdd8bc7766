"""Whether a host failed again after it had been good for a while: what on-off behaviour looks like. Pure.

Knows: days with faults. Must not know: where they are written down. Sums of evidence can't tell a host that fails for
some days, is good for two months and fails again from one that failed once: whoever meets it seldom sees few faults
beside many good days (ADR 58). So failing twice within a year caps the score, whatever else there is.

    a spell    days with proven losses or refusals while online, none more than 14 days after the one before
    relapsed   two spells or more within 365 days whose kappas are 12 or more together: two losses, a loss and a
               refusal, three days of refusals. T ≤ .45 until that holds no more

Two refusals in a year are none: a program may have a bad day. A disk that dies and says so, and lateness, are no spell.
"""

from collections.abc import Iterable
from typing import Final

from backuppeer.trust.score import Fault

RELAPSE_KAPPA: Final = 12.0
SPELL_DAYS: Final = 14
WITHIN_DAYS: Final = 365


def has_relapsed(faults: Iterable[tuple[int, Fault]], *, today: int) -> bool:
    """Return whether a host failed in two spells or more within a year of `today`.

    faults: days, ascending, each with the worst fault of it.
    """
    spells, kappas, last = 0, 0.0, 0
    for day, fault in faults:
        if day <= today - WITHIN_DAYS or fault.value < Fault.REFUSED_ONLINE.value:
            continue
        spells += not spells or day - last > SPELL_DAYS
        kappas += fault.value
        last = day
    return spells >= 2 and kappas >= RELAPSE_KAPPA
