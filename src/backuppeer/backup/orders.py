"""What a restore has to do with one pack, as one value: which sealed bytes to open and which files to put them into.

Knows: opening blobs, writing them through a target. Must not know: where the bytes come from, which process this is.

An `Order` is carried out by a thread of the agent or by a worker process (`pool`, `worker`), in the same way; for the
journey it is msgpack. Blobs lie shuffled in a pack: they are written in the order of the walk, which keeps the writers
in one directory for long.
"""

from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from backuppeer.crypto.keys import RepositoryKeys
from backuppeer.errors import IntegrityFault
from backuppeer.files.metadata import MetadataNote
from backuppeer.files.scan import FoundKind
from backuppeer.files.sparse import TakesBytes
from backuppeer.files.write import RestoreTarget
from backuppeer.repo.layout import Entry
from backuppeer.repo.pack import PackOpener

Piece = bytes | memoryview


class WholeFile(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A file that is one blob; its metadata as `files.metadata` explains it, `path` relative to the target.

    `is_sparse`: it had holes.
    """

    path: bytes
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    user: str
    group: str
    attributes: dict[bytes, bytes]
    is_sparse: bool


class Part(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A blob's place in a file of several: which of the files in the making, and how many bytes from its start.

    `is_sparse`: the file had holes.
    """

    file: int
    offset: int
    is_sparse: bool


class WantedBlob(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One blob, whose sealed bytes begin at `at` in piece number `piece`, and everything that is made of it."""

    entry: Entry
    piece: int
    at: int
    whole: list[WholeFile]
    parts: list[Part]


class Order(msgspec.Struct, array_like=True, frozen=True):
    """Blobs of one copy of a pack, whose clear header is `header`; `offsets`: of the pieces in the pack.

    `is_again`: whoever had it before ended in the middle. A file that stands whole under its name is done.
    """

    header: bytes
    blobs: list[WantedBlob]
    offsets: list[int]
    is_again: bool = False


class Failed(msgspec.Struct, array_like=True, frozen=True):
    """One file that did not come of it: the blob's number, the file's among its whole ones and then parts, and why.

    `error_number`: of the system's error; None when the data is wrong.
    """

    blob: int
    want: int
    error_number: int | None
    message: str

    def cause(self) -> OSError | IntegrityFault:
        """Return the error, as it was raised where the work was done."""
        if self.error_number is None:
            return IntegrityFault(self.message)
        return OSError(self.error_number, self.message)


class Report(msgspec.Struct, array_like=True):
    """What came of an order: whole files written, plain bytes written, failures, metadata that could not be set."""

    files: int = 0
    bytes: int = 0
    failures: list[Failed] = []
    notes: dict[MetadataNote, int] = {}


def carry_out(
    order: Order,
    pieces: Sequence[Piece],
    files: Sequence[TakesBytes],
    *,
    keys: RepositoryKeys,
    target: RestoreTarget,
    check: Callable[[], None],
) -> Report:
    """Open and write everything in `order`; `check` is called before each write and ends the work by raising."""
    report = Report()
    try:
        opener = PackOpener(keys, order.header)
    except IntegrityFault as exc:
        for number, blob in enumerate(order.blobs):
            _fail_all(report, number, blob, exc)
        return report
    write = partial(_write_again, target) if order.is_again else partial(_write_first, target)
    for number, blob in enumerate(order.blobs):
        try:
            plain = opener.open_entry(blob.entry, pieces[blob.piece][blob.at : blob.at + blob.entry.sealed_bytes])
        except IntegrityFault as exc:
            _fail_all(report, number, blob, exc)
        else:
            _write(report, number, blob, plain, files=files, write=write, check=check)
    return report


def _write(
    report: Report,
    number: int,
    blob: WantedBlob,
    plain: bytes,
    *,
    files: Sequence[TakesBytes],
    write: Callable[[WholeFile, bytes], None],
    check: Callable[[], None],
) -> None:
    # Asked for each file, not for each blob: a blob may be all that 20,000 equal files are made of.
    done = 0
    for want, file in enumerate(blob.whole):
        check()
        try:
            write(file, plain)
        except (OSError, IntegrityFault) as exc:
            _fail(report, number, want, exc)
        else:
            done += 1
    report.files += done
    for want, part in enumerate(blob.parts, len(blob.whole)):
        check()
        try:
            files[part.file].write_at(part.offset, plain, is_sparse=part.is_sparse)
        except OSError as exc:
            _fail(report, number, want, exc)
        else:
            done += 1
    report.bytes += done * len(plain)


def _write_first(target: RestoreTarget, file: WholeFile, plain: bytes) -> None:
    target.write_file(file.path, plain, file, is_sparse=file.is_sparse)


def _write_again(target: RestoreTarget, file: WholeFile, plain: bytes) -> None:
    try:
        _write_first(target, file, plain)
    except FileExistsError:
        # Nothing stood there when the restore began, and a file has its name only when it is whole.
        found = target.examine(file.path)
        if (found.kind, found.size, found.mtime_ns) != (FoundKind.FILE, len(plain), file.mtime_ns):
            raise


def _fail_all(report: Report, number: int, blob: WantedBlob, error: IntegrityFault) -> None:
    for want in range(len(blob.whole) + len(blob.parts)):
        _fail(report, number, want, error)


def _fail(report: Report, blob: int, want: int, error: OSError | IntegrityFault) -> None:
    if isinstance(error, OSError):
        report.failures.append(Failed(blob, want, error.errno or 0, error.strerror or str(error)))
    else:
        report.failures.append(Failed(blob, want, None, error.message))
