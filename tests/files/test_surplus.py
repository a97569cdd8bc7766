"""What is too much goes, and nothing else: not behind links, not on other disks, not what is judged to stay."""

import os
import subprocess
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backuppeer.errors import InterruptedByUserError
from backuppeer.files.surplus import Removal, Surplus
from files.descriptors import count_open


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    for name in ("keep/inside", "old/deep/er/file", "old/other", "single"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def clear(root, keep=(b"keep",), *, judge=None, is_dry=False, inside=True, check=None):
    surplus = Surplus(judge or (lambda *_: True), check or (lambda: None), is_dry=is_dry)
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return list(surplus.clear(fd, b"x", keep, inside=inside))
    finally:
        os.close(fd)


def names(removals):
    return [(removal.path, removal.is_directory) for removal in removals if removal.problem is None]


ALL = [
    (b"x/old/deep/er/file", False),
    (b"x/old/deep/er", True),
    (b"x/old/deep", True),
    (b"x/old/other", False),
    (b"x/old", True),
    (b"x/single", False),
]


def test_all_but_what_is_wanted_goes_from_the_inside_outwards(root):
    before = count_open()
    assert names(clear(root)) == ALL
    assert [path.name for path in root.iterdir()] == ["keep"]
    assert (root / "keep" / "inside").exists()
    assert count_open() == before


def test_a_dry_run_names_the_same_and_removes_nothing(root):
    assert names(clear(root, is_dry=True)) == ALL
    assert (root / "old" / "deep" / "er" / "file").exists()
    assert (root / "single").exists()


def test_a_link_goes_and_what_it_points_to_stays(root, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    (root / "to folder").symlink_to(tmp_path / "mine")
    (root / "old" / "to file").symlink_to(tmp_path / "mine" / "file")
    (root / "old" / "dangling").symlink_to("/nowhere")
    (root / "hard").hardlink_to(tmp_path / "mine" / "file")
    clear(root)
    assert [path.name for path in root.iterdir()] == ["keep"]
    assert (tmp_path / "mine" / "file").read_text() == "mine"


def test_a_folder_that_is_swapped_for_a_link_is_not_followed(root, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")

    def swap(path, is_directory, inside):
        if path == b"x/old":
            (root / "old").rename(tmp_path / "away")
            (root / "old").symlink_to(tmp_path / "mine")
        return True

    removals = clear(root, judge=swap)
    assert [removal.path for removal in removals if removal.problem] == [b"x/old"]
    assert (tmp_path / "mine" / "file").read_text() == "mine"
    assert (tmp_path / "away" / "other").exists()


def test_what_is_judged_to_stay_stays_with_the_folders_above_it(root):
    def judge(path, is_directory, inside):
        return None if path.endswith(b"er") and is_directory else True

    assert names(clear(root, judge=judge)) == [(b"x/old/other", False), (b"x/single", False)]
    assert (root / "old" / "deep" / "er" / "file").exists()


def test_in_a_folder_that_stays_what_fits_goes(root):
    def judge(path, is_directory, inside):
        return inside or path.endswith((b"file", b"deep"))

    assert names(clear(root, judge=judge, inside=False)) == [
        (b"x/old/deep/er/file", False),
        (b"x/old/deep/er", True),
        (b"x/old/deep", True),
    ]
    assert (root / "old" / "other").exists()


@contextmanager
def mounted(place):
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "none", place], capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount")
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


def test_what_is_mounted_is_left_alone(root):
    with mounted(root / "old" / "disk"):
        (root / "old" / "disk" / "file").write_text("on another disk")
        removals = clear(root)
        assert [removal.path for removal in removals if removal.problem] == [b"x/old/disk"]
        assert (root / "old" / "disk" / "file").read_text() == "on another disk"
        assert not (root / "single").exists()


def test_it_ends_when_it_is_told_to_and_gives_descriptors_back(root):
    before, asked = count_open(), []

    def check():
        asked.append(1)
        if len(asked) == 5:
            raise InterruptedByUserError("stop")

    with pytest.raises(InterruptedByUserError):
        clear(root, check=check)
    assert count_open() == before
    assert (root / "single").exists()


def test_a_deep_tree_goes_without_recursion(tmp_path):
    path, fd = b"", os.open(tmp_path, os.O_RDONLY)
    for _ in range(400):
        os.mkdir(b"d" * 20, dir_fd=fd)
        below = os.open(b"d" * 20, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd, path = below, path + b"/d"
    os.close(fd)
    assert len(clear(tmp_path, ())) == 400
    assert [path.name for path in tmp_path.iterdir()] == []


TREES = st.recursive(
    st.just(None), lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=3), max_leaves=12
)


def build(root, tree):
    root.mkdir(exist_ok=True)
    for name, below in tree.items():
        if below is None:
            (root / name).write_text(name)
        else:
            build(root / name, below)


def model(tree, stays):
    """What is left of a tree when `stays` are the names of files that are to stay wherever they are."""
    left = {}
    for name, below in tree.items():
        if below is None:
            if name in stays:
                left[name] = None
        elif inner := model(below, stays):
            left[name] = inner
    return left


def read(root):
    return {path.name: read(path) if path.is_dir() else None for path in root.iterdir()}


@settings(max_examples=150, deadline=None)
@given(tree=TREES.filter(lambda tree: tree is not None), stays=st.sets(st.sampled_from("abcd")))
def test_what_is_left_is_what_was_to_stay(tmp_path_factory, tree, stays):
    root = tmp_path_factory.mktemp("tree") / "root"
    build(root, tree)
    kept = {name.encode() for name in stays}

    def judge(path, is_directory, inside):
        return True if is_directory else path.rpartition(b"/")[2] not in kept

    planned = clear(root, (), judge=judge, is_dry=True)
    assert read(root) == tree
    assert clear(root, (), judge=judge) == planned
    assert all(isinstance(removal, Removal) and removal.problem is None for removal in planned)
    assert read(root) == model(tree, stays)
