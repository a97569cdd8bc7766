"""What `backup` asks of the agent, and what it answers: values of the control API.

Knows: fields. Must not know: who fills or reads them.
"""

import msgspec

from backuppeer.control.api import Request


class LeaveOut(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What a backup leaves out. Patterns as in .gitignore, counted from `/`; larger_than in bytes of a file."""

    exclude: tuple[str, ...] = ()
    iexclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    caches: bool = False
    if_present: tuple[str, ...] = ()
    larger_than: int | None = None


class SnapshotRequest(Request):
    """What all backups are told: hosts, tags, zstd level. copies: hosts that must hold it; null = the set's, else 1."""

    set: str = ""
    copies: int | None = None
    to: list[str] = msgspec.field(default_factory=list)
    tags: list[str] = msgspec.field(default_factory=list)
    dry_run: bool = False
    level: int = 2


class BackupRequest(SnapshotRequest, kw_only=True):
    """`backup`: absolute paths as text with surrogate escapes; or a `set` of the settings, whose fields then count.

    `is_watched`: a person sees how far it is, so files that nobody knows of yet are counted beside the work.
    """

    paths: list[str] = msgspec.field(default_factory=list)
    is_watched: bool = False
    one_file_system: bool = False
    leave_out: LeaveOut = LeaveOut()
    priority: tuple[str, ...] = ()
    """Patterns as in .gitignore, counted from `/`: what fits the first is sent first, and so on, before all others."""


class StreamRequest(SnapshotRequest, kw_only=True):
    """`backup --stdin`: `name` of the one file that the snapshot holds, folders before it allowed."""

    name: str


class LeftOut(msgspec.Struct, kw_only=True):
    """A host that was asked for and does not hold the whole backup: why, and what a person can do."""

    peer_id: str
    name: str
    reason: str
    hint: str = ""
    capped: bool = False
    """Whether it got no more because as much as may lie with a stranger does."""


class BackupResult(msgspec.Struct, kw_only=True):
    """A snapshot stands (or, dry, would stand). peers: who holds it; with fewer than `copies` it is incomplete.

    set: which it belongs to, or empty. hook_problem: what went wrong with the hook `after`, or empty. unchanged: files
    of it that were not read, since an earlier backup had them. read_bytes: of those that were.
    """

    snapshot: str
    files: int
    bytes: int
    new_bytes: int
    sent_bytes: int
    seconds: float
    errors: int
    peers: list[str]
    left_out: list[LeftOut] = msgspec.field(default_factory=list)
    unchanged: int = 0
    read_bytes: int = 0
    set: str = ""
    copies: int = 1
    hook_problem: str = ""
    ending: list[LeftOut] = msgspec.field(default_factory=list)
    """Of the peers: those whose agreement ends, so that their copy does not count."""
    together: list[LeftOut] = msgspec.field(default_factory=list)
    """Of the peers: those that may be one machine with another, or fall together with it, so that both count as one."""
    to: list[str] = msgspec.field(default_factory=list)
    """The only hosts that it was to go to, as --to or the set names them; none: all."""
