"""Blobs: a chunk named by a keyed hash, compressed where that pays, and back (DESIGN 4).

Knows: kinds, codecs, zstd. Must not know: packs, nonces, where anything lies. A blob's id covers its kind and its
plaintext, never its compressed form, so that another level or library gives the same id.
"""

import threading
from enum import IntEnum
from typing import Final

import msgspec
import zstandard

from backuppeer.crypto.keys import RepositoryKeys
from backuppeer.errors import IntegrityFault, LocalError
from backuppeer.ids import BlobId
from backuppeer.limits import (
    BLOB_PLAIN_BYTES,
    COMPRESS_SAMPLE_BYTES,
    COMPRESS_SAMPLE_OVER_BYTES,
    COMPRESS_SAVE_PERMILLE,
)

Buffer = bytes | bytearray | memoryview
_SAMPLE_PIECES: Final = 4


class BlobKind(IntEnum):
    """What a blob's plaintext is; part of its id."""

    DATA = 1
    TREE = 2
    SNAPSHOT = 3
    INDEX = 4


class Codec(IntEnum):
    """How a blob's plaintext lies in its pack."""

    RAW = 0
    ZSTD = 1


class Blob(msgspec.Struct, frozen=True, gc=False):
    """A blob ready for a pack; `payload` is compressed or raw, not yet sealed."""

    blob: BlobId
    kind: BlobKind
    codec: Codec
    plain_bytes: int
    payload: Buffer


class Compressor:
    """Makes blobs; one object per thread, because the zstd context inside is reused."""

    def __init__(self, level: int) -> None:
        self._zstd = zstandard.ZstdCompressor(level=level, write_checksum=False, write_content_size=True)

    def pack_blob(self, keys: RepositoryKeys, kind: BlobKind, data: Buffer) -> Blob:
        """Return the blob of `data` (≤ 4 MiB, any buffer); `bytes` that stay raw are kept without a copy.

        Raises:
            LocalError: `data` is longer than a blob may be.

        """
        return self.pack_named(keys.blob_id(kind, data), kind, data)

    def pack_named(self, blob: BlobId, kind: BlobKind, data: Buffer, *, is_lent: bool = False) -> Blob:
        """Do the same for data whose id is known already: hashing it again would cost as much as sealing it.

        `is_lent`: what stays raw is not copied; the caller leaves `data` as it is until the blob is done with.

        Raises:
            LocalError: as `pack_blob`.

        """
        size = len(data)
        if size > BLOB_PLAIN_BYTES:
            raise LocalError(f"a blob of {size} bytes is over the limit of {BLOB_PLAIN_BYTES}")
        if size <= COMPRESS_SAMPLE_OVER_BYTES or self._shrinks_sample(data):
            packed = self._zstd.compress(data)
            if _is_worth(len(packed), size):
                return Blob(blob, kind, Codec.ZSTD, size, packed)
        return Blob(blob, kind, Codec.RAW, size, data if is_lent else bytes(data))

    def _shrinks_sample(self, data: Buffer) -> bool:
        """Say whether four 16 KiB pieces spread over `data` shrink: films and archives are left alone cheaply."""
        piece = COMPRESS_SAMPLE_BYTES // _SAMPLE_PIECES
        stride = (len(data) - piece) // (_SAMPLE_PIECES - 1)
        view = memoryview(data)
        sample = b"".join(view[i * stride : i * stride + piece] for i in range(_SAMPLE_PIECES))
        return _is_worth(len(self._zstd.compress(sample)), len(sample))


def _is_worth(packed_bytes: int, plain_bytes: int) -> bool:
    return packed_bytes * 1000 <= plain_bytes * (1000 - COMPRESS_SAVE_PERMILLE)


class _Decompressors(threading.local):
    """One zstd context per thread: making one costs more than opening a small blob."""

    def __init__(self) -> None:
        self.zstd = zstandard.ZstdDecompressor()


_decompressors = _Decompressors()


def unpack_payload(kind: BlobKind, codec: Codec, *, plain_bytes: int, payload: Buffer) -> bytes:
    """Return the plaintext of an opened payload; its length is exactly `plain_bytes` (≤ 4 MiB).

    Raises:
        IntegrityFault: the payload is not one zstd frame of that content size, or not of that length.

    """
    if plain_bytes > BLOB_PLAIN_BYTES:
        raise IntegrityFault(f"a {kind.name.lower()} blob claims {plain_bytes} bytes, over the limit")
    plain = bytes(payload) if codec is Codec.RAW else _decompress(payload, plain_bytes)
    if len(plain) != plain_bytes:
        raise IntegrityFault(f"a {kind.name.lower()} blob has {len(plain)} bytes, its directory says {plain_bytes}")
    return plain


def _decompress(payload: Buffer, plain_bytes: int) -> bytes:
    try:
        # The library allocates what the frame header claims, whatever max_output_size says: so look first.
        claimed = zstandard.frame_content_size(payload)
        if claimed != plain_bytes:
            raise IntegrityFault(f"a compressed blob claims {claimed} bytes, its directory says {plain_bytes}")
        return _decompressors.zstd.decompress(payload, max_output_size=plain_bytes, allow_extra_data=False)
    except zstandard.ZstdError as exc:
        raise IntegrityFault(f"a compressed blob is not valid zstd: {exc}") from exc


def check_blob(keys: RepositoryKeys, kind: BlobKind, blob: BlobId, plain: Buffer) -> None:
    """Check that `plain` is what the blob id names.

    Raises:
        IntegrityFault: it is not.

    """
    # Not a secret comparison: both sides lie in the same opened pack, and the result ends the read.
    if keys.blob_id(kind, plain) != blob:
        raise IntegrityFault(f"blob {blob.hex()[:16]}… has other content than its id says")
