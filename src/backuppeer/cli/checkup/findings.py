"""What `doctor` found of one link of the chain: how it is, what mends it, which exit code it has.

Knows: the links in their order, states. Must not know: how a link is looked at, the terminal.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from backuppeer.errors import BackupPeerError, ExitCode


class State(StrEnum):
    """How a link is."""

    OK = "ok"
    WARNING = "warning"
    """It holds, and something about it should be known."""
    BROKEN = "broken"
    UNSEEN = "unseen"
    """It was not looked at."""
    NONE = "none"
    """There is none here, and none is needed."""


_HOLDS: Final = frozenset({State.OK, State.WARNING})
LINKS: Final = (
    *("home", "identity", "settings", "disk", "agent", "alarms", "clock", "server", "network", "peer", "backups"),
    *("schedule", "service"),
)
"""From the near end to the far one: what breaks one breaks all behind it; then what goes on by itself."""


class Finding(msgspec.Struct, kw_only=True, frozen=True):
    """`doctor`: one link, of `LINKS`. state: a State. name: which of several. code: of a broken one, else 0."""

    link: str
    state: str
    text: str
    name: str = ""
    fix: str = ""
    code: int = 0


def broken_by(link: str, error: BackupPeerError, *, name: str = "") -> Finding:
    """Return the finding for a link at which an error came up."""
    return Finding(
        link=link, name=name, state=State.BROKEN, text=error.message, fix=error.hint, code=int(error.exit_code)
    )


def order(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings along the chain; those of one link stay as they came."""
    return sorted(findings, key=lambda found: LINKS.index(found.link))


def choose_code(findings: Sequence[Finding]) -> int:
    """Return the exit code (DESIGN 10): of the first broken link; 3 if something was not looked at; else 0.

    One server or peer of several that does not work is "incomplete": the chain holds by the others.
    """
    for found in order(findings):
        if found.state == State.BROKEN:
            same = [each for each in findings if each.link == found.link]
            is_spared = found.link in {"server", "peer"} and any(each.state in _HOLDS for each in same)
            is_weather = found.code in {ExitCode.UNREACHABLE, ExitCode.NO_SIGNALING}
            return ExitCode.INCOMPLETE if is_spared and is_weather else found.code
    return ExitCode.INCOMPLETE if any(found.state == State.UNSEEN for found in findings) else ExitCode.DONE
