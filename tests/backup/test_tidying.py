"""`restore --delete`: restored folders are as in the snapshot, and nothing else is touched."""

import os
import subprocess
from pathlib import Path

import pytest

from backup.memory_engine import Recorder
from backup.trees_on_disk import describe
from backuppeer.backup.restorer import RestoreOptions, Restorer
from backuppeer.backup.roots import split_path
from backuppeer.backup.selection import Choice
from backuppeer.backup.standing import Overwrite
from backuppeer.backup.trees import TreeReader, find_entry
from backuppeer.errors import IntegrityFault, UserError


def write(path: Path, text: str = "x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def snapshot(repository, source):
    for name in ("a.c", "b.txt", "sub/c.c", "sub/deep/d", "other/e.c"):
        write(source / name)
    (source / "empty").mkdir()
    return repository.backup(source).snapshot


@pytest.fixture
def target(tmp_path):
    return tmp_path / "target"


@pytest.fixture
def found(repository, snapshot, source, target):
    """What the first restore made, with things too much in it."""
    repository.restore(snapshot, target)
    found = target / str(source).lstrip("/")
    for name in ("new.c", "new.o", "sub/new.c", "sub/more/new.c", "sub/more/new.o", "empty/new.c", "other/new.o"):
        write(found / name)
    write(found.parent / "beside")
    write(target / "above")
    return found


def names(found):
    return {str(path.relative_to(found)) for path in found.rglob("*")}


def restore(repository, snapshot, target, path=b"/", **options):
    options.setdefault("overwrite", Overwrite.IF_CHANGED)
    return repository.restore(snapshot, target, path, delete=True, **options)


def survey(repository, snapshot, target, path=b"/", **options):
    restorer = Restorer(
        repository.keys,
        repository.index,
        cache=repository.cache,
        source=repository.source,
        target=bytes(target),
        options=RestoreOptions(delete=True, overwrite=Overwrite.IF_CHANGED, **options),
    )
    return {os.fsdecode(removal.path) for removal in restorer.survey(snapshot, path).surplus}


def test_restored_folders_are_as_in_the_snapshot_and_what_is_beside_them_stays(
    repository, snapshot, source, found, target
):
    (found / "a.c").write_text("changed")
    planned = survey(repository, snapshot, target)
    before = names(found)
    result = restore(repository, snapshot, target)
    assert (result.removed, result.errors) == (8, 0)
    assert describe(found) == describe(source)
    assert planned == {f"{found.relative_to(target)!s}/{name}" for name in before - names(source)}
    assert (found.parent / "beside").exists()
    assert (target / "above").exists()


def test_without_the_option_nothing_is_removed(repository, snapshot, found, target):
    before = names(found)
    assert repository.restore(snapshot, target, overwrite=Overwrite.ALWAYS).removed == 0
    assert names(found) == before


def test_of_a_part_only_that_part_is_tidied(repository, snapshot, source, found, target):
    result = restore(repository, snapshot, target, bytes(source / "sub"))
    assert result.removed == 4
    assert {"new.c", "new.o", "empty/new.c"} <= names(found)
    assert not names(found) & {"sub/new.c", "sub/more"}


def test_of_a_file_nothing_is_tidied(repository, snapshot, source, found, target):
    assert restore(repository, snapshot, target, bytes(source / "a.c")).removed == 0


def test_what_is_excluded_is_left_alone_there_too(repository, snapshot, found, target):
    choice = Choice(exclude=["*.o", "empty"])
    assert not any(path.endswith((".o", "more")) for path in survey(repository, snapshot, target, choice=choice))
    restore(repository, snapshot, target, choice=choice)
    assert {"new.o", "sub/more/new.o", "empty/new.c", "other/new.o"} <= names(found)
    assert not names(found) & {"new.c", "sub/new.c", "sub/more/new.c"}


def test_of_what_is_included_only_what_fits_goes(repository, snapshot, source, found, target):
    write(found / "sub" / "deep" / "new.o")
    restore(repository, snapshot, target, choice=Choice(include=["*.c", f"{source}/sub/deep/"]))
    assert {"new.o", "sub/more/new.o", "other/new.o", "b.txt"} <= names(found)
    assert not names(found) & {"new.c", "sub/new.c", "sub/more/new.c", "sub/deep/new.o"}


def test_a_folder_of_which_anything_failed_loses_nothing(repository, snapshot, found, target):
    (found / "sub" / "c.c").unlink()
    (found / "sub" / "c.c").mkdir()
    result = restore(repository, snapshot, target)
    assert result.local_errors == 1
    assert {"sub/new.c", "sub/more/new.c"} <= names(found)
    assert "new.c" not in names(found)
    assert [note for note in repository.progress.notes if "nothing was removed" in note and note.endswith("restored")]


def test_a_folder_that_can_not_be_read_of_the_snapshot_loses_nothing(repository, snapshot, source, found, monkeypatch):
    trees = TreeReader(repository.keys, repository.index, cache=repository.cache)
    lost = find_entry(trees, snapshot.tree, split_path(bytes(source / "sub")))[-1].content
    whole = TreeReader.entries

    def entries(self, content, **options):
        if content == lost:
            raise IntegrityFault("a piece is missing")
        return whole(self, content, **options)

    monkeypatch.setattr(TreeReader, "entries", entries)
    result = restore(repository, snapshot, Path(str(found).removesuffix(str(source))))
    assert result.integrity_errors == 1
    assert {"sub/new.c", "sub/c.c", "sub/more/new.o"} <= names(found)
    # What is beside it failed with it: a folder that is not whole has failed itself.
    assert "empty/new.c" not in names(found)


def test_a_link_in_the_place_of_a_restored_folder_is_not_gone_through(repository, snapshot, found, target, tmp_path):
    write(tmp_path / "mine" / "file")
    for path in ("sub/more/new.c", "sub/more/new.o", "sub/new.c", "sub/c.c", "sub/deep/d"):
        (found / path).unlink()
    (found / "sub" / "more").rmdir()
    (found / "sub" / "deep").rmdir()
    (found / "sub").rmdir()
    (found / "sub").symlink_to(tmp_path / "mine")
    (found / "empty" / "link").symlink_to(tmp_path / "mine")
    restore(repository, snapshot, target)
    assert names(tmp_path / "mine") == {"file"}
    assert not (found / "sub").is_symlink()
    assert names(found / "empty") == set()


def test_a_disk_mounted_in_a_restored_folder_is_left_alone_and_told(repository, snapshot, source, found, target):
    (found / "empty" / "new.c").unlink()
    if subprocess.run(["mount", "-t", "tmpfs", "none", found / "empty"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount")
    try:
        write(found / "empty" / "disk" / "file")
        assert not any("/empty/disk" in path for path in survey(repository, snapshot, target))
        result = restore(repository, snapshot, target)
        assert result.errors == 0
        assert (found / "empty" / "disk" / "file").exists()
        assert [note for note in repository.progress.notes if note.startswith("left alone /")]
        assert "new.c" not in names(found)
        # Named by itself, it is what was meant.
        assert restore(repository, snapshot, target, bytes(source / "empty")).removed == 2
    finally:
        subprocess.run(["umount", found / "empty"], check=True)


def test_two_paths_that_were_backed_up_are_tidied_and_what_is_between_them_is_not(repository, source, target):
    write(source / "one" / "a")
    write(source / "two" / "b")
    snapshot = repository.backup(source / "one", source / "two").snapshot
    repository.restore(snapshot, target)
    found = target / str(source).lstrip("/")
    write(found / "one" / "new")
    write(found / "three" / "mine")
    assert restore(repository, snapshot, target).removed == 1
    assert names(found) == {"one", "one/a", "two", "two/b", "three", "three/mine"}


def test_leaving_and_removing_at_once_is_refused(repository, snapshot, found, target):
    with pytest.raises(UserError, match="two wishes"):
        restore(repository, snapshot, target, overwrite=Overwrite.NEVER)


def test_into_an_empty_target_there_is_nothing_to_remove(repository, snapshot, source, target):
    repository.progress = Recorder()
    assert restore(repository, snapshot, target).removed == 0
    assert describe(target / str(source).lstrip("/")) == describe(source)
