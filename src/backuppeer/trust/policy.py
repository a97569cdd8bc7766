"""What follows from trust: what a person is warned of, and who is accepted without asking. Pure.

Knows: scores and the few facts handed in. Must not know: evidence, sessions, prompts. Sentences are whole, so that
every surface (command line, web) can show them as they are.
"""

from enum import Enum
from typing import Final

from backuppeer.trust.score import Level, level

SAFE_COPY_TRUST: Final = 0.6
"""Copies with peers below this do not count as safe (DESIGN 8)."""


class AcceptPolicy(Enum):
    """`host --accept`: who gets storage without a person saying so."""

    ASK = "ask"
    TRUSTED = "trusted"
    ALL = "all"


def risks_of(trust: float, *, is_friend: bool, has_evidence: bool, other_safe_copies: int = 0) -> list[str]:
    """Return what a person should know before storing with a peer of this T; empty when there is nothing to warn of.

    `is_friend`: safety words compared; `has_evidence`: anything was ever stored with or asked of the peer;
    `other_safe_copies`: hosts of T ≥ 0.6 that will hold the same data.
    """
    risks = []
    if not is_friend:
        risks.append("you have not compared safety words: somebody else may answer under this name")
    if not has_evidence:
        risks.append("nothing is known about this peer yet: it may vanish at any time, with all it keeps for you")
    elif level(trust) in {Level.UNPROVEN, Level.NEW}:
        risks.append("this peer has not proven itself yet, or has failed before: it may lose or withhold what it keeps")
    if trust < SAFE_COPY_TRUST and other_safe_copies == 0 and not is_friend:
        risks.append("your only copy is with an unproven peer: keep another one elsewhere")
    return risks


def is_safe_copy(trust: float) -> bool:
    """Return whether a copy with a peer of this T counts as safe."""
    return trust >= SAFE_COPY_TRUST


def may_auto_accept(policy: AcceptPolicy, *, is_friend: bool, has_agreement: bool, is_blocked: bool = False) -> bool:
    """Return whether a request is accepted without asking a person; "trusted" = friends and peers with an agreement."""
    if is_blocked or policy is AcceptPolicy.ASK:
        return False
    return policy is AcceptPolicy.ALL or is_friend or has_agreement
