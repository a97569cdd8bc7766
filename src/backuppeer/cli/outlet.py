"""Where dumped bytes go: standard output, a terminal that takes only text, or a file that appears when it is whole.

Knows: files, terminals. Must not know: snapshots. A file is written beside its name and takes it at the end, so that
nobody finds half of one; one that exists is replaced only if that was said.
"""

import codecs
import contextlib
import errno
import os
import stat
import tempfile
from types import TracebackType
from typing import Final, Protocol, Self

from backuppeer.cli.render import escape_name
from backuppeer.cli.screen import Screen, explain_output
from backuppeer.cli.units import format_size
from backuppeer.errors import BackupPeerError, IncompleteError, UserError, full_disk, is_out_of_room

_TEXT: Final = frozenset("\t\n\r\f\v")
"""What a text may hold beside characters that can be shown."""
_REDIRECT: Final = "send it to a file or a program: `… > FILE`, `… | tar -x`, or --target FILE"


class Outlet(Protocol):
    """Takes the bytes of a dump in order; left by an exception, it keeps nothing that could be taken for all."""

    written: int

    def __enter__(self) -> Self:
        """Make ready."""
        ...

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        """Make what was written final, or clean up."""
        ...

    def refuse_archive(self) -> None:
        """Raise if this is no place for an archive."""
        ...

    def write(self, data: memoryview) -> None:
        """Take the next bytes."""
        ...

    def explain(self, error: BackupPeerError) -> BackupPeerError:
        """Return the same error, saying what became of what was written."""
        ...


class StandardOutput:
    """Standard output, as it is."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self.written = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        pass

    def refuse_archive(self) -> None:
        """Refuse to write an archive to a terminal.

        Raises:
            UserError: it is one.

        """
        if self._screen.out_is_terminal:
            raise UserError("an archive is nothing for a terminal", hint=_REDIRECT)

    def write(self, data: memoryview) -> None:
        """Write on.

        Raises:
            UserError: bytes that are no text, to a terminal.
            LocalError: what is behind standard output takes no more.

        """
        if self._screen.out_is_terminal and not self._is_text(data):
            raise UserError("this is no text, so nothing for a terminal", hint=_REDIRECT)
        try:
            self._screen.octets(data)
        except OSError as exc:
            raise explain_output(exc) from exc
        self.written += len(data)

    def explain(self, error: BackupPeerError) -> BackupPeerError:
        """Say that what was written is not all."""
        end = f"it ends after {format_size(self.written)}" if self.written else "nothing was written"
        return _say_more(error, f"the output is incomplete: {end}")

    def _is_text(self, data: memoryview) -> bool:
        """Say whether these bytes, after those before, can do a terminal no harm."""
        try:
            text = self._decoder.decode(data)
        except UnicodeDecodeError:
            return False
        return text.isprintable() or all(sign.isprintable() or sign in _TEXT for sign in set(text))


class TargetFile:
    """A file that takes its name when all of it is there."""

    def __init__(self, target: str, *, replace: bool) -> None:
        """Look at what stands there.

        Raises:
            UserError: something that may not be replaced.

        """
        self._path, self._replace = os.path.realpath(target), replace
        self.written = 0
        try:
            mode = os.lstat(self._path).st_mode
        except OSError:
            return
        if not stat.S_ISREG(mode):
            raise UserError(f"{escape_name(target)} is no file that could be replaced", hint="name another --target")
        if not replace:
            raise UserError(f"{escape_name(target)} exists", hint="name another --target, or add --yes to replace it")

    def __enter__(self) -> Self:
        """Open a file beside it.

        Raises:
            UserError: its folder takes none.

        """
        folder, name = os.path.split(self._path)
        try:
            descriptor, self._temporary = tempfile.mkstemp(dir=folder, prefix=f".{name[:40]}.", suffix=".part")
        except OSError as exc:
            raise UserError(f"can't write {escape_name(self._path)}: {_reason(exc)}", hint="--target FILE") from exc
        self._file = os.fdopen(descriptor, "wb")
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._file.close()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._temporary)  # noqa: PTH108 - ours alone: mkstemp made it

    def refuse_archive(self) -> None:
        """Refuse nothing."""

    def write(self, data: memoryview) -> None:
        """Write on.

        Raises:
            LocalError: the disk is full, IncompleteError: it takes no more for another reason.

        """
        try:
            self._file.write(data)
        except OSError as exc:
            raise self._full(exc) from exc
        self.written += len(data)

    def explain(self, error: BackupPeerError) -> BackupPeerError:
        """Say that there is no such file."""
        return _say_more(error, f"{escape_name(self._path)} was not written")

    def _finish(self) -> None:
        """Sync, then give it its name: whoever sees the name sees all of the file, also after a power cut."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            if self._replace or not self._take_free_name():
                os.replace(self._temporary, self._path)  # noqa: PTH105
            folder = os.open(os.path.dirname(self._path), os.O_RDONLY)  # noqa: PTH120
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as exc:
            raise self._full(exc) from exc

    def _take_free_name(self) -> bool:
        """Link the file to its name, which fails if something came there meanwhile; False where links can't be made."""
        try:
            os.link(self._temporary, self._path)
        except FileExistsError as exc:
            raise UserError(f"{escape_name(self._path)} exists now", hint="add --yes to replace it") from exc
        except OSError as exc:
            if exc.errno in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}:
                return False
            raise
        return True

    def _full(self, exc: OSError) -> BackupPeerError:
        if is_out_of_room(exc):
            hint = "free some space there, or name another place with --target FILE"
            return full_disk(escape_name(self._path), hint=hint)
        return IncompleteError(f"can't write {escape_name(self._path)}: {_reason(exc)}", hint="--target FILE elsewhere")


def _say_more(error: BackupPeerError, more: str) -> BackupPeerError:
    told = type(error)(f"{error.message}; {more}", hint=error.hint)
    told.exit_code = error.exit_code  # that of a full disk is not that of its class
    return told


def _reason(exc: OSError) -> str:
    return (exc.strerror or str(exc)).lower()
