"""Limits of what agreements say beyond space, term, lock and notice (DESIGN 5, ADR 51). See `limits`."""

from typing import Final

ENDINGS_PER_DAY: Final = 8
"""How often an owner may end an agreement within a day of the store's age: each is told to the host's person, and is a
file that is written. It can always take that back, or a thief would use up the day."""
RECIPROCITY_MOST_PERMILLE: Final = 10_000
"""Ten bytes in return for one: more is a slip of the pen, or somebody else who has the owner's machine."""
RECIPROCITY_GRACE_S: Final = 14 * 86_400
"""From when promised space was asked for in vain, until nothing new is taken from who promised it: a long holiday."""
RECIPROCITY_LOOK_S: Final = 60.0
"""How long what was found about a peer's promise counts before it is looked at again: a backup asks for each pack."""
EXTENSION_VALUE_BYTES: Final = 64
"""Of one promise in an offer: today's have 8."""
