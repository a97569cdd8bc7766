"""Shapes of `forget` and `tag`: what changes the list of snapshots without a backup (control.api, DESIGN 10).

Knows: request and result structs. Must not know: the agent, the terminal. Units and texts as in `control.api`.
"""

import msgspec

from backuppeer.control.api import Request
from backuppeer.control.pruning import PruneResult
from backuppeer.control.saving import LeftOut


class ForgetRequest(Request):
    """`forget`: either `snapshots` (ids, prefixes, `latest`) or rules, with filters and groups.

    Of the `keep_*` 0 is no rule and -1 keeps all. `zone`: IANA name whose hours, days and weeks count; empty = the
    agent's own. With neither, what the set named by `set` (empty: `default`) keeps by its settings. `agreed`: the
    `digest` of the plan that a person, or --yes, agreed to; only `forget` itself needs it.
    """

    snapshots: list[str] = msgspec.field(default_factory=list)
    keep_last: int = 0
    keep_hourly: int = 0
    keep_daily: int = 0
    keep_weekly: int = 0
    keep_monthly: int = 0
    keep_yearly: int = 0
    keep_within_s: int = 0
    keep_tags: list[str] = msgspec.field(default_factory=list)
    hosts: list[str] = msgspec.field(default_factory=list)
    tags: list[str] = msgspec.field(default_factory=list)
    set: str = ""
    path: str = ""
    group_by: list[str] = msgspec.field(default_factory=lambda: ["set", "host", "paths"])
    zone: str = ""
    agreed: str = ""


class PlannedRow(msgspec.Struct, kw_only=True):
    """One snapshot of a plan. `reasons`: why it is `kept`. `time`: empty where only the id is known."""

    snapshot: str
    kept: bool
    time: str
    host: str
    paths: list[str]
    tags: list[str]
    reasons: list[str]


class ForgetGroup(msgspec.Struct, kw_only=True):
    """Snapshots that rules were applied to together; a field that is not grouped by is empty. Oldest first."""

    set: str
    host: str
    paths: list[str]
    snapshots: list[PlannedRow]


class ForgetPlan(msgspec.Struct, kw_only=True):
    """What `forget` would do. `kept`: snapshots there are afterwards, those that no rule was applied to included."""

    groups: list[ForgetGroup]
    forgotten: int
    kept: int
    digest: str
    """Names just the snapshots that would go: `agreed` of the request that does it."""


class ForgetResult(msgspec.Struct, kw_only=True):
    """Forgotten (or, dry, would be). `peers`: who has the new list; who is `left_out` is told by the next backup.

    `pruned`: what `forget --prune` did after that.
    """

    forgotten: list[str]
    kept: int
    peers: list[str] = msgspec.field(default_factory=list)
    left_out: list[LeftOut] = msgspec.field(default_factory=list)
    pruned: PruneResult | None = None


class TagRequest(Request):
    """`tag`: `replace` all tags (null = don't), or `add` some and `remove` some."""

    snapshots: list[str]
    replace: list[str] | None = None
    add: list[str] = msgspec.field(default_factory=list)
    remove: list[str] = msgspec.field(default_factory=list)


class Tagged(msgspec.Struct, kw_only=True):
    """A snapshot that took the place of another one, `before`."""

    snapshot: str
    before: str
    tags: list[str]


class TagResult(msgspec.Struct, kw_only=True):
    """Which snapshots were changed, how many had these tags already; `peers` and `left_out` as for `forget`."""

    changed: list[Tagged]
    unchanged: int
    peers: list[str] = msgspec.field(default_factory=list)
    left_out: list[LeftOut] = msgspec.field(default_factory=list)
