"""Commands and events of the control API: the shapes that agent and command line agree on (DESIGN 10).

Knows: request and result structs. Must not know: the agent, the terminal, which route they belong to (`routes`). Sizes
are bytes, times RFC 3339 UTC text, ids full text, paths text with surrogate escapes (`os.fsdecode`).
"""

import msgspec

from backuppeer.control.bandwidth import CapState
from backuppeer.control.jobs import JobRow
from backuppeer.control.promises import NO_WISH, NOTHING_PROMISED, Promised, PromiseWish
from backuppeer.control.proven import AuditRow
from backuppeer.control.scheduling import OverdueSet, Pruned, ScheduledSet
from backuppeer.control.servers import ServerState


class Request(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Base of all requests: unknown fields are refused, so a typing error can't pass in silence."""

    servers: list[str] | None = None
    """Signaling servers to use, resolved by the command; None = what the agent was started with."""


class Nothing(Request):
    """A request without arguments."""


# --- answer routes
class PingResult(msgspec.Struct, kw_only=True):
    """Who answers at this socket."""

    version: str
    pid: int
    peer_id: str


class HostingState(msgspec.Struct, kw_only=True):
    """What this home hosts."""

    offering: bool = False
    storage_bytes: int = 0
    agreed_bytes: int = 0
    used_bytes: int = 0
    agreements: int = 0
    deleted_bytes: int = 0
    """Of the used bytes: deleted by their owners, and kept until the lock is over."""
    next_free_bytes: int = 0
    next_free: str = ""
    """How many of the deleted bytes are erased next, and when at the soonest."""
    store: str = ""
    store_state: str = "none"
    expires: str = ""
    ended_bytes: int = 0
    """Agreed and not used under agreements that end: free for nothing more."""
    min_trust: float = 0.0
    """Owners whose trust as hosts is below are refused; 0: nobody for that."""
    unlisted: bool = False
    invites: int = 0
    """Live ones."""
    noted: int = 0
    """Agreements of which a note of today's state lies at every server where its owner would look for one."""


class StoringState(msgspec.Struct, kw_only=True):
    """What hosts keep for this home; of what was deleted there, `next_free_bytes` are free on `next_free` or later."""

    hosts: int = 0
    agreed_bytes: int = 0
    used_bytes: int = 0
    deleted_bytes: int = 0
    next_free_bytes: int = 0
    next_free: str = ""
    ended_bytes: int = 0
    withheld_bytes: int = 0
    """Agreed and not used: under agreements that end, and at hosts that may get no more now (bar, stranger's cap)."""


class LanState(msgspec.Struct, kw_only=True):
    """What this home does in its local networks. on: the setting `network.lan`."""

    on: bool = False
    announced: list[str] = []
    """Addresses at which it is announced now."""
    seen: list[str] = []
    """Ids of the hosts that looks of the last ten minutes found there."""


class StatusResult(msgspec.Struct, kw_only=True):
    """`status`."""

    peer_id: str
    agent: str
    servers: list[ServerState]
    sessions: int
    hosting: HostingState
    snapshots: int
    notes: list[str] = msgspec.field(default_factory=list)
    waiting_in: int = 0
    """Requests of others that wait for an answer here."""
    waiting_out: int = 0
    """Own requests that wait for a host's answer."""
    read_only: bool = False
    """Recovered from the words: this home restores, and makes no backups."""
    storing: StoringState = msgspec.field(default_factory=StoringState)
    audits: list[AuditRow] = msgspec.field(default_factory=list)
    relayed: int = 0
    """Of the sessions: those that go by a relay."""
    scheduled: list[ScheduledSet] = msgspec.field(default_factory=list)
    """Sets that the agent backs up by itself."""
    pruned: Pruned = msgspec.field(default_factory=Pruned)
    overdue: list[OverdueSet] = msgspec.field(default_factory=list)
    """Sets that were not backed up for longer than `notify.after`: an alarm."""
    network: str = ""
    """What lies before this machine, as servers see it, and at whose relay it is found; empty: not known."""
    lan: LanState = msgspec.field(default_factory=LanState)
    jobs: list[JobRow] = []
    """Those under way."""
    caps: list[CapState] = msgspec.field(default_factory=list)
    """On what is sent and received, as they hold now."""


class PeerRow(msgspec.Struct, kw_only=True):
    """One own peer (`peers`). role: `host` (keeps my data), `owner` (I keep theirs), `both`."""

    peer_id: str
    alias: str
    role: str
    verified: bool
    quota_bytes: int
    used_bytes: int
    safety_words: str
    last_seen: str
    trust: float
    trust_level: str
    deleted_bytes: int = 0
    """Of the used bytes: deleted, and kept until the hold is over; the next of them go on `next_free` or later."""
    next_free_bytes: int = 0
    next_free: str = ""
    until: str = ""
    revision: int = 0
    """When the term agreed on is over (nothing ends by itself then), and how often it was made or changed."""
    ends: str = ""
    ended_by_us: bool = False
    """If notice was given: until when all is kept at least, and whether it was ours."""
    blocked: bool = False
    reason: str = ""
    """Whether this home's person blocked it, and why, in their words."""
    hosted_bytes: int = 0
    hosted_used_bytes: int = 0
    """Of a peer with role `both`: what we agreed to keep for it, and keep; the fields above are what it keeps."""
    owed_to_us_bytes: int = 0
    owed_by_us_bytes: int = 0
    """Promised in return, and not agreed on yet: what it owes us, what we owe it."""
    capped: list[str] = []
    differs: bool = False
    differed_as: str = ""
    room_bytes: int | None = None
    lineage: list[str] = []
    """Clauses on why it is in doubt or trusted no more; the words differed, and as which id of before; may get so much
    more (None: all free); whose heir it is (ADR 69)."""
    trial: bool = False
    """Of a host: the agreement is small and short, one to try it with (ADR 65); `until` says how long."""


class BrowseRow(msgspec.Struct, kw_only=True):
    """One offer (`browse`)."""

    peer_id: str
    alias: str
    storage_bytes: int
    free_bytes: int
    region: str
    availability: float
    trust: float
    trust_level: str
    expires: str
    servers: list[str]
    promises: Promised = NOTHING_PROMISED
    """What it wants in return at least, and gives at most without being asked."""
    capped: list[str] = []
    reason: str = ""
    """As in `peers`; the strongest reason of the trust, a clause about the peer."""
    forked: bool = False
    """The host signed two different offers under one number: its key seems to be in two places."""
    lan: bool = False
    """It was seen in the local network."""


class PendingRequest(msgspec.Struct, kw_only=True):
    """A connection request, either direction (`requests`).

    state: waiting, offered (other terms), accepted, agreed, rejected, expired, superseded (by another wish or an
    agreement).
    """

    request_id: str
    direction: str
    """`in` (somebody asks me for space) or `out` (I asked)."""
    peer_id: str
    alias: str
    safety_words: str
    storage_bytes: int
    term_s: int
    lock_s: int
    state: str
    since: str
    trust: float
    trust_level: str
    trust_reason: str = ""
    capped: list[str] = []
    """What is thought of it as a host: the strongest reason, and as in `peers`."""
    reason: str = ""
    """Why it was rejected, in the words of whoever did."""
    invite: str = ""
    """Who came by an invite: its name, else its id."""
    offer_bytes: int = 0
    offer_term_s: int = 0
    offer_lock_s: int = 0
    """What the host's person offers instead, if anything."""
    promises: Promised = NOTHING_PROMISED
    offer_promises: Promised = NOTHING_PROMISED
    now_promises: Promised = NOTHING_PROMISED
    """What is asked for beyond space and time, what is offered instead, what stands."""
    now_bytes: int = 0
    now_until: str = ""
    now_lock_s: int = 0
    until: str = ""
    offer_until: str = ""
    """Of a request to change an agreement: what is agreed now, and when the terms asked for and offered end."""


class SnapshotRow(msgspec.Struct, kw_only=True):
    """One snapshot (`snapshots`). `missing`: its data was lost or withheld, only its id is known; the rest is empty.

    `incomplete`: the last backup found a part of it at no host. `original`: its first id, when its tags were changed.
    `last_proven`: when a host that keeps all of it last showed every sample asked for, in an audit after the snapshot.
    """

    snapshot: str
    time: str
    paths: list[str]
    files: int
    bytes: int
    peers: list[str]
    host: str = ""
    tags: list[str] = msgspec.field(default_factory=list)
    missing: bool = False
    incomplete: bool = False
    set: str = ""
    original: str = ""
    last_proven: str = ""


class EntryRow(msgspec.Struct, kw_only=True):
    """One entry of a snapshot (`ls`). kind: file, dir, symlink, fifo, chardev or blockdev."""

    path: str
    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    mtime: str
    target: str = ""


class BrowseRequest(Request):
    """`browse`."""

    min_trust: float = 0.0
    min_storage: int = 0
    region: str = ""
    min_availability: float = 0.0
    sort: str = "trust"
    limit: int = 0
    all: bool = False
    lan: bool | None = None
    """Whether to look in the local network, too; None = as the settings say."""


class PeerRequest(Request):
    """A peer: full id, prefix, alias."""

    peer: str


class PeerSetting(Request):
    """`peers set`: what this person knows of a peer. verified: its id or safety words were compared with the person."""

    peer: str
    verified: bool = False
    name: str = ""
    cap: str = ""
    """How much may lie there (ADR 64): bytes as text, `none` = as much as agreed, `default`; empty = as it is."""


class JobRequest(Request):
    """One job: its number; None = the only one that may be meant."""

    job: int | None = None


class RequestDecision(Request):
    """`requests accept|reject`: id, prefix or alias of the request or of its peer."""

    request: str
    alias: str = ""
    reason: str = ""


class SnapshotsRequest(Request):
    """`snapshots`; of several tags or hosts any one fits. `latest`: so many of each group, 0 = all."""

    hosts: list[str] = msgspec.field(default_factory=list)
    tags: list[str] = msgspec.field(default_factory=list)
    path: str = ""
    set: str = ""
    latest: int = 0
    group_by: list[str] = msgspec.field(default_factory=lambda: ["set", "host", "paths"])


class LsRequest(Request):
    """`ls SNAPSHOT[:PATH]`; without a path the entries that the backup was of."""

    snapshot: str
    path: str = ""
    recursive: bool = False
    set: str = ""


# --- work routes
class HostRequest(Request):
    """`host`: put a slot on offer and stream what happens; `accept`: ask, trusted, all."""

    storage: int = 0
    duration_s: int | None = None
    """None = until stopped."""
    term_s: int | None = None
    """None = the default, as for `lock_s`; a lock of 0 erases at once."""
    lock_s: int | None = None
    promises: PromiseWish = NO_WISH
    """What others must give in return at least, and may ask for at most without a question."""
    store: str = ""
    accept: str = "ask"
    region: str = ""
    detach: bool = False
    min_trust: float = 0.0
    """Owners whose trust as hosts is below are refused without a question; 0 to 1."""
    unlisted: bool = False
    """No server shows it."""
    lan: bool | None = None
    """Whether the local network may see it, if it is listed; None = as the settings say."""


class HostPlan(msgspec.Struct, kw_only=True):
    """What an offer would look like in the list, and what of it is given already."""

    listed_bytes: int
    agreed_bytes: int
    lan: bool = False
    """Machines in the same network will see it."""


class HostResult(msgspec.Struct, kw_only=True):
    """The slot is on offer. expires: empty when until stopped."""

    peer_id: str
    storage_bytes: int
    expires: str
    servers: list[str]
    unlisted: bool = False
    lan: list[str] = []
    """Addresses at which it is announced in local networks."""


class ConnectRequest(Request):
    """`connect`: `confirmed` = the human (or --yes) saw the plan and agreed."""

    peer: str
    storage: int
    name: str = ""
    verified: bool = False
    wait_s: float = 60.0
    term_s: int | None = None
    """None = the default, as for `lock_s`; a lock of 0 erases at once."""
    lock_s: int | None = None
    promises: PromiseWish = NO_WISH
    confirmed: bool = False
    lan: bool | None = None
    """As in `browse`."""


class ConnectResult(msgspec.Struct, kw_only=True):
    """Agreed and in session."""

    peer_id: str
    alias: str
    safety_words: str
    session: str
    quota_bytes: int
