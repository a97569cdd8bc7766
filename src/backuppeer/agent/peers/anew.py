"""Friends who compared safety words with this home as who it was, and have to do so anew (ADR 69).

Knows: which of them did since. Must not know: how an identity goes on as another. The mark of a friend stays on this
side: what was compared is that peer's id, which is the same. On theirs it is gone until words are read out again.
"""

import shlex
from typing import Final

import msgspec

from backuppeer.agent.home.keyring import HomeKeys
from backuppeer.agent.home.state import State
from backuppeer.agent.peers.names import name_of
from backuppeer.ids import PeerId, shorten_peer_id

_KEPT: Final = "peers.anew"


class _Waiting(msgspec.Struct, frozen=True, array_like=True):
    """own: who this home is; friends: whose words are to be compared anew."""

    own: bytes
    friends: list[bytes]


_decoder: Final = msgspec.msgpack.Decoder(_Waiting)


def note_compared(state: State, keys: HomeKeys, peer: PeerId) -> None:
    """Note that words were compared with a peer as who this home is now."""
    friends = _list_waiting(state, keys)
    if peer in friends:
        _keep(state, keys, [friend for friend in friends if friend != peer])


def describe_anew(state: State, keys: HomeKeys) -> list[str]:
    """Return a sentence for each friend whose words are to be compared anew, for `status`."""
    found = []
    for peer in _list_waiting(state, keys):
        record = state.peer(peer)
        if record is not None and record.is_verified and peer not in state.blocks:
            typed = shlex.quote(name_of(state, peer))
            found.append(
                f"{name_of(state, peer)} knew you as another id, and has no mark of a friend for "
                f"{shorten_peer_id(keys.peer)}: read the words to each other anew: `backup-peer peers verify {typed}`"
            )
    return found


def _list_waiting(state: State, keys: HomeKeys) -> list[PeerId]:
    """Return them; those of an identity that is asked for the first time are all friends of the one before."""
    kept = state.setting(_KEPT)
    known = _decoder.decode(kept) if kept else None
    if known is not None and known.own == keys.peer:
        return [PeerId(friend) for friend in known.friends]
    is_heir = keys.working.generation > 1
    friends = [record.peer for record in state.peers() if record.is_verified] if is_heir else []
    _keep(state, keys, friends)
    return friends


def _keep(state: State, keys: HomeKeys, friends: list[PeerId]) -> None:
    state.put_setting(_KEPT, msgspec.msgpack.encode(_Waiting(bytes(keys.peer), [bytes(friend) for friend in friends])))
