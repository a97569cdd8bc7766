"""What `ls` prints can be typed again."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup.trees_on_disk import describe
from backuppeer.backup.browse import list_entries
from backuppeer.backup.escaping import read_escaped
from backuppeer.backup.trees import TreeReader
from backuppeer.cli.render import escape_name
from backuppeer.errors import NotFoundError

names = st.binary(min_size=1, max_size=40).filter(lambda name: b"\0" not in name and b"/" not in name)
NAMES = [b"tab\there", b"na\xffme", b"back\\slash", b"\xf0\x9f\x98\x80\n", b"line\xe2\x80\xa8end"]


@given(names)
def test_the_shown_form_of_any_name_leads_back_to_it(name):
    shown = escape_name(os.fsdecode(name))
    assert read_escaped(os.fsencode(shown)) in ({name} if "\\" in shown else {None})


@given(names)
def test_what_no_name_is_shown_as_is_none(text):
    read = read_escaped(text)
    assert read is None or isinstance(read, bytes)


@pytest.mark.parametrize(
    "text", [rb"a\q", rb"\x4", rb"\u12", rb"\ud83", rb"\U00110000", rb"\u0000", b"plain", b"end\\"]
)
def test_a_backslash_that_stands_for_nothing_is_not_read(text):
    assert read_escaped(text) is None


def test_every_path_is_found_as_it_is_shown_and_restored_under_its_own_name(repository, source, tmp_path):
    for name in NAMES:
        folder = source / os.fsdecode(b"in " + name)
        folder.mkdir()
        (folder / os.fsdecode(name)).write_bytes(name)
    snapshot = repository.backup(source).snapshot
    trees = TreeReader(repository.keys, repository.index, cache=repository.cache, source=repository.source)
    for name in NAMES:
        path = bytes(source) + b"/in " + name + b"/" + name
        shown = os.fsencode(escape_name(os.fsdecode(path)))
        for typed in (path, shown):
            (visit,) = list_entries(trees, snapshot, typed)
            assert b"/" + visit.path == path
        repository.restore(snapshot, tmp_path / "out", os.path.dirname(shown))  # noqa: PTH120 - bytes
    assert describe(tmp_path / "out" / str(source).lstrip("/")) == describe(source)
    with pytest.raises(NotFoundError):
        list(list_entries(trees, snapshot, bytes(source) + rb"/in tab\u0008here"))


def test_a_name_that_looks_like_the_escaped_form_of_another_is_itself(repository, source):
    for name in (b"tab\there", b"tab\\u0009here"):
        (source / os.fsdecode(name)).write_bytes(name)
    snapshot = repository.backup(source).snapshot
    trees = TreeReader(repository.keys, repository.index, cache=repository.cache, source=repository.source)
    (visit,) = list_entries(trees, snapshot, bytes(source) + b"/tab\\u0009here")
    assert visit.entry.name == b"tab\\u0009here", "what is there as it was typed goes first"
