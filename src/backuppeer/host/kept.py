"""A request about packs as a host keeps it: what its owner signed, and since a take-over what the writer signed beside.

Knows: the bytes of the file. Must not know: whether a signature holds, what is asked. The host answers with it the
charge that it lost a pack: so whatever a stranger needs to verify it lies in the one file, but the agreement.

    "BPREM01" 0x0A ‖ u32be(length) ‖ signed statement ‖ stored ids, 32 bytes each
    "BPREM02" 0x0A ‖ u32be(length) ‖ signed statement ‖ u32be(length) ‖ signed grant ‖ signature of its device, 64 bytes
        ‖ stored ids, 32 bytes each
"""

from dataclasses import dataclass
from typing import Final

from backuppeer.host.layout import STORED_ID_BYTES
from backuppeer.ids import StoredId
from backuppeer.limits import REMOVAL_PACKS, STATEMENT_BYTES

PLAIN_MAGIC: Final = b"BPREM01\n"
GRANTED_MAGIC: Final = b"BPREM02\n"
FILE_BYTES: Final = 4 * STATEMENT_BYTES + REMOVAL_PACKS * STORED_ID_BYTES
"""More than any such file has."""
_LENGTH_BYTES: Final = 4
_SIGNATURE_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class Kept:
    """One request. `grant`, `device_sig`: empty where the owner's signature was enough, both or none."""

    signed: bytes
    packs: tuple[StoredId, ...]
    grant: bytes = b""
    device_sig: bytes = b""


def join_kept(kept: Kept) -> bytes:
    """Return the bytes of the file."""
    ids = b"".join(kept.packs)
    if not kept.grant:
        return PLAIN_MAGIC + _with_length(kept.signed) + ids
    return GRANTED_MAGIC + _with_length(kept.signed) + _with_length(kept.grant) + kept.device_sig + ids


def split_kept(data: bytes) -> Kept:
    """Return what `join_kept` joined.

    Raises:
        ValueError: it is anything else.

    """
    magic, rest = data[: len(PLAIN_MAGIC)], data[len(PLAIN_MAGIC) :]
    if magic not in {PLAIN_MAGIC, GRANTED_MAGIC} or len(data) > FILE_BYTES:
        raise ValueError
    signed, rest = _take(rest)
    grant = device_sig = b""
    if magic == GRANTED_MAGIC:
        grant, rest = _take(rest)
        device_sig, rest = rest[:_SIGNATURE_BYTES], rest[_SIGNATURE_BYTES:]
        if not grant or len(device_sig) != _SIGNATURE_BYTES:
            raise ValueError
    if not rest or len(rest) % STORED_ID_BYTES:
        raise ValueError
    ids = (StoredId(rest[at : at + STORED_ID_BYTES]) for at in range(0, len(rest), STORED_ID_BYTES))
    return Kept(signed, tuple(ids), grant, device_sig)


def _with_length(part: bytes) -> bytes:
    return len(part).to_bytes(_LENGTH_BYTES, "big") + part


def _take(data: bytes) -> tuple[bytes, bytes]:
    end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "big")
    if len(data) < end:
        raise ValueError
    return data[_LENGTH_BYTES:end], data[end:]
