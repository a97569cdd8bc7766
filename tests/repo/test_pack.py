"""Packs: round trips, lengths, limits, and every way a copy can be wrong."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backuppeer.crypto.seal import Sealer, Suite
from backuppeer.errors import IntegrityFault, LocalError, NewerFormatError
from backuppeer.ids import BlobId
from backuppeer.limits import LEAF_BYTES, PACK_BLOBS, PACK_MIN_BYTES, PACK_TARGET_BYTES, TAIL_READ_BYTES
from backuppeer.proof.merkle import compute_stored_id
from backuppeer.repo import layout
from backuppeer.repo.blob import Blob, BlobKind, Codec
from backuppeer.repo.pack import NeedTail, PackDraft, PackOpener, open_directory, parse_header, seal_pack
from repo.building import KEYS, close_pack, keys_for, make_blob, noise, sealed_entry


@pytest.fixture(scope="module")
def pack():
    draft = close_pack(*(noise(i, 900 + i) for i in range(20)), b"text " * 5000)
    return draft, seal_pack(draft, KEYS, Suite.AES_256_GCM)


@pytest.mark.parametrize("suite", list(Suite))
def test_every_blob_of_a_sealed_pack_opens_to_its_plaintext(suite):
    datas = {bytes(make_blob(d).blob): d for d in (noise(1, 300_000), b"", b"x", b"tree " * 99, noise(2, 4 << 20))}
    draft = close_pack(*datas.values())
    pack = seal_pack(draft, KEYS, suite)
    directory = open_directory(keys_for, pack.data, len(pack.data))
    opener = PackOpener(KEYS, pack.header)
    opened = {bytes(e.blob): opener.open_entry(e, sealed_entry(pack, e)) for e in directory.entries}
    assert opened == datas
    assert directory.entries == draft.entries
    assert directory.logical == draft.logical
    assert pack.stored == compute_stored_id(pack.data)


@given(st.lists(st.binary(max_size=3000), min_size=1, max_size=30), st.sampled_from(list(Suite)))
@settings(max_examples=25, deadline=None)
def test_packs_of_any_blobs_round_trip(datas, suite):
    pack = seal_pack(close_pack(*datas), KEYS, suite)
    directory = open_directory(keys_for, pack.data[-TAIL_READ_BYTES:], len(pack.data))
    opener = PackOpener(KEYS, directory.header)
    assert sorted(opener.open_entry(e, sealed_entry(pack, e)) for e in directory.entries) == sorted(datas)


def test_two_copies_share_no_salt_no_id_and_no_sealed_byte_run(pack):
    draft, first = pack
    second = seal_pack(draft, KEYS, Suite.AES_256_GCM)
    assert first.header != second.header
    assert first.stored != second.stored
    assert all(sealed_entry(first, e) != sealed_entry(second, e) for e in draft.entries)


def test_a_blob_of_one_copy_does_not_open_with_the_header_of_another(pack):
    draft, first = pack
    second = seal_pack(draft, KEYS, Suite.AES_256_GCM)
    with pytest.raises(IntegrityFault):
        PackOpener(KEYS, second.header).open_entry(draft.entries[0], sealed_entry(first, draft.entries[0]))


def test_a_reused_buffer_leaves_nothing_of_the_pack_before(pack):
    draft, _ = pack
    out = bytearray(b"\xaa" * PACK_TARGET_BYTES)
    sealed = seal_pack(draft, KEYS, Suite.AES_256_GCM, out)
    assert len(sealed.data) == draft.length
    assert sealed.data.obj is out
    assert b"\xaa" * 64 not in bytes(sealed.data)
    open_directory(keys_for, sealed.data, draft.length)


def test_a_buffer_that_is_too_short_is_refused(pack):
    with pytest.raises(LocalError):
        seal_pack(pack[0], KEYS, Suite.AES_256_GCM, bytearray(1000))


def test_blobs_are_shuffled():
    datas = [noise(i, 50) for i in range(64)]
    ids = [make_blob(d).blob for d in datas]
    assert [e.blob for e in close_pack(*datas).entries] != ids


def test_an_empty_pack_cannot_be_closed():
    with pytest.raises(LocalError):
        PackDraft().close()


SPACE = memoryview(bytes(4 << 20))


def _fake(size: int) -> Blob:
    return Blob(BlobId(bytes(32)), BlobKind.DATA, Codec.RAW, size, SPACE[:size])


def test_a_full_pack_stays_within_its_target_and_still_opens():
    draft = PackDraft()
    while draft.add(_fake(4 << 20)):
        pass
    for size in (1 << 20, 1 << 10, 1, 0):
        while draft.add(_fake(size)):
            pass
    closed = draft.close()
    assert closed.length == PACK_TARGET_BYTES
    pack = seal_pack(closed, KEYS, Suite.AES_256_GCM)
    assert len(open_directory(keys_for, pack.data, len(pack.data)).entries) == len(closed.entries)


def test_a_pack_takes_no_more_blobs_than_a_directory_holds():
    draft = PackDraft()
    added = sum(draft.add(_fake(0)) for _ in range(PACK_BLOBS + 5))
    assert added == PACK_BLOBS == len(draft)
    pack = seal_pack(draft.close(), KEYS, Suite.AES_256_GCM)
    need = open_directory(keys_for, pack.data[-TAIL_READ_BYTES:], len(pack.data))
    assert isinstance(need, NeedTail)
    assert len(open_directory(keys_for, pack.data[need.offset :], len(pack.data)).entries) == PACK_BLOBS


@given(st.integers(1, PACK_TARGET_BYTES - 16))
def test_padded_lengths_fit_leave_room_for_a_tag_or_none_and_tell_little(content):
    length = layout.padded_length(content)
    room = length - content
    assert room == 0 or room >= 16
    assert PACK_MIN_BYTES <= length <= PACK_TARGET_BYTES
    assert length % layout.LENGTH_STEP_BYTES == 0
    layout.check_pack_bytes(length)
    if content > PACK_MIN_BYTES:
        assert room <= content * 0.0625 + 2 * layout.LENGTH_STEP_BYTES


@pytest.mark.parametrize("room", range(18))
def test_packs_with_room_of_every_small_size_open(room):
    base = close_pack(b"")
    spare = PACK_MIN_BYTES - 64 - 112 - (21 + 42 + 16) - 16
    draft = PackDraft()
    draft.add(make_blob(noise(3, spare - room)))
    closed = draft.close()
    assert closed.length == (PACK_MIN_BYTES if room in {0, 16, 17} else PACK_MIN_BYTES + layout.LENGTH_STEP_BYTES)
    pack = seal_pack(closed, KEYS, Suite.CHACHA20_POLY1305)
    assert len(open_directory(keys_for, pack.data, len(pack.data)).entries) == len(base.entries)


def test_footer_and_header_lie_in_the_last_leaf(pack):
    last = pack[1].data[(len(pack[1].data) - 1) // LEAF_BYTES * LEAF_BYTES :]
    assert len(last) >= layout.END_BYTES


def _flipped(data, at: int) -> bytearray:
    changed = bytearray(data)
    changed[at] ^= 1
    return changed


@given(st.integers(0, 64 + 48 + 21 + 21 * 42 + 16 - 1), st.integers(1, 255))
@settings(deadline=None)
def test_a_pack_with_any_changed_byte_in_directory_footer_or_header_is_refused(pack, back, mask):
    data = bytearray(pack[1].data)
    data[len(data) - 1 - back] ^= mask
    # One byte says the version: changed, it reads as a newer one, which is refused just so.
    with pytest.raises((IntegrityFault, NewerFormatError)):
        open_directory(keys_for, data, len(data))


def test_a_blob_with_a_changed_byte_is_refused(pack):
    draft, sealed = pack
    opener = PackOpener(KEYS, sealed.header)
    for entry in draft.entries:
        with pytest.raises(IntegrityFault):
            opener.open_entry(entry, _flipped(sealed_entry(sealed, entry), entry.sealed_bytes // 2))


def test_a_blob_in_the_place_of_another_is_refused(pack):
    draft, sealed = pack
    first, second = draft.entries[:2]
    opener = PackOpener(KEYS, sealed.header)
    with pytest.raises(IntegrityFault):
        opener.open_entry(first, sealed_entry(sealed, second))


@pytest.mark.parametrize("pack_bytes", [0, 1, PACK_MIN_BYTES - 8192, PACK_MIN_BYTES + 1, PACK_TARGET_BYTES + 8192])
def test_lengths_no_pack_has_are_refused(pack, pack_bytes):
    with pytest.raises(IntegrityFault, match="no pack has a length"):
        open_directory(keys_for, pack[1].data, pack_bytes)


def test_a_pack_cut_or_grown_is_refused(pack):
    data = bytes(pack[1].data)
    for claimed in (len(data) + 8192, len(data) * 2):
        with pytest.raises(IntegrityFault):
            open_directory(keys_for, data[-4096:], claimed)
    with pytest.raises(IntegrityFault):
        open_directory(keys_for, data[-111:], len(data))


@pytest.mark.parametrize(
    ("at", "value", "word"),
    [(0, 0, "magic"), (8, 0, "version 0"), (9, 0, "suite"), (9, 3, "suite"), (10, 1, "reserved"), (11, 1, "reserved")],
)
def test_a_header_that_is_not_v1_is_refused_by_name(pack, at, value, word):
    data = bytearray(pack[1].header)
    data[at] = value
    with pytest.raises(IntegrityFault, match=word):
        parse_header(data)


def test_a_pack_of_a_newer_version_is_refused_by_name_and_is_no_fault_of_its_host(pack):
    data = bytearray(pack[1].header)
    data[8] = 2
    with pytest.raises(NewerFormatError, match="format version 2, this program knows 1"):
        parse_header(data)
    whole = bytes(pack[1].data[:-64]) + bytes(data)
    with pytest.raises(NewerFormatError, match="format version 2"):
        open_directory(keys_for, whole, len(whole))
    # To who wants one blob it is one like any other that can't be had: the others must go on.
    with pytest.raises(IntegrityFault, match="format version 2"):
        PackOpener(KEYS, data)


def test_a_short_header_is_refused():
    with pytest.raises(IntegrityFault):
        parse_header(b"BPPACK\r\n")


def test_keys_of_another_repository_are_refused(pack):
    other = keys_for(b"o" * 16, 1)
    with pytest.raises(IntegrityFault, match="another repository"):
        open_directory(lambda _r, _g: other, pack[1].data, len(pack[1].data))
    with pytest.raises(IntegrityFault, match="another repository"):
        PackOpener(keys_for(KEYS.repository, 2), pack[1].header)


def _forge(pack, directory: bytes, *, footer: bytes | None = None) -> bytes:
    """What a thief of the keys could make: a pack whose sealed directory says anything."""
    data = bytearray(pack.data)
    header = parse_header(pack.header)
    sealer = Sealer(KEYS.pack_key(header.suite, 1, header.salt), header.suite, header.raw)
    size = len(directory) + 16
    start = len(data) - 112 - size
    view = memoryview(data)
    sealer.seal_into(layout.SLOT_DIRECTORY, directory, view[start : start + size])
    count = (len(directory) - 21) // 42
    sealer.seal_into(
        layout.SLOT_FOOTER, footer or struct.pack(">IIQI12x", start, size, len(data), count), view[-112:-64]
    )
    return bytes(data)


ROW = struct.Struct(">BBII32s")


def _directory(*rows: tuple, count: int | None = None, version: int = 1) -> bytes:
    head = struct.pack(">B16sI", version, b"l" * 16, len(rows) if count is None else count)
    return head + b"".join(ROW.pack(*row, b"b" * 32) for row in rows)


HOSTILE = {
    "version 2": _directory((1, 0, 16, 0), version=2),
    "kind 0": _directory((0, 0, 16, 0)),
    "kind 5": _directory((5, 0, 16, 0)),
    "codec 2": _directory((1, 2, 16, 0)),
    "sealed below a tag": _directory((1, 0, 15, 0)),
    "raw lengths differ": _directory((1, 0, 17, 2)),
    "zstd larger than plain": _directory((1, 1, 20, 3)),
    "plain over 4 MiB": _directory((1, 1, 20, (4 << 20) + 1)),
    "beyond the directory": _directory((1, 1, 300_000, 300_000)),
    "sum over 4 GiB": _directory(*[(1, 0, (4 << 20) + 16, 4 << 20)] * 1100),
    "count too high": _directory((1, 0, 16, 0), count=2),
    "count too low": _directory((1, 0, 16, 0), (1, 0, 16, 0), count=1),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_forged_directory_is_refused(pack, name):
    data = _forge(pack[1], HOSTILE[name])
    with pytest.raises(IntegrityFault):
        open_directory(keys_for, data, len(data))


def test_a_directory_with_more_entries_than_a_pack_may_have_is_refused():
    large = seal_pack(close_pack(noise("large", 700_000)), KEYS, Suite.AES_256_GCM)
    most = _forge(large, _directory(*[(1, 0, 16, 0)] * PACK_BLOBS))
    assert len(open_directory(keys_for, most, len(most)).entries) == PACK_BLOBS
    more = _forge(large, _directory(*[(1, 0, 16, 0)] * (PACK_BLOBS + 1)))
    with pytest.raises(IntegrityFault, match=f"counts {PACK_BLOBS + 1} blobs"):
        open_directory(keys_for, more, len(more))


def test_a_gap_too_small_for_a_tag_is_refused(pack):
    length = len(pack[1].data)
    for gap in (1, 15):
        sealed = length - 112 - (21 + 42 + 16) - 64 - gap
        data = _forge(pack[1], _directory((1, 0, sealed, sealed - 16)))
        with pytest.raises(IntegrityFault, match="more bytes"):
            open_directory(keys_for, data, length)


def test_forged_footers_are_refused(pack):
    directory = _directory((1, 0, 16, 0))
    length = len(pack[1].data)
    size = len(directory) + 16
    start = length - 112 - size
    good = (start, size, length, 1)
    open_directory(keys_for, _forge(pack[1], directory, footer=struct.pack(">IIQI12x", *good)), length)
    for index, value in ((0, start - 1), (0, 2**32 - 1), (1, size - 1), (2, length * 2), (3, 0), (3, 2), (3, 8193)):
        numbers = [*good]
        numbers[index] = value
        data = _forge(pack[1], directory, footer=struct.pack(">IIQI12x", *numbers))
        with pytest.raises(IntegrityFault):
            open_directory(keys_for, data, length)
    data = _forge(pack[1], directory, footer=struct.pack(">IIQI", *good) + b"reservedused")
    with pytest.raises(IntegrityFault, match="reserved"):
        open_directory(keys_for, data, length)
