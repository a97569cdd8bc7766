"""Limits of what lies at rest (DESIGN 4, docs/format.md). See `limits`."""

from typing import Final

from backuppeer.limits.units import GIB, KIB, MIB

CHUNK_MIN_BYTES: Final = 256 * KIB
CHUNK_AVERAGE_BYTES: Final = 1 * MIB
CHUNK_MAX_BYTES: Final = 4 * MIB
CHUNK_LEVEL: Final = 2
"""Normalised chunking: at 2 the sizes of chunks of random data deviate by 288 KiB, at 1 by 565 KiB (measured)."""
PACK_TARGET_BYTES: Final = 16 * MIB
"""A pack never exceeds this, padding included; so one buffer size fits all."""
PACK_MIN_BYTES: Final = 256 * KIB
PACK_BLOBS: Final = 8192
"""Entries of one directory; keeps a hostile directory below 400 KiB."""
TAIL_READ_BYTES: Final = 128 * KIB
"""What recovery reads of a pack first: footer, and the directory of nearly every pack."""
BLOCK_BYTES: Final = 1 * MIB
"""Ranged reads are whole blocks, so a host can't see which file of a pack is wanted."""
LEAF_BYTES: Final = 16 * KIB
BLOB_PLAIN_BYTES: Final = CHUNK_MAX_BYTES
"""Largest plaintext of any blob; decompression stops here."""
MERKLE_LENGTH_BYTES: Final = 2**63 - 1
"""Longest input of a Merkle tree: lengths are bound into the root as 64 bits and must fit a signed integer."""
COMPRESS_SAMPLE_OVER_BYTES: Final = 256 * KIB
"""Larger blobs are tried on a sample first: compressing a megabyte of video in vain costs 3 ms."""
COMPRESS_SAMPLE_BYTES: Final = 64 * KIB
COMPRESS_SAVE_PERMILLE: Final = 30
"""What compression must save to be kept: below this, decompressing costs more than the bytes."""
TREE_PIECE_ENTRIES: Final = 8192
TREE_PIECE_MIN_ENTRIES: Final = 1024
"""A piece of a directory is not cut before this, so that small directories are one blob."""
TREE_PIECE_BYTES: Final = 1 * MIB
"""A piece of a directory is cut here at the latest, whatever its entries; decoding holds one piece."""
TREE_DEPTH: Final = 4096
"""Directories below each other; hostile trees deeper than this are refused."""
ENTRY_NAME_BYTES: Final = 4096
LINK_TARGET_BYTES: Final = 64 * KIB
CONTENT_INLINE_IDS: Final = 4096
"""Chunks named in a file's entry itself; larger files name lists of chunks, so that entries stay small."""
CONTENT_BYTES: Final = 1 * MIB
"""Ids that one entry or snapshot may hold."""
ID_LIST_MAX: Final = 16384
"""Ids of one list blob: 512 KiB of blob ids, 256 KiB of pack ids."""
ACCOUNT_NAME_CHARS: Final = 256
EXTENSION_BYTES: Final = 64 * KIB
"""All extension fields of one entry or snapshot together."""
ATTRIBUTE_NAME_BYTES: Final = 255
"""XATTR_NAME_MAX of Linux."""
ATTRIBUTES_BYTES: Final = 60 * KIB
"""Extended attributes of one entry, names and values: what EXTENSION_BYTES leaves them. ext4 keeps 4 KiB, others 64."""
SNAPSHOT_PATHS: Final = 4096
SNAPSHOT_TAGS: Final = 256
SNAPSHOT_TEXT_CHARS: Final = 1024
SNAPSHOT_PREFIX_CHARS: Final = 4
"""Shortest prefix of a snapshot's id that a person may give (DESIGN 10)."""
INVENTORY_SNAPSHOTS: Final = 65536
INVENTORY_PIECES: Final = 65536
"""Lists of pack ids in one inventory: about 270 million packs, 4 PiB."""
INDEX_BATCH: Final = 256
"""Blob ids of one look-up: as many question marks as SQLite prepares quickly."""
ABSENCE_BLOBS: Final = 50_000
"""An index with no more blobs keeps in memory what it has not: of what meets a large one little is new."""
INDEX_CACHE_KIB: Final = 16 * KIB
"""Page cache of the index; memory stays bounded whatever the number of chunks."""
TREE_CACHE_BYTES: Final = 1 * GIB
"""Local copies of tree, snapshot and index blobs; the oldest go first."""
TREE_CACHE_KIB: Final = 4 * KIB
PARTIAL_CACHE_KIB: Final = 2 * KIB
"""Page cache of the partial tree: written in bunches, read directory by directory."""
"""Page cache of the tree cache: its blobs are read once each."""
TREE_CACHE_TOUCHES: Final = 65536
"""Reads of the tree cache remembered before they are written down as recent use."""
TAKE_OVER_STEP: Final = 1_000_000
"""How far above the last head another writer begins: two years of a backup a minute by one that it could not hear."""
