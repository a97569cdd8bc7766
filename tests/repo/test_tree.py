"""Trees: one encoding per directory, stable pieces, and no entry that could do harm."""

from zlib import crc32

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backuppeer.errors import IntegrityFault, LocalError
from backuppeer.limits import (
    BLOB_PLAIN_BYTES,
    CONTENT_INLINE_IDS,
    ID_LIST_MAX,
    TREE_PIECE_BYTES,
    TREE_PIECE_ENTRIES,
    TREE_PIECE_MIN_ENTRIES,
)
from backuppeer.repo.extension import Link, attributes_of, device_of, encode_extension, link_of
from backuppeer.repo.tree import (
    DEVICES,
    FIELDS,
    EntryKind,
    TreeEntry,
    cut_content,
    cut_ids,
    decode_content,
    decode_id_list,
    decode_piece,
    encode_id_list,
    encode_pieces,
)
from repo.building import entry, noise

names = st.binary(min_size=1, max_size=40).filter(lambda n: n not in {b".", b".."} and not set(n) & {0, 47})
int64 = st.integers(-(2**63), 2**63 - 1)
uint32, uint64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)


@st.composite
def entries(draw):
    kind = draw(st.sampled_from(list(EntryKind)))
    link = kind is EntryKind.SYMLINK
    ext = draw(st.dictionaries(st.text("ab", max_size=3), st.binary(max_size=9), max_size=2)) | encode_extension(
        attributes=draw(st.dictionaries(names, st.binary(max_size=9), max_size=2)),
        device=draw(st.tuples(uint32, uint32)) if kind in DEVICES else None,
        link=draw(st.none() | st.builds(Link, uint64, uint64)),
        is_sparse=draw(st.booleans()),
    )
    return TreeEntry(
        kind=kind,
        name=draw(names),
        mode=draw(st.integers(0, 0o7777)),
        uid=draw(st.integers(0, 2**32 - 1)),
        gid=draw(st.integers(0, 2**32 - 1)),
        mtime_ns=draw(int64),
        ctime_ns=draw(int64),
        inode=draw(st.integers(0, 2**64 - 1)),
        size=draw(st.integers(0, 2**63 - 1)),
        content=b"" if kind > EntryKind.DIRECTORY else draw(st.binary(max_size=3)) * 32,
        target=draw(st.binary(min_size=1, max_size=50).filter(lambda t: 0 not in t)) if link else b"",
        user=draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=10)),
        group="",
        depth=draw(st.integers(0, 1)) if kind is EntryKind.FILE else 0,
        ext=ext,
    )


@given(st.lists(entries(), max_size=40, unique_by=lambda e: e.name))
def test_directories_round_trip(found):
    ordered = sorted(found, key=lambda e: e.name)
    pieces = list(encode_pieces(ordered))
    assert [e for piece in pieces for e in decode_piece(piece)] == ordered
    assert pieces == list(encode_pieces(ordered))


@given(st.dictionaries(names, st.binary(max_size=9), max_size=3), st.tuples(uint32, uint32), st.tuples(uint64, uint64))
def test_extensions_round_trip_and_have_one_encoding(attributes, device, link):
    ext = encode_extension(attributes=attributes, device=device, link=Link(*link), is_sparse=True)
    assert (attributes_of(ext), device_of(ext), link_of(ext)) == (attributes, device, Link(*link))
    turned = dict(reversed(attributes.items()))
    assert encode_extension(attributes=turned, device=device, link=Link(*link), is_sparse=True) == ext
    assert encode_extension() == {}
    assert link_of({}) is None


def test_an_empty_directory_is_one_empty_piece():
    assert [decode_piece(piece) for piece in encode_pieces([])] == [()]


def test_pieces_are_msgpack_of_version_and_entries():
    found = [entry(f"{i:02}".encode()) for i in range(20)]
    (piece,) = encode_pieces(found)
    assert piece == msgspec.msgpack.encode([1, found])


def _many(count: int) -> list[TreeEntry]:
    return [entry(b"%09d" % i, content=noise(i, 32)) for i in range(count)]


def test_one_more_file_changes_few_pieces_of_a_large_directory():
    found = _many(30_000)
    before = list(encode_pieces(found))
    after = list(encode_pieces([*found[:15_000], entry(b"%09d+" % 14_999), *found[15_000:]]))
    assert len(before) >= 8
    assert len(set(after) - set(before)) <= 2
    assert all(len(decode_piece(p)) <= TREE_PIECE_ENTRIES for p in before)


