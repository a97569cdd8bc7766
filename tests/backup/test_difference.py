"""Changes between two trees are complete, and what is the same is not read."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup.trees_in_memory import Shelf, blob_of, entry, file, link
from backuppeer.backup import difference
from backuppeer.backup.difference import Differ, Mark, Summary, measure_change
from backuppeer.errors import IntegrityFault
from backuppeer.repo.extension import Link, encode_extension
from backuppeer.repo.tree import EntryKind, cut_content

NAMES = st.sampled_from([b"a", b"b", b"c", b"d"])
LEAVES = st.one_of(
    st.tuples(st.just("file"), st.sampled_from(["", "x", "xy", "y"]), st.sampled_from([0o600, 0o644])),
    st.tuples(st.just("link"), st.sampled_from([b"x", b"y"]), st.just(0o777)),
)
TREES = st.recursive(
    st.dictionaries(NAMES, LEAVES, max_size=3),
    lambda below: st.dictionaries(NAMES, st.one_of(LEAVES, below), max_size=4),
    max_leaves=12,
)


def build(shelf, plan, inode=1):
    """Keep a tree as planned: a name means a leaf or a folder."""
    entries = []
    for name, what in plan.items():
        if isinstance(what, dict):
            entries.append(shelf.folder(name, *build(shelf, what, inode), inode=inode))
        elif what[0] == "file":
            entries.append(file(name, *what[1], mode=what[2], inode=inode))
        else:
            entries.append(link(name, what[1], mode=what[2], inode=inode))
    return entries


def flatten(shelf, content, path=b""):
    """Return what lies where: entries without what only serves to notice changes, folders without their content."""
    found = {}
    for one in shelf.trees.entries(content):
        at = path + b"/" + one.name if path else one.name
        is_folder = one.kind == EntryKind.DIRECTORY
        found[at] = plain(one)
        if is_folder:
            found |= flatten(shelf, one.content, at)
    return found


def plain(one):
    content = b"" if one.kind == EntryKind.DIRECTORY else one.content
    return msgspec.structs.replace(one, content=content, inode=0, ctime_ns=0)


def apply(tree, changes):
    """Do to a flat tree what the changes say."""
    result = dict(tree)
    for change in changes:
        if change.mark is Mark.ADDED:
            assert change.path not in tree
        else:
            assert tree[change.path] == plain(change.old)
        if change.mark is Mark.REMOVED:
            del result[change.path]
        else:
            result[change.path] = plain(change.new)
    return result


@given(TREES, TREES)
def test_applying_the_difference_to_one_tree_gives_the_other(before, after):
    shelf = Shelf()
    old, new = shelf.tree(*build(shelf, before)), shelf.tree(*build(shelf, after, inode=2))
    changes = list(Differ(shelf.trees, metadata=True).compare(old, new))
    assert apply(flatten(shelf, old), changes) == flatten(shelf, new)
    back = list(Differ(shelf.trees, metadata=True).compare(new, old))
    assert apply(flatten(shelf, new), back) == flatten(shelf, old)
    assert {change.path for change in back} == {change.path for change in changes}


@given(TREES, TREES)
def test_without_metadata_all_but_metadata_is_the_same_afterwards(before, after):
    shelf = Shelf()
    old, new = shelf.tree(*build(shelf, before)), shelf.tree(*build(shelf, after))
    changes = list(Differ(shelf.trees, metadata=False).compare(old, new))
    assert all(change.mark is not Mark.METADATA for change in changes)

    def core(tree):
        return {path: (one.kind, one.content, one.target, one.size) for path, one in tree.items()}

    assert core(apply(flatten(shelf, old), changes)) == core(flatten(shelf, new))


@given(TREES)
def test_a_tree_does_not_differ_from_itself_whatever_the_inodes(plan):
    shelf = Shelf()
    old, new = shelf.tree(*build(shelf, plan)), shelf.tree(*build(shelf, plan, inode=9))
    assert list(Differ(shelf.trees, metadata=True).compare(old, new)) == []


@given(TREES, TREES)
def test_changes_come_in_the_order_of_the_walk_and_each_path_once(before, after):
    shelf = Shelf()
    old, new = shelf.tree(*build(shelf, before)), shelf.tree(*build(shelf, after))
    paths = [change.path.split(b"/") for change in Differ(shelf.trees, metadata=True).compare(old, new)]
    assert paths == sorted(paths)
    assert len({tuple(path) for path in paths}) == len(paths)


@given(TREES, TREES)
def test_the_summary_counts_what_came_and_what_went(before, after):
    shelf = Shelf()
    old, new = shelf.tree(*build(shelf, before)), shelf.tree(*build(shelf, after))
    summary = Summary()
    for change in Differ(shelf.trees, metadata=True).compare(old, new):
        summary.add(change, shelf.trees, lambda blobs: 10 * len(list(blobs)))

    def count(content, kind):
        return sum(one.kind == kind for one in flatten(shelf, content).values())

    def size(content):
        return sum(one.size for one in flatten(shelf, content).values() if one.kind == EntryKind.FILE)

    assert count(new, EntryKind.FILE) - count(old, EntryKind.FILE) == summary.files_added - summary.files_removed
    assert (
        count(new, EntryKind.DIRECTORY) - count(old, EntryKind.DIRECTORY) == summary.dirs_added - summary.dirs_removed
    )
    assert (
        count(new, EntryKind.SYMLINK) - count(old, EntryKind.SYMLINK) == summary.others_added - summary.others_removed
    )
    assert size(new) - size(old) == summary.added_bytes - summary.removed_bytes


@pytest.fixture
def shelf():
    return Shelf()


def marks(shelf, old, new, *, metadata=False):
    found = Differ(shelf.trees, metadata=metadata).compare(old, new)
    return [(change.mark.value, change.path.decode()) for change in found]


def test_each_sort_of_change_has_its_letter(shelf):
    old = shelf.tree(
        file(b"content", "1"),
        file(b"gone", "1"),
        file(b"mode", "1"),
        link(b"link", b"a"),
        shelf.folder(b"folder", file(b"in")),
        file(b"type", "1"),
    )
    new = shelf.tree(
        file(b"content", "2"),
        file(b"mode", "1", mode=0o600),
        link(b"link", b"b"),
        file(b"folder", "1"),
        shelf.folder(b"new", file(b"in")),
        shelf.folder(b"type", file(b"in")),
    )
    assert marks(shelf, old, new) == [
        ("M", "content"),
        ("T", "folder"),
        ("-", "folder/in"),
        ("-", "gone"),
        ("M", "link"),
        ("+", "new"),
        ("+", "new/in"),
        ("T", "type"),
        ("+", "type/in"),
    ]
    assert ("U", "mode") in marks(shelf, old, new, metadata=True)


def test_a_device_of_another_number_is_changed_and_a_link_on_a_renumbered_file_system_is_not(shelf):
    def node(minor):
        return entry(EntryKind.CHARACTER_DEVICE, b"null", ext=encode_extension(device=(1, minor)))

    def linked(device, **more):
        return file(b"two-names", "1", ext=encode_extension(link=Link(device, 2), **more))

    old = shelf.tree(node(3), linked(7))
    assert marks(shelf, old, shelf.tree(node(4), linked(9)), metadata=True) == [("M", "null")]
    attributed = shelf.tree(node(3), linked(7, attributes={b"user.a": b"1"}))
    assert marks(shelf, old, attributed, metadata=True) == [("U", "two-names")]
    assert marks(shelf, old, attributed) == []


def test_equal_subtrees_are_not_read(shelf):
    same = shelf.folder(b"same", shelf.folder(b"deep", file(b"x")))
    old, new = shelf.tree(same, file(b"a", "1")), shelf.tree(same, file(b"a", "2"))
    shelf.read.clear()
    assert marks(shelf, old, new, metadata=True) == [("M", "a")]
    assert shelf.read == [old, new]
    shelf.read.clear()
    assert marks(shelf, old, old) == []
    assert shelf.read == []


def test_of_large_folders_only_the_pieces_that_differ_are_read(shelf):
    names = [b"%06d" % number for number in range(20_000)]
    files = [file(name, "1") for name in names]
    old = shelf.tree(*files)
    files[9_000] = file(names[9_000], "2")
    new = shelf.tree(*files)
    assert len(old) // 32 >= 4
    shelf.read.clear()
    assert marks(shelf, old, new) == [("M", "009000")]
    assert len(shelf.read) == 2


def test_two_entries_of_any_kind_can_be_compared(shelf):
    differ = Differ(shelf.trees, metadata=False)
    one, other = file(b"f", "1"), shelf.folder(b"f", file(b"in"))
    found = list(differ.compare_entries(one, other, path=b"at/f"))
    assert [(change.mark.value, change.path) for change in found] == [("T", b"at/f"), ("+", b"at/f/in")]
    assert list(differ.compare_entries(one, one, path=b"f")) == []


def test_a_missing_folder_ends_the_comparison(shelf):
    lost = shelf.folder(b"lost", file(b"x"))
    old, new = shelf.tree(), shelf.tree(lost)
    del shelf.blobs[lost.content]
    with pytest.raises(IntegrityFault, match="missing"):
        marks(shelf, old, new)


def test_a_tree_deeper_than_any_is_refused(shelf, monkeypatch):
    monkeypatch.setattr(difference, "TREE_DEPTH", 2)
    new = shelf.tree(shelf.folder(b"a", shelf.folder(b"b", shelf.folder(b"c"))))
    with pytest.raises(IntegrityFault, match="more than 2 directories"):
        marks(shelf, shelf.tree(), new)


def weigh(blobs):
    return 10 * len(list(blobs))


def test_a_changed_file_weighs_what_its_versions_do_not_share(shelf):
    old, new = file(b"f", "1", "2", "2"), file(b"f", "1", "2", "3", "4")
    assert measure_change(shelf.trees, weigh, old, new) == (20, 10)
    assert measure_change(shelf.trees, weigh, file(b"f", "1", size=7), file(b"f", "9", size=8)) == (8, 7)
    assert measure_change(shelf.trees, weigh, link(b"l", b"a"), link(b"l", b"b")) == (0, 0)


def test_of_a_long_file_only_the_lists_that_differ_are_read(shelf):
    ids = [blob_of(str(number)) for number in range(60_000)]
    changed = [*ids[:40_000], blob_of("new"), *ids[40_000:]]

    def long_file(chunks):
        lists = [shelf.put(part) for part in cut_content(b"".join(chunks))]
        return entry(EntryKind.FILE, b"f", content=b"".join(lists), depth=1, size=10 * len(chunks))

    old, new = long_file(ids), long_file(changed)
    shelf.read.clear()
    assert measure_change(shelf.trees, weigh, old, new) == (10, 0)
    assert len(shelf.read) < len(new.content) // 32
