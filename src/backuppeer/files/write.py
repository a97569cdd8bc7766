"""Putting files back below a target directory, and nowhere else.

Knows: creating, replacing and finishing files, directories and symlinks through open directories (`folders`). Must not
know: snapshots, blobs, packs.

Guarantees: nothing outside the target is created, changed or followed into; a file stands under its real name only
when it is whole; what existed is touched only with `overwrite`, and then replaced (a new file renamed over the name),
never written into, so that neither a symlink's destination nor another hard link of it changes.
"""

import errno
import io
import os
import stat
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from backuppeer.files.folders import Folder, OpenFolders, split_relative
from backuppeer.files.metadata import (
    HasMetadata,
    MetadataNote,
    OwnerNames,
    apply_to_file,
    apply_to_link,
    apply_to_node,
)
from backuppeer.files.scan import Found, FoundKind, examine_entry
from backuppeer.files.sparse import write_all_at
from backuppeer.files.unfinished import PRIVATE, UnfinishedFile, can_be_unnamed, make_temporary_name, place_entry

_TYPES: Final = {
    FoundKind.FIFO: stat.S_IFIFO,
    FoundKind.CHARACTER_DEVICE: stat.S_IFCHR,
    FoundKind.BLOCK_DEVICE: stat.S_IFBLK,
}
_NOTHING_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_NAME_FLAGS: Final = getattr(os, "O_PATH", os.O_RDONLY | os.O_NONBLOCK) | os.O_NOFOLLOW | os.O_CLOEXEC


class FileWriter:
    """One file in the making. Thread-safe for `write_at`; then exactly one finish or abort."""

    def __init__(self, target: "RestoreTarget", path: bytes, size: int) -> None:
        """`size`: bytes it has from the start, all of them a hole; 0: it grows with what is written."""
        self._target = target
        self._folder, self._name = split_relative(path)
        with target.folders.use(self._folder) as folder:
            self._file = target.start_file(folder)
            try:
                if size:
                    os.ftruncate(self._file.fd, size)
            except BaseException:
                self._file.discard(folder.fd)
                raise

    @property
    def fd(self) -> int:
        """The descriptor, to be lent to a process that writes for us; valid until the file is finished or aborted."""
        return self._file.fd

    def write_at(self, offset: int, data: bytes, *, is_sparse: bool = False) -> None:
        """Write all of `data` at `offset` (bytes from the start), but for zeros when `is_sparse`.

        Raises:
            OSError: the disk refused.

        """
        write_all_at(self._file.fd, data, offset, is_sparse=is_sparse)

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
            if exc.errno in _NOTHING_THERE:
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

    def find(self, path: bytes) -> Found | None:
        """Return what stands at `path`; None when nothing does."""
        try:
            return self.examine(path)
        except OSError as exc:
            if exc.errno in _NOTHING_THERE:
                return None
            raise

    def open_for_reading(self, path: bytes) -> io.BufferedReader:
        """Open the regular file at `path`, to be closed by the caller.

        Raises:
            OSError: nothing stands there, it is no regular file, or can't be read.

        """
        folder, name = split_relative(path)
        with self.folders.use(folder) as directory:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory.fd)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "is no regular file")
        return os.fdopen(fd, "rb")

    def renew_metadata(self, path: bytes, metadata: HasMetadata) -> None:
        """Set the metadata of a file that stands there already and keeps its bytes.

        Raises:
            OSError: it is gone.

        """
        folder, name = split_relative(path)
        with self.folders.use(folder) as directory:
            fd = os.open(name, _NAME_FLAGS, dir_fd=directory.fd)
            try:
                notes = apply_to_node(fd, metadata, self.names)
            finally:
                os.close(fd)
        self.count_notes(notes)

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

    def make_node(
        self, path: bytes, kind: FoundKind, metadata: HasMetadata, *, numbers: tuple[int, int] = (0, 0)
    ) -> None:
        """Make a pipe or a device (`numbers`: major, minor); a device that this user may not make is counted.

        Raises:
            OSError: the name is taken (without overwrite), or the disk refused.

        """
        folder, name = split_relative(path)
        with self.folders.use(folder) as directory:
            temporary = make_temporary_name()
            try:
                os.mknod(temporary, PRIVATE | _TYPES[kind], os.makedev(*numbers), dir_fd=directory.fd)
            except PermissionError:
                if kind is FoundKind.FIFO:
                    raise
                self.count_notes((MetadataNote.DEVICES,))
                return
            try:
                fd = os.open(temporary, _NAME_FLAGS, dir_fd=directory.fd)
                try:
                    notes = apply_to_node(fd, metadata, self.names)
                finally:
                    os.close(fd)
                place_entry(directory.fd, temporary, name, overwrite=self.overwrite)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=directory.fd)  # the name we made ourselves, 64 random bits
                raise
            self.count_notes(notes)

    def link_file(self, path: bytes, first: bytes) -> None:
        """Give the restored file `first` another name.

        Raises:
            OSError: the first is not there, the name is taken (without overwrite), or the disk refused.

        """
        (folder, name), (first_folder, first_name) = split_relative(path), split_relative(first)
        with self.folders.use(first_folder) as source, self.folders.use(folder) as directory:
            temporary = make_temporary_name()
            os.link(first_name, temporary, src_dir_fd=source.fd, dst_dir_fd=directory.fd, follow_symlinks=False)
            try:
                place_entry(directory.fd, temporary, name, overwrite=self.overwrite)
            finally:
                # Still there if that failed, or if both were names of one file already: rename() does nothing then.
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=directory.fd)

    def create_file(self, path: bytes, *, size: int = 0) -> FileWriter:
        """Start a file whose bytes arrive in several pieces, in any order; `size`: of one that has holes.

        Raises:
            OSError: the directory is missing or can't be written.

        """
        return FileWriter(self, path, size)

    def write_file(self, path: bytes, data: bytes, metadata: HasMetadata, *, is_sparse: bool = False) -> None:
        """Write a whole file at once; `is_sparse`: its zeros become holes.

        Raises:
            OSError: the name is taken (without overwrite), or the disk refused; nothing is left under the name then.

        """
        folder, name = split_relative(path)
        with self.folders.use(folder) as directory:
            file = self.start_file(directory)
            try:
                if is_sparse:
                    os.ftruncate(file.fd, len(data))
                    write_all_at(file.fd, data, 0, is_sparse=True)
                else:
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
