"""What is kept of alarms about who is who, and which of them make that doubtful.

Knows: sorts of alarms, how they are kept. Must not know: how one is found out, how it is told (`peers.misbinding`).
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec

from backuppeer.agent.home.state import State
from backuppeer.ids import PeerId

_KEPT: Final = "peers.alarms"


class Sort(StrEnum):
    """What does not fit. Values are on disk."""

    WORDS = "words"
    """The safety words on the two screens differ."""
    ANSWERED = "answered"
    """Somebody answers where the peer should, who can't prove to be it."""
    FORKED = "forked"
    """The peer's key signed two listings of one number: no program does, two that have the key do."""
    HEIRS = "heirs"
    """Its authority named two heirs: its 24 words are in two hands. Kept by `successions`, told until it is settled."""
    MOVED = "moved"
    """The peer proved its identity from another machine than before: it recovered, or somebody copied its keys."""


_DOUBTS: Final = frozenset({Sort.WORDS, Sort.ANSWERED, Sort.FORKED, Sort.HEIRS})
"""What makes it doubtful that a peer is who a person takes it for. Who moved has proven its identity."""


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """One alarm about a peer; of a sort there is one for each peer. is_seen: a person has taken note of it.

    is_forgiven: it may get new data all the same. That is no comparison: the alarm stands. about: the identity before,
    of which it was raised, if that is another; else empty.
    """

    peer: PeerId
    sort: Sort
    time_ms: int
    is_seen: bool = False
    is_forgiven: bool = False
    about: bytes = b""


_ALARMS: Final = msgspec.msgpack.Decoder(list[Alarm])


def list_alarms(state: State) -> list[Alarm]:
    """Return all that are kept, seen or not."""
    kept = state.setting(_KEPT)
    return [*(_ALARMS.decode(kept) if kept else []), *_list_contested(state)]


def doubts_about(state: State, peer: PeerId) -> list[Alarm]:
    """Return the alarms that no flag answers: `--yes` is no comparison."""
    return [alarm for alarm in list_alarms(state) if alarm.peer == peer and alarm.sort in _DOUBTS]


def keep_alarms(state: State, alarms: Iterable[Alarm]) -> None:
    """Keep these alarms, and no others but those of two heirs, which only a person ends."""
    state.put_setting(_KEPT, msgspec.msgpack.encode([alarm for alarm in alarms if alarm.sort is not Sort.HEIRS]))


def carry_doubts(state: State, old: PeerId, new: PeerId) -> None:
    """Let what makes doubtful who a peer is hold for its heir alone, until the words are compared with that one.

    Whoever answers as the old one is shut out: nothing is to be done about it.
    """
    has = {alarm.sort for alarm in doubts_about(state, new)}
    over = [alarm for alarm in doubts_about(state, old) if alarm.sort not in has]
    kept = list_alarms(state)
    left = [alarm for alarm in kept if alarm.peer != old]
    if len(left) < len(kept):
        moved = (msgspec.structs.replace(alarm, peer=new, about=alarm.about or bytes(old)) for alarm in over)
        keep_alarms(state, [*left, *moved])


def doubted_ms(state: State, peer: PeerId) -> tuple[int, int]:
    """Return what `contested_ms` and `differed_ms` do, with one look."""
    doubts = doubts_about(state, peer)
    contested = max((a.time_ms for a in doubts if a.sort is Sort.HEIRS), default=0)
    return contested, max((a.time_ms for a in doubts if a.sort is Sort.WORDS and not a.is_forgiven), default=0)


def differed_as(state: State, peer: PeerId) -> PeerId | None:
    """Return as whom a peer was compared when the words differed; None: as who it is, or they did not."""
    found = next((alarm for alarm in doubts_about(state, peer) if alarm.sort is Sort.WORDS and alarm.about), None)
    return PeerId(found.about) if found is not None else None


def contested_ms(state: State, peer: PeerId) -> int:
    """Return when two heirs were named, of whom a peer is one, and nobody had that out; 0: never."""
    return doubted_ms(state, peer)[0]


def _list_contested(state: State) -> list[Alarm]:
    """Return an alarm about each of two heirs; of the one that is not followed a person is told with the other."""
    found = list[Alarm]()
    for heir, newest in state.successions.list_contested():
        found.append(Alarm(peer=newest, sort=Sort.HEIRS, time_ms=heir.contested_ms))
        found.append(Alarm(peer=PeerId(heir.rival), sort=Sort.HEIRS, time_ms=heir.contested_ms, is_seen=True))
    return found


def differed_ms(state: State, peer: PeerId) -> int:
    """Return when a person found that the safety words of a peer differ; 0: never, or they forgave that."""
    return doubted_ms(state, peer)[1]


def forgive_differing(state: State, peer: PeerId) -> None:
    """Let a peer whose safety words differed get new data all the same, until they are found to differ again."""
    if differed_ms(state, peer):
        kept = list_alarms(state)
        keep_alarms(
            state, [_forgive(alarm) if (alarm.peer, alarm.sort) == (peer, Sort.WORDS) else alarm for alarm in kept]
        )


def _forgive(alarm: Alarm) -> Alarm:
    return msgspec.structs.replace(alarm, is_forgiven=True)
