"""This home's store moved to another folder or disk (`host --move-store`).

Knows: the order of the steps, where the place of the store is written down. Must not know: files of a store
(host.relocation), sessions. The place in the state is the truth: until it names the new one, a crash leaves the store
where it was; from then on whoever opens it finishes the switch. What is left of the old place is removed after that.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from backuppeer.agent.host.premises import Premises
from backuppeer.errors import NotFoundError, StoreUnavailable
from backuppeer.host import relocation
from backuppeer.host.disk import is_of_full_disk

Tell = Callable[[int, int, int, int], None]
"""(files and bytes so far, files and bytes in all)."""


class Moving:
    """Moves of one store; one at a time."""

    def __init__(self, premises: Premises) -> None:
        self._premises = premises

    def prepare(self, target: Path) -> tuple[Path, Path, bool]:
        """Return where the store lies and where it goes, links followed, and whether that is on one disk.

        Raises:
            NotFoundError: this home hosts nothing.
            UserError: it may not.
            StoreUnavailable: a disk refuses.

        """
        if self._premises.directory is None:
            raise NotFoundError("this home hosts nothing", hint="`backup-peer host --storage 50GB --store DIR` begins")
        # The folder itself: a rename would move the link, and leave the store where it was.
        source, target = self._premises.open().directory.resolve(), target.resolve()
        relocation.check_target(source, target)
        return source, target, relocation.is_one_disk(source, target)

    def copy(self, source: Path, target: Path, *, tell: Tell, check: relocation.Check) -> tuple[int, int]:
        """Copy the store to another disk while it serves; return files and bytes of it.

        Raises:
            UserError: it does not fit there.
            StoreUnavailable: a disk refuses; the store is where it was, and the same goes on from what was copied.

        """
        with _staying(source, target):
            files, size_bytes = relocation.measure(source)
            relocation.begin(source, target, size_bytes=size_bytes)
            relocation.copy(source, target, tell=lambda f, b: tell(f, b, files, size_bytes), check=check)
        return files, size_bytes

    def switch(self, source: Path, target: Path, *, by_rename: bool) -> bool:
        """Move a store that nobody works in; return False if it can't be renamed, and is where it was.

        by_rename: within one file system, else bring the copy up to date and serve from it.

        Raises:
            StoreUnavailable: a disk refuses; the store is where the state says.

        """
        self._premises.leave()
        try:
            self._premises.place.begin_move(source, target)
            if by_rename and not relocation.rename_store(source, target):
                self._premises.place.end_move()
                return False
            if not by_rename:
                self._finish(source, target)
            # The switch: from here on the new place is the truth, and each opening finishes what is left to do.
            self._premises.place.settle(target)
        finally:
            self._premises.come_back()
        self._premises.open()
        return True

    def _finish(self, source: Path, target: Path) -> None:
        with _staying(source, target), ExitStack() as undone:
            undone.callback(self._premises.place.end_move)  # what lies there may be anybody's tomorrow
            relocation.finish(source, target)
            undone.pop_all()

    def clear(self) -> bool:
        """Remove what is left of the old place; return whether nothing is."""
        return self._premises.place.clear_old()


@contextmanager
def _staying(source: Path, target: Path) -> Iterator[None]:
    """Say with what a disk refused that nothing happened to the store.

    Raises:
        StoreUnavailable: so.

    """
    try:
        yield
    except StoreUnavailable as exc:
        is_full = is_of_full_disk(exc)
        why = f"the disk of {target} is full" if is_full else exc.message
        first = "free some space there" if is_full else exc.hint or "look after that disk"
        raise StoreUnavailable(
            f"{why}; nothing was moved: the store is in {source} as before, and is served from there",
            hint=f"{first}, then the same command again goes on with what was copied; or remove {target}, and name "
            "another folder",
        ) from exc
