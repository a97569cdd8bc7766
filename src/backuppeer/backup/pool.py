"""Orders of one restore, carried out by worker processes, or by the agent's own threads (ADR 0016).

Knows: which worker gets an order, what happens when it is killed. Must not know: what is in an order, how processes
are started. Until the first is ready, and where none can be started, orders are carried out by the thread that brings
them.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

import msgspec
import structlog

from backuppeer.backup.orders import Order, Piece, Report, carry_out
from backuppeer.backup.pages import find_pages
from backuppeer.backup.processes import Check, Job, Worker, WorkerEndedError, Workers, count_processors
from backuppeer.backup.worker import RESTORE_MEMORY_BYTES, RestoreStart, Task
from backuppeer.crypto.keys import RepositoryKeys
from backuppeer.files.write import FileWriter, RestoreTarget
from backuppeer.limits import RESTORE_WORKERS

_log = structlog.get_logger()


class CarriesOut(Protocol):
    """Does what orders say; called from several threads at once."""

    def carry_out(self, order: Order, pieces: Sequence[Piece], files: Sequence[FileWriter]) -> Report:
        """Return what came of it; whatever `check` raises when the restore was cancelled."""
        ...


class WorkerPool:
    """The workers of one restore into one target; thread-safe. `check` raises when the restore was cancelled."""

    def __init__(self, keys: RepositoryKeys, target: RestoreTarget, *, check: Check) -> None:
        self._keys, self._target, self._check = keys, target, check
        start = msgspec.msgpack.encode(RestoreStart(keys.export(), target.overwrite))
        self._workers = Workers(Job(start, (target.folders.root_fd,), RESTORE_MEMORY_BYTES), check=check)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._workers.__exit__(kind, error, trace)

    def start(self) -> None:
        """Start as many workers as there are processors for; returns at once. Once only."""
        self._workers.start(min(count_processors(), RESTORE_WORKERS))

    def await_workers(self) -> int:
        """Wait until every worker that was started has begun or ended; return how many there are."""
        return self._workers.await_workers()

    def carry_out(self, order: Order, pieces: Sequence[Piece], files: Sequence[FileWriter]) -> Report:
        """Carry out an order in a worker, or right here when none is ready yet.

        One that is ended from outside (by the system, for want of memory) does not end the restore: another, or this
        thread where there is none, goes on with its order.

        Raises:
            LocalError: a worker failed, or a second one was ended in the middle of this order.
            BackupPeerError: whatever `check` raises.

        """
        try:
            return self._carry_out(order, pieces, files)
        except WorkerEndedError as exc:
            _log.warning("a worker process was ended from outside", reason=exc.message)
            return self._carry_out(msgspec.structs.replace(order, is_again=True), pieces, files)

    def _carry_out(self, order: Order, pieces: Sequence[Piece], files: Sequence[FileWriter]) -> Report:
        worker = self._workers.take()
        if worker is None:
            return carry_out(order, pieces, files, keys=self._keys, target=self._target, check=self._check)
        report = None
        try:
            report = self._ask(worker, order, pieces, files)
        finally:
            self._workers.give_back(worker, is_well=report is not None)
        self._target.count_notes(report.notes)
        return report

    def _ask(self, worker: Worker, order: Order, pieces: Sequence[Piece], files: Sequence[FileWriter]) -> Report:
        descriptors = [file.fd for file in files]
        pages = find_pages(pieces[0]) if pieces else None
        if pages is not None:
            # The worker maps the same memory, in which the pack's bytes lie at their offsets.
            descriptors.append(pages.fd)
            places = [(offset, len(piece)) for offset, piece in zip(order.offsets, pieces, strict=True)]
        else:
            places = _copy(pieces, worker.memory)
        task = msgspec.msgpack.encode(Task(order, places, pages is not None))
        return msgspec.msgpack.decode(worker.ask(task, descriptors, self._check), type=Report)


def _copy(pieces: Sequence[Piece], memory: memoryview) -> list[tuple[int, int]]:
    """Put pieces into shared memory, one after the other; return where each lies, and its length."""
    places: list[tuple[int, int]] = []
    start = 0
    for piece in pieces:
        memory[start : start + len(piece)] = piece
        places.append((start, len(piece)))
        start += len(piece)
    return places
