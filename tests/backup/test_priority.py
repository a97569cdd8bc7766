"""What matters most is sent first, and the snapshot is the same as without."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup.memory_engine import MemorySink, Repository
from backuppeer.backup.priority import Priorities
from backuppeer.backup.roots import split_path
from backuppeer.backup.trees import TreeReader, find_entry
from backuppeer.errors import Unavailable, UserError
from backuppeer.limits import MIB, PRIORITY_FILES, PRIORITY_PATTERNS
from noise import noise


class Ordered(MemorySink):
    """Notes which blobs are durable at each flush, and which packs came after it."""

    def __init__(self, repository, **options):
        super().__init__(repository.keys, repository.index, repository.vault, late=True, **options)
        self.steps = []

    def store(self, draft):
        super().store(draft)
        self.steps.append({entry.blob for entry in draft.entries})

    def flush(self):
        super().flush()
        self.steps.append("durable")


def fill(source, names, size=40_000):
    for name in names:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(noise(name, size))


def blobs(repository, source, *names):
    ids = set()
    for name in names:
        data = (source / name).read_bytes()
        ids.add(repository.keys.blob_id(1, data))
    return ids


NAMES = ["a/1.txt", "a/2.key", "b/deep/3.key", "b/4.txt", "c/5.db", "z.db"]


def test_what_fits_is_durable_before_anything_else_is_sent(repository, source):
    fill(source, NAMES)
    sink = Ordered(repository)
    result = repository.backup(source, sink=sink, priorities=("*.key", "*.db"))
    assert (result.files, result.errors) == (6, 0)
    at = sink.steps.index("durable")
    first = set().union(*sink.steps[:at])
    assert first == blobs(repository, source, "a/2.key", "b/deep/3.key", "c/5.db", "z.db")
    later = set().union(*(step for step in sink.steps[at:] if step != "durable"))
    assert not first & later


def test_the_first_pattern_goes_first(repository, source):
    fill(source, [f"{n:02}.db" for n in range(8)] + [f"x/{n:02}.key" for n in range(8)], 3 * MIB)
    sink = Ordered(repository)
    repository.backup(source, sink=sink, priorities=("*.key", "*.db"), workers=1)
    keys = blobs_of_chunks(repository, source, "*.key")
    at = sink.steps.index("durable")
    order = [bool(step & keys) for step in sink.steps[:at]]
    assert len(order) >= 3
    # Packs with keys come first; one in the middle may hold both.
    assert order == sorted(order, reverse=True)
    assert not sink.steps[at - 1] & keys


def blobs_of_chunks(repository, source, pattern):
    from backuppeer.repo.chunker import Chunker  # noqa: PLC0415 - beside its only use

    chunker = Chunker(repository.keys.chunker_seed)
    return {
        repository.keys.blob_id(1, part)
        for path in source.rglob(pattern)
        for part in chunker.split(memoryview(path.read_bytes()))
    }


def test_the_snapshot_is_the_same_as_without(tmp_path, source):
    fill(source, NAMES)
    fill(source, ["large.db", "b/large.key"], 9 * MIB)
    (source / "empty.key").touch()
    (source / "hard.key").hardlink_to(source / "a" / "1.txt")
    homes = [tmp_path / "plain", tmp_path / "urgent"]
    for home in homes:
        home.mkdir()
    results, contents = [], []
    for home, priorities in zip(homes, [(), ("*.key", "/**/b/", "*.db")], strict=True):
        repository = Repository(home)
        results.append(repository.backup(source, priorities=priorities))
        assert repository.progress.counters["files"] == results[-1].files
        assert repository.progress.counters["bytes"] == results[-1].bytes
        trees = TreeReader(repository.keys, repository.index, cache=repository.cache)
        contents.append(find_entry(trees, results[-1].snapshot.tree, split_path(bytes(source)))[-1].content)
        repository.close()
    plain, urgent = results
    assert contents[0] == contents[1]
    assert (plain.files, plain.bytes, plain.new_bytes, plain.errors) == (
        urgent.files,
        urgent.bytes,
        urgent.new_bytes,
        urgent.errors,
    )


def test_each_file_is_read_once(repository, source, monkeypatch):
    fill(source, NAMES)
    fill(source, ["large.db"], 9 * MIB)
    opened = []
    for module in ("reading", "assembly"):
        whole = __import__(f"backuppeer.backup.{module}", fromlist=["open_file"]).open_file
        monkeypatch.setattr(
            f"backuppeer.backup.{module}.open_file",
            lambda directory, name, whole=whole: opened.append(name) or whole(directory, name),
        )
    repository.backup(source, priorities=("*.db", "a/"))
    assert sorted(opened) == sorted([b"large.db", *(name.rpartition("/")[2].encode() for name in NAMES)])


def test_what_did_not_change_is_not_read_and_not_sent_again(repository, source, monkeypatch):
    fill(source, NAMES)
    first = repository.backup(source)
    (source / "new.key").write_bytes(b"new")
    sink = Ordered(repository)
    second = repository.backup(source, parent=first.snapshot, sink=sink, priorities=("*.key",))
    assert (second.unchanged, second.new_bytes) == (6, 3)
    assert sink.steps[0] == blobs(repository, source, "new.key")


def test_nothing_urgent_costs_no_pack(repository, source):
    fill(source, NAMES)
    first = repository.backup(source)
    sink = Ordered(repository)
    repository.backup(source, parent=first.snapshot, sink=sink, priorities=("*",))
    assert sum(step != "durable" for step in sink.steps) == 1


def test_what_is_left_out_is_not_sent_first_either(repository, source):
    fill(source, NAMES)
    (source / ".backupignore").write_text("*.key\n")
    sink = Ordered(repository)
    result = repository.backup(source, sink=sink, priorities=("*.key",))
    assert result.files == 5
    assert not blobs(repository, source, "a/2.key") & set().union(*(s for s in sink.steps if s != "durable"))


def test_a_file_that_can_not_be_read_is_told_once(repository, source, monkeypatch):
    fill(source, NAMES)
    whole = __import__("backuppeer.backup.reading", fromlist=["open_file"]).open_file

    def fail(directory, name):
        if name == b"2.key":
            raise PermissionError(13, "Permission denied")
        return whole(directory, name)

    monkeypatch.setattr("backuppeer.backup.reading.open_file", fail)
    result = repository.backup(source, priorities=("*.key",))
    assert (result.files, result.errors) == (5, 1)
    assert list(repository.progress.errors) == [bytes(source / "a" / "2.key")]


def test_a_file_that_changes_after_it_was_read_first_is_read_again(repository, source, tmp_path):
    fill(source, NAMES)

    class Changing(Ordered):
        def flush(self):
            super().flush()
            (source / "z.db").write_bytes(b"changed since")

    result = repository.backup(source, sink=Changing(repository), priorities=("z.db",))
    assert (result.files, result.errors) == (6, 0)
    repository.restore(result.snapshot, tmp_path / "back")
    assert (tmp_path / "back" / str(source).lstrip("/") / "z.db").read_bytes() == b"changed since"


def test_when_the_host_goes_away_after_it_what_came_first_is_kept(repository, source):
    fill(source, NAMES, 12 * MIB)
    with pytest.raises(Unavailable):
        repository.backup(source, sink=Ordered(repository, fail_after=2), priorities=("z.db",))
    again = repository.backup(source)
    assert again.new_bytes <= 5 * 12 * MIB


def test_more_files_than_are_remembered_come_with_all_others(repository, source, monkeypatch):
    monkeypatch.setattr("backuppeer.backup.priority.PRIORITY_FILES", 2)
    assert PRIORITY_FILES > 2
    fill(source, NAMES)
    result = repository.backup(source, priorities=("*",))
    assert result.files == 6
    assert [note for note in repository.progress.notes if "4 more new files" in note]


@pytest.mark.parametrize("patterns", [["!a"], [""], ["/"], ["[z-a]", "!"], ["a"] * (PRIORITY_PATTERNS + 1)])
def test_what_is_no_priority_is_refused(patterns):
    with pytest.raises(UserError):
        Priorities(patterns)


@settings(max_examples=200)
@given(st.lists(st.sampled_from(["*.a", "*.b", "x/", "/y", "z"]), max_size=5), st.sampled_from(["a", "x/q.b", "y/z"]))
def test_the_rank_is_the_first_pattern_that_fits(patterns, path):
    def fits(pattern):
        return Priorities([pattern]).rank(b"/" + path.encode()) is not None

    expected = next((n for n, pattern in enumerate(patterns) if fits(pattern)), None)
    assert Priorities(patterns).rank(b"/" + path.encode()) == expected
