"""A store moved to another folder or disk: copied while it serves, then what changed meanwhile, then one switch.

Knows: which files make a store, in which order they go. Must not know: who uses the store, where its place is written
down. Only a folder with a marker is a store. The copy has none until all of it is there and durable; its owner writes
down the new place between (that is the switch), and only then the marker of the old place goes, and the copy gets its
own: so there are never two stores, and a copy that broke off is taken up again by the next try. A marker is removed
only where it is this store's, by its bytes: a folder may have become another store meanwhile, of another home.

    begin → copy (the store serves) → the store is closed → finish → place written down → take_over → remove_old

A pack's copy is read back from its disk, and its stored id checked, before the old one may go.
"""

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from backuppeer.errors import StoreUnavailable, UserError
from backuppeer.host.disk import (
    create_file,
    forget_pages,
    make_directory,
    replace_file,
    sync_directory,
    translate_failures,
    write_all,
)
from backuppeer.host.layout import PART_SUFFIX, STORED_ID_BYTES, Layout, parse_hex_name
from backuppeer.host.lineage import add_lineage, read_lineage
from backuppeer.host.reader import DamagedPackError, PackReader
from backuppeer.host.site import check_site, free_bytes
from backuppeer.ids import StoredId
from backuppeer.limits import FREE_DISK_FLOOR_BYTES, MIB
from backuppeer.sizes import format_free, format_size

_MOVING: Final = "backup-peer-moving"
"""The marker of a copy that is not a store yet."""
_ELSEWHERE: Final = frozenset({errno.EXDEV, errno.EBUSY, errno.ENOTSUP})
"""What a rename to another disk, or of a disk's own root, is refused with."""
Tell = Callable[[int, int], None]
"""(files and bytes that are there and verified so far)."""
Check = Callable[[], None]
"""Raises to stop the copy."""


def check_target(source: Path, target: Path) -> None:
    """Return if a store may move there: an empty or missing folder outside of it, or its own unfinished copy.

    Raises:
        UserError: it may not.
        StoreUnavailable: a disk refuses.

    """
    with translate_failures(target):
        inner, outer = target.resolve(), source.resolve()
        if inner == outer:
            raise UserError(f"the store lies in {source} already", hint="name another folder")
        if outer in inner.parents or inner in outer.parents:
            raise UserError(f"{target} and the store {source} lie in each other", hint="name a folder beside it")
        if not target.parent.is_dir():
            raise UserError(f"there is no folder {target.parent}", hint="make it, or mount its disk")
        if linked := _find_link(source):
            raise UserError(f"{linked} is a link: what it points to would not move", hint="put the folder itself there")
        if not _is_copy_of(source, target):
            check_site(Layout(target), option="--move-store")
            if Layout(target).marker.exists():
                raise UserError(f"{target} is a store already", hint="name an empty folder")


def is_one_disk(source: Path, target: Path) -> bool:
    """Return whether a store can be renamed to a folder, or to a new one in its parent.

    Raises:
        StoreUnavailable: a disk refuses.

    """
    with translate_failures(target):
        place = target if target.exists() else target.parent
        return place.stat().st_dev == source.stat().st_dev


def rename_store(source: Path, target: Path) -> bool:
    """Move a closed store within its file system, durably; False if the target is on another one, or has something.

    Raises:
        StoreUnavailable: the disk refuses; it lies where it was.

    """
    with translate_failures(target):
        try:
            # Atomic: after a crash it lies in one place or the other, marker and all.
            source.rename(target)
        except OSError as exc:
            if exc.errno in _ELSEWHERE | {errno.ENOTEMPTY, errno.EEXIST}:
                return False
            raise
        sync_directory(target.parent)
        sync_directory(source.parent)
    return True


def measure(source: Path) -> tuple[int, int]:
    """Return how many files, and bytes in them, a store has.

    Raises:
        StoreUnavailable: the disk refuses.

    """
    sizes = [status.st_size for at in _walk(source) if (status := _look(source / at)) is not None]
    return len(sizes), sum(sizes)


