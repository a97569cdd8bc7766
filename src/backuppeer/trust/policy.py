"""What follows from trust: what a person is warned of, and who is accepted without asking. Pure.

Knows: scores and the few facts handed in. Must not know: evidence, sessions, prompts. Sentences are whole, so that
every surface (command line, web) can show them as they are.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Final

from backuppeer.trust.score import Level, level

SAFE_COPY_TRUST: Final = 0.6
"""Copies with peers below this do not count as safe (DESIGN 8)."""

BEST_LEAST: Final = 0.5
"""Below this nobody is proposed by `connect --best`: who wants such a host chooses it (requirement W2)."""
UNCOMPARED: Final = "you have not compared safety words: somebody else may answer under this name"
_LOW: Final = frozenset({Level.UNPROVEN, Level.NEW})


class AcceptPolicy(Enum):
    """`host --accept`: who gets storage without a person saying so."""

    ASK = "ask"
    TRUSTED = "trusted"
    ALL = "all"


def risks_of(
    trust: float, *, is_friend: bool, has_evidence: bool, has_failed: bool = False, is_unresolved: bool = False
) -> list[str]:
    """Return what a person should know before storing with a peer of this T; empty when there is nothing to warn of.

    `is_friend`: safety words compared; `has_evidence`: anything was ever stored with the peer or brought back from it;
    `has_failed`: it is known to have lost or withheld something; `is_unresolved`: that is not made good yet.
    """
    risks = []
    if not is_friend:
        risks.append(UNCOMPARED)
    if is_unresolved:
        risks.append("this peer failed, and that is not made good yet: it may lose or withhold what it keeps")
    elif has_failed and level(trust) in _LOW:
        risks.append("this peer has failed before: it may lose or withhold what it keeps")
    elif has_evidence and level(trust) in _LOW:
        risks.append("this peer has not proven itself for long yet: it may lose or withhold what it keeps")
    elif not has_evidence and not is_friend:
        risks.append("nothing is known about this peer yet: it may vanish at any time, with all it keeps for you")
    return risks


def copy_risk(safe: Sequence[bool], *, is_planned: bool = False) -> str:
    """Return the warning about all copies of the backups together; "" when one of them is safe, or there is none.

    safe: of each host that has a copy, whether it counts. is_planned: one of the copies would come only now.
    """
    if any(safe) or not safe:
        return ""
    would_be = "would be" if is_planned else "is"
    if len(safe) == 1:
        return f"your only copy {would_be} with an unproven peer: keep another one elsewhere"
    return f"none of your {len(safe)} copies {would_be} with a proven peer: keep another one elsewhere"


def is_safe_copy(trust: float, *, is_friend: bool = False, is_capped: bool = False) -> bool:
    """Return whether a copy with a peer of this T counts as safe; with a friend it does, unless its score is capped."""
    return (is_friend and not is_capped) or trust >= SAFE_COPY_TRUST


def may_auto_accept(policy: AcceptPolicy, *, is_friend: bool, has_agreement: bool) -> bool:
    """Return whether a request is accepted without asking a person; "trusted" = friends and peers with an agreement.

    Of one that is blocked, or of whom an alarm says that it may be another, no policy is asked.
    """
    if policy is AcceptPolicy.ASK:
        return False
    return policy is AcceptPolicy.ALL or is_friend or has_agreement
