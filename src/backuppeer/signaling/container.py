"""The container of a signed thing: `u32be(len(blob)) ‖ blob ‖ 64-byte signature`, kept and sent as it was signed.

Knows: the layout (the same as proof.statements uses for one signature). Must not know: what the blob says. The blob
is never re-encoded: what was signed is what is checked, stored and handed on.
"""

import struct
from typing import Final, TypeVar

import msgspec

from backuppeer.crypto.identity import Purpose, SigningKey
from backuppeer.errors import LocalError, ProtocolViolation

LENGTH_BYTES: Final = 4
SIGNATURE_BYTES: Final = 64
OVERHEAD_BYTES: Final = LENGTH_BYTES + SIGNATURE_BYTES
VERSION: Final = 1
T = TypeVar("T")
_LENGTH: Final = struct.Struct(">I")


class _Versioned(msgspec.Struct):
    """Only the version of a blob; every other field is skipped."""

    v: int


_VERSION_DECODER: Final = msgspec.msgpack.Decoder(_Versioned)


def sign_blob(blob: bytes, purpose: Purpose, *, key: SigningKey, cap_bytes: int) -> bytes:
    """Return the container of `blob`, signed for `purpose`.

    Raises:
        LocalError: the container would be longer than `cap_bytes`.

    """
    if len(blob) + OVERHEAD_BYTES > cap_bytes:
        raise LocalError(f"a signed {purpose.name.lower()} of {len(blob) + OVERHEAD_BYTES} bytes, at most {cap_bytes}")
    return _LENGTH.pack(len(blob)) + blob + key.sign(purpose, blob)


def split_container(signed: bytes, *, cap_bytes: int, what: str) -> tuple[bytes, bytes, bytes]:
    """Split a container at the head of `signed` into (blob, signature, rest); nothing is verified.

    Raises:
        ProtocolViolation: longer than `cap_bytes`, or shorter than it says.

    """
    if len(signed) > cap_bytes:
        raise ProtocolViolation(f"{what} of {len(signed)} bytes, at most {cap_bytes}")
    if len(signed) < OVERHEAD_BYTES:
        raise ProtocolViolation(f"{what} is cut short")
    (length,) = _LENGTH.unpack_from(signed)
    end = LENGTH_BYTES + length
    if end + SIGNATURE_BYTES > len(signed):
        raise ProtocolViolation(f"{what} is shorter than it says")
    return signed[LENGTH_BYTES:end], signed[end : end + SIGNATURE_BYTES], signed[end + SIGNATURE_BYTES :]


def decode_blob(decoder: "msgspec.msgpack.Decoder[T]", blob: bytes, *, what: str) -> T:
    """Decode a blob; the version is read first, so that a newer one is refused by name.

    Raises:
        ProtocolViolation: unknown version, unknown field, wrong type, not msgpack.

    """
    try:
        version = _VERSION_DECODER.decode(blob).v
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise ProtocolViolation(f"{what} can't be read: {exc}") from exc
    if version != VERSION:
        raise ProtocolViolation(f"{what} has version {version}, this program knows {VERSION}")
    try:
        return decoder.decode(blob)
    # UnicodeDecodeError: text that is not UTF-8. RecursionError: arrays nested some thousand deep.
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise ProtocolViolation(f"{what} can't be read: {exc}") from exc
