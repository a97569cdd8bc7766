"""What this home thinks of peers, for those who choose, send or explain: the parts over `Standing`, joined.

Knows: who is made of what. Must not know: who asks.
"""

from dataclasses import dataclass

from backuppeer.agent.home.state import State
from backuppeer.agent.repute.explaining import Explaining
from backuppeer.agent.repute.standing import Standing
from backuppeer.clock import Clock
from backuppeer.trust.evidence import EvidenceLog


@dataclass(frozen=True, slots=True)
class Views:
    """The parts."""

    explaining: Explaining


def make_views(state: State, standing: Standing, log: EvidenceLog, clock: Clock) -> Views:
    """Return the parts of one home."""
    return Views(explaining=Explaining(state, standing, log, clock))
