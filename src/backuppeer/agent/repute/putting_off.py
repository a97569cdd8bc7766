"""Hosts that pass audits and put off whoever wants something back, day after day (ADR 61).

Knows: on which days a host did, on which it was audited. Must not know: sessions, scores. A disk that is away for a
week is away for audits, too, and then earns nothing: no blame is needed for that.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from backuppeer.agent.home.state import State
from backuppeer.ids import PeerId
from backuppeer.limits import PUT_OFF_DAYS, PUT_OFF_WITHIN_DAYS

_DAYS: Final = "repute.put_off"


def note_put_off(state: State, peer: PeerId, *, today: int, audited: Iterable[int]) -> bool:
    """Write down that a host put us off today; return whether it has done so too often. Days are those since 1970.

    audited: the days of the last PUT_OFF_WITHIN_DAYS on which it passed audits. Too often: on PUT_OFF_DAYS of them,
    with as many audits since the first.
    """
    raw = state.setting(_DAYS)
    known = msgspec.msgpack.decode(raw, type=dict[bytes, list[int]]) if raw else {}
    recent = {host: [day for day in days if today - PUT_OFF_WITHIN_DAYS < day <= today] for host, days in known.items()}
    days = sorted({*recent.get(bytes(peer), ()), today})
    kept = {host: found for host, found in recent.items() if found} | {bytes(peer): days}
    if kept != known:
        state.put_setting(_DAYS, msgspec.msgpack.encode(kept))
    shown = {day for day in audited if days[0] <= day <= today}
    return min(len(days), len(shown)) >= PUT_OFF_DAYS
