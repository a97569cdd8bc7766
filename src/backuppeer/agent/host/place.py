"""Where this home's store lies, as it is written down, and what of a move is not over (`host --move-store`).

Knows: settings of the state. Must not know: who uses the store. The place written down is the truth: until it names the
new one, a crash leaves the store where it was; from then on whoever opens it finishes the switch.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
import structlog

from backuppeer.agent.home.state import State
from backuppeer.agent.peers.offers import write_exact_size, write_size
from backuppeer.errors import LocalError, UserError
from backuppeer.host.disk import translate_failures
from backuppeer.host.layout import Layout
from backuppeer.host.relocation import read_marker, remove_old, take_over
from backuppeer.limits import FREE_DISK_FLOOR_BYTES

_DIRECTORY: Final = "store.directory"
_MOVING: Final = "store.moving"
"""Old and new place of a move that is not over, and the marker of the store."""
_SEEN: Final = "store.seen"
"""Where a store of this home would lie by default when it was opened last, and the marker of the store."""

_log = structlog.get_logger()


@contextmanager
def _unless_full(what: str) -> Iterator[None]:
    """Let a note wait for the next start when it can't be written: that must not keep a store shut."""
    try:
        yield
    except LocalError as exc:
        _log.warning("can't be written down", what=what, reason=exc.message)


class Place:
    """The place of one store."""

    def __init__(self, state: State, default: Path | None = None) -> None:
        """`default`: where a store of this home lies unless its person says otherwise; in the home."""
        self._state, self._default = state, default
        self._follow_home()

    @property
    def directory(self) -> Path | None:
        """Return where the store lies; None when this home never hosted."""
        raw = self._state.setting(_DIRECTORY)
        return Path(os.fsdecode(raw)) if raw else None

    def settle(self, directory: Path) -> None:
        """Write down where the store lies from now on."""
        self._state.put_setting(_DIRECTORY, os.fsencode(directory))

    def note_opened(self, directory: Path) -> None:
        """Write down which store it is that was opened, so that it is known again wherever it lies."""
        seen = msgspec.msgpack.encode([os.fsencode(self._default or ""), read_marker(directory)])
        if self._state.setting(_SEEN) != seen:
            with _unless_full("which store was opened"):
                self._state.put_setting(_SEEN, seen)

    def is_found_at(self, directory: Path) -> bool:
        """Return whether the store is not where it is written down to be, and lies there instead."""
        known, (_, marker) = self.directory, self._seen()
        is_gone = known is not None and read_marker(known) != marker and self._move() is None
        return is_gone and read_marker(directory) == marker != b""

    def _follow_home(self) -> None:
        """Find a store that lies in its home where that home lies now: somebody renamed it, or moved it to a disk."""
        before, _ = self._seen()
        is_ours = self.directory is not None and self.directory == before != self._default
        if is_ours and self._default is not None and self.is_found_at(self._default):
            with _unless_full("where the store lies now"):
                self.settle(self._default)

    def _seen(self) -> tuple[Path | None, bytes]:
        raw = self._state.setting(_SEEN)
        default, marker = msgspec.msgpack.decode(raw, type=tuple[bytes, bytes]) if raw else (b"", b"")
        return Path(os.fsdecode(default)) if default else None, marker

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


def has_store(directory: Path) -> bool:
    """Return whether a folder is marked as a store, whose ever.

    Raises:
        StoreUnavailable: the disk refuses.

    """
    with translate_failures(directory):
        return Layout(directory).marker.exists()


def check_room(offered_bytes: int, room_bytes: int) -> None:
    """Return if a disk has room for what is to be offered.

    Raises:
        UserError: it has not.

    """
    if offered_bytes > room_bytes:
        room, kept_free = write_size(max(0, room_bytes)), write_exact_size(FREE_DISK_FLOOR_BYTES)
        raise UserError(
            f"{write_exact_size(offered_bytes)} is more than the disk of the store can take: {room} at most now",
            hint=f"offer less, free some space ({kept_free} always stays free), or name a folder on another disk "
            "with --store DIR",
        )
