"""Limits of what agreements say beyond space, term, lock and notice (DESIGN 5, ADR 51). See `limits`."""

from typing import Final

ENDINGS_PER_DAY: Final = 8
"""How often an owner may end an agreement within a day of the store's age: each is told to the host's person, and is a
file that is written. It can always take that back, or a thief would use up the day."""
