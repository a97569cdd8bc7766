from backuppeer.backup.kinds import KIND_NAMES, name_kind
from backuppeer.repo.tree import EntryKind


def test_every_kind_of_the_format_has_a_name_of_its_own():
    assert list(KIND_NAMES.values()) == ["file", "dir", "symlink", "fifo", "chardev", "blockdev"]
    assert len(set(KIND_NAMES.values())) == len(EntryKind)


def test_a_number_that_this_version_does_not_know_is_something_else():
    assert name_kind(250) == "other"
