"""Directories below each other: as deep as the limit, and not deeper, on both ways."""

from backup.test_hostile import entry, make_hostile
from backup.trees_on_disk import describe
from backuppeer.backup import trees, walk
from backuppeer.repo.blob import BlobKind
from backuppeer.repo.tree import EntryKind, encode_pieces

LEAST = 4
"""What the limit is shrunk to."""


def test_a_snapshot_deeper_than_the_limit_is_restored_down_to_it(repository, tmp_path, monkeypatch):
    monkeypatch.setattr(trees, "TREE_DEPTH", LEAST)
    inner = [entry(EntryKind.FILE, b"bottom")]
    for _ in range(LEAST):
        (piece,) = encode_pieces(inner)
        make_hostile(repository, [], piece)
        inner = [entry(EntryKind.DIRECTORY, b"d", content=repository.keys.blob_id(BlobKind.TREE, piece))]
    restored = repository.restore(make_hostile(repository, inner), tmp_path / "target")
    assert (restored.integrity_errors, restored.files) == (1, 0)
    assert any(b"/".join([b"d"] * LEAST) in path for path in repository.progress.errors)
    assert (tmp_path / "target").joinpath(*["d"] * (LEAST - 1)).is_dir()

    monkeypatch.setattr(trees, "TREE_DEPTH", LEAST + 1)
    deeper = repository.restore(make_hostile(repository, inner), tmp_path / "other")
    assert (deeper.integrity_errors, deeper.files) == (0, 1)


def test_folders_deeper_than_the_limit_are_named_and_the_rest_backed_up(repository, source, tmp_path, monkeypatch):
    above = len(source.parts) - 1
    monkeypatch.setattr(walk, "TREE_DEPTH", above + 2)
    deep = source / "a" / "b" / "c"
    deep.mkdir(parents=True)
    for folder in (source, source / "a", source / "a" / "b", deep):
        (folder / "file").write_bytes(b"x")
    result = repository.backup(source)
    assert list(repository.progress.errors) == [bytes(deep)]
    assert result.files == 3
    repository.restore(result.snapshot, tmp_path / "target")
    assert set(describe(tmp_path / "target" / str(source).lstrip("/"))) >= {b"file", b"a/file", b"a/b/file"}
