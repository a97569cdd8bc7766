"""What `find` finds, and that it reads each directory once."""

import pytest

from backup.trees_in_memory import Shelf, file, link
from backuppeer.backup import finder
from backuppeer.backup.finder import Finder, Matcher, Wanted
from backuppeer.errors import IntegrityFault, UserError


@pytest.fixture
def shelf():
    return Shelf()


def refuse(path, error):
    raise error


def search(shelf, tree, *patterns, **wanted):
    found = Finder(shelf.trees, Matcher(Wanted(patterns=patterns, **wanted)), on_error=refuse)
    return [visit.path.decode("utf-8", "surrogateescape") for visit in found.search(tree)]


def make_tree(shelf):
    deep = shelf.folder(b"deep", file(b"A.JPG", "a", size=5), file(b"b.jpg", "b", size=500, mtime_ns=200))
    home = shelf.folder(b"home", deep, file(b"caf\xc3\xa9.txt"), file(b"bad\xff.txt"), link(b"jpg", b"b.jpg"))
    return shelf.tree(home, file(b"root.jpg", "r", size=50, mtime_ns=100))


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["*.jpg"], ["home/deep/b.jpg", "root.jpg"]),
        (["deep"], ["home/deep"]),
        (["b.jpg", "root*"], ["home/deep/b.jpg", "root.jpg"]),
        (["caf?.txt"], ["home/café.txt"]),
        (["bad?.txt"], ["home/bad\udcff.txt"]),
        (["bad\udcff.txt"], ["home/bad\udcff.txt"]),
        (["[ab]*.jpg"], ["home/deep/b.jpg"]),
        (["/home/*.jpg"], ["home/deep/b.jpg"]),
        (["/root.jpg"], ["root.jpg"]),
        (["deep/*"], ["home/deep/A.JPG", "home/deep/b.jpg"]),
        (["home/deep/"], ["home/deep"]),
        (["/deep/*"], []),
        (["jpg", "/root.*"], ["home/jpg", "root.jpg"]),
        (["nothing"], []),
    ],
)
def test_patterns_mean_names_and_with_a_slash_whole_paths(shelf, patterns, found):
    assert search(shelf, make_tree(shelf), *patterns) == found


def test_case_can_be_ignored(shelf):
    assert search(shelf, make_tree(shelf), "*.JPG") == ["home/deep/A.JPG"]
    assert len(search(shelf, make_tree(shelf), "*.JPG", ignore_case=True)) == 3
    assert search(shelf, make_tree(shelf), "/HOME/JPG", ignore_case=True) == ["home/jpg"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"kinds": frozenset({"symlink"})}, ["home/jpg"]),
        ({"kinds": frozenset({"dir", "symlink"})}, ["home", "home/deep", "home/jpg"]),
        ({"newer_ns": 100}, ["home/deep/b.jpg", "root.jpg"]),
        ({"newer_ns": 100, "older_ns": 200}, ["root.jpg"]),
        ({"min_bytes": 50}, ["home/deep/b.jpg", "root.jpg"]),
        ({"min_bytes": 5, "max_bytes": 50}, ["home/deep/A.JPG", "root.jpg"]),
        ({"max_bytes": 0}, ["home/bad\udcff.txt", "home/café.txt"]),
    ],
)
def test_types_times_and_sizes_narrow_it(shelf, wanted, found):
    assert search(shelf, make_tree(shelf), "*", **wanted) == found


def test_an_empty_pattern_or_none_is_refused():
    for patterns in ((), ("",), ("a", "")):
        with pytest.raises(UserError, match="pattern"):
            Matcher(Wanted(patterns=patterns))


def test_an_unchanged_subtree_is_told_again_without_being_read_again(shelf):
    same = shelf.folder(b"same", shelf.folder(b"inner", file(b"x.jpg"), file(b"y.png")), file(b"z.jpg"))
    barren = shelf.folder(b"barren", file(b"nothing"))
    one = shelf.tree(same, barren, file(b"1.jpg"))
    moved = shelf.folder(b"moved", same, barren)
    two = shelf.tree(same, barren, moved, file(b"2.jpg"))
    found = Finder(shelf.trees, Matcher(Wanted(patterns=("*.jpg", "same"))), on_error=refuse)

    def paths(tree):
        return [visit.path for visit in found.search(tree)]

    below = [b"same", b"same/inner/x.jpg", b"same/z.jpg"]
    assert paths(one) == [b"1.jpg", *below]
    shelf.read.clear()
    assert paths(two) == [b"2.jpg", *(b"moved/" + path for path in below), *below]
    assert shelf.read == [two, moved.content]
    assert found.directories == 6
    shelf.read.clear()
    assert len(paths(two)) == 7
    assert shelf.read == []


def test_a_pattern_for_paths_does_not_take_what_lies_elsewhere_for_the_same(shelf):
    same = shelf.folder(b"same", file(b"x"))
    tree = shelf.tree(shelf.folder(b"a", same), shelf.folder(b"b", same))
    found = Finder(shelf.trees, Matcher(Wanted(patterns=("/a/same/*",))), on_error=refuse)
    for _ in range(2):
        assert [visit.path for visit in found.search(tree)] == [b"a/same/x"]


@pytest.mark.parametrize("cap", [1, 2, 3, 5, 1000])
def test_beyond_what_may_be_remembered_it_is_read_again_and_nothing_is_missed(shelf, monkeypatch, cap):
    monkeypatch.setattr(finder, "FIND_REMEMBERED", cap)
    folders = [shelf.folder(b"%d" % n, file(b"x"), shelf.folder(b"in", file(b"x"), file(b"y"))) for n in range(4)]
    tree = shelf.tree(*folders)
    found = Finder(shelf.trees, Matcher(Wanted(patterns=("x",))), on_error=refuse)
    expected = [b"%d/%s" % (n, name) for n in range(4) for name in (b"in/x", b"x")]
    for _ in range(3):
        assert [visit.path for visit in found.search(tree)] == expected


def test_a_directory_that_is_missing_is_told_once_and_the_rest_is_found(shelf):
    lost = shelf.folder(b"lost", file(b"x"))
    del shelf.blobs[lost.content]
    errors = []
    found = Finder(shelf.trees, Matcher(Wanted(patterns=("x",))), on_error=lambda path, _: errors.append(path))
    for tree in (shelf.tree(lost, file(b"x")), shelf.tree(lost, file(b"x"), file(b"new"))):
        assert [visit.path for visit in found.search(tree)] == [b"x"]
    assert errors == [b"lost"]


def test_a_tree_deeper_than_any_is_told_and_not_followed(shelf, monkeypatch):
    monkeypatch.setattr(finder, "TREE_DEPTH", 3)
    tree = shelf.tree(file(b"x"))
    for name in (b"c", b"b", b"a"):
        tree = shelf.tree(file(b"x"), shelf.folder(name, *shelf.trees.entries(tree)))
    errors = []
    found = Finder(shelf.trees, Matcher(Wanted(patterns=("x",))), on_error=lambda path, exc: errors.append((path, exc)))
    assert [visit.path for visit in found.search(tree)] == [b"a/b/x", b"a/x", b"x"]
    assert [(path, type(exc)) for path, exc in errors] == [(b"a/b/c", IntegrityFault)]


def test_a_search_can_be_ended_at_each_directory(shelf):
    def check(directories):
        if directories > 1:
            raise UserError("enough")

    found = Finder(shelf.trees, Matcher(Wanted(patterns=("*",))), on_error=refuse, check=check)
    with pytest.raises(UserError, match="enough"):
        list(found.search(make_tree(shelf)))
