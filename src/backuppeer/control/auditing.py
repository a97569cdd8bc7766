"""Shapes of `audit` (control.api, DESIGN 10).

Knows: request and result structs. Must not know: the agent, the terminal. Units and texts as in `control.api`.
"""

import msgspec

from backuppeer.control.api import Request
from backuppeer.control.saving import LeftOut


class AuditRequest(Request):
    """`audit --now`, `--bulk` and `--drill`: these hosts, or all. bulk: read the month's blocks instead of samples."""

    peers: list[str] = msgspec.field(default_factory=list)
    bulk: bool = False


class AuditedHost(msgspec.Struct, kw_only=True):
    """What came of the audit of one host.

    asked, shown: samples. shown_bytes: verified. acknowledged: packs that it signed for just now. owed: samples that it
    owes from now and before. lost, wrong: packs that count no more, since it reported or did not show them, or signed
    other bytes. over_budget: it answers no more of it today. deaf: its version can't be audited. skipped: why nothing
    was asked, or empty. faults: what it was caught at. proofs: files that convict it.
    """

    peer_id: str
    alias: str
    asked: int = 0
    shown: int = 0
    shown_bytes: int = 0
    acknowledged: int = 0
    owed: int = 0
    lost: int = 0
    wrong: int = 0
    over_budget: bool = False
    deaf: bool = False
    skipped: str = ""
    faults: list[str] = msgspec.field(default_factory=list)
    proofs: list[str] = msgspec.field(default_factory=list)


class AuditResult(msgspec.Struct, kw_only=True):
    """What came of it all. left_out: hosts that could not be heard, or not to the end."""

    hosts: list[AuditedHost]
    asked: int
    shown: int
    shown_bytes: int
    left_out: list[LeftOut]
    seconds: float


class DrilledHost(msgspec.Struct, kw_only=True):
    """What came back from one host alone: files as they were saved, and how many were not.

    absent: files that were drawn and of which it does not keep all (yet); nobody's fault here.
    """

    peer_id: str = ""
    alias: str = ""
    files: int = 0
    bytes: int = 0
    failed: int = 0
    absent: int = 0


class DrillResult(msgspec.Struct, kw_only=True):
    """A restore drill (`audit --drill`): random files of `snapshot`, compared and thrown away. left_out: hosts away."""

    snapshot: str
    hosts: list[DrilledHost]
    files: int
    bytes: int
    left_out: list[LeftOut]
    seconds: float
