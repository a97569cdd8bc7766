"""What a backup leaves out: the rules by themselves, and in a walk."""

import pytest

from backup.trees_on_disk import describe
from backuppeer.backup.counting import count_paths
from backuppeer.backup.exclusion import Exclusions, make_rules
from backuppeer.errors import UserError
from backuppeer.limits import IGNORE_FILE_BYTES, MARKER_BYTES, SNAPSHOT_PATHS

TAG = b"Signature: 8a477f597d28d172789f06886806bc55\n# made by a program"


@pytest.fixture
def kept(repository, source, tmp_path):
    """Back up with exclusions and return the paths that came back; a count beside must see the same files."""

    def run(*paths, **exclusions):
        chosen = Exclusions(**exclusions)
        result = repository.backup(*(paths or [source]), exclusions=chosen)
        target = tmp_path / f"target{len(list(tmp_path.iterdir()))}"
        repository.restore(result.snapshot, target)
        counted = []
        wanted = [bytes(path) for path in paths or [source]]
        count_paths(wanted, make_rules(chosen), lambda *told: counted.append(told), lambda: False)
        assert counted[-1][:2] == (result.files, result.bytes)
        return {path.decode() for path in describe(target / str(source).lstrip("/"))}

    return run


def fill(source, *paths):
    for path in paths:
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_bytes(path.encode())


def test_patterns_of_the_command_leave_out_files_and_whole_folders(source, kept):
    fill(source, "a.o", "a.c", "d/b.o", "node_modules/x", "d/node_modules/y", "d/Thumbs.DB")
    assert kept(exclude=("*.o", "node_modules/"), iexclude=("thumbs.db",)) == {"a.c", "d"}


def test_an_exception_keeps_what_would_be_left_out_but_not_inside_of_a_folder_that_is(source, kept):
    fill(source, "a.o", "keep.o", "out/keep.o")
    assert kept(exclude=("*.o", "/**/out/"), include=("keep.o",)) == {"keep.o"}


def test_ignore_files_count_from_their_folder_and_the_nearest_decides(source, kept):
    fill(source, "x.log", "a/x.log", "a/b/x.log", "a/tmp/f", "tmp/f", "a/b/only.txt")
    (source / ".backupignore").write_text("*.log\n/tmp\n")
    (source / "a" / "b" / ".backupignore").write_text("!x.log\n/only.*\n")
    assert kept() == {".backupignore", "a", "a/b", "a/b/.backupignore", "a/b/x.log", "a/tmp", "a/tmp/f"}


def test_the_command_goes_before_ignore_files(source, kept):
    fill(source, "x.log", "y.log")
    (source / ".backupignore").write_text("*.log\n!y.log\n")
    assert kept(include=("x.log",), exclude=("y.log",)) == {".backupignore", "x.log"}


def test_lines_that_are_no_patterns_are_named_and_the_others_count(repository, source):
    fill(source, "a.o", "b")
    (source / ".backupignore").write_text("!\n*.o\n")
    result = repository.backup(source)
    assert result.errors == 1
    assert "line 1" in repository.progress.errors[bytes(source / ".backupignore")]
    assert result.files == 2


def test_an_ignore_file_that_is_too_long_or_no_file_is_named_and_nothing_is_left_out(repository, source):
    fill(source, "a.o", "d/b.o")
    (source / ".backupignore").write_bytes(b"*.o\n" + b"#" * IGNORE_FILE_BYTES)
    (source / "d" / ".backupignore").mkdir()
    result = repository.backup(source)
    assert set(repository.progress.errors) == {bytes(source / ".backupignore"), bytes(source / "d/.backupignore")}
    assert result.files == 3


def test_marked_caches_keep_their_mark_alone(source, kept):
    fill(source, "cache/f", "cache/d/g", "not/f", "looks/f")
    (source / "cache" / "CACHEDIR.TAG").write_bytes(TAG)
    (source / "looks" / "CACHEDIR.TAG").write_bytes(b"something else")
    everything = {"cache", "cache/CACHEDIR.TAG", "not", "not/f", "looks", "looks/f", "looks/CACHEDIR.TAG"}
    assert kept(caches=True) == everything
    assert kept() == everything | {"cache/f", "cache/d", "cache/d/g"}


def test_folders_with_a_file_of_ones_own_choice_keep_that_alone(source, kept):
    fill(source, "one/.nobackup", "one/f", "two/.nobackup", "two/f", "f")
    (source / "two" / ".nobackup").write_bytes(b"x" * MARKER_BYTES + b"end")
    assert kept(if_present=(".nobackup",)) == {"f", "one", "one/.nobackup", "two", "two/.nobackup"}
    assert kept(if_present=(".nobackup:one/",)) == {"f", "one", "one/.nobackup", "two", "two/.nobackup", "two/f"}


def test_larger_files_are_left_out_and_folders_never_are(source, kept):
    fill(source, "d/f")
    (source / "exact").write_bytes(bytes(1000))
    (source / "more").write_bytes(bytes(1001))
    assert kept(larger_than=1000) == {"d", "d/f", "exact"}
    assert kept(larger_than=0) == {"d"}


def test_what_was_named_itself_is_never_left_out(source, kept):
    fill(source, "d/a.o", "d/b.o")
    assert kept(source / "d" / "a.o", exclude=("*.o", "d/")) == {"d", "d/a.o"}


def test_an_excluded_folder_is_not_even_opened(repository, source):
    fill(source, "d/f", "g")
    (source / "d").chmod(0)
    try:
        assert repository.backup(source, exclusions=Exclusions(exclude=("d",))).errors == 0
    finally:
        (source / "d").chmod(0o755)


def test_what_is_left_out_from_now_on_leaves_the_next_snapshot_and_comes_back(repository, source, tmp_path):
    fill(source, "a", "b")
    first = repository.backup(source)
    second = repository.backup(source, parent=first.snapshot, exclusions=Exclusions(exclude=("b",)))
    third = repository.backup(source, parent=second.snapshot)
    assert (second.files, third.files, third.new_bytes) == (1, 2, 0)


@pytest.mark.parametrize("bad", [{"exclude": ("!",)}, {"if_present": ("",)}, {"if_present": ("a/b",)}])
def test_what_makes_no_sense_is_refused_before_anything_is_read(repository, source, bad):
    with pytest.raises(UserError):
        repository.backup(source, exclusions=Exclusions(**bad))


def test_more_paths_than_a_snapshot_names_are_refused_at_once(repository, source):
    with pytest.raises(UserError, match="4,097 paths"):
        repository.backup(*[source / str(n) for n in range(SNAPSHOT_PATHS + 1)])
