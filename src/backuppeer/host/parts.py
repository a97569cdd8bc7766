"""What came of packs whose transfer was cut: kept for a moment, so that the rest alone is sent again (ADR 87).

Knows: which agreement began which pack, what of it lies in `incoming/`, for how long. Must not know: sessions. A part
is nobody's: it is not reserved, not listed, never acknowledged; the whole pack is hashed before that as any other. Lost
at any moment, it is sent again. Opening a store sweeps what is left of parts, as all of `incoming/`.
"""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backuppeer.clock import Clock
from backuppeer.host.disk import remove_quietly
from backuppeer.ids import AgreementId, StoredId
from backuppeer.limits import PART_KEPT_S, PARTS, PARTS_PER_AGREEMENT
from backuppeer.proof.merkle import IncrementalLeaves

_Key = tuple[AgreementId, StoredId]


@dataclass(frozen=True, slots=True)
class Part:
    """The first bytes of a pack: the file they are in, their leaves, how many; of a draft, the head it is upon."""

    path: Path
    leaves: IncrementalLeaves
    received: int
    upon: int | None


class Parts:
    """The parts that are kept; calls may come from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[_Key, tuple[float, Part]] = {}
        self._turn: Final = threading.Lock()

    def keep(self, agreement: AgreementId, stored: StoredId, part: Part) -> None:
        """Keep a part for PART_KEPT_S; the oldest goes where there are too many, of its agreement or of all."""
        with self._turn:
            self._drop((agreement, stored))
            mine = [key for key in self._kept if key[0] == agreement]
            for keys, most in ((mine, PARTS_PER_AGREEMENT), (list(self._kept), PARTS)):
                if len(keys) >= most:
                    self._drop(keys[0])
            self._kept[agreement, stored] = self._clock.monotonic_s() + PART_KEPT_S, part

    def take(self, agreement: AgreementId, stored: StoredId) -> Part | None:
        """Return the part of a pack, which is the caller's from now on; None: there is none."""
        self.expire()
        with self._turn:
            kept = self._kept.pop((agreement, stored), None)
        return kept[1] if kept is not None else None

    def expire(self) -> None:
        """Drop the parts that nobody came back for."""
        with self._turn:
            now_s = self._clock.monotonic_s()
            for key in [key for key, (until_s, _) in self._kept.items() if now_s >= until_s]:
                self._drop(key)

    def drop_all(self) -> bool:
        """Drop all parts, as their room is needed; return whether there were any."""
        with self._turn:
            kept = list(self._kept)
            for key in kept:
                self._drop(key)
        return bool(kept)

    def _drop(self, key: _Key) -> None:
        if (kept := self._kept.pop(key, None)) is not None:
            remove_quietly(kept[1].path)
