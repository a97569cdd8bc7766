"""What a host promised this home in availability: in the agreement that was made last.

Knows: agreements as they lie in the state. Must not know: scores.
"""

from backuppeer.agent.home.state import State
from backuppeer.ids import PeerId
from backuppeer.proof.statements import Agreement, peek_statement


def promised_by(state: State, host: PeerId) -> float:
    """Return the promised share of time in 0..1; 0 where nothing is agreed."""
    signed = state.latest_agreement(host)
    return peek_statement(Agreement, signed).availability / 1000 if signed is not None else 0.0
