"""A host reads all that it keeps, a little every day, and finds what its disk spoiled before it is needed (DESIGN 5).

Knows: which pack comes next, how much of a day is left, where it was when the agent ended. Must not know: what follows
from a loss (`losses` does), the clock (it is handed in). One pack at a time, in the order of agreements and ids, whole
and from the disk; deleted packs as well, as they may be revived. A round goes over all packs; the next one begins at
once, but of a small store after SCRUB_REST_S. What was stored behind the place where it stands is read in the next.

Where it stands is written without fsync: a power cut costs reading some packs twice.
"""

import sqlite3
from collections.abc import Callable
from typing import Final, NamedTuple

from backuppeer.errors import NotFoundError, StoreBusy, StoreUnavailable
from backuppeer.host.catalogue import Catalogue
from backuppeer.host.losses import Losses
from backuppeer.host.marker import Presence
from backuppeer.host.reader import DamagedPackError, PackReader
from backuppeer.ids import AgreementId, StoredId
from backuppeer.limits import SCRUB_BYTES_PER_S, SCRUB_DAY_LEAST_BYTES, SCRUB_DAYS, SCRUB_LOOK_S, SCRUB_REST_S

_DAY_MS: Final = 86_400_000
_START: Final = (AgreementId(b""), StoredId(b""))
_NEXT: Final = """
    SELECT agreement, stored, size FROM packs WHERE (agreement, stored) > (?, ?) ORDER BY agreement, stored LIMIT 1
"""

Open = Callable[[AgreementId, StoredId], PackReader]


class Progress(NamedTuple):
    """So many bytes were read on `day` (since 1970), in a round that began then, up to the pack that is named.

    `agreement`, `stored`: empty between two rounds.
    """

    day: int
    size_bytes: int
    began_ms: int
    agreement: AgreementId
    stored: StoredId

    @property
    def is_between(self) -> bool:
        """Whether a round is over, and the next has not begun."""
        return (self.agreement, self.stored) == _START


class Step(NamedTuple):
    """What came of one pack. `pause_s`: till the next step. `read_bytes`: 0 when it is not time for one.

    `suspected`: the agreement of a pack that seems to be lost. `trouble`: a sentence for the host's human, "" if none.
    """

    pause_s: float
    read_bytes: int = 0
    suspected: AgreementId | None = None
    trouble: str = ""


def count_pause(progress: Progress, now_ms: int, total_bytes: int) -> float:
    """Return in how many seconds the next pack may be read, at most SCRUB_LOOK_S; 0: now. `total_bytes`: all there is.

    What is noted of times to come, by a clock that was ahead, counts for nothing.
    """
    rested_ms = now_ms - progress.began_ms
    if progress.is_between and progress.began_ms and 0 <= rested_ms < SCRUB_REST_S * 1000:
        return min(SCRUB_LOOK_S, SCRUB_REST_S - rested_ms / 1000)
    day = now_ms // _DAY_MS
    share = max(SCRUB_DAY_LEAST_BYTES, -(-total_bytes // SCRUB_DAYS))
    if progress.day == day and progress.size_bytes >= share:
        return min(SCRUB_LOOK_S, ((day + 1) * _DAY_MS - now_ms) / 1000)
    return 0.0


class Scrub:
    """Reads one store. Made by `open_store`; one thread at a time."""

    def __init__(self, catalogue: Catalogue, losses: Losses, *, open_pack: Open, presence: Presence) -> None:
        self._run, self._losses, self._open, self._presence = catalogue.run, losses, open_pack, presence

    def progress(self) -> Progress:
        """Return how far it is.

        Raises:
            StoreUnavailable: the disk refuses.

        """
        sql = "SELECT day, bytes, began_ms, agreement, stored FROM scrubs"
        day, size_bytes, began_ms, agreement, stored = self._run(lambda db: db.execute(sql).fetchone())
        return Progress(int(day), int(size_bytes), int(began_ms), AgreementId(agreement), StoredId(stored))

    def step(self, *, now_ms: int, total_bytes: int) -> Step:
        """Read the next pack if it is time; `total_bytes`: what the store holds.

        Raises:
            StoreUnavailable: the disk is gone, or has too much to do; the same pack comes next.

        """
        self._presence.check()
        progress = self.progress()
        pause_s = count_pause(progress, now_ms, total_bytes)
        if pause_s:
            return Step(pause_s)
        row = self._run(lambda db: db.execute(_NEXT, (progress.agreement, progress.stored)).fetchone())
        if row is None:
            self._save(progress._replace(agreement=_START[0], stored=_START[1]))
            return Step(SCRUB_LOOK_S if progress.is_between else 0.0)
        agreement, stored, size_bytes = AgreementId(row[0]), StoredId(row[1]), int(row[2])
        step = self._read(agreement, stored, size_bytes)
        day = now_ms // _DAY_MS
        read_bytes = size_bytes + (progress.size_bytes if progress.day == day else 0)
        began_ms = now_ms if progress.is_between else progress.began_ms
        # After the suspicion is noted: killed in between, the pack is read again.
        self._save(Progress(day, read_bytes, began_ms, agreement, stored))
        return step

    def _read(self, agreement: AgreementId, stored: StoredId, size_bytes: int) -> Step:
        pause_s = size_bytes / SCRUB_BYTES_PER_S
        try:
            with self._open(agreement, stored) as reader:
                reader.leaves()  # repaired if they are torn: an audit needs them
                reader.verify()
        except NotFoundError:
            return Step(0.0)  # erased since it was looked up
        except DamagedPackError as exc:
            self._losses.suspect(agreement, [stored])
            return Step(pause_s, size_bytes, agreement, exc.message)
        except StoreBusy:
            raise
        except StoreUnavailable as exc:
            # All of the disk, or a bad sector? Of the latter the others must not wait; nor is it a loss as yet.
            self._presence.check()
            return Step(pause_s, size_bytes, None, f"pack {stored.hex()} can't be read: {exc.message}; {exc.hint}")
        if self._losses.is_lost(agreement, stored):
            self._losses.clear(agreement, stored)
        return Step(pause_s, size_bytes)

    def _save(self, progress: Progress) -> None:
        def act(db: sqlite3.Connection) -> None:
            db.execute("UPDATE scrubs SET day = ?, bytes = ?, began_ms = ?, agreement = ?, stored = ?", progress)

        self._run(act)
