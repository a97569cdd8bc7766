"""Which earlier snapshots say what the files were: for each path the newest that has it.

Knows: path algebra on what snapshots are of. Must not know: trees. So a folder that is added to a set, or taken out of
it, costs the others nothing: theirs is another snapshot than the newest, and it is found all the same.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from backuppeer.backup.roots import normalise_path
from backuppeer.limits import PARENT_GRAFTS
from backuppeer.repo.snapshot import REPLACED, Snapshot


@dataclass(frozen=True, slots=True)
class Parents:
    """`base`: the snapshot that a backup is compared with. `grafts`: places that another one knows better, by path."""

    base: Snapshot | None = None
    grafts: dict[bytes, Snapshot] = field(default_factory=dict)


def plan_parents(snapshots: Iterable[Snapshot], paths: Sequence[bytes]) -> Parents:
    """Return what to compare a backup of absolute `paths` with.

    A snapshot that is of just these paths and newer than all others of them is the base, and there are no grafts. At
    most PARENT_GRAFTS grafts: the files of further ones are read again.
    """
    # What a thief said of files counts for none of them.
    trusted = (snapshot for snapshot in snapshots if REPLACED not in snapshot.tags)
    newest = sorted(trusted, key=lambda snapshot: snapshot.time_ns, reverse=True)
    chosen: dict[bytes, Snapshot] = {}
    for path in merge_paths(paths):
        whole = next((s for s in newest if any(is_within(path, of) for of in s.paths)), None)
        if whole is not None:
            chosen[path] = whole
            continue
        for snapshot in newest:
            for below in snapshot.paths:
                if is_within(below, path) and not any(is_within(below, known) for known in chosen):
                    chosen[below] = snapshot
    base = max(chosen.values(), key=lambda snapshot: snapshot.time_ns, default=next(iter(newest), None))
    others = [(path, snapshot) for path, snapshot in chosen.items() if snapshot is not base]
    return Parents(base, dict(others[:PARENT_GRAFTS]))


def merge_paths(paths: Iterable[bytes]) -> list[bytes]:
    """Return the paths normalised and sorted, without those that lie in another one.

    Raises:
        UserError: one is not absolute.

    """
    merged: list[bytes] = []
    # Sorted by components: whatever lies in a folder then follows it at once.
    for path in sorted({normalise_path(path) for path in paths}, key=lambda path: path.split(b"/")):
        if not merged or not is_within(path, merged[-1]):
            merged.append(path)
    return merged


def is_within(path: bytes, folder: bytes) -> bool:
    """Whether a normalised path is `folder` or lies below it."""
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")
