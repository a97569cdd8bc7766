"""Which routes are jobs, and what a job is called.

Knows: requests. Must not know: how a job is run. A view (`host`), a question (`browse`) and a plan are no jobs: nobody
asks what became of them.
"""

import os
from dataclasses import dataclass
from typing import Final

from backuppeer.control.api import Request
from backuppeer.limits import JOB_NAME_CHARS


@dataclass(frozen=True, slots=True)
class Kind:
    """One sort of job. verb: as people type it. may_pause: it can be held. may_stay: it can do without its terminal.

    is_kept: it is listed when it has ended. is_counted: its result says how many files and bytes it was.
    """

    verb: str
    may_pause: bool = True
    may_stay: bool = True
    is_kept: bool = True
    is_counted: bool = False
    kept: str = ""
    """What a person may count on when it is cancelled."""


_ID_CHARS, _SHOWN_CHARS = 64, 8
"""Digits of a whole id of a snapshot, and of one as people see it."""
_STORED: Final = "what a host has stored is kept, and the same command goes on from there"
KINDS: Final[dict[str, Kind]] = {
    "backup": Kind("backup", is_counted=True, kept=_STORED),
    "backup/stream": Kind(
        "backup", may_stay=False, is_counted=True, kept="no snapshot was made; what a host has stored is kept"
    ),
    "restore": Kind("restore", is_counted=True, kept="what is finished stays in the target"),
    "check": Kind("check", kept="nothing was changed"),
    "repair": Kind("repair", kept=_STORED),
    "prune": Kind("prune", kept="what stood before stands; run it again any time"),
    "audit": Kind("audit", kept="what hosts have shown counts"),
    "audit/drill": Kind("audit", kept="what was restored for it is deleted"),
    "recover": Kind("recover", kept="what was found is kept, and the same command goes on from there"),
    "peers/replace": Kind("peers replace", kept=_STORED),
    "peers/undelete": Kind("peers undelete", may_pause=False),
    "forget": Kind("forget", may_pause=False),
    "tag": Kind("tag", may_pause=False),
    "host/move": Kind("host move", may_pause=False),
    "find": Kind("find", may_pause=False, is_kept=False),
    "diff": Kind("diff", may_pause=False, is_kept=False),
    "stats": Kind("stats", may_pause=False, is_kept=False),
    "dump": Kind("dump", may_pause=False),
    "mount": Kind("mount", may_pause=False),
}


def describe_request(request: Request) -> str:
    """Return what a job is of, in words: a set, paths, a snapshot, hosts; empty where its kind says all."""
    name, target = _text(request, "set"), _text(request, "target")
    snapshot = ":".join(filter(None, (_shorten(_text(request, "snapshot")), _text(request, "path"))))
    if name and not snapshot:
        said = f"set {name}"
    elif snapshot:
        said = f"{snapshot} to {target}" if target else snapshot
    else:
        said = _first_of(request, "paths") or _first_of(request, "peers") or _text(request, "peer")
        said = said or _text(request, "name")
    return said if len(said) <= JOB_NAME_CHARS else f"{said[: JOB_NAME_CHARS - 1]}…"


def _shorten(snapshot: str) -> str:
    """Return a snapshot as people know it: of a whole id its first digits."""
    return snapshot[:_SHOWN_CHARS] if len(snapshot) == _ID_CHARS else snapshot


def _text(request: Request, name: str) -> str:
    value = getattr(request, name, "")
    return value if isinstance(value, str) else ""


def _first_of(request: Request, name: str) -> str:
    values = getattr(request, name, ())
    if not isinstance(values, (list, tuple)) or not values:
        return ""
    first = os.fspath(values[0])
    return f"{first} and {len(values) - 1} more" if len(values) > 1 else first
