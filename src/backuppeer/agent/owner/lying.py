"""What of ours lies with a host, as its cap counts it (ADR 64).

Knows: ledger, receipts of heads. Must not know: caps. Packs whose deletion was signed don't count: a host that
vanishes with them costs nothing.
"""

from backuppeer.agent.home.state import State
from backuppeer.agent.owner.heads import RECEIPT
from backuppeer.agent.owner.repository import Repository
from backuppeer.agent.repute.exposing import Lying
from backuppeer.ids import PeerId


def find_lying(repository: Repository, state: State, host: PeerId) -> Lying:
    """Return what lies with a host, under all of its agreements."""
    agreements = [agreement for agreement, who, _ in state.agreements() if who == host]
    return Lying(
        wanted_bytes=sum(map(repository.ledger.wanted_bytes, agreements)),
        has_head=any(state.setting(RECEIPT + agreement.hex()) for agreement in agreements),
    )
