"""How a person is told that a peer goes on from another identity, or as another (ADR 69).

Knows: the words. Must not know: who believes a succession, what follows from it (`repute.heirs`). Of a peer of which no
succession is followed nothing is said, whatever it or anybody else claims.
"""

import shlex
from collections.abc import Collection

from backuppeer.agent.home.identity_alarms import contested_ms
from backuppeer.agent.home.state import State
from backuppeer.agent.peers.names import name_of
from backuppeer.agent.repute.heirs import Heirs
from backuppeer.clock import format_time
from backuppeer.ids import PeerId, shorten_peer_id


def say_lineage(state: State, heirs: Heirs, peer: PeerId) -> list[str]:
    """Return whose heir a peer is, each as a clause about it, and whether its words are to be compared anew."""
    said = []
    for old in heirs.line_of(peer)[1:]:
        heir = heirs.heir_of(old)
        if heir is not None:
            since = format_time(heir.since_ms)[:10]
            said.append(f"it was {shorten_peer_id(old)} until {since}: what it did as that counts, good and bad")
    friend = heirs.was_friend(peer)
    if friend is not None:
        said.append(_say_anew(state, friend, peer))
    return said


def describe_heirs(
    state: State, heirs: Heirs, owners: Collection[PeerId] = (), hosts: Collection[PeerId] = ()
) -> list[str]:
    """Return a sentence for each heir whose words wait to be compared, for `status`: friends of before, and partners.

    Of one of two heirs the alarm says what to do. owners: who keeps packs here. hosts: who keeps ours.
    """
    found = []
    for peer in dict.fromkeys(heirs.newest(heir.old) for heir in heirs.list_all()):
        friend = heirs.was_friend(peer)
        if _is_compared(state, peer) or peer in state.blocks or contested_ms(state, peer) > 0:
            continue
        if peer in owners:
            found.append(_say_partner(state, heirs, peer, "what it keeps here is the new one's"))
        elif peer in hosts:
            found.append(_say_partner(state, heirs, peer, "what it keeps of yours is with the new one"))
        elif friend is not None:
            said = f"{name_of(state, peer)} has a new id, {shorten_peer_id(peer)}"
            found.append(f"{said}: {_say_anew(state, friend, peer)}")
    return found


def _is_compared(state: State, peer: PeerId) -> bool:
    record = state.peer(peer)
    return record is not None and record.is_verified


def _say_partner(state: State, heirs: Heirs, peer: PeerId, kept: str) -> str:
    """Return what became of packs, and what is to be done."""
    name, new, old = name_of(state, peer), shorten_peer_id(peer), shorten_peer_id(heirs.line_of(peer)[1])
    return (
        f"{name if name != new else old} goes on as {new}, as its 24 words say: {kept}, and {old} gets nothing any "
        f"more. Compare the words anew: `backup-peer peers verify {shlex.quote(name)}`"
    )


def _say_anew(state: State, friend: PeerId, peer: PeerId) -> str:
    verify = f"`backup-peer peers verify {shlex.quote(name_of(state, peer))}`"
    return f"it was a friend as {shorten_peer_id(friend)}; compare the words anew: {verify}"
