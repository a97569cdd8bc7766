"""`stat` in a mount tells what was saved, and numbers that hold names together or apart."""

import os
import stat
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.backup.kinds import KIND_NAMES
from backuppeer.cli.mounted.layout import Pointer, Root, Shelf, Text
from backuppeer.cli.mounted.metadata import describe_entry, describe_node, is_shown, number_entry
from backuppeer.control.mounting import MountEntry

ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, rights, 0) for tag, rights in ((1, 6), (2, 7), (4, 4), (0x10, 7), (0x20, 0))
)
"""user rw-, a named user rwx, group r--, mask rwx, others ---."""


def entry(kind="file", **changes):
    fields = {"mode": 0o640, "uid": 1, "gid": 2, "size": 1000, "mtime_ns": -5, "ctime_ns": 7, "name": "x"}
    return MountEntry(kind=kind, **(fields | changes))


@pytest.mark.parametrize("kind", KIND_NAMES.values())
def test_every_kind_of_the_format_can_be_shown(kind):
    assert is_shown(entry(kind), 255)
    assert stat.S_IMODE(describe_entry(entry(kind), "s", "x")["st_mode"]) == 0o640
    assert stat.S_IFMT(describe_entry(entry(kind), "s", "x")["st_mode"])


def test_unknown_kinds_and_names_that_a_kernel_does_not_take_are_left_out():
    assert not is_shown(entry("other"), 255)
    assert is_shown(entry(name="é" * 127), 255)
    assert not is_shown(entry(name="é" * 128), 255)


def test_owners_times_sizes_and_devices_are_as_saved():
    told = describe_entry(entry("chardev", device=(1, 3), size=0), "s", "x")
    assert (told["st_uid"], told["st_gid"], told["st_mtime"], told["st_ctime"]) == (1, 2, -5, 7)
    assert told["st_rdev"] == os.makedev(1, 3)
    assert describe_entry(entry("symlink", target="übel", size=0), "s", "x")["st_size"] == 5


@given(st.integers(1, 2**40))
def test_a_file_with_holes_looks_like_one_and_never_like_nothing_but_holes(size):
    whole, holed = (describe_entry(entry(size=size, sparse=sparse), "s", "x")["st_blocks"] for sparse in (False, True))
    assert whole * 512 >= size
    assert holed >= 1
    assert holed < size // 512 or size < 1024


def test_names_of_a_hard_link_have_one_number_and_all_others_their_own():
    linked = entry(names=2, inode=5, link_device=1)
    assert number_entry(linked, "s", "a") == number_entry(linked, "s", "b")
    assert number_entry(linked, "s", "a") != number_entry(linked, "t", "a")
    assert number_entry(entry(names=2, inode=6, link_device=1), "s", "a") != number_entry(linked, "s", "a")
    numbers = {number_entry(entry(), snapshot, f"{name}") for snapshot in "st" for name in range(1000)}
    assert len(numbers) == 2000
    assert all(16 <= number < 2**63 for number in numbers)


def test_where_the_kernel_enforces_modes_a_group_gets_no_more_than_its_list_of_rights_gave_it():
    listed = entry(mode=0o670, attributes={"system.posix_acl_access": ACL})
    assert stat.S_IMODE(describe_entry(listed, "s", "x")["st_mode"]) == 0o670
    assert stat.S_IMODE(describe_entry(listed, "s", "x", strict=True)["st_mode"]) == 0o640


def test_folders_above_snapshots_can_be_read_and_not_written_by_all():
    for node in (Shelf(time_ns=9), Root("s", 9)):
        told = describe_node(node, (10, 20), path="/a")
        assert (told["st_mode"], told["st_uid"], told["st_gid"], told["st_mtime"]) == (stat.S_IFDIR | 0o555, 10, 20, 9)
    text = describe_node(Text(b"abc", 9), (10, 20), path="/t")
    assert (text["st_mode"], text["st_size"]) == (stat.S_IFREG | 0o444, 3)
    link = describe_node(Pointer("../x", 9), (10, 20), path="/b")
    assert (stat.S_IFMT(link["st_mode"]), link["st_size"]) == (stat.S_IFLNK, 4)
    assert link["st_ino"] != describe_node(Pointer("../x", 9), (10, 20), path="/c")["st_ino"]
