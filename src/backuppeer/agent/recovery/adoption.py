"""Agreements that a host shows us in its Hello and that we do not know (any more): taken back if they are ours.

Knows: which signatures make an agreement ours. Must not know: recovery, backups.
"""

from backuppeer.agent.home.keyring import HomeKeys
from backuppeer.agent.home.state import State
from backuppeer.agent.owner.announcing import may_follow
from backuppeer.agent.peers.session import Session
from backuppeer.errors import PeerFault
from backuppeer.ids import AgreementId


def adopt_agreements(state: State, keys: HomeKeys, session: Session) -> int:
    """Keep the agreements of `session`'s peer as our host that both sides signed; return how many hold.

    One that is not ours, or not signed by both, is ignored. A revision that follows the one known here replaces it; any
    other is for `owner.revising` to look into.
    """
    # By agreement, whoever the host is: one that was succeeded may show what it once co-signed.
    known = {agreement: signed for agreement, _, signed in state.agreements()}
    held = 0
    for signed in session.hello.agreements:
        try:
            agreement = keys.open_terms(signed, session.peer)
        except PeerFault:
            continue
        if agreement.authority != keys.authority:
            continue
        if keys.repository is not None and agreement.repository != keys.repository:
            continue
        held += 1
        mine = known.get(AgreementId(agreement.agreement))
        if mine is None or may_follow(mine, agreement):
            state.put_agreement(AgreementId(agreement.agreement), session.peer, signed)
    return held
