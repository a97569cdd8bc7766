"""What a person says of how much may lie with a host (ADR 64): part of peers/set.

Knows: the words for it. Must not know: how the cap is kept.
"""

import shlex
from typing import Final

from backuppeer.agent.repute.exposing import UNCAPPED, Exposing
from backuppeer.errors import UserError
from backuppeer.ids import PeerId
from backuppeer.sizes import format_size

_NONE: Final = "none"
_DEFAULT: Final = "default"
_DIGITS: Final = 19
"""Of the largest size that is stored."""


def set_cap(exposing: Exposing, peer: PeerId, text: str, *, name: str) -> None:
    """Set the cap of a host that is called `name`: bytes as text, `none`, or `default`.

    Raises:
        UserError: none of these, or less than may lie there without it.

    """
    if text == _NONE:
        exposing.lift(peer, UNCAPPED)
    elif text == _DEFAULT:
        exposing.lift(peer, None)
    elif text.isascii() and text.isdigit() and len(text) <= _DIGITS:
        least = exposing.least(peer)
        if int(text) < least:
            raise UserError(
                f"a cap only lifts: {format_size(least)} of yours may lie with {name} without it",
                hint=f"to give less, agree on less: `backup-peer peers resize {shlex.quote(name)} SIZE`",
            )
        exposing.lift(peer, int(text))
    else:
        raise UserError(f"not a cap: {text[:40]!r}", hint="a size like 10GB, none, or default")
