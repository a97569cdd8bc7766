"""Putting files back below a target directory, and nowhere else.

Knows: creating, replacing and finishing files, directories and symlinks through open directories (`folders`). Must not
know: snapshots, blobs, packs.

Guarantees: nothing outside the target is created, changed or followed into; a file stands under its real name only
when it is whole; what existed is touched only with `overwrite`, and then replaced (a new file renamed over the name),
never written into, so that neither a symlink's destination nor another hard link of it changes.
"""

import errno
import os
import secrets
import stat
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from backuppeer.files.folders import OpenFolders, check_name, split_relative
from backuppeer.files.metadata import Metadata, MetadataNote, OwnerNames, apply_to_file, apply_to_link

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL})
"""What file systems without hard links answer to link()."""


class FileWriter:
    """One file in the making, under a temporary name. Thread-safe for `write_at`; then exactly one finish or abort."""

    def __init__(self, target: "RestoreTarget", path: bytes) -> None:
        self._target = target
        self._folder, self._name = split_relative(path)
        with target.folders.use(self._folder) as directory:
            self._fd, self._temporary = _create_temporary(directory)

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        """Write all of `data` at `offset` (bytes from the start).

        Raises:
            OSError: the disk refused.

        """
        view = memoryview(data)
        while view:
            written = os.pwrite(self._fd, view, offset)
            view = view[written:]
            offset += written

    def finish(self, metadata: Metadata) -> None:
        """Give the file its metadata and its real name.

        Raises:
            OSError: the name is taken (without overwrite), or the disk refused; the temporary file is gone then.

        """
        try:
            try:
                self._target.count_notes(apply_to_file(self._fd, metadata, self._target.names))
            finally:
                self._close()
            with self._target.folders.use(self._folder) as directory:
                self._target.place(directory, self._temporary, self._name)
        except OSError:
            self._remove()
            raise

    def abort(self) -> None:
        """Throw the unfinished file away."""
        self._close()
        self._remove()

    def _close(self) -> None:
        # -1 afterwards: a write that came too late must fail, not reach whatever got the number next.
        fd, self._fd = self._fd, -1
        os.close(fd)

    def _remove(self) -> None:
        # Only the name we made ourselves, with 64 random bits in it, is ever unlinked here.
        with suppress(OSError), self._target.folders.use(self._folder) as directory:
            os.unlink(self._temporary, dir_fd=directory)