def begin(source: Path, target: Path, *, size_bytes: int) -> None:
    """Make the folder of the copy, if it is not there from a try before. size_bytes: of the store.

    Raises:
        UserError: the store would not fit there, or may not move there.
        StoreUnavailable: a disk refuses.

    """
    layout = Layout(target)
    check_target(source, target)  # again: since it was looked at, somebody may have put something there
    with translate_failures(target):
        make_directory(target)
        there = sum(status.st_size for at in _walk(target) if (status := _look(target / at)) is not None)
        room = free_bytes(target) - FREE_DISK_FLOOR_BYTES
        if size_bytes - there > room:
            raise UserError(
                f"the store holds {format_size(size_bytes)}, and {target} has room for {format_free(room)}",
                hint="free some space on that disk, or name a folder on another",
            )
        with translate_failures(source):
            marker = Layout(source).marker.read_bytes()
        replace_file(target / _MOVING, marker)
        make_directory(layout.incoming)
        make_directory(layout.agreements)


def copy(source: Path, target: Path, *, tell: Tell, check: Check) -> None:
    """Copy and verify what lies there now; the store may be in use. What is there from before is verified again.

    Raises:
        StoreUnavailable: a disk refuses, is full, or gives back other bytes than were written.

    """
    size_bytes = 0
    for files, at in enumerate(_walk(source), 1):
        size_bytes += _bring(source, target, at, check=check, trusts=False)
        tell(files, size_bytes)


def finish(source: Path, target: Path) -> None:
    """Bring the copy of a closed store up to date, durably; only its marker is missing then.

    Raises:
        StoreUnavailable: as `copy`.

    """
    if Layout(target).marker.exists() or not _is_copy_of(source, target):
        raise StoreUnavailable(f"{target} is no copy of this store any more", hint="name another folder")
    for at in _walk(source):
        _bring(source, target, at, check=_go_on, trusts=True)
    with translate_failures(target):
        for at in list(_walk(target)):
            if not (source / at).exists():
                (target / at).unlink()  # deleted or replaced at the source since it was copied
        for path in target.glob("catalogue.db*"):
            path.unlink()
        for path in source.glob("catalogue.db*"):
            _copy_file(path, target / path.name, Layout(target).incoming, check=_go_on)
        add_lineage(target, read_lineage(source))
        for folder in [*_folders(target), target]:
            # Names first, the switch after: nothing of it may come undone by a power cut.
            sync_directory(folder)


def take_over(source: Path, target: Path) -> None:
    """Make the copy the store, now that its place is written down; again is fine. The old place is none before.

    Raises:
        StoreUnavailable: the disk of the copy refuses.

    """
    with suppress(OSError, StoreUnavailable), translate_failures(source):  # its disk may be gone: it is not the place
        ours = read_marker(source)
        if ours and ours in (read_marker(target), _read(target / _MOVING)):
            Layout(source).marker.unlink(missing_ok=True)
            sync_directory(source)
    with translate_failures(target):
        if (target / _MOVING).exists():
            (target / _MOVING).rename(Layout(target).marker)
            sync_directory(target)


def remove_old(source: Path, *, marker: bytes) -> bool:
    """Remove what was a store, once its marker is gone; return whether nothing of it is left. Others' files stay.

    marker: of the store that moved. A folder with another one is another store by now, and nothing of ours.
    """
    layout = Layout(source)
    if layout.marker.exists():
        return read_marker(source) not in (b"", marker)
    for folder in (layout.agreements, layout.incoming):
        shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        for path in (layout.lineage, *source.glob("catalogue.db*")):
            path.unlink(missing_ok=True)
        with suppress(OSError):
            source.rmdir()  # the root of a disk stays, and a folder with something else in it
    return not (layout.agreements.exists() or layout.catalogue.exists())


