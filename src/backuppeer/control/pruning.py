"""Shapes of `prune`: what hosts keep that nothing needs any more (control.api, DESIGN 10).

Knows: request and result structs. Must not know: the agent, the terminal. Sizes are bytes of one copy, but those of a
host, which are of its own copies.
"""

from typing import Final

import msgspec

from backuppeer.control.api import Request
from backuppeer.control.saving import LeftOut
from backuppeer.limits import PRUNE_UNUSED_PERMILLE

SNAPSHOT_DIGITS: Final = 16
"""Hex digits of an id in `PruneRequest.without`: 64 bits tell snapshots apart, and 50,000 of them fit a request."""


class PruneRequest(Request):
    """`prune`. Waste that may stay: `max_unused_bytes`, else `max_unused_permille` of what is needed (1000: any).

    `max_repack_bytes`: what may be packed anew and sent to each host. `repack_small`: join small packs, too.
    `keep_unfinished`: leave what backups that broke off have sent, for them to go on from. `agreed`: a person, or
    --yes, said yes; only `prune` itself needs it. `without`: plan as if these snapshots were forgotten (16 hex digits
    of each id); for a plan alone.
    """

    max_unused_permille: int = PRUNE_UNUSED_PERMILLE
    max_unused_bytes: int | None = None
    max_repack_bytes: int | None = None
    repack_small: bool = False
    keep_unfinished: bool = False
    agreed: bool = False
    without: list[str] = msgspec.field(default_factory=list)


class PruneHost(msgspec.Struct, kw_only=True):
    """What a prune means at one host: packs it deletes, and after how many seconds, of uptime, they are erased.

    `at_once_bytes`: those of its bytes that are erased at once, as no list ever named them; `unclear_bytes`: those that
    may be, or wait for the lock, as the host could not be asked. `told`: false when it is away or behind, and hears of
    it later. `doubled`: it keeps them for two locks, as more than a tenth of the data was
    deleted there within a week (ADR 37).
    """

    peer_id: str
    name: str
    packs: int
    bytes: int
    at_once_bytes: int
    lock_s: int
    until: str
    told: bool
    doubled: bool = False
    unclear_bytes: int = 0


class PrunePlan(msgspec.Struct, kw_only=True):
    """What `prune` would do. Packs are deleted, packed anew, or kept; `move_bytes` are sent to each host.

    `unfinished_packs`, of `unfinished_bytes`: sent by backups that broke off, and in no snapshot; they go.

    `unlisted_packs`, of `unlisted_bytes`: hosts keep them and no list names them, as of an agent that was killed.
    `unused_bytes`: waste that stays. `held_back`: packs with too much waste that stay, `is_room_short`: for want of
    room, else by `max_repack_bytes`. `room_bytes`: what the fullest host that is there can still take.
    """

    packs: int
    bytes: int
    delete_packs: int
    delete_bytes: int
    repack_packs: int
    repack_bytes: int
    move_bytes: int
    kept_packs: int
    unfinished_packs: int
    unfinished_bytes: int
    unused_bytes: int
    held_back: int
    is_room_short: bool
    room_bytes: int
    hosts: list[PruneHost]
    left_out: list[LeftOut] = msgspec.field(default_factory=list)
    unlisted_packs: int = 0
    unlisted_bytes: int = 0


class PruneResult(msgspec.Struct, kw_only=True):
    """What was done. `peers`: who has the new list and was told; who is `left_out` hears of it with the next backup.

    `freed_bytes`: of one copy, with the unfinished and the unlisted ones of the plan; hosts erase them when their lock
    is over, or at once. `sent_bytes`: to all hosts.
    """

    deleted_packs: int
    repacked_packs: int
    kept_packs: int
    unfinished_packs: int
    freed_bytes: int
    sent_bytes: int
    seconds: float
    hosts: list[PruneHost]
    peers: list[str] = msgspec.field(default_factory=list)
    left_out: list[LeftOut] = msgspec.field(default_factory=list)
    unfinished_bytes: int = 0
    unlisted_packs: int = 0
    unlisted_bytes: int = 0
