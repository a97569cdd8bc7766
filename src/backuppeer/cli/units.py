"""Sizes, durations, moments and shares: how people write them and how they are shown (DESIGN 10, "Units").

Knows: GB = 10⁹, GiB = 2³⁰, s m h d w mo y (m = minutes, mo = 30 days, y = 365 days). Must not know: options, verbs.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from backuppeer.clock import DAY_S, DURATION, HOUR_S, MINUTE_S, parse_duration
from backuppeer.errors import UserError
from backuppeer.sizes import DECIMAL
from backuppeer.sizes import format_size as format_size  # noqa: PLC0414 - given on: all units are found here

_SIZES: Final[dict[str, int]] = {
    **{f"{prefix}b".lower(): 1000**power for power, prefix in enumerate(DECIMAL)},
    **{prefix.lower(): 1000**power for power, prefix in enumerate(DECIMAL)},
    **{f"{prefix}ib".lower(): 1024**power for power, prefix in enumerate(DECIMAL) if prefix},
}
_SHOWN: Final = (("y", 365 * DAY_S), ("d", DAY_S), ("h", HOUR_S), ("m", MINUTE_S), ("s", 1))
_SIZE: Final = re.compile(r"([0-9]{1,400})(?:\.([0-9]{1,18}))? ?([a-z]{0,3})")
_SHARE: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,9})?|\.[0-9]{1,9}) ?(%?)")
MAX_SIZE_BYTES: Final = 2**63 - 1
"""Sizes travel and are stored as signed 64-bit numbers."""
_SECOND_NS: Final = 1_000_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def parse_size(text: str) -> int:
    """Return the bytes that `50GB`, `1.5 GiB` or a bare number of bytes stands for; letters in either case.

    Raises:
        UserError: not a size, or beyond 2⁶³ - 1.

    """
    match = _SIZE.fullmatch(text.strip().lower())
    multiple = _SIZES.get(match[3]) if match else None
    if match is None or multiple is None:
        raise UserError(f"not a size: {text[:40]!r}", hint="write it like 50GB, 1.5GiB, or as a number of bytes")
    fraction = match[2] or ""
    size = int(match[1] + fraction) * multiple // int(f"1{'0' * len(fraction)}")
    if size > MAX_SIZE_BYTES:
        raise UserError(f"too large a size: {text[:40]!r}", hint="the largest is 9.2EB")
    return size


def write_size(size_bytes: int) -> str:
    """Return a size as an option takes it, rounded down to a whole unit: `17GB`, `400MB`; `SIZE` for 0."""
    for power in (3, 2, 1):
        if size_bytes >= 1000**power:
            return f"{size_bytes // 1000**power}{DECIMAL[power]}B"
    return str(size_bytes) if size_bytes else "SIZE"


def round_size(size_bytes: int) -> int:
    """Return a size rounded down to one digit and zeros: what a person would say."""
    digits = str(size_bytes)
    return int(digits[0] + "0" * (len(digits) - 1))


def read_span(text: str, option: str) -> int | None:
    """Return the seconds of an option that is a span of time, None when it was not given.

    Raises:
        UserError: not a duration, or 0, which can't be meant: leaving the option out means something else.

    """
    if not text:
        return None
    seconds = parse_duration(text)
    if not seconds:
        raise UserError(f"{option} is 0", hint=f"leave {option} out for the default, or write it like 30d")
    return seconds


def format_duration(seconds: float) -> str:
    """Return a duration in its two largest units: `2 h 5 m`, `30 d`, `8 s`."""
    rest = max(0, round(seconds))
    parts: list[str] = []
    for unit, length in _SHOWN:
        count, rest = divmod(rest, length)
        if count:
            parts.append(f"{count} {unit}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"


def parse_moment(text: str, now_s: float) -> int:
    """Return nanoseconds since 1970 of `2026-11-22`, `2026-11-22 21:30` (local time, unless it names a zone) or `30d`.

    A duration means so long before `now_s` (Unix seconds).

    Raises:
        UserError: neither.

    """
    cleaned = text.strip()
    if DURATION.fullmatch(cleaned.lower()):
        return int(now_s - parse_duration(cleaned)) * _SECOND_NS
    try:
        moment = datetime.fromisoformat(cleaned).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UserError(
            f"not a time: {text[:40]!r}", hint='write it like 2026-11-22, "2026-11-22 21:30", or 30d for so long ago'
        ) from None
    ns = (moment - _EPOCH) // timedelta(microseconds=1) * 1000
    return max(-MAX_SIZE_BYTES, min(ns, MAX_SIZE_BYTES))


def parse_share(text: str) -> float:
    """Return the number from 0 to 1 that `0.8` or `80%` stands for.

    Raises:
        UserError: neither.

    """
    match = _SHARE.fullmatch(text.strip())
    value = float(match[1]) / (100 if match[2] else 1) if match else -1.0
    if not 0 <= value <= 1:
        raise UserError(f"not a number from 0 to 1: {text[:40]!r}", hint="write it like 0.8 or 80%")
    return value


def format_share(share: float) -> str:
    """Return a share of 1 as per cent, never rounding up to 100 %."""
    percent = share * 100
    shown = f"{percent:.1f}".rstrip("0").rstrip(".")
    return f"{'99.9' if shown == '100' and percent < 100 else shown} %"
