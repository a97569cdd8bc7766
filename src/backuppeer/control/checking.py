"""Shapes of `check` and `check --repair` (control.api, DESIGN 10).

Knows: request and result structs. Must not know: the agent, the terminal. Units and texts as in `control.api`.
"""

import msgspec

from backuppeer.control.api import Request
from backuppeer.control.saving import LeftOut


class CheckRequest(Request):
    """`check`: the structure always; packs are read when one of the fields says so.

    snapshots: ids, prefixes, `latest`, whose folders and packs are looked at; none = all. percent: of all stored
    bytes, those first that were not read for longest; most_bytes: the same, so many bytes; part of parts: a fixed
    share of all copies. At most one of these three and `read_data`.
    """

    snapshots: list[str] = msgspec.field(default_factory=list)
    read_data: bool = False
    percent: float = 0.0
    most_bytes: int = 0
    part: int = 0
    parts: int = 0


class Problem(msgspec.Struct, kw_only=True):
    """One thing that is not as it should be. about: index, trees, ledger, head, packs or snapshots.

    peer_id: the host it is about, or empty. text: a sentence for people.
    """

    about: str
    text: str
    peer_id: str = ""


class Repair(msgspec.Struct, kw_only=True):
    """One thing that `check --repair` would do, and in words.

    action: index, ledger (built anew from the hosts' packs), trees (damaged entries dropped) or copies (hosts are
    brought level).
    """

    action: str
    text: str


class CheckedHost(msgspec.Struct, kw_only=True):
    """What one host keeps and how it answered.

    reached: false = it could not be asked, and `copies` is what it is known to keep. missing: copies that it lost.
    damaged: copies that came back wrong, now or before, and were not replaced. unread: never read by a check.
    lacking, lacking_bytes: packs that the snapshots looked at need, and only other hosts have.
    oldest_verified: when that of the others was read that was not for longest; empty for none.
    """

    peer_id: str
    alias: str
    reached: bool
    head: int = 0
    copies: int = 0
    missing: int = 0
    damaged: int = 0
    unread: int = 0
    oldest_verified: str = ""
    lacking: int = 0
    lacking_bytes: int = 0


class CheckResult(msgspec.Struct, kw_only=True):
    """All was looked at that could be; what is wrong stands in `problems`.

    files_hit: files and folders of the snapshots in `snapshots_hit` that are with no host whole, each in an
    `error-file` event (the first thousand). read_copies, read_bytes: by this check. copies, unread_copies,
    oldest_verified: of all hosts. repairs: what `check --repair` can do. left_out: hosts that could not be asked.
    """

    snapshots: int
    packs: int
    problems: list[Problem]
    files_hit: int
    snapshots_hit: list[str]
    read_copies: int
    read_bytes: int
    copies: int
    unread_copies: int
    oldest_verified: str
    hosts: list[CheckedHost]
    repairs: list[Repair]
    left_out: list[LeftOut]
    seconds: float


class RepairRequest(Request):
    """`check --repair`, once a person has agreed to just these actions."""

    actions: list[str]


class RepairResult(msgspec.Struct, kw_only=True):
    """What was done. resent: trees and snapshots sent from this machine. left_out: hosts that could not be mended."""

    done: list[str]
    resent: int
    left_out: list[LeftOut]
