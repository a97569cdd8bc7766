"""A restore over what stands there: kept, replaced or refused, as told; and only what patterns want."""

import os
from pathlib import Path

import pytest

from backup.trees_on_disk import describe
from backuppeer.backup.restorer import RestoreOptions, Restorer
from backuppeer.backup.selection import Choice
from backuppeer.backup.standing import Overwrite
from backuppeer.errors import UserError

DIFFERING = {"larger", "later", "earlier", "other link"}
OLD, NEW = 10**18, 2 * 10**18


def write(path, data, mtime_ns=OLD):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, ns=(mtime_ns, mtime_ns))


@pytest.fixture
def snapshot(repository, source):
    write(source / "same", b"same")
    write(source / "larger", b"as it was")
    write(source / "later", b"as it was")
    write(source / "earlier", b"as it was", NEW)
    write(source / "missing", b"missing")
    write(source / "many chunks", os.urandom(3 << 20))
    (source / "link").symlink_to("same")
    (source / "other link").symlink_to("same")
    return repository.backup(source).snapshot


@pytest.fixture
def found(source, tmp_path, snapshot):
    found = tmp_path / "target" / str(source).lstrip("/")
    write(found / "same", b"same")
    write(found / "larger", b"longer than it was")
    write(found / "later", b"changed.", NEW)
    write(found / "earlier", b"changed.", OLD)
    write(found / "mine", b"mine")
    (found / "link").symlink_to("same")
    (found / "other link").symlink_to("elsewhere")
    return found


def restorer(repository, tmp_path, **options):
    return Restorer(
        repository.keys,
        repository.index,
        cache=repository.cache,
        source=repository.source,
        target=bytes(tmp_path / "target"),
        options=RestoreOptions(**options),
    )


def contents(found):
    return {p.name: os.readlink(p) if p.is_symlink() else p.read_bytes()[:20] for p in found.iterdir()}  # noqa: PTH115


@pytest.mark.parametrize(
    "case",
    [
        (Overwrite.IF_CHANGED, {"larger", "later", "earlier", "other link"}, 1),
        (Overwrite.IF_NEWER, {"earlier"}, 3),
        (Overwrite.NEVER, set(), 4),
        (Overwrite.ALWAYS, {"larger", "later", "earlier", "other link", "same"}, 0),
    ],
)
def test_each_mode_replaces_what_it_says_and_adds_what_is_missing(repository, snapshot, source, found, case):
    mode, replaced, kept = case
    target = Path(str(found).removesuffix(str(source)))
    before = contents(found)
    inodes = {path.name: path.lstat().st_ino for path in found.iterdir()}
    links = {"other link"} if mode is Overwrite.IF_NEWER else set()  # links have times of their own
    restored = repository.restore(snapshot, target, overwrite=mode)
    assert (restored.errors, restored.left.files) == (0, kept)
    differing = {path.name for path in (Path(os.fsdecode(b"/" + path)) for path in restored.left.named)}
    assert differing == DIFFERING - replaced, "what is left alone though it differs is named"
    assert restored.left.differing == len(differing)
    after, wanted = contents(found), contents(source)
    for name in replaced | {"missing", "many chunks"}:
        assert after[name] == wanted[name]
    for name in set(before) - replaced - links:
        assert after[name] == before[name]
    assert inodes["mine"] == (found / "mine").stat().st_ino
    assert (found / "same").stat().st_ino != inodes["same"] or mode is not Overwrite.ALWAYS


def test_what_differs_is_refused_before_anything_is_written_and_what_is_the_same_is_not(
    repository, snapshot, tmp_path, found
):
    before = describe(found)
    with pytest.raises(UserError, match="4 existing entries would be overwritten"):
        repository.restore(snapshot, tmp_path / "target")
    assert describe(found) == before
    for name in ("larger", "later", "earlier", "other link"):
        (found / name).unlink()
    assert repository.restore(snapshot, tmp_path / "target").left.files == 1


def test_a_repeated_restore_fetches_nothing_and_an_interrupted_one_only_the_rest(
    repository, snapshot, source, tmp_path
):
    target = tmp_path / "target" / str(source).lstrip("/")
    repository.restore(snapshot, tmp_path / "target")
    repository.source.fetches.clear()
    again = repository.restore(snapshot, tmp_path / "target")
    assert (again.files, again.bytes, again.left.files, repository.source.fetches) == (0, 0, 6, [])
    (target / "missing").unlink()
    assert repository.restore(snapshot, tmp_path / "target").files == 1
    assert describe(target) == describe(source)


def test_metadata_of_what_is_kept_is_brought_back(repository, snapshot, source, tmp_path):
    target = tmp_path / "target" / str(source).lstrip("/")
    repository.restore(snapshot, tmp_path / "target")
    (target / "same").chmod(0o400)
    repository.restore(snapshot, tmp_path / "target")
    assert describe(target) == describe(source)


