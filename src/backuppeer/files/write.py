"""Putting files back below a target directory, and nowhere else.

Knows: creating, replacing and finishing files, directories and symlinks through open directories (`folders`). Must not
know: snapshots, blobs, packs.

Guarantees: nothing outside the target is created, changed or followed into; a file stands under its real name only
when it is whole; what existed is touched only with `overwrite`, and then replaced (a new file renamed over the name),
never written into, so that neither a symlink's destination nor another hard link of it changes.
"""

import errno
import os
import stat
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Protocol, Self

from backuppeer.files.folders import Folder, OpenFolders, split_relative
from backuppeer.files.metadata import HasMetadata, MetadataNote, OwnerNames, apply_to_file, apply_to_link
from backuppeer.files.scan import Found, examine_entry
from backuppeer.files.unfinished import UnfinishedFile, can_be_unnamed, make_temporary_name, place_entry


class TakesBytes(Protocol):
    """A file in the making that takes bytes at any place, from any thread."""

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        """Write all of `data` at `offset`; OSError when the disk refuses."""
        ...


def write_all_at(fd: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of `data` at `offset` (bytes from the start).

    Raises:
        OSError: the disk refused.

    """
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view = view[written:]
        offset += written


class LentFile:
    """A file in the making whose `FileWriter` lives in another process; ours is a descriptor of our own."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        """Write all of `data` at `offset` (bytes from the start).

        Raises:
            OSError: the disk refused.

        """
        write_all_at(self._fd, data, offset)

    def close(self) -> None:
        """Give it back."""
        os.close(self._fd)


class FileWriter:
    """One file in the making. Thread-safe for `write_at`; then exactly one finish or abort."""

    def __init__(self, target: "RestoreTarget", path: bytes) -> None:
        self._target = target
        self._folder, self._name = split_relative(path)
        with target.folders.use(self._folder) as folder:
            self._file = target.start_file(folder)

    @property
    def fd(self) -> int:
        """The descriptor, to be lent to a process that writes for us; valid until the file is finished or aborted."""
        return self._file.fd

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        """Write all of `data` at `offset` (bytes from the start).

        Raises:
            OSError: the disk refused.

        """
        write_all_at(self._file.fd, data, offset)

    def finish(self, metadata: HasMetadata) -> None:
        """Give the file its metadata and its real name.

        Raises:
            OSError: the name is taken (without overwrite), or the disk refused; nothing is left of the file then.

        """
        try:
            with self._target.folders.use(self._folder) as folder:
                self._target.finish_file(self._file, metadata, folder, self._name)
        except OSError:
            self.abort()
            raise

    def abort(self) -> None:
        """Throw the unfinished file away."""
        self._file.close()
        with suppress(OSError), self._target.folders.use(self._folder) as folder:
            self._file.discard(folder.fd)


class RestoreTarget:
    """A directory that things are restored into. Paths are relative to it, components joined by `/`; b"" is itself."""

    def __init__(self, root: bytes | int, *, overwrite: bool = False, names: OwnerNames | None = None) -> None:
        """Take a path, made if missing, or the descriptor of an open directory, which becomes ours."""
        if not isinstance(root, int):
            os.makedirs(root, mode=0o700, exist_ok=True)  # noqa: PTH103 - bytes path
        self.folders = OpenFolders(root)
        self.names = names or OwnerNames()
        self.overwrite = overwrite
        self._unnamed: bool | None = None
        self._notes: Counter[MetadataNote] = Counter()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.folders.close()

    @property
    def notes(self) -> Mapping[MetadataNote, int]:
        """How many entries each kind of metadata could not be set for."""
        return dict(self._notes)

    def take_notes(self) -> dict[MetadataNote, int]:
        """Return `notes` and begin to count anew."""
        with self._lock:
            notes, self._notes = dict(self._notes), Counter()
        return notes

    def count_notes(self, notes: Iterable[MetadataNote] | Mapping[MetadataNote, int]) -> None:
        """Add what could not be set for one entry, or how often for several; thread-safe."""
        if notes:
            with self._lock:
                self._notes.update(notes)

    def is_taken(self, path: bytes, *, directory_wanted: bool) -> bool:
        """Say whether something at `path` would have to be replaced; a directory where one is wanted is not."""
        folder, name = split_relative(path)
        try:
            with self.folders.use(folder) as directory:
                mode = os.stat(name, dir_fd=directory.fd, follow_symlinks=False).st_mode
        except OSError as exc:
            if exc.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
                return False  # the ancestor that stands in the way was reported as taken itself
            raise
        return not (directory_wanted and stat.S_ISDIR(mode))

    def examine(self, path: bytes) -> Found:
        """Return what stands at `path`.

        Raises:
            OSError: nothing does, or it can't be examined.

        """
        folder, name = split_relative(path)
        with self.folders.use(folder) as directory:
            return examine_entry(directory.fd, name)

    def has_directory(self, path: bytes) -> bool:
        """Say whether a real directory lies at `path` (no symlink in any component)."""
        try:
            with self.folders.use(path):
                return True
        except OSError:
            return False

    def make_directory(self, path: bytes, *, replace: bool = True) -> bool:
        """Make a directory, private until finished; return False when it was there already.

        Raises:
            OSError: something else has the name (without overwrite, or `replace`), or the disk refused.

        """
        folder, name = split_relative(path)
        with self.folders.use(folder) as directory:
            try:
                os.mkdir(name, 0o700, dir_fd=directory.fd)
            except FileExistsError:
                if stat.S_ISDIR(os.stat(name, dir_fd=directory.fd, follow_symlinks=False).st_mode):
                    return False
                if not (self.overwrite and replace):
                    raise
                # Unlinks the symlink or file itself, never what a symlink points to.
                os.unlink(name, dir_fd=directory.fd)
                os.mkdir(name, 0o700, dir_fd=directory.fd)
        return True

    def finish_directory(self, path: bytes, metadata: HasMetadata) -> None:
        """Set the metadata of a directory; after everything inside is finished, else its time would change again.

        Raises:
            OSError: it is no directory of ours any more.

        """
        with self.folders.use(path) as directory:
            self.count_notes(apply_to_file(directory.fd, metadata, self.names))

    def make_symlink(self, path: bytes, target: bytes, metadata: HasMetadata) -> None:
        """Make a symlink with that target, which is text to us: it is never resolved.

        Raises:
            OSError: the name is taken (without overwrite), or the disk refused.

        """
        folder, name = split_relative(path)
        with self.folders.use(folder) as directory:
            try:
                os.symlink(target, name, dir_fd=directory.fd)
            except FileExistsError:
                if not self.overwrite:
                    raise
                self._replace_with_symlink(directory.fd, name, target)
            self.count_notes(apply_to_link(directory.fd, name, metadata=metadata, names=self.names))

    def create_file(self, path: bytes) -> FileWriter:
        """Start a file whose bytes arrive in several pieces, in any order.

        Raises:
            OSError: the directory is missing or can't be written.

        """
        return FileWriter(self, path)

    def write_file(self, path: bytes, data: bytes, metadata: HasMetadata) -> None:
        """Write a whole file at once.

        Raises:
            OSError: the name is taken (without overwrite), or the disk refused; nothing is left under the name then.

        """
        folder, name = split_relative(path)
        with self.folders.use(folder) as directory:
            file = self.start_file(directory)
            try:
                written = os.write(file.fd, data)
                while written < len(data):
                    written += os.write(file.fd, memoryview(data)[written:])
                self.finish_file(file, metadata, directory, name)
            except BaseException:
                file.discard(directory.fd)
                raise

    def start_file(self, directory: Folder) -> UnfinishedFile:
        """Make an empty file without its name yet in the open `directory`.

        Raises:
            OSError: the directory can't be written.

        """
        if self._unnamed is None:
            # Asked once, when the first file is written: the target is one file system as far as anybody can tell.
            self._unnamed = can_be_unnamed(directory.fd)
        file = UnfinishedFile(directory.fd, unnamed=self._unnamed)
        if directory.owner is None:
            # The same for all new files in one directory: this user, and the user's group or the directory's.
            status = os.fstat(file.fd)
            directory.owner = (status.st_uid, status.st_gid)
        return file

    def finish_file(self, file: UnfinishedFile, metadata: HasMetadata, directory: Folder, name: bytes) -> None:
        """Set the metadata of a filled file, then its name in the open `directory`; nothing is written after that.

        Raises:
            OSError: the name is taken and may not be replaced, or holds a directory.

        """
        notes = apply_to_file(file.fd, metadata, self.names, directory.owner)
        file.publish(directory.fd, name, overwrite=self.overwrite)
        if notes:
            self.count_notes(notes)

    def _replace_with_symlink(self, directory: int, name: bytes, target: bytes) -> None:
        temporary = make_temporary_name()
        os.symlink(target, temporary, dir_fd=directory)
        try:
            place_entry(directory, temporary, name, overwrite=True)
        except OSError:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=directory)
            raise
