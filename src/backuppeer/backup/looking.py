"""A directory as the walk of a backup finds it: opened, listed, with its attributes.

Knows: wanted paths, that a directory may be swapped while it is read. Must not know: trees, reading of files.
"""

import errno
import stat
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from backuppeer.backup.entries import is_untouched
from backuppeer.backup.exclusion import IGNORE_FILE
from backuppeer.backup.nodes import Node
from backuppeer.backup.reading import describe_error
from backuppeer.backup.roots import Root
from backuppeer.files.read import look_at_attributes, read_beginning
from backuppeer.files.scan import (
    Directory,
    Found,
    FoundKind,
    Row,
    examine_path,
    examine_rows,
    join_path,
    list_directory,
    open_directory,
)

Fail = Callable[[bytes, str], None]
IsAlike = Callable[[Node, Root | None, Sequence[Row]], bool]
"""Says whether the directory of a node, which holds these rows, looks just as before."""


def look(node: Node, root: Root | None, fail: Fail, *, is_alike: IsAlike) -> tuple[Directory, list[Found]]:
    """Open and list the directory of a node, which gets its attributes; entries that can't be examined are reported.

    Of one that `is_alike` knows, only the folders in it are returned.

    Raises:
        OSError: it can't be opened or listed, or was replaced.

    """
    report = partial(_report, fail)
    if root is not None and not root.whole:
        directory, found = open_directory(node.path, search_only=True), list(_look_at(node.path, root, fail))
    else:
        directory = open_directory(node.path)
        try:
            # The path was walked again to open it: it must still be the directory that was found, not a swapped one.
            _check_same(directory, node)
            rows = list_directory(directory, report)
            if is_alike(node, root, rows):
                if node.parent is None or node.parent.look is None:
                    _take_attributes(node, directory, fail)
                return directory, examine_rows(directory, filter(_is_folder, rows), report)
            found = examine_rows(directory, rows, report)
        except OSError:
            directory.release()
            raise
    _take_attributes(node, directory, fail)
    return directory, _leave_out(node, root, directory, found=found, fail=fail)


def _take_attributes(node: Node, directory: Directory, fail: Fail) -> None:
    if node.was is not None and is_untouched(node.found, node.was):
        node.attributes = node.was.attributes
    else:
        # By way of /proc, because one that is only searched is not open for this.
        node.attributes, problem = look_at_attributes(b"/proc/self/fd/%d" % directory.fd, follow=True)
        if problem:
            fail(node.path, problem)


def _report(fail: Fail, path: bytes, error: OSError) -> None:
    fail(path, describe_error(error))


def _is_folder(row: Row) -> bool:
    return stat.S_ISDIR(row[1].st_mode)


def _leave_out(node: Node, root: Root | None, directory: Directory, *, found: list[Found], fail: Fail) -> list[Found]:
    """Return what of the entries is not left out by rules; the node gets the rules that hold inside of it."""
    wanted = root.below if root is not None else {}
    if root is None or root.whole:
        node.rules = node.rules.enter(node.path, {item.name for item in found}, partial(read_beginning, directory))
        for problem in node.rules.problems:
            fail(join_path(node.path, IGNORE_FILE), problem)
    if not node.rules.is_active:
        return found
    leaves_out = node.rules.leaves_out
    return [
        item
        for item in found
        if item.name in wanted
        or not leaves_out(item.name, is_directory=item.kind is FoundKind.DIRECTORY, size=item.size)
    ]


def _look_at(path: bytes, root: Root, fail: Fail) -> Iterator[Found]:
    """Examine the wanted names only; on the way to a wanted path symlinks are followed, at its end not."""
    for name, below in sorted(root.below.items()):
        try:
            yield examine_path(join_path(path, name), follow=not below.whole)
        except OSError as exc:
            fail(join_path(path, name), describe_error(exc))


def _check_same(directory: Directory, node: Node) -> None:
    if node.parent is not None and (directory.inode, directory.device) != (node.found.inode, node.found.device):
        raise OSError(errno.ESTALE, "was replaced while it was read")
