"""How a person is told that a peer goes on from another identity, or as another (ADR 69).

Knows: the words. Must not know: who believes a succession, what follows from it (`repute.heirs`). Of a peer of which no
succession is followed nothing is said, whatever it or anybody else claims.
"""

import shlex
from collections.abc import Iterable

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


def describe_heirs(state: State, heirs: Heirs, told: Iterable[str] = ()) -> list[str]:
    """Return a sentence for each friend of before whose words wait to be compared anew, for `status`.

    Of one of two heirs the alarm says what to do. told: notes that stand beside them; whom one names is named there.
    """
    notes = " ".join(told)
    found = []
    for peer in dict.fromkeys(heirs.newest(heir.old) for heir in heirs.list_all()):
        friend = heirs.was_friend(peer)
        is_told = shorten_peer_id(peer) in notes or contested_ms(state, peer) > 0
        if friend is not None and peer not in state.blocks and not is_told:
            said = f"{name_of(state, peer)} has a new id, {shorten_peer_id(peer)}"
            found.append(f"{said}: {_say_anew(state, friend, peer)}")
    return found


def _say_anew(state: State, friend: PeerId, peer: PeerId) -> str:
    verify = f"`backup-peer peers verify {shlex.quote(name_of(state, peer))}`"
    return f"it was a friend as {shorten_peer_id(friend)}; compare the words anew: {verify}"
