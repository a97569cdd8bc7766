"""Blobs: ids, the choice of codec, and what a payload may not do."""

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.errors import IntegrityFault, LocalError
from backuppeer.ids import BlobId
from backuppeer.limits import BLOB_PLAIN_BYTES, COMPRESS_SAMPLE_OVER_BYTES
from backuppeer.repo.blob import BlobKind, Codec, Compressor, check_blob, unpack_payload
from repo.building import KEYS, noise


def _unpack(blob) -> bytes:
    return unpack_payload(blob.kind, blob.codec, plain_bytes=blob.plain_bytes, payload=blob.payload)


@given(st.binary(max_size=20_000), st.sampled_from(list(BlobKind)), st.sampled_from([1, 3, 9]))
def test_blobs_round_trip_at_every_level_with_one_id(data, kind, level):
    blob = Compressor(level).pack_blob(KEYS, kind, memoryview(bytearray(data)))
    assert _unpack(blob) == data
    assert blob.blob == KEYS.blob_id(kind, data)
    check_blob(KEYS, kind, blob.blob, data)


def test_the_id_depends_on_the_kind():
    assert len({Compressor(1).pack_blob(KEYS, kind, b"same").blob for kind in BlobKind}) == 4


@pytest.mark.parametrize("size", [1000, COMPRESS_SAMPLE_OVER_BYTES, COMPRESS_SAMPLE_OVER_BYTES + 1, BLOB_PLAIN_BYTES])
def test_noise_stays_raw_and_text_is_compressed(size):
    compressor = Compressor(3)
    raw = compressor.pack_blob(KEYS, BlobKind.DATA, noise(size, size))
    assert (raw.codec, len(raw.payload)) == (Codec.RAW, size)
    text = compressor.pack_blob(KEYS, BlobKind.DATA, (b"a line of text\n" * (size // 15 + 1))[:size])
    assert text.codec is Codec.ZSTD
    assert len(text.payload) < size / 4
    assert len(_unpack(text)) == size


def test_what_saves_less_than_three_per_cent_stays_raw():
    data = noise("hardly", 98_000) + bytes(2000)
    assert Compressor(3).pack_blob(KEYS, BlobKind.DATA, data).codec is Codec.RAW
    assert Compressor(3).pack_blob(KEYS, BlobKind.DATA, data + bytes(5000)).codec is Codec.ZSTD


def test_raw_bytes_are_not_copied_and_a_view_is():
    data = noise("copy", 1000)
    assert Compressor(3).pack_blob(KEYS, BlobKind.DATA, data).payload is data
    buffer = bytearray(data)
    blob = Compressor(3).pack_blob(KEYS, BlobKind.DATA, memoryview(buffer))
    buffer[:] = bytes(1000)
    assert blob.payload == data


def test_data_over_the_limit_is_our_bug():
    with pytest.raises(LocalError):
        Compressor(1).pack_blob(KEYS, BlobKind.DATA, bytes(BLOB_PLAIN_BYTES + 1))


BOMB = zstandard.ZstdCompressor().compress(bytes(64 << 20))
UNSIZED = zstandard.ZstdCompressor(write_content_size=False).compress(b"x" * 100)
OVER = zstandard.ZstdCompressor().compress(bytes((4 << 20) + 1))
GOOD = zstandard.ZstdCompressor().compress(b"x" * 100)


@pytest.mark.parametrize(
    ("payload", "plain_bytes"),
    [
        (BOMB, 64 << 20),
        (OVER, (4 << 20) + 1),
        (BOMB, 100),
        (UNSIZED, 100),
        (GOOD, 99),
        (GOOD, 101),
        (GOOD + b"tail", 100),
        (GOOD + GOOD, 100),
        (GOOD[:-1], 100),
        (GOOD[:5], 100),
        (b"", 0),
        (b"not zstd at all", 15),
    ],
)
def test_hostile_frames_are_refused(payload, plain_bytes):
    with pytest.raises(IntegrityFault):
        unpack_payload(BlobKind.DATA, Codec.ZSTD, plain_bytes=plain_bytes, payload=payload)


@given(st.binary(max_size=300), st.integers(0, 5000))
def test_any_bytes_as_zstd_unpack_or_are_refused(payload, plain_bytes):
    try:
        plain = unpack_payload(BlobKind.DATA, Codec.ZSTD, plain_bytes=plain_bytes, payload=payload)
    except IntegrityFault:
        return
    assert len(plain) == plain_bytes


def test_raw_payloads_of_another_length_are_refused():
    with pytest.raises(IntegrityFault):
        unpack_payload(BlobKind.DATA, Codec.RAW, plain_bytes=3, payload=b"four")


def test_content_that_is_not_what_the_id_names_is_refused():
    with pytest.raises(IntegrityFault):
        check_blob(KEYS, BlobKind.DATA, BlobId(bytes(32)), b"data")
    tree = KEYS.blob_id(BlobKind.TREE, b"data")
    with pytest.raises(IntegrityFault):
        check_blob(KEYS, BlobKind.DATA, tree, b"data")
