"""`restore --delete`: what stands in restored folders and is not in the snapshot.

Knows: which folders are restored, which entries a choice is about. Must not know: how anything is removed.

Only folders that are backed up and restored as such are tidied: not the target, nor what is merely on the way to them,
nor a folder of which anything failed. What `--exclude` leaves out is left alone, with `--include` only what fits goes.
What is mounted below a restored path is left alone as a whole: a backup with `--one-file-system` knows it as an empty
folder, and nobody who restores his home means the disk that is mounted there today.
"""

import errno
import os
from collections.abc import Callable, Collection, Iterator

from backuppeer.backup.selection import Choice
from backuppeer.backup.trees import TreeReader, Visit
from backuppeer.files.dialect import Platform, mark_name, write_name
from backuppeer.files.surplus import Removal, Surplus
from backuppeer.files.write import RestoreTarget


class Tidier:
    """Tidies the folders of one restore. `only_way`: those that are merely on the way to what is restored."""

    def __init__(
        self,
        trees: TreeReader,
        target: RestoreTarget,
        *,
        choice: Choice | None,
        only_way: Collection[bytes],
        check: Callable[[], None],
        platform: Platform = Platform.LINUX,
    ) -> None:
        self._platform = platform
        self._trees, self._target = trees, target
        self._choice, self._only_way = choice or Choice(), only_way
        self._devices: dict[bytes, int] = {}
        self._surplus = {is_dry: Surplus(self._judge, check, is_dry=is_dry) for is_dry in (False, True)}

    def tidy(self, visit: Visit, *, is_dry: bool = False) -> Iterator[Removal]:
        """Remove what is too much in the folder of a visit, and yield it; dry: only yield it.

        Raises:
            OSError: the folder can't be listed.
            IntegrityFault: what the snapshot has in it can't be read.
            Unavailable: nobody who has that can be reached.

        """
        if visit.path in self._only_way:
            return
        if not self._is_of_this_disk(visit.path):
            if self._is_of_this_disk(visit.path.rpartition(b"/")[0]):
                yield Removal(visit.path, is_directory=True, problem=OSError(errno.EXDEV, "another file system"))
            return
        # All names that the snapshot has, also of what was not to be restored: none of them is too much.
        names = {entry.name for entry in self._trees.entries(visit.entry.content)}
        if self._platform is not Platform.LINUX:
            names = {write(name, self._platform) for name in names for write in (write_name, mark_name)}
        with self._target.folders.use(visit.path) as folder:
            inside = self._choice.is_within(visit.path)
            yield from self._surplus[is_dry].clear(folder.fd, visit.path, names, inside=inside)

    def _is_of_this_disk(self, path: bytes) -> bool:
        """Say whether a folder lies on the file system of the restored path that it belongs to."""
        parts = path.split(b"/")
        places = (b"/".join(parts[: n + 1]) for n in range(len(parts)))
        top = next((place for place in places if place not in self._only_way), path)
        if top not in self._devices:
            self._devices[top] = self._device_of(top)
        return self._device_of(path) == self._devices[top]

    def _device_of(self, path: bytes) -> int:
        with self._target.folders.use(path) as folder:
            return os.fstat(folder.fd).st_dev

    def _judge(self, path: bytes, is_directory: bool, inside: bool) -> bool | None:  # noqa: FBT001 - see Judge
        return self._choice.judge(path, is_directory=is_directory, inside=inside)