def test_pieces_stay_within_a_blob_with_the_largest_entries():
    largest = [
        entry(b"%04d" % i + b"n" * 4000, EntryKind.SYMLINK, target=b"t" * 65536, ext={"x": bytes(65000)})
        for i in range(100)
    ]
    pieces = list(encode_pieces(largest))
    assert max(map(len, pieces)) <= BLOB_PLAIN_BYTES
    assert sum(len(decode_piece(p)) for p in pieces) == 100
    (single,) = encode_pieces([entry(b"f", content=bytes(1 << 20))])
    assert len(single) <= BLOB_PLAIN_BYTES
    assert len(decode_piece(single)) == 1


def test_no_piece_has_more_entries_than_its_limit():
    # Names chosen so that no boundary falls by content: the count alone must cut.
    found = [e for e in _many(TREE_PIECE_ENTRIES + 100) if crc32(e.name) % 1024]
    sizes = [len(decode_piece(p)) for p in encode_pieces(found)]
    assert sizes == [TREE_PIECE_ENTRIES, len(found) - TREE_PIECE_ENTRIES]


def test_no_piece_ends_at_a_boundary_before_its_least_number_of_entries():
    boundary = next(name for name in (b"%09d" % i for i in range(10**6)) if crc32(name) % 1024 == 0)
    after = [e for e in (entry(boundary + b"%04d" % i) for i in range(3000)) if crc32(e.name) % 1024]
    found = [entry(boundary), *after]
    assert len(list(encode_pieces(found))) == 1
    last = next(n for n in (boundary + b"z%04d" % i for i in range(10**6)) if crc32(n) % 1024 == 0)
    for count, pieces in ((TREE_PIECE_MIN_ENTRIES - 1, 1), (TREE_PIECE_MIN_ENTRIES, 2)):
        assert len(list(encode_pieces([*found[: count - 1], entry(last), entry(last + b"z")]))) == pieces


def test_a_piece_is_cut_before_the_entry_that_would_bring_it_over_a_mebibyte():
    links = [entry(b"%04d" % i, EntryKind.SYMLINK, target=b"t" * 65_000) for i in range(40)]
    first, *_ = encode_pieces(links)
    size = len(msgspec.msgpack.encode(links[0]))
    assert len(decode_piece(first)) == TREE_PIECE_BYTES // size


@pytest.mark.parametrize("pair", [(b"b", b"a"), (b"a", b"a")])
def test_an_encoder_refuses_entries_out_of_order_or_twice(pair):
    with pytest.raises(LocalError):
        list(encode_pieces([entry(name) for name in pair]))


BAD = {
    "empty name": {"name": b""},
    "dot": {"name": b"."},
    "dotdot": {"name": b".."},
    "slash": {"name": b"a/b"},
    "absolute": {"name": b"/etc"},
    "nul": {"name": b"a\0"},
    "name too long": {"name": b"n" * 4097},
    "content no multiple": {"content": bytes(31)},
    "content too long": {"content": bytes((1 << 20) + 32)},
    "file with target": {"target": b"t"},
    "link without target": {"kind": 3},
    "link with content": {"kind": 3, "target": b"t", "content": bytes(32)},
    "link target with nul": {"kind": 3, "target": b"t\0"},
    "link target too long": {"kind": 3, "target": b"t" * 65537},
    "directory with lists": {"kind": 2, "depth": 1},
    "ext too long": {"ext": {"a": bytes(65537)}},
    "pipe with content": {"kind": 4, "content": bytes(32)},
    "device without numbers": {"kind": 5},
    "device with half its numbers": {"kind": 6, "ext": {"device": bytes(4)}},
    "file with device numbers": {"ext": {"device": bytes(8)}},
    "link of another length": {"ext": {"link": bytes(8)}},
    "holes with a value": {"ext": {"sparse": b"x"}},
    "attributes that are none": {"ext": {"xattrs": b"\xc1"}},
    "attributes and more": {"ext": {"xattrs": b"\x80\x80"}},
    "attribute without a name": {"ext": {"xattrs": msgspec.msgpack.encode({b"": b""})}},
    "attribute name too long": {"ext": {"xattrs": msgspec.msgpack.encode({b"n" * 256: b""})}},
    "attribute name with nul": {"ext": {"xattrs": msgspec.msgpack.encode({b"a\0b": b""})}},
}
BAD_TYPED = {
    "unknown kind": {"kind": 7},
    "kind zero": {"kind": 0},
    "mode with type bits": {"mode": 0o100644},
    "negative size": {"size": -1},
    "size over 63 bits": {"size": 2**63},
    "negative uid": {"uid": -1},
    "uid over 32 bits": {"uid": 2**32},
    "negative inode": {"inode": -1},
    "time over 63 bits": {"mtime_ns": 2**63},
    "depth two": {"depth": 2},
    "name as text": {"name": "text"},
    "float size": {"size": 1.5},
    "user too long": {"user": "u" * 257},
    "ext of text": {"ext": {"a": "b"}},
}
FIELD_NAMES = TreeEntry.__struct_fields__


