"""Shapes of what changes agreements: `peers resize`, `peers renew`, `requests offer` (control.api, ADR 44).

Knows: request and result structs. Must not know: the agent, the terminal. Units and texts as in `control.api`.
"""

import msgspec

from backuppeer.control.api import PeerRequest, Request
from backuppeer.control.promises import NO_WISH, NOTHING_PROMISED, Promised, PromiseWish


class ResizeRequest(PeerRequest):
    """`peers resize`: have `storage` bytes at a host from now on, and what `promises` name; 0: as much as now."""

    storage: int = 0
    promises: PromiseWish = NO_WISH
    wait_s: float = 60.0


class RenewRequest(PeerRequest):
    """`peers renew`: have the agreement with a host run for `term_s` from now on, and take our own notice back.

    term_s None: the default, and nothing but the notice if there is one. side: as in `control.ending.EndRequest`.
    """

    term_s: int | None = None
    side: str = ""
    wait_s: float = 60.0


class TermsResult(msgspec.Struct, kw_only=True):
    """What is agreed now. `until`: when the term is over; nothing ends by itself then. revision: counts the changes.

    taken_back: a notice of ours ended it, and does no more; told: the other side has heard of that.
    """

    peer_id: str
    alias: str
    revision: int
    quota_bytes: int
    term_s: int
    lock_s: int
    until: str
    promises: Promised = NOTHING_PROMISED
    taken_back: bool = False
    told: bool = True


class OfferRequest(Request):
    """`requests offer`: other terms than a waiting request asks for; None: as it asks. The term counts from now on."""

    request: str
    storage: int | None = None
    term_s: int | None = None
    lock_s: int | None = None
    promises: PromiseWish = NO_WISH
