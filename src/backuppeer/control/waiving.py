"""Shapes of `peers lock` and `peers purge`: what the 24 words let go early (control.api, ADR 52).

Knows: request and result structs. Must not know: the agent, the terminal. Units and texts as in `control.api`; ids and
hashes are hex, what is signed is base64.
"""

import msgspec

from backuppeer.control.api import PeerRequest


class LockRequest(PeerRequest):
    """`peers lock`. waiver: signed, where the lock is lowered; "" where it is raised."""

    lock_s: int
    waiver: bytes = b""
    wait_s: float = 60.0


class LockPlan(msgspec.Struct, kw_only=True):
    """What another lock would mean. now_s: the one in force. deleted_bytes: deleted before; a lower one is for it, too.

    agreement, host, terms: what a waiver names.
    """

    peer_id: str
    name: str
    now_s: int
    lock_s: int
    deleted_bytes: int
    agreement: str
    host: str
    terms: str


class PurgeRequest(PeerRequest):
    """`peers purge`. deleted: what is deleted there alone; else all, of an agreement that we ended.

    waivers: signed, one for each part of the plan.
    """

    deleted: bool = False
    waivers: list[bytes] = msgspec.field(default_factory=list)


class PurgePart(msgspec.Struct, kw_only=True):
    """One agreement; what a waiver of it names. packs, packs_root: deleted ones; notice: the number of ours."""

    agreement: str
    host: str
    terms: str
    packs: int
    packs_root: str
    notice: int


class PurgePlan(msgspec.Struct, kw_only=True):
    """What would be erased at once: `bytes`, kept until `until` else. is_mass: much of it was deleted within a week.

    is_over: the host had heard it, and only its answer was lost; nothing is left to sign.
    """

    peer_id: str
    name: str
    deleted: bool
    packs: int
    bytes: int
    until: str
    is_mass: bool
    parts: list[PurgePart]
    is_over: bool = False
    sets: list[str] = msgspec.field(default_factory=list)
    """The sets that name the host, when all is erased."""


class PurgeResult(msgspec.Struct, kw_only=True):
    """Erased at the host: `packs` of `bytes`. ended: the agreement is over with it."""

    peer_id: str
    alias: str
    packs: int
    bytes: int
    ended: bool
