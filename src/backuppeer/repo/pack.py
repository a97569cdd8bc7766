"""Packs: blobs collected, shuffled and padded once, sealed anew for each copy, and opened again (docs/format.md).

Knows: the order of slots, what is sealed with which. Must not know: hosts, where copies go, the index.

Theory of operation. A `PackDraft` takes blobs until the next would bring the padded length over 16 MiB. `close`
shuffles the blobs once with the system's randomness and fixes slots, offsets and length: they are the same in all
copies, so the index names a blob by (logical pack, offset) and needn't know of copies. `seal_pack` makes one copy: a
fresh 32-byte salt gives a key that no other copy has, so slot numbers can serve as nonces and no host can answer with
another host's bytes. A copy whose upload breaks off is sent again as the same bytes or sealed anew, never mixed.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from backuppeer.crypto.keys import RepositoryKeys
from backuppeer.crypto.seal import TAG_BYTES, Opener, Sealer, Suite
from backuppeer.errors import IntegrityFault, LocalError, NewerFormatError
from backuppeer.ids import LogicalId, RepositoryId, StoredId
from backuppeer.limits import BLOB_PLAIN_BYTES, PACK_BLOBS, PACK_TARGET_BYTES
from backuppeer.proof.merkle import hash_leaves, stored_id_of_leaves
from backuppeer.repo.blob import Blob, check_blob, unpack_payload
from backuppeer.repo.layout import (
    END_BYTES,
    ENTRY_BYTES,
    HEADER_BYTES,
    SALT_BYTES,
    SLOT_DIRECTORY,
    SLOT_FOOTER,
    SLOT_PADDING,
    VERSION,
    Directory,
    Entry,
    Footer,
    Header,
    check_pack_bytes,
    decode_directory,
    decode_footer,
    directory_sealed_bytes,
    encode_directory,
    encode_footer,
    encode_header,
    padded_length,
    parse_header,
)

__all__ = [
    "Blob",
    "ClosedDraft",
    "Directory",
    "Entry",
    "Header",
    "NeedTail",
    "PackDraft",
    "PackOpener",
    "SealedPack",
    "open_directory",
    "parse_header",
    "seal_pack",
]

Buffer = bytes | bytearray | memoryview
_EMPTY_BYTES: Final = HEADER_BYTES + directory_sealed_bytes(0) + END_BYTES
_CONTENT_MAX_BYTES: Final = PACK_TARGET_BYTES - TAG_BYTES
"""Content up to here pads to 16 MiB or less, whatever bucket it falls into."""
_ZEROS: Final = memoryview(bytes(PACK_TARGET_BYTES))
"""Plaintext of all padding; zeroed pages of the system, so it costs address space, not memory."""


class PackDraft:
    """Blobs on their way into one pack; not thread-safe. The logical id is chosen at the start."""

    __slots__ = ("_blobs", "logical", "sealed_size")

    def __init__(self) -> None:
        self.logical = LogicalId(secrets.token_bytes(16))
        self.sealed_size = _EMPTY_BYTES
        self._blobs: list[Blob] = []

    @property
    def is_empty(self) -> bool:
        """Say whether no blob was added yet."""
        return not self._blobs

    def __len__(self) -> int:
        return len(self._blobs)

    def add(self, blob: Blob) -> bool:
        """Take a blob; False when it doesn't fit any more (nothing is added: close this draft, start another)."""
        size = self.sealed_size + len(blob.payload) + (TAG_BYTES + ENTRY_BYTES)
        if size > _CONTENT_MAX_BYTES or len(self._blobs) >= PACK_BLOBS:
            return False
        self.sealed_size = size
        self._blobs.append(blob)
        return True

    def close(self) -> "ClosedDraft":
        """Shuffle the blobs and fix the layout.

        Raises:
            LocalError: no blob was added.

        """
        if not self._blobs:
            raise LocalError("an empty pack can't be closed")
        # Shuffled so that a host can't read from the order of ranges which files lie together. One read of 64-bit
        # sort keys from the system: ties are harmless.
        keys = memoryview(secrets.token_bytes(8 * len(self._blobs))).cast("Q")
        order = sorted(range(len(self._blobs)), key=keys.__getitem__)
        blobs = [self._blobs[i] for i in order]
        entries: list[Entry] = []
        offset = HEADER_BYTES
        for slot, b in enumerate(blobs):
            sealed_bytes = len(b.payload) + TAG_BYTES
            entries.append(Entry(b.blob, b.kind, b.codec, slot, offset, sealed_bytes, b.plain_bytes))
            offset += sealed_bytes
        length = padded_length(self.sealed_size)
        return ClosedDraft(self.logical, tuple(entries), tuple(b.payload for b in blobs), length)


@dataclass(frozen=True, slots=True)
class ClosedDraft:
    """A pack's content and layout, the same for all copies; `payloads` are still plain, in slot order."""

    logical: LogicalId
    entries: tuple[Entry, ...]
    payloads: tuple[Buffer, ...]
    length: int


@dataclass(frozen=True, slots=True)
class SealedPack:
    """One copy: `data` are its bytes (a view into the buffer it was sealed in), `leaves` their Merkle leaf hashes."""

    logical: LogicalId
    stored: StoredId
    header: bytes
    data: memoryview
    leaves: bytes


