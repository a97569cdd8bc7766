"""What there is to do is counted as the work will find it, and told while it is counted."""

import os

import pytest

from backuppeer.backup import counting as counting_module
from backuppeer.backup.counting import count_part, count_paths
from backuppeer.backup.exclusion import Exclusions, make_rules
from backuppeer.backup.trees import TreeReader
from backuppeer.errors import NotFoundError


@pytest.fixture
def tree(source):
    (source / "a" / "b").mkdir(parents=True)
    (source / "a" / "b" / "f").write_bytes(b"x" * 100)
    (source / "a" / "g").write_bytes(b"x" * 10)
    (source / "h").write_bytes(b"x")
    (source / "link").symlink_to("a")
    os.mkfifo(source / "fifo")
    return source


def count(*paths, is_over=lambda: False):
    told = []
    count_paths([bytes(path) for path in paths], make_rules(Exclusions()), lambda *total: told.append(total), is_over)
    return told


def test_the_count_of_paths_is_what_a_backup_finds(tree, repository):
    told = count(tree)
    result = repository.backup(tree)
    assert told[-1] == (result.files, result.bytes, False) == (3, 111, False)
    assert [going for *_, going in told] == [True] * (len(told) - 1) + [False]
    assert count(tree / "h", tree / "a", tree / "a" / "b", tree / "no", tree / "link")[-1] == (3, 111, False)


def test_a_count_that_nobody_wants_any_more_ends(tree):
    assert count(tree, is_over=lambda: True) == []


def test_the_systems_own_state_is_not_counted(tree, monkeypatch):
    monkeypatch.setattr(counting_module, "find_virtual_mounts", lambda _: {bytes(tree / "a")})
    assert count(tree)[-1] == (1, 1, False)


def test_a_part_of_a_snapshot_is_counted_from_the_directories_at_hand(tree, repository):
    snapshot = repository.backup(tree).snapshot
    trees = TreeReader(repository.keys, repository.index, cache=repository.cache)
    told = []
    for path in (tree / "a", tree / "h", tree / "link", "/"):
        count_part(trees, snapshot, os.fsencode(path), lambda *total: told.append(total))
    assert told == [(2, 110, False), (1, 1, False), (1, 0, False), (3, 111, False)]
    with pytest.raises(NotFoundError):
        count_part(trees, snapshot, b"/no", lambda *_: None)
    repository.lose_cache()
    count_part(trees, snapshot, bytes(tree), lambda *total: told.append(total))
    assert len(told) == 4, "no host is asked for a total"
