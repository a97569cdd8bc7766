"""Where this home's store lies, as it is written down, and what of a move is not over (`host --move-store`).

Knows: settings of the state. Must not know: who uses the store. The place written down is the truth: until it names the
new one, a crash leaves the store where it was; from then on whoever opens it finishes the switch.
"""

import os
from pathlib import Path
from typing import Final

import msgspec

from backuppeer.agent.home.state import State
from backuppeer.host.relocation import read_marker, remove_old, take_over

_DIRECTORY: Final = "store.directory"
_MOVING: Final = "store.moving"
"""Old and new place of a move that is not over, and the marker of the store."""


class Place:
    """The place of one store."""

    def __init__(self, state: State) -> None:
        self._state = state

    @property
    def directory(self) -> Path | None:
        """Return where the store lies; None when this home never hosted."""
        raw = self._state.setting(_DIRECTORY)
        return Path(os.fsdecode(raw)) if raw else None

    def settle(self, directory: Path) -> None:
        """Write down where the store lies from now on."""
        self._state.put_setting(_DIRECTORY, os.fsencode(directory))

    def begin_move(self, source: Path, target: Path) -> None:
        """Write down a move before its first step that can't be taken back."""
        # By the name of the folder itself: what was written down may be a link to it.
        self._state.put_setting(_DIRECTORY, os.fsencode(source))
        move = [os.fsencode(source), os.fsencode(target), read_marker(source)]
        self._state.put_setting(_MOVING, msgspec.msgpack.encode(move))

    def end_move(self) -> None:
        """Count a move as over, or as never begun."""
        self._state.put_setting(_MOVING, b"")

    def clear_old(self) -> bool:
        """Remove what is left of the place before; return whether nothing is."""
        places = self._move()
        if places is None or places[1] != self.directory:
            return True
        is_clear = remove_old(places[0], marker=places[2])
        if is_clear:
            self.end_move()
        return is_clear

    def find(self) -> Path:
        """Return where the store lies, having finished the switch of a move that was killed in its middle.

        Raises:
            StoreUnavailable: the disk of the new place refuses.

        """
        places, directory = self._move(), self.directory or Path()
        if places is None:
            return directory
        source, target, marker = places
        if directory == source and not read_marker(source) and read_marker(target) == marker != b"":
            self.settle(target)  # renamed, and killed before that was written down
        elif directory != target:
            return directory
        take_over(source, target)
        return target

    def _move(self) -> tuple[Path, Path, bytes] | None:
        raw = self._state.setting(_MOVING)
        if not raw:
            return None
        source, target, marker = msgspec.msgpack.decode(raw, type=tuple[bytes, bytes, bytes])
        return Path(os.fsdecode(source)), Path(os.fsdecode(target)), marker
