"""Which authority the other side of each agreement of this home is known by: what a succession is checked against.

Knows: agreements of both directions. Must not know: sessions. An agreement names its owner's authority; that of its
host only if the host put it in (ADR 69). The revision by which a side changed has the succession in it: so a home whose
state was lost follows again whom it followed.
"""

from collections.abc import Iterator
from contextlib import suppress

from backuppeer.agent.home.state import State
from backuppeer.agent.host.premises import Premises
from backuppeer.agent.repute.heirs import Heirs
from backuppeer.errors import BackupPeerError, PeerFault
from backuppeer.ids import PEER_ID_BYTES, PeerId
from backuppeer.proof.statements import Agreement, peek_statement
from backuppeer.proof.succession import HOST_AUTHORITY, IN_REVISION, Succession


def list_authorities(state: State, premises: Premises) -> Iterator[tuple[PeerId, PeerId]]:
    """Yield each partner whose authority (32 bytes) an agreement names, with it; no owners while the disk is away."""
    for _, host, signed in state.agreements():
        authority = peek_statement(Agreement, signed).ext.get(HOST_AUTHORITY, b"")
        if len(authority) == PEER_ID_BYTES:
            yield host, PeerId(authority)
    try:
        leases = premises.open().leases.list_all() if premises.directory is not None else []
    except BackupPeerError:
        return
    for lease in leases:
        yield lease.owner, PeerId(lease.terms.authority)


def follow_again(heirs: Heirs, state: State, premises: Premises) -> int:
    """Follow each succession by which a side of an agreement changed; return how many there are.

    Reads each agreement's revisions; call it in a thread.
    """
    signed = [one for agreement, _, _ in state.agreements() for one in state.deeds.after(agreement, 0)]
    try:
        leases = premises.open().leases
        signed += [one for lease in leases.list_all() for one in leases.history(lease.agreement)]
    except BackupPeerError:
        pass  # the disk is away: what it knows is taken up when the agent starts with it
    followed = 0
    for terms in (peek_statement(Agreement, one) for one in signed):
        if IN_REVISION in terms.ext:
            with suppress(PeerFault):
                said = peek_statement(Succession, terms.ext[IN_REVISION])
                is_owner = said.new == terms.owner
                heirs.take(terms.ext[IN_REVISION], terms.authority if is_owner else terms.ext.get(HOST_AUTHORITY, b""))
                followed += 1
    return followed
