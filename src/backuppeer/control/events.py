"""Events of the control API's work routes: what a person who watches is told (DESIGN 10).

Knows: the shapes of JSON lines. Must not know: which verb sends which. Paths are text with surrogate escapes.
"""

from enum import StrEnum
from typing import Any

import msgspec


class Event(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One line of a work route. `event` says which; the other fields are what the verb's schema says."""

    event: str
    data: dict[str, Any] = msgspec.field(default_factory=dict)


class EventName(StrEnum):
    """What an event may be."""

    DONE = "done"  # data: the verb's result struct
    ERROR = "error"  # data: ErrorResult
    PROGRESS = "progress"  # data: Progress
    STATE = "state"  # data: State
    NOTE = "note"  # data: Note
    ERROR_FILE = "error-file"  # data: ErrorFile
    FAULT = "fault"  # data: Fault
    REQUEST = "request"  # host only; data: PendingRequest
    OFFERED = "offered"  # host only: the slot is on offer; data: HostResult
    CODE = "code"
    AGREED = "agreed"  # host only; data: Agreed
    ALARM = "alarm"  # host only; data: MassDeletionSeen
    ROWS = "rows"  # find and diff; data: inspection.Rows
    MORE = "more"  # feed routes only: the agent asks for bytes; data: More
    START = "start"  # dump only; data: inspection.DumpStart
    OPENED = "opened"  # mount only; data: mounting.MountOpened


class ErrorResult(msgspec.Struct, kw_only=True):
    """Why it went wrong: `code` is the exit code. Body of a refused request, and data of an `error` event."""

    code: int
    message: str
    hint: str = ""


class State(msgspec.Struct, kw_only=True):
    """A step of the work. text: in words. retry_s: waiting, so many seconds until the next try; 0: it is under way.

    state: searching, knocking, dialling, verifying, catching-up, … · waiting: for a person's answer, or for a peer
    that is away; nothing moves until · connected: it is there (again) · working: goes on without it.
    paused: by a person; nothing moves until · resumed.
    Of an offer · unlisted: no signaling server shows it now · listed: one does again.
    """

    state: str
    text: str = ""
    retry_s: float = 0.0
    job: int = 0
    """Of `paused` and `resumed`: the number of the job."""


class Note(msgspec.Struct, kw_only=True):
    """A warning or fact for the person."""

    text: str


class Fault(msgspec.Struct, kw_only=True):
    """What a host did that no honest one does: proven here, and never passed over. The command ends with 15 at least.

    The work itself goes on as far as it can, and its result says what came of it.
    """

    peer_id: str
    name: str
    message: str
    hint: str = ""


class ErrorFile(msgspec.Struct, kw_only=True):
    """One file that could not be read, verified or written. `away`: no host that has it can be reached now."""

    path: str
    message: str
    away: bool = False


class More(msgspec.Struct, kw_only=True):
    """So many further pieces of the stream may be sent."""

    pieces: int


class Agreed(msgspec.Struct, kw_only=True):
    """An owner got space here (host view)."""

    peer_id: str
    alias: str
    quota_bytes: int
    invite: str = ""
    """Who came by an invite: its name, else its id; and the words to compare, which nobody was shown before."""
    safety_words: str = ""


class MassDeletionSeen(msgspec.Struct, kw_only=True):
    """An owner asked to delete a large part of its data here (host view); `kept_bytes` of it stay until `until`.

    text: all of it in words, and what to do.
    """

    peer_id: str
    alias: str
    percent: int
    asked_bytes: int
    kept_bytes: int
    time: str
    until: str
    text: str


class PeerShare(msgspec.Struct, kw_only=True):
    """What went to a host, or came from it, in this job. name: as the person calls it."""

    name: str
    bytes: int


class Progress(msgspec.Struct, omit_defaults=False, kw_only=True):
    """Where work stands. Totals are 0 while unknown; while `counting` they are what was counted so far.

    unit: what `files` counts, in the singular: file, host, pack. sent_bytes: acknowledged by hosts. traffic_bytes: on
    the way to and from hosts, roughly; stands still when they do.
    """

    phase: str
    unit: str = "file"
    files: int = 0
    files_total: int = 0
    bytes: int = 0
    bytes_total: int = 0
    sent_bytes: int = 0
    current: str = ""
    seconds: float = 0.0
    counting: bool = False
    traffic_bytes: int = 0
    peers: list[PeerShare] = []
    """What each of several hosts took, also of packs that it has not acknowledged yet, or gave."""
