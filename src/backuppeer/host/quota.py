"""Who may still store how much: reserved before the first byte, exact under concurrency.

Knows: numbers per agreement and for the whole store. Must not know: files (free disk space is asked through a
callable). Reservations live in memory only: a crash forgets them, and committed bytes are counted again from the
catalogue when the store is opened. Refusals come in a fixed order: bytes of the agreement, its pack count, what
it stores within a day, what the whole store offers, the disk's floor.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from backuppeer.clock import SystemClock
from backuppeer.errors import LocalError, NotFoundError, RefusedError
from backuppeer.ids import AgreementId
from backuppeer.limits import (
    AGREEMENT_PACKS_MIN,
    FREE_DISK_FLOOR_BYTES,
    GIB,
    LEAF_BYTES,
    LIST_RESERVE_BYTES,
    LIST_RESERVE_PACKS,
    PACKS_PER_GIB,
    STORE_RATE_FACTOR,
    STORE_RATE_LEAST_BYTES,
    STORE_RATE_LEAST_PACKS,
    STORE_RATE_S,
)
from backuppeer.sizes import format_free, format_size


class FullDiskError(RefusedError):
    """The disk has too little left above its floor."""


class OverdraftError(RefusedError):
    """An owner brings more than it agreed on, be it room, packs or what is taken in a day."""


@dataclass(frozen=True, slots=True)
class Usage:
    """How full an agreement is. `free_bytes`: what could be stored now, all limits considered."""

    size_bytes: int
    used_bytes: int
    reserved_bytes: int
    packs: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Totals:
    """How full the whole store is. `offered_bytes` is None without such a limit; `free_bytes` as for Usage."""

    agreements: int
    agreed_bytes: int
    used_bytes: int
    reserved_bytes: int
    packs: int
    offered_bytes: int | None
    free_bytes: int


@dataclass(slots=True)
class _Account:
    limit_bytes: int = 0
    used_bytes: int = 0
    reserved_bytes: int = 0
    packs: int = 0
    reserved_packs: int = 0
    agreed: bool = False
    frozen_bytes: int | None = None
    """What was taken when nothing new was to be taken any more; None: new packs are welcome."""

    since_s: float = 0.0
    stored_bytes: int = 0
    stored_packs: int = 0
    """What was stored in the day that began at `since_s`, gone or not."""

    def is_in_time(self, size_bytes: int, now_s: float) -> bool:
        """Return whether a pack may be stored today; a new day begins when the last one is over."""
        if now_s - self.since_s >= STORE_RATE_S:
            self.since_s, self.stored_bytes, self.stored_packs = now_s, 0, 0
        most_bytes = self.limit_bytes * STORE_RATE_FACTOR + STORE_RATE_LEAST_BYTES
        most_packs = self.pack_limit * STORE_RATE_FACTOR + STORE_RATE_LEAST_PACKS
        is_small = self.stored_bytes + self.reserved_bytes + size_bytes <= most_bytes
        return is_small and self.stored_packs + self.reserved_packs < most_packs

    @property
    def room_bytes(self) -> int:
        most = self.limit_bytes if self.frozen_bytes is None else min(self.limit_bytes, self.frozen_bytes)
        return most - self.taken_bytes

    @property
    def taken_bytes(self) -> int:
        return self.used_bytes + self.reserved_bytes

    @property
    def pack_limit(self) -> int:
        return max(AGREEMENT_PACKS_MIN, self.limit_bytes * PACKS_PER_GIB // GIB)


class Reservation:
    """Room set aside for one pack; ends exactly once, by `commit` or `release`. Later calls change nothing."""

    __slots__ = ("_finish", "_open", "agreement", "size_bytes")

    def __init__(self, agreement: AgreementId, size_bytes: int, finish: Callable[["Reservation", bool], None]) -> None:
        self.agreement = agreement
        self.size_bytes = size_bytes
        self._finish = finish
        self._open = True

    def commit(self) -> None:
        """Turn the reserved bytes into used ones."""
        self._finish(self, True)  # noqa: FBT003 - private callable with two parameters

    def release(self) -> None:
        """Give the reserved bytes back."""
        self._finish(self, False)  # noqa: FBT003 - private callable with two parameters

    def _end(self) -> bool:
        """Return whether this call is the one that ends the reservation; the quota's lock is held."""
        was_open, self._open = self._open, False
        return was_open


def _say_nothing(agreement: AgreementId | None) -> str:
    del agreement
    return ""


def _keep_nothing(agreement: AgreementId, since_s: float, stored_bytes: int, stored_packs: int) -> None:
    del agreement, since_s, stored_bytes, stored_packs


