"""What this home thinks of peers, for those who choose, send or explain: the parts over `Standing`, joined.

Knows: who is made of what. Must not know: who asks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from backuppeer.agent.home.state import State
from backuppeer.agent.repute.apart import Apart
from backuppeer.agent.repute.explaining import Explaining
from backuppeer.agent.repute.heirs import Heirs
from backuppeer.agent.repute.standing import Standing
from backuppeer.clock import Clock
from backuppeer.ids import PeerId
from backuppeer.trust.evidence import EvidenceLog


@dataclass(frozen=True, slots=True)
class Views:
    """The parts."""

    explaining: Explaining
    apart: Apart
    heirs: Heirs


def make_views(
    state: State, standing: Standing, log: EvidenceLog, clock: Clock, *, addresses: Callable[[PeerId], Sequence[str]]
) -> Views:
    """Return the parts of one home. addresses: where a peer said last, in a statement it signed, that it is dialled."""
    explaining = Explaining(state, standing, log, clock)
    apart, heirs = Apart(state, standing, explaining, addresses=addresses), Heirs(state, log.lines, clock)
    return Views(explaining=explaining, apart=apart, heirs=heirs)
