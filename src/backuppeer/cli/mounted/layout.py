"""The folders above the snapshots in a mount: by time, id, host, tag and set. Pure.

Knows: which names there are, and where links lead. Must not know: kernels, what snapshots hold. Every snapshot is a
folder once, in `snapshots`, and a link everywhere else: so `find`, `du` and `cp -a` meet its files one time. And a
backup leaves it out: of all that was ever saved, fetched from the hosts to be saved again, nobody has anything.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Final

from backuppeer.control.api import SnapshotRow
from backuppeer.repo.snapshot import REPLACED

LATEST: Final = "latest"
SNAPSHOTS: Final = "snapshots"
IGNORED: Final = ".backupignore"
"""What a backup that comes by finds: everything beside it is left out."""
_UTC: Final = "+00:00"
_ID_CHARS: Final = 8
_LONGEST_ID: Final = 64
_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Pointer:
    """A symbolic link."""

    target: str
    time_ns: int


@dataclass(frozen=True, slots=True)
class Root:
    """Where a snapshot begins."""

    snapshot: str
    time_ns: int


@dataclass(frozen=True, slots=True)
class Text:
    """A file with a few bytes."""

    content: bytes
    time_ns: int


@dataclass(slots=True)
class Shelf:
    """A folder that is in no snapshot; as old as the newest in it."""

    entries: "dict[str, Node]" = field(default_factory=dict)
    time_ns: int = 0

    def put(self, name: str, node: "Node") -> None:
        """Add an entry."""
        self.entries[name] = node
        self.time_ns = max(self.time_ns, node.time_ns)


Node = Shelf | Root | Pointer | Text


def build_layout(rows: Iterable[SnapshotRow], zone: tzinfo | None = None) -> Shelf:
    """Return the topmost folder for snapshots given oldest first; `zone`: whose times, None = this machine's.

    Times are written as RFC 3339 has them, with the id behind those of one second: no name may come to mean another
    snapshot, as kernels keep what they were told of it. Lost snapshots are left out.
    """
    kept = [row for row in rows if not row.missing]
    ids = _shorten_ids(kept)
    named = list(zip(_name_times(kept, ids, zone), kept, strict=True))
    top, by_time, by_id = Shelf(), Shelf(), Shelf()
    for (name, row), short in zip(named, ids, strict=True):
        by_time.put(name, Root(row.snapshot, _read_ns(row.time)))
        by_id.put(short, Pointer(f"../{SNAPSHOTS}/{name}", _read_ns(row.time)))
    trusted = [(name, row) for name, row in named if REPLACED not in row.tags]
    if trusted:
        by_time.put(LATEST, Pointer(trusted[-1][0], _read_ns(trusted[-1][1].time)))
    shelves = {"ids": by_id, SNAPSHOTS: by_time, "hosts": Shelf(), "sets": Shelf(), "tags": Shelf()}
    for name, row in named:
        _file(shelves["hosts"], [row.host], name, row)
        _file(shelves["sets"], [row.set], name, row)
        _file(shelves["tags"], row.tags, name, row)
    for shelf_name, shelf in shelves.items():
        shelf.time_ns = by_time.time_ns  # also of one in which there is nothing
        top.put(shelf_name, shelf)
    top.put(IGNORED, Text(b"*\n", top.time_ns))
    return top


def find_node(top: Shelf, parts: Sequence[str]) -> tuple[Node, list[str]] | None:
    """Return what a path leads to, and what of it lies in a snapshot; None when there is nothing above snapshots."""
    node: Node = top
    for count, part in enumerate(parts):
        if isinstance(node, Root):
            return node, list(parts[count:])
        found = node.entries.get(part) if isinstance(node, Shelf) else None
        if found is None:
            return None
        node = found
    return node, []


def _file(shelf: Shelf, labels: Sequence[str], name: str, row: SnapshotRow) -> None:
    """Put links to a snapshot under each of its labels, and let `latest` be the last that no thief may have made."""
    time_ns = _read_ns(row.time)
    for label in labels:
        if not label:
            continue
        folder = shelf.entries.setdefault(_make_name(label), Shelf())
        if isinstance(folder, Shelf):
            folder.put(name, Pointer(f"../../{SNAPSHOTS}/{name}", time_ns))
            if REPLACED not in row.tags or label == REPLACED:
                folder.put(LATEST, Pointer(name, time_ns))
            shelf.time_ns = max(shelf.time_ns, time_ns)


def _make_name(label: str) -> str:
    """Return a label as a name of the file system: hosts, sets and tags may be any text."""
    name = label.replace("/", "_").replace("\0", "_")
    return name.replace(".", "_") if name in {".", ".."} else name


def _name_times(rows: Sequence[SnapshotRow], ids: Sequence[str], zone: tzinfo | None) -> list[str]:
    moments = [datetime.fromisoformat(row.time).astimezone(zone) for row in rows]
    times = [moment.isoformat(timespec="seconds") for moment in moments]
    times = [f"{time.removesuffix(_UTC)}Z" if time.endswith(_UTC) else time for time in times]
    count = Counter(times)
    return [time if count[time] == 1 else f"{time}-{short}" for time, short in zip(times, ids, strict=True)]


def _shorten_ids(rows: Sequence[SnapshotRow]) -> list[str]:
    for count in range(_ID_CHARS, _LONGEST_ID):
        short = [row.snapshot[:count] for row in rows]
        if len(set(short)) == len(short):
            return short
    return [row.snapshot for row in rows]


def _read_ns(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * _NS
