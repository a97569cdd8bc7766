"""How many files a process may have open, sockets among them: as many as the system lets it."""

import resource
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from backuppeer.limits import OPEN_FILES

if TYPE_CHECKING:
    from backuppeer.signaling.server.caps import Caps

_SPARE: Final = 64
"""Of a server, beside its connections: what it listens on, a database, a store, observers."""


def use_descriptors(wanted: int = OPEN_FILES) -> int:
    """Take as many file descriptors as the system lets us have, up to `wanted`; return how many there are.

    The soft limit of most systems is 1,024.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # macOS has a second limit that it does not tell
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == resource.RLIM_INFINITY else soft


def bound_connections(caps: "Caps") -> "Caps":
    """Return the caps with no more connections than there are descriptors for, as many of these as there may be.

    A server that has none left answers nobody, whoever watches it neither; one whose cap is reached says so.
    """
    room = use_descriptors(caps.connections + caps.refusals + _SPARE) - caps.refusals - _SPARE
    return replace(caps, connections=max(1, min(caps.connections, room)))


def describe_room(caps: "Caps") -> str:
    """Return for how many there is room, and why for no more when the system bounds it."""
    text = f"room for {caps.connections:,} connections, two of each host"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard or soft > caps.connections + caps.refusals + _SPARE:
        return text
    return f"{text}: the system allows {soft:,} open files (ulimit -Hn; LimitNOFILE of a unit)"
