"""What a host has on offer. Knows: the terms. Must not know: how they are published or agreed."""

import msgspec


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What is on offer; kept across restarts of the agent. `expires_ms` 0 = until stopped."""

    storage_bytes: int
    expires_ms: int
    term_s: int
    lock_s: int
    accept: str
    region: str
    servers: tuple[str, ...]