class RestoreTarget:
    """A directory that things are restored into. Paths are relative to it, components joined by `/`; b"" is itself."""

    def __init__(self, root: bytes, *, overwrite: bool = False, names: OwnerNames | None = None) -> None:
        os.makedirs(root, mode=0o700, exist_ok=True)  # noqa: PTH103 - bytes path
        self.folders = OpenFolders(root)
        self.names = names or OwnerNames()
        self._overwrite = overwrite
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

    def count_notes(self, notes: tuple[MetadataNote, ...]) -> None:
        """Add what could not be set for one entry; thread-safe."""
        if notes:
            with self._lock:
                self._notes.update(notes)

    def is_taken(self, path: bytes, *, directory_wanted: bool) -> bool:
        """Say whether something at `path` would have to be replaced; a directory where one is wanted is not."""
        folder, name = split_relative(path)
        try:
            with self.folders.use(folder) as directory:
                mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
        except OSError as exc:
            if exc.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
                return False  # the ancestor that stands in the way was reported as taken itself
            raise
        return not (directory_wanted and stat.S_ISDIR(mode))

    def has_directory(self, path: bytes) -> bool:
        """Say whether a real directory lies at `path` (no symlink in any component)."""
        try:
            with self.folders.use(path):
                return True
        except OSError:
            return False

    def make_directory(self, path: bytes) -> bool:
        """Make a directory, private until finished; return False when it was there already.

        Raises:
            OSError: something else has the name (without overwrite), or the disk refused.

        """
        folder, name = split_relative(path)
        with self.folders.use(folder) as directory:
            try:
                os.mkdir(name, 0o700, dir_fd=directory)
            except FileExistsError:
                if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
                    return False
                if not self._overwrite:
                    raise
                # Unlinks the symlink or file itself, never what a symlink points to.
                os.unlink(name, dir_fd=directory)
                os.mkdir(name, 0o700, dir_fd=directory)
        return True

    def finish_directory(self, path: bytes, metadata: Metadata) -> None:
        """Set the metadata of a directory; after everything inside is finished, else its time would change again.

        Raises:
            OSError: it is no directory of ours any more.

        """
        with self.folders.use(path) as directory:
            self.count_notes(apply_to_file(directory, metadata, self.names))

    def make_symlink(self, path: bytes, target: bytes, metadata: Metadata) -> None:
        """Make a symlink with that target, which is text to us: it is never resolved.

        Raises:
            OSError: the name is taken (without overwrite), or the disk refused.

        """
        folder, name = split_relative(path)
        with self.folders.use(folder) as directory:
            try:
                os.symlink(target, name, dir_fd=directory)
            except FileExistsError:
                if not self._overwrite:
                    raise
                temporary = _temporary_name()
                os.symlink(target, temporary, dir_fd=directory)
                self.place(directory, temporary, name)
            self.count_notes(apply_to_link(directory, name, metadata=metadata, names=self.names))

    def create_file(self, path: bytes) -> FileWriter:
        """Start a file whose bytes arrive in several pieces, in any order.

        Raises:
            OSError: the directory is missing or can't be written.

        """
        return FileWriter(self, path)

    def write_file(self, path: bytes, data: bytes, metadata: Metadata) -> None:
        """Write a whole file at once.

        Raises:
            OSError: the name is taken (without overwrite), or the disk refused; nothing is left under the name then.

        """
        folder, name = split_relative(path)
        with self.folders.use(folder) as directory:
            try:
                # O_EXCL: the name was free and is ours from here on, so no temporary name is needed.
                fd = os.open(name, _CREATE, 0o600, dir_fd=directory)
            except FileExistsError:
                if not self._overwrite:
                    raise
            else:
                self._fill(directory, name, fd=fd, data=data, metadata=metadata)
                return
            fd, temporary = _create_temporary(directory)
            self._fill(directory, temporary, fd=fd, data=data, metadata=metadata)
            self.place(directory, temporary, name)

    def _fill(self, directory: int, name: bytes, *, fd: int, data: bytes, metadata: Metadata) -> None:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            notes = apply_to_file(fd, metadata, self.names)
        except BaseException:
            # The name was created by us with O_EXCL a moment ago; a file that is not whole must not stand under it.
            with suppress(OSError):
                os.unlink(name, dir_fd=directory)
            raise
        finally:
            os.close(fd)
        self.count_notes(notes)

    def place(self, directory: int, temporary: bytes, name: bytes) -> None:
        """Move a finished temporary entry to its real name in the same open directory.

        Raises:
            OSError: the name is taken and may not be replaced, or holds a directory; the temporary is gone then.

        """
        check_name(name)
        try:
            if self._overwrite:
                # rename replaces the name itself: a symlink there is not followed, other hard links stay as they are.
                os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
                return
            _link_exclusively(directory, temporary, name)
        except OSError:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=directory)
            raise


def _link_exclusively(directory: int, temporary: bytes, name: bytes) -> None:
    """Rename without replacing: link() fails on a taken name in one step, which rename() would overwrite."""
    try:
        os.link(temporary, name, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    except OSError as exc:
        if exc.errno not in _NO_LINKS:
            raise
        with suppress(FileNotFoundError):
            os.stat(name, dir_fd=directory, follow_symlinks=False)
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from exc
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    else:
        os.unlink(temporary, dir_fd=directory)


def _temporary_name() -> bytes:
    return b".backup-peer-" + secrets.token_hex(8).encode()


def _create_temporary(directory: int) -> tuple[int, bytes]:
    name = _temporary_name()
    return os.open(name, _CREATE, 0o600, dir_fd=directory), name
