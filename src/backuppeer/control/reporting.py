"""Shapes of `report` and `notify test` (control.api routes): a week of a home, and what came of a trial notification.

Knows: result structs. Must not know: the agent, the terminal. Sizes are bytes, times RFC 3339 UTC text.
"""

import msgspec


class ReportedSet(msgspec.Struct, kw_only=True):
    """One backup set; set: "" = snapshots of no set. made: in the week. last, bytes: time and size of the newest."""

    set: str
    made: int
    last: str = ""
    bytes: int = 0


class ReportedHost(msgspec.Struct, kw_only=True):
    """One host of ours. proven: when it last showed all that an audit asked for, "" = never."""

    peer_id: str
    name: str
    trust: float
    trust_level: str
    agreed_bytes: int
    used_bytes: int
    proven: str = ""


class Attention(msgspec.Struct, kw_only=True):
    """Something that a person should act on, and how."""

    text: str
    fix: str = ""


class Report(msgspec.Struct, kw_only=True):
    """A week of a home. store_free_bytes: where others' packs lie; None = nowhere."""

    machine: str
    since: str
    until: str
    sets: list[ReportedSet]
    hosts: list[ReportedHost]
    owners: int
    hosted_agreed_bytes: int
    hosted_used_bytes: int
    home_free_bytes: int
    store_free_bytes: int | None
    attention: list[Attention]


class NotifiedPlace(msgspec.Struct, kw_only=True):
    """What came of a trial notification at one address. service: as in `ntfy://`, all of it that is no secret."""

    service: str
    sent: bool
    reason: str = ""
