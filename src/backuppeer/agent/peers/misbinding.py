"""Alarms about who is who: a known peer's place answered by somebody else, words that differ, keys in two places.

Knows: how each of `home.identity_alarms` is told until a person has seen it. Must not know: sessions, how it was
found out. An alarm is never a question: what was under way has failed already (code 12), and a yes can't undo it. Only
words that were compared at a terminal end an alarm; `status --seen` only ends the telling. That of a move is explained
by a take-over, too: whoever has the words, which a thief of a disk has not, said that this is the machine now.
"""

import shlex
from typing import Final

import msgspec

from backuppeer.agent.home.identity_alarms import Alarm, Sort, doubts_about, keep_alarms, list_alarms
from backuppeer.agent.home.state import State
from backuppeer.agent.peers.names import name_of
from backuppeer.clock import format_time
from backuppeer.errors import AuthenticationFault
from backuppeer.ids import PeerId, format_peer_id, shorten_peer_id
from backuppeer.limits import IDENTITY_ALARM_AGAIN_S, IDENTITY_ALARMS

NO_COMPARISON: Final = "a flag is no comparison"
NOTHING_NEW: Final = "nothing new is agreed with it until the words were compared"


def raise_alarm(state: State, peer: PeerId, sort: Sort, *, now_ms: int) -> None:
    """Keep an alarm, to be told until it is seen; beyond IDENTITY_ALARMS the oldest goes, seen ones first.

    One that was seen is told again only when IDENTITY_ALARM_AGAIN_S have passed since it was last raised anew. Of who
    was succeeded none is kept: it is shut out.
    """
    if state.successions.find(peer) is not None:
        return
    alarms = [alarm for alarm in list_alarms(state) if alarm.sort is not Sort.HEIRS]
    before = next((alarm for alarm in alarms if (alarm.peer, alarm.sort) == (peer, sort)), None)
    is_told = before is not None and before.is_seen and not before.is_forgiven
    if before is not None and is_told and now_ms - before.time_ms < IDENTITY_ALARM_AGAIN_S * 1000:
        return
    kept = [alarm for alarm in alarms if alarm is not before]
    kept.sort(key=lambda alarm: (not alarm.is_seen, alarm.time_ms))
    kept = kept[max(0, len(kept) - IDENTITY_ALARMS + 1) :]
    keep_alarms(state, [*kept, Alarm(peer=peer, sort=sort, time_ms=now_ms)])


def refuse_doubted(state: State, peer: PeerId, what: str) -> None:
    """Refuse what rests on who a peer is while an alarm makes that doubtful. what: as a clause, for its person.

    Raises:
        AuthenticationFault: an alarm does, or another goes on in the peer's place.

    """
    heir = state.successions.find(peer)
    if heir is not None:
        raise AuthenticationFault(
            f"{name_of(state, peer)} goes on under another id: whoever answers as it has an old key",
            hint=f"its new id is {format_peer_id(heir.new)}",
        )
    if doubts_about(state, peer):
        name = name_of(state, peer)
        raise AuthenticationFault(
            f"there is an alarm about {name}: {what}",
            hint=f"compare the words at a terminal: `backup-peer peers verify {shlex.quote(name)}`; "
            "`backup-peer status` tells of the alarm",
        )


def settle(state: State, peer: PeerId, *, now_ms: int) -> None:
    """End all alarms about a peer: a person compared the words, and they are the same."""
    settle_heirs(state, peer, now_ms=now_ms)
    alarms = list_alarms(state)
    left = [alarm for alarm in alarms if alarm.peer != peer]
    if len(left) < len(alarms):
        keep_alarms(state, left)


def explain_move(state: State, peer: PeerId) -> None:
    """End the alarm that a peer answered from another machine: its authority signed that this one makes the backups."""
    alarms = list_alarms(state)
    left = [alarm for alarm in alarms if (alarm.peer, alarm.sort) != (peer, Sort.MOVED)]
    if len(left) < len(alarms):
        keep_alarms(state, left)


def settle_heirs(state: State, peer: PeerId, *, now_ms: int) -> None:
    """End the alarm that a peer is one of two heirs: a person compared the words with it, or shut it out."""
    state.successions.settle(peer, now_ms)


def describe(state: State) -> list[str]:
    """Return a sentence for each that nobody has seen, for `status`."""
    return [say_alarm(state, alarm) for alarm in list_alarms(state) if not alarm.is_seen]


def see(state: State) -> list[str]:
    """Note that a person has seen all of them; return the sentences of those that are new to that.

    Two heirs are had out, not seen: that alarm goes on.
    """
    new = [alarm for alarm in list_alarms(state) if not alarm.is_seen and alarm.sort is not Sort.HEIRS]
    told = [say_alarm(state, alarm) for alarm in new]
    if told:
        keep_alarms(state, [msgspec.structs.replace(alarm, is_seen=True) for alarm in list_alarms(state)])
    return told


def say_alarm(state: State, alarm: Alarm) -> str:
    """Return what a person should know and do."""
    name, day = name_of(state, alarm.peer), format_time(alarm.time_ms)[:10]
    typed = shlex.quote(name)
    compare = f"`backup-peer peers verify {typed}` compares the words, `backup-peer block {typed}` shuts it out"
    match alarm.sort:
        case Sort.WORDS:
            then = f", then {shorten_peer_id(PeerId(alarm.about))}," if alarm.about else ""
            differed = f"your safety words and those of {name}{then} differed"
            return f"ALARM: on {day} {differed}: no new data goes there. {compare}"
        case Sort.ANSWERED:
            return (
                f"ALARM: on {day} somebody answered in the place of {name} who could not prove to be it; nothing was "
                f"sent. Ask its person by another way whether its machine or its keys changed. {compare}"
            )
        case Sort.FORKED:
            return (
                f"ALARM: on {day} two different offers of {name} with one number were seen: its key seems to be in two "
                f"places. Ask its person by another way. {compare}"
            )
        case Sort.HEIRS:
            return _say_heirs(state, alarm.peer, day)
        case Sort.MOVED:
            return (
                f"ALARM: on {day} {name} answered from another machine than before, with the right key. After a "
                "recovery that is as it should be; if its person knows of none, somebody has a copy of its keys: "
                f"`backup-peer block {typed}`. `backup-peer status --seen` once it is explained"
            )


def _say_heirs(state: State, peer: PeerId, day: str) -> str:
    contested = state.successions.list_contested()
    found = next(((heir, newest) for heir, newest in contested if peer in {newest, heir.rival}), None)
    if found is None:  # had out in this moment
        return f"ALARM: on {day} a second heir of {name_of(state, peer)} was named"
    heir, followed = found
    rival, its, typed = PeerId(heir.rival), shorten_peer_id(followed), shlex.quote(name_of(state, followed))
    return (
        f"ALARM: on {day} a second heir of {shorten_peer_id(heir.old)} was named, {shorten_peer_id(rival)} beside "
        f"{its}: the 24 words of {name_of(state, followed)} are in two hands, and neither gets anything new. Ask its "
        f"person by another way which id is theirs. If it is {its}: `backup-peer peers verify {typed}`; if not: "
        f"`backup-peer block {typed}`. Only one of the two ends this"
    )
