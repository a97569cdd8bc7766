"""How a size is shown, in the one way that all rooms share: three digits and a decimal unit (DESIGN 10, "Units").

What is free is rounded down, so that what is said to be free is; everything else to the nearest.
"""

from typing import Final

DECIMAL: Final = ("", "k", "M", "G", "T", "P", "E")
"""Prefixes of powers of 1000."""


def format_size(size_bytes: int) -> str:
    """Return a size with up to three digits and a decimal unit: `50 GB`, `1.23 MB`, `999 B`."""
    value, power = float(size_bytes), 0
    while abs(value) >= 999.5 and power < len(DECIMAL) - 1:
        value, power = value / 1000, power + 1
    digits = 0 if abs(value) >= 99.95 or not power else 1 if abs(value) >= 9.995 else 2
    number = f"{value:.{digits}f}"
    if digits:
        number = number.rstrip("0").rstrip(".")
    return f"{number} {DECIMAL[power]}B"


def format_free(size_bytes: int) -> str:
    """Return how much is free: as `format_size`, never more than it is, and never below 0."""
    size = max(0, size_bytes)
    digits = len(str(size))
    return format_size(size if digits <= 3 else size - size % 10 ** (digits - 3))
