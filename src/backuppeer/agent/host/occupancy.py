"""Who works in the store just now, so that it can be closed between two requests and not within one.

Knows: a count. Must not know: what is done. A request that was begun is let finish: what it answers stands in files
that a move copies after it.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from backuppeer.errors import StoreUnavailable


class Occupancy:
    """A count of users, and whether more may come. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._users = 0
        self._is_held = False

    @contextmanager
    def using(self) -> Iterator[None]:
        """Count as a user while the block runs.

        Raises:
            StoreUnavailable: the store is about to be moved.

        """
        with self._changed:
            if self._is_held:
                raise moving()
            self._users += 1
        try:
            yield
        finally:
            with self._changed:
                self._users -= 1
                self._changed.notify_all()

    def hold(self, wait_s: float) -> bool:
        """Let nobody more in, and return whether all have left within `wait_s`; it stays held either way."""
        until_s = time.monotonic() + wait_s
        with self._changed:
            self._is_held = True
            while self._users and (left_s := until_s - time.monotonic()) > 0:
                self._changed.wait(left_s)
            return not self._users

    def release(self) -> None:
        """Let them in again."""
        with self._changed:
            self._is_held = False


def moving() -> StoreUnavailable:
    """Return what whoever comes meanwhile is told."""
    return StoreUnavailable("the store is being moved", hint="try again in a moment")
