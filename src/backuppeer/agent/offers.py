"""What a host has on offer. Knows: the terms and their defaults. Must not know: how they are published or agreed."""

import msgspec

from backuppeer.errors import UserError
from backuppeer.limits import LOCK_DEFAULT_S, TERM_DEFAULT_S


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What is on offer; kept across restarts of the agent. `expires_ms` 0 = until stopped."""

    storage_bytes: int
    expires_ms: int
    term_s: int
    lock_s: int
    accept: str
    region: str
    servers: tuple[str, ...]


def choose_terms(term_s: int | None, lock_s: int | None) -> tuple[int, int]:
    """Return (term, lock) in seconds: as given, else the defaults. A lock of 0 is honoured.

    Raises:
        UserError: a term of 0 would keep nothing; neither is negative.

    """
    if term_s is not None and term_s < 1:
        raise UserError("a term of 0 keeps nothing", hint="for example: --term 1y")
    if lock_s is not None and lock_s < 0:
        raise UserError("a lock can't be negative", hint="for example: --lock 30d")
    return TERM_DEFAULT_S if term_s is None else term_s, LOCK_DEFAULT_S if lock_s is None else lock_s