def seal_pack(draft: ClosedDraft, keys: RepositoryKeys, suite: Suite, out: bytearray | None = None) -> SealedPack:
    """Seal one copy of a pack into `out` (≥ the draft's length; reused by the caller once `data` is done with).

    Every call draws a new salt, hence a new key: the same draft sealed twice shares no key and no nonce.

    Raises:
        LocalError: `out` is too short.

    """
    # Guarantee relied on by every nonce below: a salt is never used for two packs. 32 fresh bytes from the system.
    salt = secrets.token_bytes(SALT_BYTES)
    header = encode_header(suite=suite, generation=keys.generation, repository=keys.repository, salt=salt)
    sealer = Sealer(keys.pack_key(suite, VERSION, salt), suite, header)
    if out is not None and len(out) < draft.length:
        raise LocalError(f"a buffer of {len(out)} bytes can't take a pack of {draft.length}")
    view = memoryview(out if out is not None else bytearray(draft.length))[: draft.length]
    view[:HEADER_BYTES] = header
    offset = HEADER_BYTES
    seal_into = sealer.seal_into
    for slot, payload in enumerate(draft.payloads):
        offset += seal_into(slot, payload, view[offset : offset + len(payload) + TAG_BYTES])
    _seal_end(draft, sealer, view, offset)
    view[-HEADER_BYTES:] = header
    leaves = hash_leaves(view)
    return SealedPack(draft.logical, stored_id_of_leaves(leaves, draft.length), header, view, leaves)


def _seal_end(draft: ClosedDraft, sealer: Sealer, view: memoryview, offset: int) -> None:
    """Seal padding, directory and footer behind the blobs, which end at `offset`."""
    count = len(draft.entries)
    directory_bytes = directory_sealed_bytes(count)
    directory_offset = draft.length - END_BYTES - directory_bytes
    room = directory_offset - offset
    if room:
        sealer.seal_into(SLOT_PADDING, _ZEROS[: room - TAG_BYTES], view[offset:directory_offset])
    directory = encode_directory(draft.logical, draft.entries)
    sealer.seal_into(SLOT_DIRECTORY, directory, view[directory_offset : directory_offset + directory_bytes])
    footer = encode_footer(Footer(directory_offset, directory_bytes, draft.length, count))
    sealer.seal_into(SLOT_FOOTER, footer, view[draft.length - END_BYTES : draft.length - HEADER_BYTES])


@dataclass(frozen=True, slots=True)
class NeedTail:
    """The directory starts at `offset`, before the bytes given: read from there to the end and ask again."""

    offset: int


def open_directory(
    keys_for: Callable[[RepositoryId, int], RepositoryKeys], tail: Buffer, pack_bytes: int
) -> Directory | NeedTail:
    """Open the directory of a pack of `pack_bytes` from its last bytes (at least 112; 128 KiB nearly always do).

    `keys_for` gives the keys of (repository, generation) and refuses those it doesn't have by its own error.

    Raises:
        IntegrityFault: the bytes are no pack of ours, were changed, or contradict themselves.
        NewerFormatError: a pack of a newer version.

    """
    check_pack_bytes(pack_bytes)
    if not END_BYTES <= len(tail) <= pack_bytes:
        raise IntegrityFault(f"{len(tail)} bytes are no tail of a pack of {pack_bytes}")
    view = memoryview(tail)
    header = parse_header(view[-HEADER_BYTES:])
    opener = _opener_for(keys_for(header.repository, header.generation), header)
    plain = opener.open(SLOT_FOOTER, view[-END_BYTES:-HEADER_BYTES])
    footer = decode_footer(plain, pack_bytes)
    start = footer.directory_offset - (pack_bytes - len(tail))
    if start < 0:
        return NeedTail(footer.directory_offset)
    plain = opener.open(SLOT_DIRECTORY, view[start : start + footer.directory_bytes])
    return decode_directory(plain, footer, header)


def _opener_for(keys: RepositoryKeys, header: Header) -> Opener:
    if not keys.may_open(header.repository, header.generation):
        raise IntegrityFault("a pack belongs to another repository or generation of keys")
    key = keys.pack_key(header.suite, VERSION, header.salt, generation=header.generation)
    return Opener(key, header.suite, header.raw)


class PackOpener:
    """Opens blobs of one copy; `header` is the 64 clear bytes of the very copy that the sealed bytes come from."""

    def __init__(self, keys: RepositoryKeys, header: Buffer | Header) -> None:
        """Take keys and header.

        Raises:
            IntegrityFault: no header of ours. Of a newer version, too: to who wants one blob it is one like any other
                that can't be had, and must not end the work on all others.

        """
        self._keys = keys
        try:
            parsed = header if isinstance(header, Header) else parse_header(header)
        except NewerFormatError as exc:
            raise IntegrityFault(exc.message, hint=exc.hint) from exc
        self._opener = _opener_for(keys, parsed)

    def open_entry(self, entry: Entry, sealed: Buffer) -> bytes:
        """Return the checked plaintext of a blob from its sealed bytes.

        Raises:
            IntegrityFault: wrong length, changed bytes, or content that is not what the blob id names.

        """
        if len(sealed) != entry.sealed_bytes or entry.plain_bytes > BLOB_PLAIN_BYTES:
            raise IntegrityFault(f"blob {entry.blob.hex()[:16]}… has {len(sealed)} bytes, not {entry.sealed_bytes}")
        payload = self._opener.open(entry.slot, sealed)
        plain = unpack_payload(entry.kind, entry.codec, plain_bytes=entry.plain_bytes, payload=payload)
        check_blob(self._keys, entry.kind, entry.blob, plain)
        return plain


def reopen_pack(directory: Directory, keys: RepositoryKeys, data: Buffer) -> ClosedDraft:
    """Return the content of one whole copy, to be sealed anew for another host: same logical id, slots and offsets.

    Raises:
        IntegrityFault: changed bytes.

    """
    opener = _opener_for(keys, directory.header)
    view = memoryview(data)
    payloads = tuple(opener.open(e.slot, view[e.offset : e.offset + e.sealed_bytes]) for e in directory.entries)
    return ClosedDraft(directory.logical, directory.entries, payloads, len(view))
