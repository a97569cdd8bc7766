"""What a running agent tells of the links between this home and others (`doctor`; control.api).

Knows: shapes. Must not know: how a link is tried, the terminal. Units and texts as in `control.api`.
"""

import msgspec

from backuppeer.control.proven import AuditRow


class PeerCheck(msgspec.Struct, kw_only=True):
    """What came of asking one peer whether it is there. role: `host` or `owner`; owners are not dialled.

    reached: it answered just now (an owner: it is in session). left_alone: it was not asked, as a person ended the
    session with it a while ago, and nothing needed it since. code: the exit code of `error`; empty, 0 where there is
    none. ends: until when all is kept under an agreement that ends. rtt_ms: of one question and its answer. skew_s: its
    clock less ours, as it was when the session began. room_bytes: what may go there now; null = all that is agreed and
    not used.
    """

    peer_id: str
    alias: str
    role: str
    reached: bool = False
    left_alone: bool = False
    error: str = ""
    hint: str = ""
    code: int = 0
    path: str = ""
    rtt_ms: float = 0.0
    skew_s: float | None = None
    verified: bool = False
    differs: bool = False
    """Somebody's safety words or machine were not this peer's: an alarm about who it is stands."""
    agreed_bytes: int = 0
    used_bytes: int = 0
    room_bytes: int | None = None
    until: str = ""
    ends: str = ""
    ended_by_us: bool = False
    last_seen: str = ""
    audit: AuditRow | None = None


class PeersChecked(msgspec.Struct, kw_only=True):
    """All peers were asked. left_out: hosts that were not, as there are too many."""

    peers: int
    left_out: int = 0


class NetworkCheck(msgspec.Struct, kw_only=True):
    """What lies before this machine. nat: empty (not known), none, some, steady, symmetric.

    looked: false where nobody can be asked: this home stays on loopback. relays: servers whose relay lets us in.
    """

    looked: bool
    nat: str = ""
    relays: list[str] = msgspec.field(default_factory=list)
    home: str = ""
    """The server at whose relay this home is found; empty: at none."""
