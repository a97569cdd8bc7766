"""Shapes of `recover`: hosts found from the words alone, and what they bear witness of (control.api, ADR 46).

Knows: request and result structs. Must not know: the agent, the words: the command made keys of them.
"""

import msgspec

from backuppeer.control.api import Request


class Place(msgspec.Struct, kw_only=True):
    """Where a host is, as a person said it (`id --where` there). transport: hex. addresses: `ip:port`."""

    peer_id: str
    transport: str
    addresses: list[str]


class RecoverRequest(Request):
    """Finish a recovery: the home already holds the derived keys (the words never reach the agent's log or disk)."""

    peers: list[str] = msgspec.field(default_factory=list)
    """Hosts to ask, as peer ids; none = those that left word, else everybody that is on offer."""
    places: list[Place] = msgspec.field(default_factory=list)
    """Hosts to dial where the person says they are: no server is needed for these."""
    all: bool = False
    """Ask everybody on offer, also when hosts left word."""
    check: bool = False
    """The home is a passing one, made to try the words: hosts are told nothing of it."""


class WitnessRow(msgspec.Struct, kw_only=True):
    """What one host says of the newest state.

    heard: it was reached now. head: the number of the head that it showed or, where it was not heard, that its note
    names; 0 = none. time: of that note, else empty.
    """

    peer_id: str
    alias: str
    heard: bool
    head: int
    time: str = ""


class RecoverResult(msgspec.Struct, kw_only=True):
    """The index is rebuilt from what reachable hosts hold.

    unheard: hosts that have an agreement with us and could not be heard: a later recovery tries again. proven: false
    when a single host bears witness of the newest head. succession: hex, signed: this identity went on as another,
    which the words give; nothing else was looked for then. Empty else. alone: nobody who could be asked keeps anything
    of ours, and this home keeps others' backups: it is done without a host. sets: names of the backup sets that
    snapshots are of, in order; "" among them: some are of none.
    """

    peer_id: str
    peers: list[str]
    snapshots: int
    packs: int
    head: int
    notes: list[str]
    witnesses: list[WitnessRow] = msgspec.field(default_factory=list)
    unheard: list[str] = msgspec.field(default_factory=list)
    proven: bool = False
    succession: str = ""
    alone: bool = False
    sets: list[str] = msgspec.field(default_factory=list)
