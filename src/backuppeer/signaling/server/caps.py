"""Caps of one server, with the defaults of limits; a test or an operator passes smaller or greater ones.

Knows: numbers. Must not know: who reaches them.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Final

from backuppeer import limits
from backuppeer.errors import UserError
from backuppeer.signaling.server.engine import Rate

_NETWORK_PUBLISHES: Final = Rate(limits.NETWORK_PUBLISHES_PER_S, limits.NETWORK_PUBLISHES)
_NETWORK_DEPOSITS: Final = Rate(limits.NETWORK_DEPOSITS_PER_S, limits.NETWORK_DEPOSITS)
_NETWORK_PAGES: Final = Rate(limits.NETWORK_PAGES_PER_S, limits.NETWORK_PAGES)
_NETWORK_INBOXES: Final = Rate(limits.NETWORK_INBOXES_PER_S, limits.NETWORK_INBOXES)
_KEY_PUBLISHES: Final = Rate(limits.KEY_PUBLISHES_PER_S, limits.KEY_PUBLISHES)
_INBOX_DEPOSITS: Final = Rate(limits.INBOX_DEPOSITS_PER_S, limits.INBOX_DEPOSITS)
_CONTROL_FRAMES: Final = Rate(limits.SERVER_CONTROL_FRAMES_PER_S, limits.SERVER_CONTROL_FRAMES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """What one server process grants. Counts, bytes, seconds."""

    listings: int = limits.SERVER_LISTINGS
    stamp_bits: int = limits.STAMP_BITS
    """Work that a new key must show; 0 = none."""
    seen_keys: int = limits.SERVER_SEEN_KEYS
    inboxes: int = limits.SERVER_INBOXES
    inbox_messages: int = limits.INBOX_MESSAGES
    stored_messages: int = limits.SERVER_STORED_MESSAGES
    notes: int = limits.SERVER_NOTES
    memory_notes: int = limits.SERVER_MEMORY_NOTES
    notes_burst: int = limits.SERVER_NOTES_BURST
    notes_per_hour: float = limits.SERVER_NOTES_PER_HOUR
    connections: int = limits.SERVER_CONNECTIONS
    connections_per_address: int = limits.SERVER_CONNECTIONS_PER_ADDRESS
    refusals: int = limits.SERVER_REFUSALS
    messages_per_s: float = limits.SERVER_MESSAGES_PER_S
    messages_burst: int = limits.SERVER_MESSAGES_BURST
    control_frames: Rate = _CONTROL_FRAMES
    frame_bytes: int = limits.SIGNALING_CLIENT_FRAME_BYTES
    silence_s: float = limits.SERVER_INBOX_SILENCE_S
    handshake_s: float = limits.SERVER_HANDSHAKE_S
    ping_s: float = limits.SERVER_PING_S
    grace_s: float = limits.LISTING_GRACE_S
    inbox_life_s: float = limits.INBOX_LIFE_S
    sweep_s: float = limits.SERVER_SWEEP_S
    drain_s: float = limits.SERVER_DRAIN_S
    load_keys_per_s: float = limits.LOAD_KEYS_PER_S
    load_messages_per_s: float = limits.LOAD_MESSAGES_PER_S
    load_inbox_per_s: float = limits.LOAD_INBOX_PER_S
    network_publishes: Rate = _NETWORK_PUBLISHES
    network_deposits: Rate = _NETWORK_DEPOSITS
    network_pages: Rate = _NETWORK_PAGES
    network_inboxes: Rate = _NETWORK_INBOXES
    key_publishes: Rate = _KEY_PUBLISHES
    inbox_deposits: Rate = _INBOX_DEPOSITS
    strikes_burst: int = limits.SERVER_STRIKES
    strikes_per_hour: float = limits.SERVER_STRIKES_PER_HOUR
    ban_s: float = limits.SERVER_BAN_S


def parse_caps(texts: Iterable[str], *, stamp_bits: int) -> Caps:
    """Return caps of which some are said: `NAME=NUMBER`, and for rates `NAME=BURST+PER_SECOND`.

    Raises:
        UserError: no such cap, or not a number above 0.

    """
    usual = Caps(stamp_bits=stamp_bits)
    names = [field.name for field in fields(Caps) if field.name != "stamp_bits"]
    said: dict[str, int | float | Rate] = {}
    for text in texts:
        name, _, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if name not in names:
            raise UserError(f"no such limit: {name[:80]!r}", hint=f"one of {', '.join(names)}")
        said[name] = _parse_cap(name, value, getattr(usual, name))
    return Caps(**{"stamp_bits": stamp_bits, **said})  # type: ignore[arg-type] # each has the type of what it replaces


def _parse_cap(name: str, text: str, usual: float | Rate) -> int | float | Rate:
    parsed: int | float | Rate | None
    try:
        if isinstance(usual, Rate):
            burst, _, per_s = text.partition("+")
            parsed = Rate(float(per_s), int(burst))
            numbers: tuple[float, ...] = (parsed.per_s, parsed.burst)
        else:
            parsed = type(usual)(text)
            numbers = (parsed,)
    except ValueError:
        numbers = (math.nan,)
        parsed = None
    if parsed is None or not all(math.isfinite(number) and number > 0 for number in numbers):
        example = f"{usual.burst}+{usual.per_s:g}" if isinstance(usual, Rate) else f"{usual:g}"
        least = "a number above 0"
        if isinstance(usual, Rate):
            least = "BURST+PER_SECOND, a burst of 1 or more and a rate above 0"
        elif isinstance(usual, int):
            least = "a whole number, 1 or more"
        raise UserError(
            f"the limit {name} can't be {text[:80]!r}: it is {least}",
            hint=f"for example {name}={example}",
        )
    return parsed
