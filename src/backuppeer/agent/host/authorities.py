"""Which authority the other side of each agreement of this home is known by: what a succession is checked against.

Knows: agreements of both directions. Must not know: sessions. An agreement names its owner's authority; that of its
host only if the host put it in (ADR 69). The revision by which a side changed has the succession in it: so a home whose
state was lost follows again whom it followed.

A peer has one authority, as owner and as host, under all ids that it had: the first that was named. Whoever has its
working secret alone could else name another one in the other direction, and have that name an heir.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from backuppeer.agent.home.state import State
from backuppeer.agent.host.premises import Premises
from backuppeer.agent.repute.heirs import Heirs
from backuppeer.errors import BackupPeerError, PeerFault, RefusedError
from backuppeer.ids import PEER_ID_BYTES, PeerId
from backuppeer.proof.statements import Agreement, peek_statement
from backuppeer.proof.succession import HOST_AUTHORITY, IN_REVISION, Succession

_ASK: Final = "somebody may have the keys of this peer: ask its person, but not by way of these machines"


class _Named(NamedTuple):
    """An authority that an agreement names for one side, since when."""

    start_ms: int
    party: PeerId
    authority: PeerId


def list_authorities(state: State, premises: Premises) -> Iterator[tuple[PeerId, PeerId]]:
    """Yield each partner whose authority (32 bytes) is known, with it; no owners while the disk is away."""
    named = _list_named(state, premises)
    for party in dict.fromkeys(one.party for one in named):
        yield party, PeerId(_choose(named, _line_of(state, party)))


def find_authority(state: State, premises: Premises, peer: PeerId) -> bytes:
    """Return the authority (32 bytes) by which a peer is known, under any id that it had; b"": by none yet."""
    line = _line_of(state, peer)
    followed = (heir.authority for heir in state.successions.list_all() if heir.old in line)
    return _choose(_list_named(state, premises), line) or next(followed, b"")


def check_authority(state: State, premises: Premises, peer: PeerId, authority: bytes) -> None:
    """Return if a peer is known by no authority, or by this one.

    Raises:
        RefusedError: by another one.

    """
    if find_authority(state, premises, peer) not in {b"", authority}:
        raise RefusedError("other agreements with this peer name another authority", hint=_ASK)


def choose_authority(state: State, premises: Premises, host: PeerId, told: bytes) -> bytes:
    """Return what an agreement is to name as a host's authority: what it told (b"": nothing), once that can be checked.

    Raises:
        RefusedError: it is known by another one.

    """
    if not told or (_is_away(premises) and not _line_of(state, host).isdisjoint(premises.owners())):
        return b""
    check_authority(state, premises, host, told)
    return told


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


def _list_named(state: State, premises: Premises) -> list[_Named]:
    """Return what agreements of either direction name, the first first."""
    found = []
    for _, host, signed in state.agreements():
        terms = peek_statement(Agreement, signed)
        authority = terms.ext.get(HOST_AUTHORITY, b"")
        if len(authority) == PEER_ID_BYTES:
            found.append(_Named(terms.start_ms, host, PeerId(authority)))
    with suppress(BackupPeerError):
        leases = premises.open().leases.list_all() if premises.directory is not None else []
        found += [_Named(lease.terms.start_ms, lease.owner, PeerId(lease.terms.authority)) for lease in leases]
    return sorted(found, key=lambda one: one.start_ms)


def _choose(named: list[_Named], line: frozenset[PeerId]) -> bytes:
    return next((one.authority for one in named if one.party in line), b"")


def _line_of(state: State, peer: PeerId) -> frozenset[PeerId]:
    """Return a peer, all whose heir it is, and all who are its heirs."""
    line, heirs = {peer}, state.successions.list_all()
    before = 0
    while before != len(line):
        before = len(line)
        line.update(one for heir in heirs for one in (heir.old, heir.new) if not line.isdisjoint((heir.old, heir.new)))
    return frozenset(line)


def _is_away(premises: Premises) -> bool:
    try:
        premises.open()
    except BackupPeerError:
        return True
    return False