def _raw(**changes) -> bytes:
    fields = dict(zip(FIELD_NAMES, msgspec.to_builtins(entry(b"a"), builtin_types=(bytes,)), strict=True))
    fields["name"], fields["content"], fields["target"] = b"a", b"", b""
    return msgspec.msgpack.encode([1, [list((fields | changes).values())]])


def test_the_raw_entry_of_these_tests_is_good_unchanged():
    assert decode_piece(_raw()) == (entry(b"a"),)


@pytest.mark.parametrize("name", [*BAD, *BAD_TYPED])
def test_a_decoder_refuses_bad_entries(name):
    with pytest.raises(IntegrityFault):
        decode_piece(_raw(**(BAD | BAD_TYPED)[name]))


@pytest.mark.parametrize("name", BAD)
def test_an_encoder_refuses_what_a_decoder_would(name):
    with pytest.raises(LocalError):
        list(encode_pieces([msgspec.structs.replace(entry(b"a"), **BAD[name])]))


@pytest.mark.parametrize(
    "piece",
    [
        b"",
        b"\x92",
        b"\x92\x01",
        b"\x92\x02\x90",
        b"\x91\x01",
        b"\x93\x01\x90\x90",
        b"\x80",
        b"\x92\x01\x90tail",
        b"\x92\x01\xdd\xff\xff\xff\xff",
        b"\x92\x01" + b"\x91" * 2000,
        msgspec.msgpack.encode([1, [[1] * FIELDS]]),
        msgspec.msgpack.encode([1, [[*range(FIELDS), 0]]]),
    ],
)
def test_what_is_no_piece_is_refused(piece):
    with pytest.raises(IntegrityFault):
        decode_piece(piece)


def test_a_newer_piece_is_refused_by_version():
    with pytest.raises(IntegrityFault, match="version 2"):
        decode_piece(b"\x92\x02\x90")


def test_unsorted_and_repeated_names_are_refused():
    for pair in ([b"b", b"a"], [b"a", b"a"]):
        with pytest.raises(IntegrityFault, match="order"):
            decode_piece(msgspec.msgpack.encode([1, [entry(n) for n in pair]]))


def test_more_entries_than_a_piece_holds_are_refused():
    with pytest.raises(IntegrityFault):
        decode_piece(msgspec.msgpack.encode([1, _many(TREE_PIECE_ENTRIES + 1)]))


def test_a_piece_longer_than_a_blob_is_refused():
    links = [entry(b"%04d" % i, EntryKind.SYMLINK, target=b"t" * 65_536) for i in range(70)]
    assert len(decode_piece(msgspec.msgpack.encode([1, links[:60]]))) == 60
    with pytest.raises(IntegrityFault, match="not a tree piece"):
        decode_piece(msgspec.msgpack.encode([1, links]))


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_any_bytes_decode_or_are_refused(data):
    for start in (b"", b"\x92\x01", b"\x92\x01\x91\x9f"):
        try:
            found = decode_piece(start + data)
        except IntegrityFault:
            continue
        assert all(isinstance(e, TreeEntry) for e in found)


@given(st.integers(0, 40_000), st.sampled_from([16, 32]))
@settings(max_examples=20, deadline=None)
def test_id_lists_join_to_the_whole(count, id_bytes):
    ids = noise(count, count * id_bytes)
    lists = cut_ids(ids, id_bytes)
    assert b"".join(lists) == ids
    assert all(decode_id_list(encode_id_list(part), id_bytes) == part for part in lists)


def test_lists_are_cut_at_their_limit_and_after_ids_that_end_in_twelve_zero_bits():
    assert [len(p) // 16 for p in cut_ids(b"\x01" * 16 * (ID_LIST_MAX + 1), 16)] == [ID_LIST_MAX, 1]
    ids = b"".join(i.to_bytes(16, "big") for i in range(1, 9000))
    assert [len(p) // 16 for p in cut_ids(ids, 16)] == [4096, 4096, 807]


def test_an_id_put_in_changes_one_list():
    ids = noise("ids", 32 * 100_000)
    before, after = set(cut_ids(ids, 32)), set(cut_ids(ids[: 32 * 50_000] + noise("new", 32) + ids[32 * 50_000 :], 32))
    assert len(after - before) <= 2


def test_short_content_stays_in_the_entry_and_long_content_goes_into_lists():
    assert cut_content(bytes(32 * CONTENT_INLINE_IDS)) == []
    ids = noise("content", 32 * (CONTENT_INLINE_IDS + 1))
    assert b"".join(map(decode_content, cut_content(ids))) == ids


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x02" + bytes(32), b"\x01" + bytes(33), bytes(33)])
def test_what_is_no_list_is_refused(data):
    with pytest.raises(IntegrityFault):
        decode_content(data)
    with pytest.raises(IntegrityFault):
        decode_content(b"\x01" + bytes(32 * (ID_LIST_MAX + 1)))
