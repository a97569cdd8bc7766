"""One thing that a person should know of and act on, wherever they are.

Knows: what is told of a trouble, and what makes it the same one as before. Must not know: how it is found, where it is
told. Texts go to services of others: no file names, no addresses, no secrets.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A trouble that stands now.

    key: what it is and whose, the same as long as it stands. stage: how bad it is; it is told again when this changes.
    text: what happened, and to whom. fix: what to do, a sentence. grace_s: how long it has to stand before it is told.
    """

    key: str
    text: str
    fix: str = ""
    stage: str = ""
    grace_s: int = 0
