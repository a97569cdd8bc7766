"""One pack on its way in: written to `incoming/`, hashed as it comes, and made durable before anybody is told.

Knows: the order that makes an acknowledgement true. Must not know: who sends, or over what. Order of `commit`:
length and stored id checked → file fsynced → leaf hashes beside → rename → directory fsynced → catalogue row →
quota. Killed anywhere before the rename, the pack never was; killed after it, opening the store finds the file.
"""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from backuppeer.errors import BackupPeerError, IntegrityFault, LocalError, ProtocolViolation
from backuppeer.host.catalogue import Catalogue
from backuppeer.host.disk import (
    PRIVATE_FILE,
    create_file,
    explain_failure,
    forget_pages,
    make_directory,
    remove_quietly,
    sync_directory,
    translate_failures,
    write_all,
)
from backuppeer.host.layout import Layout
from backuppeer.host.parts import Part
from backuppeer.host.quota import Reservation
from backuppeer.ids import AgreementId, StoredId
from backuppeer.proof.merkle import IncrementalLeaves, stored_id_of_leaves

Write = Callable[[int, bytes | bytearray | memoryview], None]


@dataclass(frozen=True, slots=True)
class Target:
    """Where an incoming pack shall end: `write` is how bytes reach a descriptor (all of them, or OSError)."""

    layout: Layout
    catalogue: Catalogue
    write: Write = write_all


class Incoming:
    """A pack being received. `commit` or `abort` ends it; leaving `with` aborts.

    Calls wait for each other: an abort, when a session ends, must not close a descriptor under a thread that writes to
    it, as its number may be another file's at once; nor take back what a commit is about to list. Any failure aborts:
    the temporary file is removed and the reservation released before the error is raised.
    """

    def __init__(
        self,
        target: Target,
        agreement: AgreementId,
        *,
        stored: StoredId,
        reservation: Reservation,
        name: str,
        upon: int | None = None,
    ) -> None:
        """Take over `reservation`. The temporary file `name` is made with the first byte: who sends none holds none.

        `upon`: of a draft, the number of the head that was held before the first byte.
        """
        self.agreement = agreement
        self._upon = upon
        self.stored = stored
        self.size = reservation.size_bytes
        self.received = 0
        self._target = target
        self._reservation = reservation
        self._leaves = IncrementalLeaves()
        self._temporary: Path = target.layout.incoming / name
        self._descriptor = -1
        self._open = True
        self._turn = threading.RLock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.abort()

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        """Append a piece of any size; the buffer may be reused when this returns.

        Raises:
            ProtocolViolation: more bytes than announced.
            StoreUnavailable: the disk is full, gone or failing.

        """
        with self._turn:
            self._check_open()
            if self.received + len(piece) > self.size:
                self.abort()
                raise ProtocolViolation(
                    f"more than the announced {self.size} bytes of pack {self.stored.hex()} arrived"
                )
            try:
                if self._descriptor < 0:
                    self._descriptor = create_file(self._temporary)
                self._target.write(self._descriptor, piece)
            except OSError as exc:
                self.abort()
                raise explain_failure(exc, self._target.layout.root) from exc
            self._leaves.update(piece)
            self.received += len(piece)

    def commit(self) -> None:
        """Verify the pack and make it durable and listed; when this returns, the host may acknowledge.

        A pack that got here meanwhile by another way is the same pack: the second copy is dropped.

        Raises:
            ProtocolViolation: fewer bytes than announced.
            IntegrityFault: the bytes are not those the stored id stands for.
            StoreUnavailable: the disk is full, gone or failing.

        """
        with self._turn:
            self._check_open()
            try:
                leaves = self._verify()
                with translate_failures(self._target.layout.root):
                    self._place(leaves)
                self._register()
            except (BackupPeerError, OSError):
                self.abort()
                raise

    def go_on(self, part: Part) -> None:
        """Begin with what came before the transfer was cut; without it, if it is not there as it was left.

        Called before the first byte. Only appended to: should the bytes be others, the whole pack is refused.
        """
        with self._turn:
            self._check_open()
            try:
                descriptor = os.open(part.path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError:
                return
            is_ours = part.path.parent == self._temporary.parent
            if not is_ours or os.fstat(descriptor).st_size != part.received or part.received > self.size:
                os.close(descriptor)
                remove_quietly(part.path)
                return
            self._descriptor, self._temporary, self._upon = descriptor, part.path, part.upon
            self._leaves, self.received = part.leaves, part.received

    def suspend(self) -> Part | None:
        """End it, and return what came so far, for `go_on`; None: nothing did, or it had ended."""
        with self._turn:
            if not self._open or not self.received:
                self.abort()
                return None
            self._open = False
            self._close()
            self._reservation.release()
            return Part(self._temporary, self._leaves, self.received, self._upon)

    def abort(self) -> None:
        """Drop everything; safe to call at any time and again."""
        with self._turn:
            if not self._open:
                return
            self._open = False
            self._close()
            # Never acknowledged: nobody relies on it.
            remove_quietly(self._temporary)
            self._reservation.release()

    def _check_open(self) -> None:
        if not self._open:
            raise LocalError(f"pack {self.stored.hex()} is no longer being received")

    def _verify(self) -> bytes:
        if self.received != self.size:
            raise ProtocolViolation(
                f"{self.received} of the announced {self.size} bytes of pack {self.stored.hex()} arrived"
            )
        leaves = self._leaves.finish()
        if stored_id_of_leaves(leaves, self.size) != self.stored:
            raise IntegrityFault(f"the bytes sent are not those of pack {self.stored.hex()}")
        return leaves

    def _place(self, leaves: bytes) -> None:
        layout = self._target.layout
        final = layout.pack(self.agreement, self.stored)
        # The content is on the disk before its final name exists, so a named pack is a whole pack. A failed fsync is
        # never repeated on the same file: the system may have dropped the pages and would answer "fine".
        os.fsync(self._descriptor)
        forget_pages(self._descriptor)
        self._close()
        make_directory(final.parent)
        write_leaves(layout.leaves(self.agreement, self.stored), leaves)
        # Atomic within the store's file system: the pack is there whole or not at all.
        self._temporary.rename(final)
        # The name itself survives a power cut only after this.
        sync_directory(final.parent)

    def _register(self) -> None:
        # If this fails, the file stays, durable but neither listed nor acknowledged, and opening the store lists it.
        # Removing it here could take away the same pack that another upload was just acknowledged for.
        added = self._target.catalogue.add_pack(self.agreement, self.stored, self.size, upon=self._upon)
        self._open = False
        if added:
            self._reservation.commit()
        else:
            self._reservation.release()

    def _close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


def write_leaves(path: Path, leaves: bytes) -> None:
    """Write the leaf hashes of a pack, without fsync: they are derived, checked at each use, and computed anew if torn.

    Raises:
        OSError: as the system says; the caller translates.

    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, PRIVATE_FILE)
    try:
        write_all(descriptor, leaves)
    finally:
        os.close(descriptor)
