"""What was used last, up to a size: the one cache in memory of everything that looks into a snapshot bit by bit.

Knows: an order, sizes that whoever puts something in gives. Must not know: what is kept. Thread-safe.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Values by key, together at most `cap` large, or one that is larger: the least recently used go first."""

    def __init__(self, cap: int) -> None:
        self._cap, self._held = cap, 0
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """Return what is kept, which counts as used now; None when it isn't."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def put(self, key: K, value: V, size: int) -> None:
        """Keep `value` in place of what was kept."""
        with self._lock:
            self._drop(key)
            self._keep(key, value, size)

    def make(self, key: K, make: Callable[[], V], size: int) -> tuple[V, bool]:
        """Return what is kept and False, or what `make` returns, kept now, and True: one caller of many makes it.

        `make` is called under the lock, and must do nothing that takes time.
        """
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0], False
            value = make()
            self._keep(key, value, size)
            return value, True

    def drop(self, key: K) -> None:
        """Forget a value, if it is kept."""
        with self._lock:
            self._drop(key)

    def __contains__(self, key: K) -> bool:
        with self._lock:
            return key in self._kept

    @property
    def held(self) -> int:
        """The sizes of all that is kept."""
        with self._lock:
            return self._held

    def _keep(self, key: K, value: V, size: int) -> None:
        self._kept[key] = (value, size)
        self._held += size
        while self._held > self._cap and len(self._kept) > 1:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: K) -> None:
        self._held -= self._kept.pop(key, (None, 0))[1]
