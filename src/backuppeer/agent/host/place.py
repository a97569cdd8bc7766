"""Where this home's store lies, as it is written down, and what of a move is not over (`host --move-store`).

Knows: settings of the state. Must not know: who uses the store. The place written down is the truth: until it names the
new one, a crash leaves the store where it was; from then on whoever opens it finishes the switch.
"""

import os
from pathlib import Path
from typing import Final

import msgspec

from backuppeer.agent.home.state import State
from backuppeer.host.layout import Layout
from backuppeer.host.relocation import remove_old, take_over

_DIRECTORY: Final = "store.directory"
_MOVING: Final = "store.moving"
"""Old and new place of a move that is not over."""


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
        self._state.put_setting(_MOVING, msgspec.msgpack.encode([os.fsencode(source), os.fsencode(target)]))

    def end_move(self) -> None:
        """Count a move as over, or as never begun."""
        self._state.put_setting(_MOVING, b"")

    def clear_old(self) -> bool:
        """Remove what is left of the place before; return whether nothing is."""
        places = self._move()
        if places is None or places[1] != self.directory:
            return True
        is_clear = remove_old(places[0])
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
        source, target = places
        if directory == source and not _has_marker(source) and _has_marker(target):
            self.settle(target)  # renamed, and killed before that was written down
        elif directory != target:
            return directory
        take_over(source, target)
        return target

    def _move(self) -> tuple[Path, Path] | None:
        raw = self._state.setting(_MOVING)
        if not raw:
            return None
        source, target = msgspec.msgpack.decode(raw, type=tuple[bytes, bytes])
        return Path(os.fsdecode(source)), Path(os.fsdecode(target))


def _has_marker(directory: Path) -> bool:
    try:
        return Layout(directory).marker.exists()
    except OSError:
        return False
