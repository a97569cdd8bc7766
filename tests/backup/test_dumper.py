"""A dump is byte for byte what was saved, or it is told that it is not all."""

import io
import os
import subprocess
import tarfile
import threading
from pathlib import Path

import msgspec
import pytest

from backup.memory_engine import Recorder
from backup.trees_on_disk import describe
from backuppeer.backup import dumper as module
from backuppeer.backup import readahead
from backuppeer.backup.dumper import Dumper, cut_pieces
from backuppeer.backup.selection import Selection
from backuppeer.backup.tarball import fits_tar, make_breach, make_end, make_header, make_padding
from backuppeer.backup.trees import TreeReader, find_entry
from backuppeer.errors import IntegrityFault, InterruptedByUserError, Unavailable
from backuppeer.repo.extension import encode_extension
from backuppeer.repo.tree import EntryKind, TreeEntry
from noise import noise


class Dumping:
    """Dumps from a repository in memory."""

    def __init__(self, repository):
        self.repository, self.progress, self.cancel = repository, Recorder(), threading.Event()
        self.trees = TreeReader(repository.keys, repository.index, cache=repository.cache, source=repository.source)
        self.dumper = Dumper(
            repository.keys,
            repository.index,
            trees=self.trees,
            source=repository.source,
            progress=self.progress,
            cancel=self.cancel,
        )

    def find(self, snapshot, path):
        return find_entry(self.trees, snapshot.tree, [part for part in bytes(path).split(b"/") if part])

    def file(self, snapshot, path):
        return self.dumper.dump_file(bytes(path).lstrip(b"/"), self.find(snapshot, path)[-1])

    def tar(self, snapshot, path=b"/"):
        return self.dumper.dump_tar(Selection(self.trees, snapshot.tree, self.find(snapshot, path)))


@pytest.fixture
def dumping(repository):
    return Dumping(repository)


def take(pieces):
    """Return what came, and the error that ended it."""
    got = []
    try:
        got.extend(pieces)
    except (IntegrityFault, Unavailable) as exc:
        return b"".join(got), exc
    return b"".join(got), None


def unpack(archive, target, *options):
    """Let the system's tar unpack an archive; return its exit code."""
    target.mkdir()
    command = ["tar", "--extract", "--numeric-owner", "--preserve-permissions", "--directory", str(target), *options]
    return subprocess.run(command, input=archive, capture_output=True, check=False).returncode


