"""Snapshots round trip, and nothing else decodes as one."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.errors import IntegrityFault, LocalError
from backuppeer.ids import SnapshotId
from backuppeer.repo.snapshot import (
    Snapshot,
    decode_known,
    decode_snapshot,
    encode_snapshot,
    find_newer,
    refuse_newer,
)
from repo.building import make_snapshot

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(
    st.integers(1, 4).map(lambda n: bytes(32 * n)),
    st.integers(-(2**63), 2**63 - 1),
    st.lists(st.binary(min_size=1, max_size=50), max_size=4),
    st.lists(texts, max_size=3),
    st.sampled_from([b"", bytes(32)]),
)
def test_snapshots_round_trip(tree, time_ns, paths, tags, parent):
    snapshot = make_snapshot(tree, time_ns=time_ns, paths=paths, tags=tags, parent=parent, ext={"a": b"b"})
    assert decode_snapshot(encode_snapshot(snapshot)) == snapshot


def test_the_encoding_is_a_map_with_the_names_of_the_specification():
    fields = msgspec.msgpack.decode(encode_snapshot(make_snapshot(bytes(32))))
    names = "tree time_ns paths host user tags set files dirs bytes program parent ext v"
    assert list(fields) == names.split()


BAD = {
    "tree empty": {"tree": b""},
    "tree no multiple": {"tree": bytes(33)},
    "tree too long": {"tree": bytes((1 << 20) + 32)},
    "negative count": {"files": -1},
    "parent short": {"parent": bytes(31)},
    "empty path": {"paths": [b""]},
    "long path": {"paths": [b"/" * 4097]},
    "many paths": {"paths": [b"/"] * 4097},
    "long tag": {"tags": ["t" * 1025]},
    "many tags": {"tags": ["t"] * 257},
    "long host": {"host": "h" * 1025},
    "ext too long": {"ext": {"a": bytes(65537)}},
    "version 2": {"v": 2},
}


@pytest.mark.parametrize("name", BAD)
def test_bad_fields_are_refused_on_both_ways(name):
    fields = msgspec.msgpack.decode(encode_snapshot(make_snapshot(bytes(32)))) | BAD[name]
    with pytest.raises(IntegrityFault):
        decode_snapshot(msgspec.msgpack.encode(fields))
    with pytest.raises(LocalError):
        encode_snapshot(Snapshot(**fields))


def test_a_newer_version_is_named_and_unknown_or_missing_fields_are_refused():
    fields = msgspec.msgpack.decode(encode_snapshot(make_snapshot(bytes(32))))
    with pytest.raises(IntegrityFault, match="version 9"):
        decode_snapshot(msgspec.msgpack.encode(fields | {"v": 9, "new": 1}))
    with pytest.raises(IntegrityFault):
        decode_snapshot(msgspec.msgpack.encode(fields | {"new": 1}))
    del fields["time_ns"]
    with pytest.raises(IntegrityFault):
        decode_snapshot(msgspec.msgpack.encode(fields))


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(data):
    with pytest.raises(IntegrityFault):
        decode_snapshot(data)


def test_a_snapshot_longer_than_a_blob_is_refused():
    fields = msgspec.msgpack.decode(encode_snapshot(make_snapshot(bytes(32))))
    within = msgspec.msgpack.encode(fields | {"paths": [b"/" * 4096] * 1000})
    decode_snapshot(within)
    with pytest.raises(IntegrityFault, match="over the limit"):
        decode_snapshot(msgspec.msgpack.encode(fields | {"paths": [b"/" * 4096] * 1030}))


def test_newer_ones_are_told_by_version_and_left_out_where_all_are_read():
    fields = msgspec.msgpack.decode(encode_snapshot(make_snapshot(bytes(32))))
    newer = msgspec.msgpack.encode(fields | {"v": 2, "new": 1})
    rows = [(SnapshotId(b"a" * 32), encode_snapshot(make_snapshot(bytes(32)))), (SnapshotId(b"b" * 32), newer)]
    assert find_newer(rows) == {b"b" * 32: 2}
    assert [name for name, _ in decode_known(rows)] == [b"a" * 32]
    assert "format 2, this program knows 1" in refuse_newer(rows[1][0], 2).message
    with pytest.raises(IntegrityFault):
        decode_known([(SnapshotId(b"c" * 32), b"\x00")])