def test_a_name_of_a_kept_file_is_linked_to_it(repository, source, tmp_path):
    write(source / "a", b"one")
    (source / "b").hardlink_to(source / "a")
    snapshot = repository.backup(source).snapshot
    target = tmp_path / "target" / str(source).lstrip("/")
    repository.restore(snapshot, tmp_path / "target")
    (target / "b").unlink()
    repository.restore(snapshot, tmp_path / "target")
    assert (target / "a").samefile(target / "b")


def test_a_survey_counts_what_a_restore_would_do_and_writes_nothing(repository, snapshot, tmp_path, found):
    before = describe(found)
    plan = restorer(repository, tmp_path).survey(snapshot)
    assert (plan.files, plan.left.files, len(plan.taken)) == (5, 1, 4)
    assert describe(found) == before
    assert restorer(repository, tmp_path, overwrite=Overwrite.NEVER).survey(snapshot).taken == []
    empty = Restorer(
        repository.keys, repository.index, cache=repository.cache, source=repository.source,
        target=bytes(tmp_path / "nowhere"),
    ).survey(snapshot)  # fmt: skip
    assert (empty.files, empty.left.files, empty.taken) == (6, 0, [])
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        ({"include": ("*.txt",)}, {"a.txt", "d", "d/b.txt", "d/e", "d/e/c.txt"}),
        ({"include": ("e/",)}, {"d", "d/e", "d/e/c.txt", "d/e/c.o"}),
        ({"include": ("*.txt",), "exclude": ("e/",)}, {"a.txt", "d", "d/b.txt"}),
        ({"exclude": ("*.txt", "empty")}, {"d", "d/e", "d/e/c.o"}),
        ({"include": ("empty",)}, {"empty"}),
        ({"include": ("nothing",)}, set()),
    ],
)
def test_only_what_patterns_want_comes_back_with_the_folders_it_is_in(repository, source, tmp_path, choice, wanted):
    for path in ("a.txt", "d/b.txt", "d/e/c.txt", "d/e/c.o"):
        write(source / path, path.encode())
    (source / "empty").mkdir()
    (source / "d").chmod(0o750)
    snapshot = repository.backup(source).snapshot
    repository.restore(snapshot, tmp_path / "target", choice=Choice(**choice))
    target = tmp_path / "target" / str(source).lstrip("/")
    found, original = describe(target), describe(source)
    assert {path.decode() for path in found} == wanted
    assert all(found[path] == original[path] for path in found)
    assert restorer(repository, tmp_path, choice=Choice(**choice)).survey(snapshot).files == 0


def test_verifying_reads_everything_again_and_names_what_differs(repository, snapshot, source, tmp_path):
    target = tmp_path / "target" / str(source).lstrip("/")
    restored = repository.restore(snapshot, tmp_path / "target", verify=True)
    assert (restored.errors, repository.progress.phases) == (0, ["verifying"])
    assert repository.progress.counters == {"files": 6, "bytes": restored.bytes}
    (target / "many chunks").chmod(0o600)
    for name, data in (("same", b"SAME"), ("larger", b"as it wa")):
        stamp = (target / name).stat().st_mtime_ns
        (target / name).write_bytes(data)
        os.utime(target / name, ns=(stamp, stamp))
    with (target / "many chunks").open("r+b") as file:
        stamp = os.fstat(file.fileno()).st_mtime_ns
        file.seek(2 << 20)
        file.write(b"x")
    os.utime(target / "many chunks", ns=(stamp, stamp))
    again = repository.restore(snapshot, tmp_path / "target", verify=True, overwrite=Overwrite.NEVER)
    assert again.local_errors == 3
    names = {os.path.basename(path).decode() for path in repository.progress.errors}  # noqa: PTH119 - bytes
    assert names == {"same", "larger", "many chunks"}


def test_verifying_a_longer_file_or_none_says_so_and_what_failed_before_is_named_once(
    repository, snapshot, source, tmp_path, found
):
    (found / "earlier").unlink()
    (found / "earlier").mkdir()
    result = repository.restore(snapshot, tmp_path / "target", verify=True, overwrite=Overwrite.IF_CHANGED)
    assert result.errors == len(repository.progress.errors) == 1
    (found / "missing").write_bytes(b"missing and more")
    repository.restore(snapshot, tmp_path / "target", verify=True, overwrite=Overwrite.NEVER)
    said = {path.rpartition(b"/")[2]: message for path, message in repository.progress.errors.items()}
    assert said[b"missing"] == "is longer than what was restored"
    assert said[b"earlier"] == "is no regular file"