def spoil(repository, packs):
    for pack in packs:
        data = bytearray(repository.vault.packs[pack])
        data[len(data) // 2] ^= 1
        repository.vault.packs[pack] = bytes(data)


# --- files
def test_a_file_comes_back_in_pieces_of_a_mebibyte(repository, source, dumping):
    content = noise(1, 5_000_000)
    (source / "big").write_bytes(content)
    snapshot = repository.backup(source).snapshot
    pieces = list(dumping.file(snapshot, source / "big"))
    assert b"".join(pieces) == content
    assert {len(piece) for piece in pieces[:-1]} == {1 << 20}
    assert (dumping.dumper.done.files, dumping.dumper.done.bytes) == (1, 5_000_000)
    assert dumping.progress.counters == {"files": 1, "bytes": 5_000_000}


@pytest.mark.parametrize("content", [b"", b"x", b"\0" * 3_000_000])
def test_small_empty_and_repeating_files_come_back(repository, source, dumping, content):
    (source / "f").write_bytes(content)
    snapshot = repository.backup(source).snapshot
    assert b"".join(dumping.file(snapshot, source / "f")) == content


def test_a_long_file_comes_back_window_by_window(repository, source, dumping, monkeypatch):
    monkeypatch.setattr("backuppeer.repo.tree.CONTENT_INLINE_IDS", 1)
    monkeypatch.setattr(readahead, "WINDOW_BYTES", 1 << 20)
    monkeypatch.setattr(readahead, "INDEX_BATCH", 2)
    content = noise(1, 9_000_000)
    (source / "long").write_bytes(content)
    snapshot = repository.backup(source).snapshot
    assert dumping.find(snapshot, source / "long")[-1].depth == 1
    assert b"".join(dumping.file(snapshot, source / "long")) == content


def test_a_spoilt_part_ends_a_file_after_what_is_right_and_names_it(repository, source, dumping, monkeypatch):
    monkeypatch.setattr(readahead, "WINDOW_BYTES", 1 << 20)
    content = noise(1, 40_000_000)
    (source / "big").write_bytes(content)
    snapshot = repository.backup(source).snapshot
    spoil(repository, repository.data_packs()[1:])
    got, error = take(dumping.file(snapshot, source / "big"))
    assert isinstance(error, IntegrityFault)
    assert error.message.startswith(f"{source}/big: ")
    assert 1_000_000 < len(got) < len(content)
    assert content.startswith(got)


def test_a_host_that_is_away_is_told_as_that(repository, source, dumping):
    (source / "f").write_bytes(noise(1, 1000))
    snapshot = repository.backup(source).snapshot
    repository.source.offline = set(repository.vault.packs)
    assert take(dumping.file(snapshot, source / "f"))[1].exit_code == 11


def test_a_chunk_in_no_known_pack_is_told(repository, source, dumping):
    (source / "f").write_bytes(noise(1, 1000))
    snapshot = repository.backup(source).snapshot
    entry = dumping.find(snapshot, source / "f")[-1]
    repository.index.clear()
    got, error = take(dumping.dumper.dump_file(b"f", entry))
    assert got == b""
    assert "no known pack" in error.message


def test_a_file_of_another_size_than_the_snapshot_says_is_told(repository, source, dumping):
    (source / "f").write_bytes(noise(1, 1000))
    snapshot = repository.backup(source).snapshot
    entry = msgspec.structs.replace(dumping.find(snapshot, source / "f")[-1], size=999)
    assert "has 1000 bytes, the snapshot says 999" in take(dumping.dumper.dump_file(b"f", entry))[1].message


def test_a_cancelled_dump_ends(repository, source, dumping):
    (source / "f").write_bytes(noise(1, 1000))
    snapshot = repository.backup(source).snapshot
    dumping.cancel.set()
    with pytest.raises(InterruptedByUserError):
        list(dumping.file(snapshot, source / "f"))
    with pytest.raises(InterruptedByUserError):
        list(dumping.tar(snapshot))


# --- archives
def make_awkward(source):
    (source / "a" / "empty").mkdir(parents=True)
    (source / "a" / "link").symlink_to("../x" * 60)
    (source / ("long" * 60)).mkdir()
    (source / ("long" * 60) / ("name" * 60)).write_bytes(b"deep")
    Path(os.fsdecode(bytes(source) + b"/bad\xff\n\x1b[31m")).write_bytes(b"bytes")
    (source / "Grüße 東京").write_text("ü")
    (source / "exact").write_bytes(noise(1, 1024))
    (source / "big").write_bytes(noise(1, 3_000_000))
    os.utime(source / "exact", ns=(0, 1_234_567_890_123_456_789))
    os.utime(source / "big", ns=(0, -1_500_000_000))
    os.utime(source / "a" / "link", ns=(0, 987_654_321_000_000_001), follow_symlinks=False)
    (source / "a").chmod(0o2750)
    os.utime(source / "a", ns=(0, 1_000_000_007))


def test_an_archive_unpacked_by_tar_is_the_folder_again(repository, source, dumping, tmp_path):
    make_awkward(source)
    if os.geteuid() == 0:
        os.lchown(source / "exact", 3_000_000_000, 77)
    snapshot = repository.backup(source).snapshot
    archive = b"".join(dumping.tar(snapshot, source))
    assert unpack(archive, tmp_path / "out") == 0
    assert describe(tmp_path / "out" / source.relative_to("/")) == describe(source)
    assert len(archive) % tarfile.RECORDSIZE == 0


def test_an_archive_is_read_by_the_standard_library_too(repository, source, dumping):
    make_awkward(source)
    snapshot = repository.backup(source).snapshot
    archive = b"".join(dumping.tar(snapshot, source))
    with tarfile.open(fileobj=io.BytesIO(archive), encoding="utf-8", errors="surrogateescape") as tar:
        members = {os.fsencode(member.name): member for member in tar.getmembers()}
        base = bytes(source).lstrip(b"/")
        assert tar.extractfile(members[base + b"/bad\xff\n\x1b[31m"]).read() == b"bytes"
    assert base in members
    assert members[base + b"/exact"].pax_headers["mtime"] == "1234567890.123456789"
    assert members[base + b"/big"].pax_headers["mtime"] == "-1.500000000"


def test_hard_links_pipes_holes_and_attributes_are_in_an_archive(repository, source, dumping, tmp_path):
    (source / "one").write_bytes(noise(1, 100_000))
    (source / "sub").mkdir()
    os.link(source / "one", source / "sub" / "two")
    os.mkfifo(source / "pipe", 0o640)
    with (source / "holes").open("wb") as file:
        file.truncate(1_000_000)
        file.write(b"x")
    value = b"\xff\n=\0any"
    os.setxattr(source / "one", "user.mark", value)
    snapshot = repository.backup(source).snapshot
    archive = b"".join(dumping.tar(snapshot, source))
    assert unpack(archive, tmp_path / "out", "--xattrs") == 0
    out = tmp_path / "out" / source.relative_to("/")
    assert describe(out) == describe(source)
    assert (out / "one").samefile(out / "sub" / "two")
    assert os.getxattr(out / "one", "user.mark") == value
    assert (dumping.dumper.done.files, dumping.dumper.done.left_out) == (3, 0)
    assert dumping.dumper.done.bytes == 1_100_000


def test_of_a_file_with_names_elsewhere_an_archive_holds_the_bytes(repository, source, dumping, tmp_path):
    (source / "one").write_bytes(b"bytes")
    (source / "sub").mkdir()
    os.link(source / "one", source / "sub" / "two")
    snapshot = repository.backup(source).snapshot
    assert unpack(b"".join(dumping.tar(snapshot, source / "sub")), tmp_path / "out") == 0
    assert (tmp_path / "out" / source.relative_to("/") / "sub" / "two").read_bytes() == b"bytes"


@pytest.mark.parametrize(("kind", "letter"), [(EntryKind.CHARACTER_DEVICE, "3"), (EntryKind.BLOCK_DEVICE, "4")])
def test_devices_keep_their_numbers_where_a_header_has_room(kind, letter):
    def device(major, minor):
        known = {"mode": 0o600, "uid": 0, "gid": 0, "mtime_ns": 0, "ctime_ns": 0, "inode": 1, "size": 0}
        return TreeEntry(kind, b"d", ext=encode_extension(device=(major, minor)), **known)

    member = tarfile.TarInfo.frombuf(make_header(b"d", device(8, 1_048_575)), "utf-8", "surrogateescape")
    assert (member.type.decode(), member.devmajor, member.devminor) == (letter, 8, 1_048_575)
    assert fits_tar(device(0o7777777, 0))
    assert not fits_tar(device(8, 2**32 - 1))


def test_all_of_a_snapshot_or_one_file_can_be_an_archive(repository, source, dumping):
    (source / "f").write_bytes(b"1")
    snapshot = repository.backup(source).snapshot
    base = str(source).lstrip("/")
    for path, first in ((b"/", base.split("/")[0]), (bytes(source / "f"), f"{base}/f")):
        with tarfile.open(fileobj=io.BytesIO(b"".join(Dumping(repository).tar(snapshot, path)))) as tar:
            names = tar.getnames()
        assert (names[0], names[-1]) == (first, f"{base}/f")


def test_an_archive_broken_by_a_spoilt_pack_is_unreadable_at_its_end(repository, source, dumping, tmp_path):
    for number in range(12):
        (source / f"{number:02}").write_bytes(noise(number, 2_000_000))
    snapshot = repository.backup(source).snapshot
    spoil(repository, repository.data_packs()[:1])
    archive, error = take(dumping.tar(snapshot, source))
    assert isinstance(error, IntegrityFault)
    assert unpack(archive, tmp_path / "out") != 0
    with pytest.raises(tarfile.ReadError), tarfile.open(fileobj=io.BytesIO(archive), mode="r|") as tar:
        tar.getnames()


def test_an_archive_broken_before_its_first_byte_is_unreadable_too(repository, source, dumping, tmp_path):
    (source / "f").write_bytes(noise(1, 1000))
    snapshot = repository.backup(source).snapshot
    spoil(repository, repository.vault.packs)
    archive, error = take(dumping.tar(snapshot, source))
    assert error is not None
    assert archive == make_breach()
    assert unpack(archive, tmp_path / "out") != 0


def test_a_folder_that_is_missing_breaks_an_archive_by_name(repository, source, dumping, tmp_path):
    (source / "lost").mkdir()
    (source / "lost" / "f").write_bytes(b"1")
    snapshot = repository.backup(source).snapshot
    lost = dumping.find(snapshot, source / "lost")[-1].content
    keep = dumping.trees.read_blob
    dumping.trees.read_blob = lambda blob: keep(blob) if blob != lost else fail()
    archive, error = take(dumping.tar(snapshot, source))
    assert error.message.startswith(f"{source}/lost: ")
    assert unpack(archive, tmp_path / "out") != 0


def fail():
    raise IntegrityFault("it is missing")


def test_wherever_an_archive_stops_it_does_not_look_whole(repository, source, dumping, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CONTROL_PIECE_BYTES", 512)
    for number in range(3):
        (source / f"{number}").write_bytes(noise(number, 700))
    snapshot = repository.backup(source).snapshot
    pieces = list(dumping.tar(snapshot, source))
    assert unpack(b"".join(pieces), tmp_path / "whole") == 0
    # the last pieces are the end of the archive: what comes before them is all of it
    for count in range(1, len(pieces) - 20):
        archive = b"".join(pieces[:count])
        assert len(archive) % 512 == 256
        assert unpack(archive, tmp_path / str(count)) != 0


def test_kinds_that_an_archive_can_not_hold_are_named_and_left_out(repository, source, dumping, monkeypatch):
    (source / "f").write_bytes(b"1")
    (source / "strange").symlink_to("x")
    snapshot = repository.backup(source).snapshot
    monkeypatch.setattr(module, "fits_tar", lambda entry: entry.kind != EntryKind.SYMLINK)
    with tarfile.open(fileobj=io.BytesIO(b"".join(dumping.tar(snapshot, source)))) as tar:
        assert not any(name.endswith("strange") for name in tar.getnames())
    assert dumping.dumper.done.left_out == 1
    assert dumping.progress.errors == {bytes(source / "strange"): "an archive can't hold this kind of entry: symlink"}


# --- parts
def test_owners_and_numbers_too_large_for_the_old_header_survive():
    entry = TreeEntry(
        EntryKind.FILE,
        b"f",
        mode=0o4755,
        uid=2**32 - 1,
        gid=2**31,
        mtime_ns=2**62,
        ctime_ns=0,
        inode=1,
        size=2**40,
        user="jürgen" * 10,
        group="g",
    )
    member = tarfile.TarInfo.frombuf(make_header(b"f", entry)[-512:], "utf-8", "surrogateescape")
    assert (member.mode, member.gname) == (0o4755, "g")
    pax = make_header(b"f", entry)[512:-512]
    for text in ("uid=4294967295\n", "gid=2147483648\n", f"size={2**40}\n", "mtime=4611686018.427387904\n"):
        assert text.encode() in pax
    assert f"uname={'jürgen' * 10}\n".encode() in pax


def test_padding_and_end_fill_blocks_and_records():
    assert [len(make_padding(size)) for size in (0, 1, 511, 512, 513)] == [0, 511, 1, 0, 511]
    for written in (0, 512, 9216, 9728, 10240):
        assert (written + len(make_end(written))) % 10240 == 0
        assert len(make_end(written)) >= 1024


def test_pieces_are_cut_from_parts_of_any_size(monkeypatch):
    monkeypatch.setattr(module, "CONTROL_PIECE_BYTES", 4)
    assert list(cut_pieces([b"a", b"bc", b"", b"defghijkl"], first_bytes=3)) == [b"abc", b"defg", b"hijk", b"l"]
    assert list(cut_pieces([], first_bytes=3)) == []


@pytest.mark.parametrize(("rest", "kept"), [(True, [b"abc", b"d"]), (False, [b"abc"])])
def test_what_was_verified_comes_before_an_error_where_it_may(rest, kept):
    def parts():
        yield b"abcd"
        raise IntegrityFault("no")

    got = []
    with pytest.raises(IntegrityFault):
        got.extend(cut_pieces(parts(), first_bytes=3, rest=rest))
    assert got == kept
