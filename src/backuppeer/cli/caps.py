"""Caps on what is sent and received, in words."""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Final

from backuppeer.cli.render import format_moment
from backuppeer.cli.units import format_size
from backuppeer.control.bandwidth import CapState

_FOR: Final = {"own": " for your own backups", "host": " for those you keep"}


def describe_caps(caps: Sequence[CapState]) -> str:
    """Return what holds now: `capped at 2 MB/s up and 9 MB/s down until 07:00`; empty without caps."""
    if not caps:
        return ""
    ordered = sorted(caps, key=lambda cap: list(_FOR).index(cap.role) if cap.role in _FOR else -1)
    parts = []
    for role, group in groupby(ordered, key=lambda cap: cap.role):
        speeds = " and ".join(f"{format_size(cap.bytes_per_s)}/s {cap.direction}" for cap in group)
        parts.append(f"{speeds}{_FOR.get(role, '')}")
    return f"capped at {', '.join(parts)}{_say_until(caps[0].until)}"


def _say_until(moment: str) -> str:
    """Return the time of day alone: it is within a day."""
    if not moment:
        return ""
    try:
        return f" until {datetime.fromisoformat(moment).astimezone():%H:%M}"
    except ValueError:
        return f" until {format_moment(moment)}"
