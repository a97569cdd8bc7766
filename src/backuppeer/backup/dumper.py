"""`dump`: a file of a snapshot as its bytes, a folder as a tar archive, in one stream.

Knows: the order of an archive, pieces of a stream. Must not know: hosts, who reads the stream.

No byte is told that was not verified. A stream that can't go on ends by raising; an archive is broken before: the
pieces of one end in the middle of a block, wherever it stops, so that no reader takes what there is for all of it.
"""

import threading
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass

from backuppeer.backup.kinds import name_kind
from backuppeer.backup.links import LinkGroups
from backuppeer.backup.readahead import End, Literal, ReadAhead, Step, Want, name_file
from backuppeer.backup.selection import Selection, Walk
from backuppeer.backup.streams import PackSource, Progress
from backuppeer.backup.tarball import fits_tar, make_breach, make_end, make_header, make_padding
from backuppeer.backup.trees import TreeReader
from backuppeer.crypto.keys import RepositoryKeys
from backuppeer.errors import BackupPeerError, IntegrityFault, InterruptedByUserError, Unavailable
from backuppeer.limits import CONTROL_PIECE_BYTES
from backuppeer.repo.index import Index
from backuppeer.repo.tree import EntryKind, TreeEntry

_OFFSET = 256
"""By which a piece's end misses the end of a tar block."""


@dataclass(slots=True)
class Dumped:
    """What was told so far. `left_out`: entries of kinds that an archive can't hold."""

    files: int = 0
    bytes: int = 0
    left_out: int = 0


class Dumper:
    """One dump; `done` counts along."""

    def __init__(
        self,
        keys: RepositoryKeys,
        index: Index,
        *,
        trees: TreeReader,
        source: PackSource,
        progress: Progress,
        cancel: threading.Event,
    ) -> None:
        self._trees, self._progress, self._cancel = trees, progress, cancel
        self._reader = ReadAhead(keys, index, source, cancel)
        self.done = Dumped()

    def dump_file(self, path: bytes, entry: TreeEntry) -> Generator[bytes, None, None]:
        """Yield the bytes of a file in pieces of at most 1 MiB; what was verified comes before an error does.

        Raises:
            IntegrityFault: a part of it is wrong or missing.
            Unavailable: nobody who has a part can be reached.
            InterruptedByUserError: cancelled.

        """
        yield from cut_pieces(self._tell(self._file_steps(path, entry)), first_bytes=CONTROL_PIECE_BYTES)

    def dump_tar(self, selection: Selection) -> Generator[bytes, None, None]:
        """Yield a tar archive of what is selected; else as `dump_file`. Before an error it is made unreadable."""
        told = 0
        failure: BackupPeerError | None = None
        pieces = cut_pieces(self._tell_archive(selection), first_bytes=CONTROL_PIECE_BYTES - _OFFSET, rest=False)
        while failure is None:
            try:
                piece = next(pieces, None)
            except BackupPeerError as exc:
                failure = exc
                continue
            if piece is None:
                return
            told += len(piece)
            yield piece
        if not told:
            yield make_breach()
        raise failure

    def _tell_archive(self, selection: Selection) -> Iterator[bytes]:
        written = 0
        for part in self._tell(self._archive_steps(selection)):
            written += len(part)
            yield part
        yield make_end(written)

    def _tell(self, steps: Iterable[Step]) -> Iterator[bytes]:
        """Yield the bytes of steps, counting; contents are followed by their padding if they are an archive's."""
        size = 0
        for step, data in self._reader.run(steps):
            if isinstance(step, End):
                if size != step.size:
                    fault = IntegrityFault(f"has {size} bytes, the snapshot says {step.size}")
                    raise name_file(step.path, fault)
                self.done.files += 1
                size = 0
            elif isinstance(step, Want):
                size += len(data)
                self.done.bytes += len(data)
            if data:
                yield data
            self._progress.update(files=self.done.files, bytes=self.done.bytes)

    def _file_steps(self, path: bytes, entry: TreeEntry) -> Iterator[Step]:
        try:
            yield from (Want(blob, path) for blob in self._trees.chunks_of(entry))
        except (IntegrityFault, Unavailable) as exc:
            raise name_file(path, exc) from exc
        yield End(path, entry.size)

    def _archive_steps(self, selection: Selection) -> Iterator[Step]:
        walk, links = Walk(), LinkGroups()
        for visit in selection.visits(walk):
            self._check(walk)
            if visit.leaving:
                continue
            if not fits_tar(visit.entry):
                self.done.left_out += 1
                what = f"an archive can't hold this kind of entry: {name_kind(visit.entry.kind)}"
                self._progress.error_file(b"/" + visit.path, what)
                continue
            first = links.find_first(visit.path, visit.entry)
            yield Literal(make_header(visit.path, visit.entry, first=first))
            if first is not None:
                self.done.files += 1
            elif visit.entry.kind == EntryKind.FILE:
                yield from self._file_steps(visit.path, visit.entry)
                yield Literal(make_padding(visit.entry.size))
        self._check(walk)

    def _check(self, walk: Walk) -> None:
        if self._cancel.is_set():
            raise InterruptedByUserError("the dump was cancelled")
        for path, error in walk.errors:
            raise name_file(path, error)


def cut_pieces(parts: Iterable[bytes], *, first_bytes: int, rest: bool = True) -> Iterator[bytes]:
    """Yield the bytes of `parts` in pieces of 1 MiB, the first of `first_bytes`, the last as long as it is.

    rest: whether what is left is yielded before an error of `parts` is passed on.
    """
    waiting = bytearray()
    length = first_bytes
    source = iter(parts)
    while True:
        try:
            part = next(source, None)
        except BackupPeerError:
            if rest and waiting:
                yield bytes(waiting)
            raise
        if part is None:
            break
        waiting += part
        while len(waiting) >= length:
            yield bytes(waiting[:length])
            del waiting[:length]
            length = CONTROL_PIECE_BYTES
    if waiting:
        yield bytes(waiting)
