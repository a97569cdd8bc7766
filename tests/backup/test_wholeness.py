"""Which snapshots are whole: told from below, each piece looked at once."""

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backuppeer.backup.wholeness import find_incomplete
from backuppeer.errors import IntegrityFault, PeerUnreachable
from backuppeer.ids import BlobId, SnapshotId
from backuppeer.repo.tree import EntryKind, TreeEntry, encode_pieces


def name(number: int) -> BlobId:
    return BlobId(number.to_bytes(32, "big"))


class Trees:
    """Pieces by number: each lists files and directories by numbers; `reads` counts how often one was read."""

    def __init__(self, pieces: dict[int, tuple[list[int], list[int]]], gone: set[int]) -> None:
        self.reads: list[BlobId] = []
        self._gone = {name(number) for number in gone}
        self._bodies = {name(number): self._encode(*content) for number, content in pieces.items()}

    @staticmethod
    def _encode(files: list[int], folders: list[int]) -> bytes:
        kinds = [(EntryKind.FILE, f) for f in files] + [(EntryKind.DIRECTORY, d) for d in folders]
        ordered = sorted(kinds, key=lambda pair: pair[1])
        return next(encode_pieces(Trees._entry(kind, n) for kind, n in ordered))

    @staticmethod
    def _entry(kind: EntryKind, number: int) -> TreeEntry:
        return TreeEntry(
            kind=kind,
            name=b"%06d" % number,
            mode=0o600,
            uid=0,
            gid=0,
            mtime_ns=0,
            ctime_ns=0,
            inode=0,
            size=0,
            content=name(number),
        )

    def read_blob(self, blob: BlobId) -> bytes:
        self.reads.append(blob)
        if blob in self._gone:
            raise IntegrityFault("gone")
        return self._bodies[blob]

    def find_many(self, blobs):
        return {blob: SimpleNamespace() for blob in blobs if blob not in self._gone}


def ask(pieces, gone, roots):
    trees = Trees(pieces, gone)
    snapshots = [(SnapshotId(name(900 + root)), SimpleNamespace(tree=bytes(name(root)))) for root in roots]
    found = find_incomplete(trees, trees, snapshots)
    assert len(trees.reads) == len(set(trees.reads)), "a shared piece is read once"
    return {int.from_bytes(snapshot, "big") - 900 for snapshot in found}


PIECES = {1: ([100], [2, 3]), 2: ([101], [4]), 3: ([102], []), 4: ([103, 104], []), 5: ([105], [3])}


GAPS = [(103, {1}), (102, {1, 5}), (105, {5}), (4, {1}), (1, {1}), (3, {1, 5}), (999, set())]


@pytest.mark.parametrize(("gone", "roots"), GAPS)
def test_whatever_leads_to_a_gap_is_incomplete(gone, roots):
    assert ask(PIECES, {gone}, [1, 5]) == roots


def test_a_host_that_is_away_is_no_loss():
    trees = Trees(PIECES, set())

    def away(_):
        raise PeerUnreachable("away")

    trees.read_blob = away
    with pytest.raises(PeerUnreachable):
        find_incomplete(trees, trees, [(SnapshotId(name(901)), SimpleNamespace(tree=bytes(name(1))))])


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_it_is_what_a_walk_of_each_snapshot_alone_would_find(data):
    size = data.draw(st.integers(1, 12))
    # Folders lead to later numbers only, as blobs name what was made before them.
    pieces = {
        n: (
            data.draw(st.lists(st.integers(100, 110), unique=True, max_size=3)),
            data.draw(st.lists(st.integers(n + 1, size), unique=True, max_size=3)) if n < size else [],
        )
        for n in range(1, size + 1)
    }
    gone = data.draw(st.sets(st.sampled_from([*range(1, size + 1), *range(100, 111)]), max_size=3))
    roots = data.draw(st.lists(st.integers(1, size), unique=True, min_size=1))

    def is_bad(piece: int) -> bool:
        files, folders = pieces[piece]
        return piece in gone or bool(gone & set(files)) or any(is_bad(folder) for folder in folders)

    assert ask(pieces, gone, roots) == {root for root in roots if is_bad(root)}
