"""How long a command waits for hosts that are away.

Knows: what was said, whether a person watches. Must not know: hosts.
"""

from typing import Annotated

import typer

from backuppeer.cli.screen import Screen
from backuppeer.clock import parse_duration
from backuppeer.limits import RETRY_BUDGET_S

Wait = Annotated[
    str,
    typer.Option(
        "--wait", metavar="DURATION", help="For hosts that are away. [90s; on a terminal until one is back or Ctrl-C]"
    ),
]


def waiting_time(screen: Screen, wait: str) -> float | None:
    """Return the seconds to wait: as said, else None, without an end, where a person sees it and can stop it.

    Raises:
        UserError: not a duration.

    """
    if wait:
        return max(1.0, parse_duration(wait))  # with none at all each pack would have its hosts dialled anew
    return None if screen.can_ask and screen.is_live else RETRY_BUDGET_S
