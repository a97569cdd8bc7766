"""What a host has on offer.

Knows: the terms, their defaults and bounds. Must not know: how they are published or agreed.
"""

import math
from typing import Final

import msgspec

from backuppeer.control.promises import Promised, PromiseWish
from backuppeer.errors import UserError
from backuppeer.limits import LOCK_DEFAULT_S, STORAGE_MIN_BYTES, TERM_DEFAULT_S
from backuppeer.proof.promises import NOTHING, Promises, check_promises
from backuppeer.proof.revisions import Wish

_UNITS: Final = ((10**12, "TB"), (2**40, "TiB"), (10**9, "GB"), (2**30, "GiB"), (10**6, "MB"), (2**20, "MiB"))

_SPANS: Final = ((365 * 86400, "y"), (86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


_PERMILLE: Final = 1000


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What is on offer; kept across restarts of the agent. `expires_ms` 0 = until stopped."""

    storage_bytes: int
    expires_ms: int
    term_s: int
    lock_s: int
    accept: str
    region: str
    servers: tuple[str, ...]
    min_trust: float = 0.0
    """Who has a lower T as a host is not heard; 0 = everybody is."""
    promises: Promises = NOTHING
    """What whoever has space here must give in return at least, and may ask for at most."""
    unlisted: bool = False
    """No server shows it: who was given an invite finds it (ADR 75)."""
    lan: bool | None = None
    """Whether the local network may see it, if it is listed (ADR 81); None: as the settings say."""


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


def choose_promises(wish: PromiseWish, now: Promises = NOTHING) -> Promises:
    """Return what is promised: as wanted, else as it stands.

    Raises:
        UserError: less than nothing.
        RefusedError: more than anybody may ask for.

    """
    given, there = (
        None if share is None else round(share * _PERMILLE) for share in (wish.reciprocity, wish.availability)
    )
    wanted = (given, wish.audit_bytes, wish.egress_bytes, there)
    chosen = Promises(*(old if new is None else new for old, new in zip(now, wanted, strict=True)))
    if min(chosen) < 0:
        raise UserError("nobody promises less than nothing", hint="for example: --reciprocity 1 --egress-budget 10GB")
    check_promises(chosen)
    return chosen


def describe_promises(promises: Promises) -> Promised:
    """Return what is promised as it is shown."""
    return Promised(
        reciprocity=promises.reciprocity / _PERMILLE,
        audit_bytes=promises.audit_bytes,
        egress_bytes=promises.egress_bytes,
        availability=promises.availability / _PERMILLE,
    )


def wish_for(promises: Promises) -> PromiseWish:
    """Return the wish for exactly these promises."""
    said = describe_promises(promises)
    return PromiseWish(
        reciprocity=said.reciprocity,
        audit_bytes=said.audit_bytes,
        egress_bytes=said.egress_bytes,
        availability=said.availability,
    )


def write_options(wish: Wish) -> str:
    """Return what a wish promises as options after others, "" for nothing."""
    reciprocity, audit_bytes, egress_bytes, availability = wish.promises
    said = f" --reciprocity {reciprocity / _PERMILLE:g}" if reciprocity else ""
    said += f" --audit-budget {write_exact_size(audit_bytes)}" if audit_bytes else ""
    said += f" --egress-budget {write_exact_size(egress_bytes)}" if egress_bytes else ""
    return said + (f" --availability {availability / 10:g}%" if availability else "")


def is_within(promises: Promises, offer: Offer) -> bool:
    """Return whether a slot is given for such promises without asking anybody."""
    return promises == _fit(promises, offer.promises)


def fit_to(wish: Wish, offer: Offer | None) -> Wish:
    """Return the wish nearest to one for whose promises a slot is given without asking anybody."""
    return wish if offer is None else wish._replace(promises=_fit(wish.promises, offer.promises))


def _fit(promises: Promises, slot: Promises) -> Promises:
    is_small = 0 < promises.audit_bytes <= slot.audit_bytes
    return Promises(
        max(promises.reciprocity, slot.reciprocity),
        promises.audit_bytes if is_small else slot.audit_bytes,
        min(promises.egress_bytes, slot.egress_bytes),
        min(promises.availability, slot.availability),
    )


def check_storage(size_bytes: int, *, example: str, what: str = "--storage") -> None:
    """Refuse to offer, or ask for, less than a backup needs to get under way. `what`: how the size was given.

    Raises:
        UserError: it is; `example` is a command that does better.

    """
    if size_bytes < STORAGE_MIN_BYTES:
        least, given = write_exact_size(STORAGE_MIN_BYTES), write_exact_size(size_bytes)
        has_unit = bool(size_bytes) and not given.isdecimal()
        # Rounded up: what it says must be enough when it is typed. 64MB is what people try who read 64MiB.
        in_mb = f"{math.ceil(STORAGE_MIN_BYTES / 10**5) / 10}MB"
        raise UserError(
            f"{what} is {given if has_unit else f'{size_bytes} bytes'}, and the least is {least}, which is {in_mb}",
            hint=f"{'' if has_unit else 'sizes have units; '}for example: `{example}`",
        )


def write_exact_size(size_bytes: int) -> str:
    """Return a size as `--storage` reads it, without rounding: it must not ask for more than is agreed."""
    return next((f"{size_bytes // n}{unit}" for n, unit in _UNITS if size_bytes % n == 0), f"{size_bytes}")


def write_duration(seconds: int) -> str:
    """Return a time as `--term` and `--lock` read it, without rounding."""
    return next(f"{seconds // n}{unit}" for n, unit in _SPANS if seconds % n == 0)


def write_size(size_bytes: int) -> str:
    """Return a size as `--storage` reads it, rounded down to a whole GB or MB."""
    return f"{size_bytes // 10**9}GB" if size_bytes >= 10**10 else f"{size_bytes // 10**6}MB"
