"""Work handed to threads, collected in the order it was handed out.

Knows: threads, how much may be under way. Must not know: what the work is.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from backuppeer.giving_way import lower_disk

T = TypeVar("T")


class Jobs:
    """A bounded queue of jobs. Submitted and collected by one thread; `done` callbacks run in that thread."""

    def __init__(self, workers: int, most: int, *, gives_way: bool = False) -> None:
        """gives_way: its threads come last at the disk."""
        begin = lower_disk if gives_way else None
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="engine", initializer=begin)
        self._most = most
        self._queue: deque[Callable[[bool], bool]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # After an error nobody wants what is queued; what runs is waited for, since it uses our buffers.
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __len__(self) -> int:
        return len(self._queue)

    def submit(self, work: Callable[[], T], done: Callable[[T], None]) -> None:
        """Hand out work; never waits. `done` gets its result when it is collected."""
        self._queue.append(partial(_collect, self._pool.submit(work), done))

    def collect(self, *, most: int | None = None) -> None:
        """Collect what is finished, and wait until at most `most` jobs (else the bound) are under way.

        Raises:
            BackupPeerError: a job failed; whatever it raised.

        """
        limit = self._most if most is None else most
        while self._queue and self._queue[0](len(self._queue) > limit):
            self._queue.popleft()


def _collect(future: "Future[T]", done: Callable[[T], None], wait: bool) -> bool:  # noqa: FBT001 - called through partial
    if not wait and not future.done():
        return False
    done(future.result())
    return True
