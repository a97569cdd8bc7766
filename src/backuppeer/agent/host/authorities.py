"""Which authority the other side of each agreement of this home is known by: what a succession is checked against.

Knows: agreements of both directions. Must not know: successions, sessions. An agreement names its owner's authority;
that of its host only if the host put it in (ADR 69).
"""

from collections.abc import Iterator

from backuppeer.agent.home.state import State
from backuppeer.agent.host.premises import Premises
from backuppeer.errors import BackupPeerError
from backuppeer.ids import PEER_ID_BYTES, PeerId
from backuppeer.proof.statements import Agreement, peek_statement
from backuppeer.proof.succession import HOST_AUTHORITY


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
