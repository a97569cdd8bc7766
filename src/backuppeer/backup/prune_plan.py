"""Which packs a prune deletes, which it packs anew, which stay: pure decisions about sizes.

Knows: for each pack how much of it is needed. Must not know: blobs, hosts, files. What nothing needs goes as it is. Of
packs that are needed in part those with the most waste for what has to be moved come first, and only until the waste
that stays is small enough: moving costs a transfer to every host, and the old copy stays there until the lock is over.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from backuppeer.ids import LogicalId
from backuppeer.limits import PACK_MIN_BYTES, PRUNE_UNUSED_PERMILLE, SMALL_PACK_BYTES


@dataclass(frozen=True, slots=True)
class PackUse:
    """One pack. `size_bytes`: one copy; `content_bytes`: of its sealed blobs; `live_bytes`: of those still needed."""

    pack: LogicalId
    size_bytes: int
    content_bytes: int
    live_bytes: int

    @property
    def dead_bytes(self) -> int:
        """Return the bytes of blobs that nothing needs."""
        return max(0, self.content_bytes - self.live_bytes)

    @property
    def waste(self) -> float:
        """Return how many bytes are won for each that has to be moved."""
        return self.dead_bytes / self.live_bytes if self.live_bytes else float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneLimits:
    """How far to go. `max_unused_bytes` wins over `max_unused_permille` of what is needed; None: no limit."""

    max_unused_permille: int | None = PRUNE_UNUSED_PERMILLE
    max_unused_bytes: int | None = None
    max_repack_bytes: int | None = None
    has_small: bool = False

    def unused_bytes(self, live_bytes: int) -> float:
        """Return how much waste may stay beside so much that is needed."""
        if self.max_unused_bytes is not None:
            return self.max_unused_bytes
        if self.max_unused_permille is None or self.max_unused_permille >= 1000:
            return float("inf")
        return live_bytes * self.max_unused_permille / (1000 - self.max_unused_permille)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunePlan:
    """What happens to packs, sizes for one copy. `move_bytes`: of blobs packed anew. `unused_bytes`: waste that stays.

    `held_back`: packs with waste above the limit that stay because of `max_repack_bytes`.
    """

    delete: tuple[LogicalId, ...] = ()
    repack: tuple[LogicalId, ...] = ()
    kept: int = 0
    total_bytes: int = 0
    delete_bytes: int = 0
    repack_bytes: int = 0
    move_bytes: int = 0
    unused_bytes: int = 0
    held_back: int = 0

    @property
    def victims(self) -> tuple[LogicalId, ...]:
        """Return all packs that go."""
        return self.delete + self.repack


def plan_prune(uses: Iterable[PackUse], limits: PruneLimits) -> PrunePlan:
    """Return what to do with each pack; the order of the packs makes no difference but among equals."""
    packs = list(uses)
    delete = [use for use in packs if not use.live_bytes]
    needed = [use for use in packs if use.live_bytes]
    live_bytes = sum(use.live_bytes for use in needed)
    wasteful = sorted((use for use in needed if use.dead_bytes), key=lambda use: use.waste, reverse=True)
    repack, held_back = _choose_wasteful(wasteful, limits, limits.unused_bytes(live_bytes))
    if limits.has_small:
        repack += _choose_small([use for use in needed if use not in repack], limits, repack)
    if not _has_gain(repack):
        repack = []
    kept = len(needed) - len(repack)
    return PrunePlan(
        delete=tuple(use.pack for use in delete),
        repack=tuple(use.pack for use in repack),
        kept=kept,
        total_bytes=sum(use.size_bytes for use in packs),
        delete_bytes=sum(use.size_bytes for use in delete),
        repack_bytes=sum(use.size_bytes for use in repack),
        move_bytes=sum(use.live_bytes for use in repack),
        unused_bytes=sum(use.dead_bytes for use in needed) - sum(use.dead_bytes for use in repack),
        held_back=held_back,
    )


def _choose_wasteful(
    wasteful: Sequence[PackUse], limits: PruneLimits, allowed_bytes: float
) -> tuple[list[PackUse], int]:
    """Return the packs to pack anew, worst first, and how many more there would be without the cap on what is moved."""
    left = sum(use.dead_bytes for use in wasteful)
    chosen: list[PackUse] = []
    for number, use in enumerate(wasteful):
        if left <= allowed_bytes:
            return chosen, 0
        # A prefix of the order: with a larger cap the same packs go, and more.
        if not _fits(chosen, use, limits):
            return chosen, len(wasteful) - number
        chosen.append(use)
        left -= use.dead_bytes
    return chosen, 0


def _choose_small(rest: Iterable[PackUse], limits: PruneLimits, chosen: Sequence[PackUse]) -> list[PackUse]:
    """Return the packs to be joined, smallest first; one alone would only be written again."""
    small: list[PackUse] = []
    for use in sorted(rest, key=lambda use: use.size_bytes):
        if use.size_bytes > SMALL_PACK_BYTES or not _fits([*chosen, *small], use, limits):
            break
        small.append(use)
    return small if len(small) + len(chosen) > 1 else []


def _fits(chosen: Sequence[PackUse], use: PackUse, limits: PruneLimits) -> bool:
    cap = limits.max_repack_bytes
    return cap is None or sum(each.live_bytes for each in chosen) + use.live_bytes <= cap


def _has_gain(repack: Sequence[PackUse]) -> bool:
    """Whether what is packed anew takes less than before; the smallest pack has a length of its own."""
    moved = max(PACK_MIN_BYTES, sum(use.live_bytes for use in repack))
    return sum(use.size_bytes for use in repack) > moved