def _find_link(root: Path) -> Path | None:
    """Return a folder of a store that is a link to somewhere else, if there is one."""
    top = Layout(root).agreements
    below = (Path(path, name) for path, names, _ in os.walk(top) for name in names)
    return next((path for path in (top, *below) if path.is_symlink()), None)


def read_marker(root: Path) -> bytes:
    """Return the marker of a store, which tells it from all others; empty where there is none."""
    return _read(Layout(root).marker)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _is_copy_of(source: Path, target: Path) -> bool:
    return _read(target / _MOVING) == read_marker(source) != b""


def _bring(source: Path, target: Path, at: Path, *, check: Check, trusts: bool) -> int:
    """Have a file in the copy as it is in the store; return its length. trusts: what looks the same was verified."""
    before, there = _look(source / at), _look(target / at)
    if before is None:
        return 0
    is_pack = parse_hex_name(at.name, STORED_ID_BYTES) is not None
    is_same = there is not None and there.st_size == before.st_size
    if there is not None and not is_pack:  # a pack never changes; and not every file system keeps times whole
        is_same = is_same and there.st_mtime_ns == before.st_mtime_ns
    if is_same and trusts:
        return before.st_size
    check()
    if not is_same:
        with translate_failures(target):
            for folder in reversed((target / at).relative_to(target).parents):
                make_directory(target / folder)
        if not _copy_file(source / at, target / at, Layout(target).incoming, check=check):
            return 0
    stored = parse_hex_name(at.name, STORED_ID_BYTES)
    if stored is not None:
        _verify(source, target, at, StoredId(stored))
    return before.st_size


def _verify(source: Path, target: Path, at: Path, stored: StoredId) -> None:
    """Read a copied pack from its disk; one that is damaged at its source, too, moves as it is: it is found there."""
    status = _look(target / at)
    if status is None or not _is_whole(target, at, stored, status.st_size):
        if status is not None and not _is_whole(source, at, stored, status.st_size):
            return
        with translate_failures(target):
            (target / at).unlink(missing_ok=True)
        raise StoreUnavailable(
            f"{target} gives back other bytes than were written", hint="check that disk (dmesg, SMART), or take another"
        )


def _is_whole(root: Path, at: Path, stored: StoredId, size_bytes: int) -> bool:
    with translate_failures(root):
        try:
            with PackReader(root / at, root=root, stored=stored, size=size_bytes) as reader:
                reader.verify()
        except (DamagedPackError, FileNotFoundError):
            return False
    return True


def _copy_file(source: Path, target: Path, incoming: Path, *, check: Check) -> bool:
    """Copy a file so that it stands there whole or not at all; False if it has gone from its source meanwhile."""
    with translate_failures(source.parent):
        try:
            file = source.open("rb")
        except FileNotFoundError:
            return False
    temporary = incoming / (secrets.token_hex(16) + PART_SUFFIX)
    with file, translate_failures(incoming.parent):
        status = os.fstat(file.fileno())
        descriptor = create_file(temporary)
        try:
            while data := file.read(MIB):
                check()
                write_all(descriptor, data)
            os.utime(descriptor, ns=(status.st_atime_ns, status.st_mtime_ns))
            os.fsync(descriptor)
            forget_pages(descriptor)
            temporary.rename(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
    return True


def _walk(root: Path) -> Iterator[Path]:
    """Yield the files of all agreements, relative to the store, one folder after the other."""
    for folder in _folders(root):
        with translate_failures(root):
            try:
                names = sorted(entry.name for entry in os.scandir(folder) if entry.is_file(follow_symlinks=False))
            except FileNotFoundError:
                continue  # an agreement that is ended just now
        # A replacement that is being written is no file yet.
        yield from ((folder / name).relative_to(root) for name in names if not name.endswith(".new"))


def _folders(root: Path) -> Iterator[Path]:
    if not Layout(root).agreements.exists():
        return
    for path, _, _ in os.walk(Layout(root).agreements):
        yield Path(path)


def _look(path: Path) -> os.stat_result | None:
    try:
        return path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None


def _go_on() -> None:
    """Let the copy go on."""
