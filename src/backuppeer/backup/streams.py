"""What the engine needs of the outside: where packs go, where they come from, whom to tell.

Knows: the Protocols that the agent (and tests) implement. Must not know: hosts, copies, terminals.
"""

from collections.abc import Sequence
from typing import Protocol

from backuppeer.ids import LogicalId
from backuppeer.repo.pack import ClosedDraft


class PackSink(Protocol):
    """Takes finished packs. Called from several threads, one call of `store` at a time."""

    def store(self, draft: ClosedDraft) -> None:
        """Take a pack; may block (back-pressure). Its blobs enter the index only once it is durable somewhere.

        Raises:
            BackupPeerError: no host can take it any more, or the job was cancelled.

        """
        ...

    def flush(self) -> None:
        """Return when every stored pack is durable at one host at least, and registered in the index.

        Raises:
            BackupPeerError: one never will be.

        """
        ...


class PackSource(Protocol):
    """Gives back bytes of packs. Thread-safe; called from several threads at once."""

    def fetch(self, pack: LogicalId, ranges: Sequence[tuple[int, int]]) -> tuple[bytes, Sequence[bytes | memoryview]]:
        """Return (64-byte clear header, the bytes of each (offset, length)), all from the same copy.

        Raises:
            IntegrityFault: no copy answers with bytes that fit its stored id, or no copy is known.
            Unavailable: no host that holds a copy can be reached now.

        """
        ...


class Progress(Protocol):
    """Is told how work goes; always called from the thread that runs the verb."""

    def update(self, **counters: int) -> None:
        """Take totals so far: `files`, `bytes`, and for a backup `new_bytes`. Called often: throttle."""
        ...

    def enter(self, phase: str) -> None:
        """Learn that another pass over the same files begins: totals count from zero again."""
        ...

    def error_file(self, path: bytes, message: str, *, is_away: bool = False) -> None:
        """Learn that one file or directory was left out, or is not whole; `is_away`: no host of it can be reached."""
        ...

    def note(self, text: str) -> None:
        """Learn something a person should read once."""
        ...


class NoProgress:
    """A `Progress` that nobody watches."""

    def update(self, **counters: int) -> None:
        """Ignore the totals."""

    def enter(self, phase: str) -> None:
        """Ignore the phase."""

    def error_file(self, path: bytes, message: str, *, is_away: bool = False) -> None:
        """Ignore the error; the result counts it."""

    def note(self, text: str) -> None:
        """Ignore the note."""