@dataclass(slots=True)
class Quota:
    """The accounts of one store. All methods are thread-safe.

    `free_disk` returns the bytes an unprivileged program may still write to the disk; it may raise our errors. `later`
    returns words for a refusal: what deletes free when, of an agreement or, None, of all. `now_s`: seconds since some
    start that never go back. `keep_day` is told with each pack since when how many bytes in how many packs were stored;
    `restore_day` takes that after a restart.
    """

    free_disk: Callable[[], int]
    floor_bytes: int = FREE_DISK_FLOOR_BYTES
    later: Callable[[AgreementId | None], str] = _say_nothing
    offered_bytes: int | None = None
    now_s: Callable[[], float] = SystemClock().monotonic_s
    keep_day: Callable[[AgreementId, float, int, int], None] = _keep_nothing
    _accounts: dict[AgreementId, _Account] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def set_offered(self, offered_bytes: int | None) -> None:
        """Set what the whole store may hold; None = as much as is agreed and the disk's floor leaves."""
        with self._lock:
            self.offered_bytes = offered_bytes

    def set_limit(self, agreement: AgreementId, size_bytes: int) -> int:
        """Set the agreed bytes of an agreement, known or new, and return the former ones (0 for a new one).

        Raises:
            RefusedError: less than what is stored or being stored (a shrink goes through deletes and their lock),
                or more than the store offers.

        """
        with self._lock:
            account = self._accounts.setdefault(agreement, _Account())
            if size_bytes < account.taken_bytes:
                wish = f"more than the {format_size(size_bytes)} wanted{self.later(agreement)}"
                raise RefusedError(
                    f"{format_size(account.taken_bytes)} are stored, {wish}",
                    hint="forget snapshots and prune first",
                )
            growth = size_bytes - account.limit_bytes
            if self.offered_bytes is not None and growth > 0:
                self._check_offer(growth)
            former, account.limit_bytes, account.agreed = account.limit_bytes, size_bytes, True
            return former

    def restore_limit(self, agreement: AgreementId, size_bytes: int) -> None:
        """Set the agreed bytes of an agreement that stands already, whatever is stored or offered meanwhile."""
        with self._lock:
            account = self._accounts.setdefault(agreement, _Account())
            account.limit_bytes, account.agreed = size_bytes, True

    def freeze(self, agreement: AgreementId, *, is_frozen: bool) -> None:
        """Take no new packs under an agreement but the reserve for lists, which its owner needs to forget; or again."""
        with self._lock:
            account = self._accounts.setdefault(agreement, _Account())
            account.frozen_bytes = account.taken_bytes if is_frozen else None

    def drop_limit(self, agreement: AgreementId) -> None:
        """Forget an agreement that came to nothing; what it stored, if anything, keeps counting."""
        with self._lock:
            account = self._accounts.setdefault(agreement, _Account())
            account.limit_bytes, account.agreed = 0, False

    def set_used(self, agreement: AgreementId, used_bytes: int, *, packs: int) -> None:
        """Set what an agreement was found to hold when the store was opened or recounted."""
        with self._lock:
            account = self._accounts.setdefault(agreement, _Account())
            account.used_bytes, account.packs = used_bytes, packs

    def restore_day(self, agreement: AgreementId, since_s: float, stored_bytes: int, stored_packs: int) -> None:
        """Set what an agreement had stored in the day that began at `since_s`, before the store was opened."""
        with self._lock:
            account = self._accounts.setdefault(agreement, _Account())
            account.since_s, account.stored_bytes, account.stored_packs = since_s, stored_bytes, stored_packs

    def reserve(self, agreement: AgreementId, size_bytes: int, *, is_list: bool = False) -> Reservation:
        """Set room aside for one pack of `size_bytes`; `is_list`: it may take from the reserve for lists (ADR 23).

        Raises:
            NotFoundError: no such agreement.
            RefusedError: no room; the message says which limit and how much is free now.
            FullDiskError: the same, of the disk.

        """
        extra_bytes, extra_packs = (LIST_RESERVE_BYTES, LIST_RESERVE_PACKS) if is_list else (0, 0)
        with self._lock:
            account = self._account(agreement)
            room = account.room_bytes
            if size_bytes > room + extra_bytes:
                raise _refusal("the agreement is full", room, self.later(agreement), kind=OverdraftError)
            if account.packs + account.reserved_packs >= account.pack_limit + extra_packs:
                now = f"0 packs free now{self.later(agreement)}"
                raise OverdraftError(
                    f"the agreement holds {account.pack_limit} packs, its most; {now}",
                    hint="back up larger pieces at a time, or agree on more storage",
                )
            if not is_list:
                self._check_rate(account, size_bytes)
            self._check_shared(size_bytes, extra_bytes)
            account.reserved_bytes += size_bytes
            account.reserved_packs += 1
            return Reservation(agreement, size_bytes, self._finish)

    def _check_rate(self, account: _Account, size_bytes: int) -> None:
        now_s = self.now_s()
        if not account.is_in_time(size_bytes, now_s):
            hours = 1 + int(STORE_RATE_S - (now_s - account.since_s)) // 3600
            took = f"{account.stored_packs} packs of {format_size(account.stored_bytes)}"
            raise OverdraftError(
                f"the agreement took {took} within a day, its most; more in {hours} h",
                hint="run the same again then: what was stored stays",
            )

    def _check_shared(self, size_bytes: int, extra_bytes: int) -> None:
        """Check what all agreements share; of the disk's floor, far larger, the reserve takes a little."""
        if self.offered_bytes is not None:
            total = self.offered_bytes - sum(a.taken_bytes for a in self._accounts.values())
            if size_bytes > total + extra_bytes:
                raise _refusal("the host's store is full", total, self.later(None))
        disk = self._disk_room()
        if size_bytes + leaves_bytes(size_bytes) > disk + min(extra_bytes, self.floor_bytes):
            raise _refusal("the host's disk is nearly full", disk, self.later(None), kind=FullDiskError)

    def release(self, agreement: AgreementId, size_bytes: int, *, packs: int) -> None:
        """Give back the room of packs that were erased.

        Raises:
            LocalError: more than there was.

        """
        with self._lock:
            account = self._accounts.setdefault(agreement, _Account())
            account.used_bytes -= size_bytes
            account.packs -= packs
            if account.used_bytes < 0 or account.packs < 0:
                raise LocalError("a quota went below zero")

    def put_back(self, agreement: AgreementId, size_bytes: int, *, packs: int) -> None:
        """Count packs again whose room was given back: they were taken for lost, and are whole."""
        with self._lock:
            account = self._accounts.setdefault(agreement, _Account())
            account.used_bytes += size_bytes
            account.packs += packs

    def used_bytes(self, agreement: AgreementId) -> int:
        """Return what an agreement holds, 0 for an unknown one; asks no disk."""
        with self._lock:
            account = self._accounts.get(agreement)
            return account.used_bytes if account is not None else 0

    def usage(self, agreement: AgreementId) -> Usage:
        """Return how full an agreement is.

        Raises:
            NotFoundError: no such agreement.

        """
        with self._lock:
            account = self._account(agreement)
            free = min(account.room_bytes, self._shared_room())
            return Usage(
                size_bytes=account.limit_bytes,
                used_bytes=account.used_bytes,
                reserved_bytes=account.reserved_bytes,
                packs=account.packs,
                free_bytes=max(0, free),
            )

    def totals(self) -> Totals:
        """Return how full the store is."""
        with self._lock:
            accounts = self._accounts.values()
            return Totals(
                agreements=sum(a.agreed for a in accounts),
                agreed_bytes=sum(a.limit_bytes for a in accounts),
                used_bytes=sum(a.used_bytes for a in accounts),
                reserved_bytes=sum(a.reserved_bytes for a in accounts),
                packs=sum(a.packs for a in accounts),
                offered_bytes=self.offered_bytes,
                free_bytes=max(0, self._shared_room()),
            )

    def capacity(self) -> int:
        """Return what the store could hold in all, whatever is offered: what it holds, and what the disk has left."""
        with self._lock:
            return sum(a.taken_bytes for a in self._accounts.values()) + max(0, self._disk_room())

    def _account(self, agreement: AgreementId) -> _Account:
        account = self._accounts.get(agreement)
        if account is None or not account.agreed:
            raise NotFoundError(f"no agreement {agreement.hex()} in this store")
        return account

    def _finish(self, reservation: Reservation, committed: bool) -> None:  # noqa: FBT001 - see Reservation
        with self._lock:
            if not reservation._end():  # noqa: SLF001 - ended under the quota's lock, so exactly once
                return
            account = self._accounts[reservation.agreement]
            account.reserved_bytes -= reservation.size_bytes
            account.reserved_packs -= 1
            if account.reserved_bytes < 0 or account.reserved_packs < 0:
                raise LocalError("a quota went below zero")
            if committed:
                account.used_bytes += reservation.size_bytes
                account.stored_bytes += reservation.size_bytes
                account.stored_packs += 1
                account.packs += 1
                self.keep_day(reservation.agreement, account.since_s, account.stored_bytes, account.stored_packs)

    def _check_offer(self, growth: int) -> None:
        room = (self.offered_bytes or 0) - sum(a.limit_bytes for a in self._accounts.values())
        if growth > room:
            raise _refusal("the host offers less", room)

    def _disk_room(self) -> int:
        """Bytes above the floor. Reserved bytes count whole, though part is written: errs to the safe side."""
        return self.free_disk() - self.floor_bytes - sum(a.reserved_bytes for a in self._accounts.values())

    def _shared_room(self) -> int:
        disk = self._disk_room()
        if self.offered_bytes is None:
            return disk
        return min(disk, self.offered_bytes - sum(a.taken_bytes for a in self._accounts.values()))


def leaves_bytes(size_bytes: int) -> int:
    """Return the length of the leaf hashes of a pack: 32 bytes for each 16 KiB."""
    return -(-size_bytes // LEAF_BYTES) * 32


def _refusal(reason: str, free_bytes: int, later: str = "", *, kind: type[RefusedError] = RefusedError) -> RefusedError:
    return kind(
        f"{reason}: {format_free(free_bytes)} free now{later}",
        hint="agree on more storage, free some, or choose another host",
    )
