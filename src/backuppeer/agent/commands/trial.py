"""What a trial is: a small agreement for a short while, with a host that has to show itself first (ADR 65).

Knows: two numbers of an agreement. Must not know: who made it, and why. No note is kept of what was meant: whoever
recovers a home from its words has the agreements, and they say it.
"""

from backuppeer.limits import TRIAL_TERM_S
from backuppeer.proof.statements import Agreement
from backuppeer.trust.exposure import TRIAL_BYTES


def is_trial(terms: Agreement) -> bool:
    """Whether an agreement is one for trial: at most 1 GiB, for at most 30 days."""
    return terms.size_bytes <= TRIAL_BYTES and terms.term_s <= TRIAL_TERM_S
