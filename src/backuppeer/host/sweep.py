"""Deleted packs erased when their lock is over, and the time that counts for it (DESIGN 5).

Knows: which packs are due, their files. Must not know: who deleted them, clocks of the machine (they are handed in).
What counts is time that an agent saw pass with the store at hand: a machine that is off, or a disk that is unplugged,
makes a lock longer, and no setting of a clock makes it shorter.
"""

from collections import defaultdict
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from backuppeer.host.catalogue import Catalogue, PackRow
from backuppeer.host.disk import sync_directory, translate_failures
from backuppeer.host.layout import Layout
from backuppeer.host.losses import Losses
from backuppeer.host.marker import Presence
from backuppeer.host.quota import Quota
from backuppeer.host.removals import Removals
from backuppeer.ids import AgreementId
from backuppeer.limits import CLOCK_JUMP_S, SWEEP_BATCH


class Look(NamedTuple):
    """What the two clocks showed at one look: seconds of wall time and of the machine's own."""

    wall_s: float
    own_s: float


@dataclass(frozen=True, slots=True)
class Passed:
    """Whole seconds that count, and the rest of one. `has_jumped`: the clocks disagree so much that nothing does."""

    seconds: int = 0
    rest_s: float = 0.0
    has_jumped: bool = False


@dataclass(frozen=True, slots=True)
class Erased:
    """How much was erased."""

    packs: int = 0
    size_bytes: int = 0


def count_passed(before: Look, now: Look) -> Passed:
    """Return how much time passed between two looks: the less of both clocks, nothing when they disagree by a day.

    A clock set forward by less counts as what the machine's own clock says, one set back as what it says itself.
    """
    wall_s, own_s = now.wall_s - before.wall_s, now.own_s - before.own_s
    if abs(wall_s - own_s) > CLOCK_JUMP_S:
        return Passed(has_jumped=True)
    passed_s = max(0.0, min(wall_s, own_s))
    return Passed(int(passed_s), passed_s - int(passed_s))


class Sweep:
    """Erases in one store. Made by `open_store`; one thread at a time."""

    def __init__(
        self,
        layout: Layout,
        catalogue: Catalogue,
        removals: Removals,
        *,
        losses: Losses,
        quota: Quota,
        presence: Presence,
    ) -> None:
        self._layout, self._catalogue, self._lock, self._losses = layout, catalogue, removals.lock, losses
        self._graveyard, self._quota, self._presence = removals.graveyard, quota, presence

    def add_age(self, seconds: int) -> None:
        """Let time pass for deleted packs; a crash may lose what was added last, which errs to the safe side.

        Raises:
            StoreUnavailable: the disk is gone.

        """
        self._presence.check()
        if seconds:
            self._graveyard.add_age(seconds)

    def next_due_s(self) -> int | None:
        """Return in how many seconds there will be something to erase; None when nothing is deleted."""
        return self._graveyard.next_due_s()

    def run(self) -> Erased:
        """Erase up to SWEEP_BATCH packs whose lock is over, and some of which only spoiled bytes are left.

        Raises:
            StoreUnavailable: the disk is gone or fails; what was erased is counted at the next try.

        """
        self._presence.check()
        erased = Erased()
        with self._lock, self._losses.lock:
            for agreement, rows in groupby(self._graveyard.list_due(SWEEP_BATCH), key=itemgetter(0)):
                packs = [row for _, row in rows]
                uncounted = self._catalogue.count_reported(agreement, [row.stored for row in packs])
                self._erase(agreement, packs)
                size_bytes = sum(row.size for row in packs)
                counted_bytes, counted = size_bytes - uncounted.size_bytes, len(packs) - uncounted.packs
                self._quota.release(agreement, counted_bytes, packs=counted)
                erased = Erased(erased.packs + len(packs), erased.size_bytes + size_bytes)
            for agreement, row in self._losses.list_spoiled():
                # Reported long ago, read again just now and still not what its id says: nobody can restore from it.
                self._erase(agreement, [row])
                erased = Erased(erased.packs + 1, erased.size_bytes + row.size)
        return erased

    def _erase(self, agreement: AgreementId, packs: list[PackRow]) -> None:
        folders: defaultdict[Path, list[PackRow]] = defaultdict(list)
        for row in packs:
            folders[self._layout.pack(agreement, row.stored).parent].append(row)
        with translate_failures(self._layout.root):
            for folder, rows in folders.items():
                for row in rows:
                    # The owner signed that no head of this time names it, the signature is kept, and the lock is over;
                    # or it is lost (`run`).
                    self._layout.pack(agreement, row.stored).unlink(missing_ok=True)
                    self._layout.leaves(agreement, row.stored).unlink(missing_ok=True)
                # Before the rows go: a file that came back after a power cut would be listed as if it were alive.
                sync_directory(folder)
        self._catalogue.change_packs(agreement, add=(), drop=[row.stored for row in packs])
