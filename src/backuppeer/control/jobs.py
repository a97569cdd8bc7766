"""Jobs of the agent, as the control API tells of them: `jobs`, `pause`, `resume`, `cancel`.

Knows: the shapes. Must not know: how a job is run. Sizes are bytes, times RFC 3339 UTC text.
"""

from typing import Any

import msgspec

from backuppeer.control.events import PeerShare


class JobRow(msgspec.Struct, kw_only=True):
    """One job (`jobs`).

    kind: the verb · of: a set, paths, a snapshot, a host, in words · by: `command` or `schedule`.
    state: running · waiting: for what `text` says · pausing: what is under way ends · paused · ended.
    """

    job: int
    kind: str
    of: str
    by: str
    state: str
    since: str
    text: str = ""
    is_left: bool = False
    """Whether its own terminal is gone: it goes on without."""
    ended: str = ""
    code: int | None = None
    """Of one that has ended: the exit code it would have; None: it has not."""
    message: str = ""
    hint: str = ""
    """Of one that failed: why, and what to do."""
    is_partial: bool = False
    """Of one that ended well: some files or hosts were left out."""
    phase: str = ""
    unit: str = "file"
    files: int = 0
    files_total: int = 0
    bytes: int = 0
    bytes_total: int = 0
    counting: bool = False
    sent_bytes: int = 0
    bytes_per_s: int = 0
    left_s: float | None = None
    """How fast, by the last ten seconds, and how long it will take; None: not known. The others: as in `Progress`.

    Where no file moves: how fast hosts acknowledge, once all is read; else how fast it comes and goes.
    """
    peers: list[PeerShare] = []


class JobEnded(msgspec.Struct, kw_only=True):
    """A job that was followed has ended well. route: whose result `result` is."""

    job: JobRow
    route: str
    result: dict[str, Any] = {}
