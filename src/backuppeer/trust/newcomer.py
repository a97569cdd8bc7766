"""What somebody does whom nobody has kept anything for yet: everybody begins with strangers. Pure.

Knows: how fast a score grows, as `score` and `tally` compute it. Must not know: the market, prompts. Sentences are
whole, so that every surface can show them as they are.
"""

from typing import Final

from backuppeer.sizes import format_size
from backuppeer.trust.explain import Ground, Way, find_raises
from backuppeer.trust.exposure import TRIAL_BYTES
from backuppeer.trust.hearsay import Heard
from backuppeer.trust.policy import BEST_LEAST, SAFE_COPY_TRUST
from backuppeer.trust.score import DayEvidence, Evidence, score, sum_days

BEGINNING: Final = (
    "a score is made of what your own machine saw, so to a new home everybody is unproven; what helps, the soonest "
    "first:"
)
_TRIAL_GIB: Final = 1.0


def advise_newcomer(peer_id: str) -> list[str]:
    """Return what a newcomer should do, the soonest help first.

    peer_id: of a host on offer that keeps nothing for this home yet, as a command names it; "" = there is none.
    """
    friend, fair, safe = score(0.0, 0.0, is_friend=True), days_until(BEST_LEAST), days_until(SAFE_COPY_TRUST)
    advice = [
        (
            "a friend: `backup-peer host --storage 50GB` on the other machine, then connect with --verified once you "
            f"compared the safety words: {friend:.2f} at once"
        ),
        (
            f"strangers, on trial: `backup-peer connect {peer_id} --trial` asks for {format_size(TRIAL_BYTES)} for 30 "
            "days; try two or three of them, so that no copy is the only one"
        ),
        (
            f"then wait: your agent audits them by itself; one that keeps all is at {BEST_LEAST:.2f} after {fair} "
            f"days, and at {SAFE_COPY_TRUST:.2f}, from which on a copy counts as safe, after {safe}"
        ),
    ]
    return advice if peer_id else [advice[0], advice[-1]]


def days_until(trust: float) -> int:
    """Return after how many days of audits a stranger that keeps 1 GiB whole reaches a T.

    Raises:
        ValueError: never: no such T.

    """
    days = (DayEvidence(0.0, _TRIAL_GIB),)
    alpha, beta = sum_days(days)
    ground = Ground(days, Heard(), Evidence(alpha=alpha, beta=beta))
    for each in find_raises(ground):
        if each.way is Way.KEEP and each.trust >= trust:
            return each.days + len(days)
    raise ValueError(f"no stranger is ever at {trust}")
