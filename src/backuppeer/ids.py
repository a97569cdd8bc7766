"""Ids: a type for each, and the text form of a peer id; bech32m, for this and whatever else people carry about.

Knows: lengths, bech32m (BIP-350; hrp of a peer id: `bp`). Must not know: keys, files, the network. The types are
`NewType`s over `bytes`, so that a blob id can't be handed where a stored id is wanted, at no cost in the hot loops.
"""

from functools import reduce
from operator import xor
from typing import Final, NewType

from backuppeer.errors import UserError

PeerId = NewType("PeerId", bytes)
"""Ed25519 public key of a peer's identity, 32 bytes."""
TransportId = NewType("TransportId", bytes)
"""Ed25519 public key of a home's transport endpoint, 32 bytes; not derived from the identity."""
DeviceId = NewType("DeviceId", bytes)
"""Ed25519 public key of a device, 32 bytes."""
RepositoryId = NewType("RepositoryId", bytes)
"""16 random bytes."""
AgreementId = NewType("AgreementId", bytes)
"""16 random bytes, stable over all revisions."""
LogicalId = NewType("LogicalId", bytes)
"""16 random bytes inside a pack's sealed directory: the pack, whichever copy."""
StoredId = NewType("StoredId", bytes)
"""32 bytes: Merkle root of one copy's ciphertext."""
BlobId = NewType("BlobId", bytes)
"""32 bytes: keyed BLAKE3 of a blob's plaintext."""
SnapshotId = NewType("SnapshotId", bytes)
"""32 bytes: the blob id of a snapshot; shown as lower-case hex."""

PEER_ID_BYTES: Final = 32
PEER_ID_CHARS: Final = 61
"""Length of its text: `bp1`, 52 characters for the bytes, 6 of checksum."""
_HRP: Final = "bp"
_ALPHABET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32M: Final = 0x2BC830A3
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM_LENGTH: Final = 6
_STEPS: Final = tuple(
    reduce(xor, (generator for i, generator in enumerate(_GENERATOR) if top >> i & 1), 0) for top in range(32)
)
"""What the five bits that leave the checksum do to it: a list of hosts has thousands of ids."""
MIN_PREFIX: Final = 8
"""Characters after `bp1` that a prefix needs at least (DESIGN 3)."""


def format_peer_id(peer: PeerId) -> str:
    """Return the text of a peer id: `bp1…`, 61 characters (BIP-350)."""
    return format_bech32m(_HRP, peer)


def format_bech32m(hrp: str, data: bytes) -> str:
    """Return bytes as bech32m text: `hrp ‖ "1" ‖ data ‖ 6 characters of checksum`.

    The checksum finds every error in up to 3 characters as long as the whole has no more than 1,023, and of others all
    but one in 10⁹.
    """
    symbols = _regroup(data, from_bits=8, to_bits=5, pad=True)
    values = _expand(hrp) + symbols + [0] * _CHECKSUM_LENGTH
    check = _polymod(values) ^ _BECH32M
    symbols += [(check >> 5 * (5 - i)) & 31 for i in range(_CHECKSUM_LENGTH)]
    return f"{hrp}1" + "".join(_ALPHABET[symbol] for symbol in symbols)


def parse_bech32m(hrp: str, text: str) -> bytes | None:
    """Return the bytes of a bech32m text in lower case; None: it has another hrp, a foreign character or a typo."""
    symbols = text[len(hrp) + 1 :]
    if not text.startswith(f"{hrp}1") or any(c not in _ALPHABET for c in symbols):
        return None
    values = [_ALPHABET.index(c) for c in symbols]
    if len(values) <= _CHECKSUM_LENGTH or _polymod(_expand(hrp) + values) != _BECH32M:
        return None
    return bytes(_regroup(values[:-_CHECKSUM_LENGTH], from_bits=5, to_bits=8, pad=False))


def parse_peer_id(text: str) -> PeerId:
    """Return the 32 bytes that a peer id's text stands for.

    Raises:
        UserError: the text is not `bp1…` with a right checksum over exactly 32 bytes.

    """
    bad = UserError(
        f"not a peer id: {text[:80]!r}",
        hint=f"a peer id starts with bp1 and has {PEER_ID_CHARS} characters; copy it whole from "
        "`backup-peer id` or `browse`",
    )
    lowered = text.lower()
    # ASCII only: .lower() turns the Kelvin sign into a k, and one id must not have two spellings.
    if not text.isascii() or text not in {lowered, text.upper()} or not lowered.startswith(f"{_HRP}1"):
        raise bad
    if len(lowered) == PEER_ID_CHARS:
        bad = _misspelt(text)
    octets = parse_bech32m(_HRP, lowered) if len(lowered) <= 90 else None
    if octets is None or len(octets) != PEER_ID_BYTES:
        raise bad
    return PeerId(octets)


def _misspelt(text: str) -> UserError:
    return UserError(
        f"not a peer id: {text!r}: its checksum does not fit, so at least one character is mistyped",
        hint="a peer id starts with bp1; compare it with what `backup-peer id` shows on the other machine",
    )


def shorten_peer_id(peer: PeerId) -> str:
    """Return the first characters of a peer id, enough to be used as a prefix among known peers."""
    return format_peer_id(peer)[: 3 + MIN_PREFIX + 2]


def _expand(hrp: str) -> list[int]:
    return [ord(c) >> 5 for c in hrp] + [0] + [ord(c) & 31 for c in hrp]


def _polymod(values: list[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value ^ _STEPS[top]
    return check


def _regroup(data: bytes | list[int], *, from_bits: int, to_bits: int, pad: bool) -> list[int]:
    """Regroup bits; without padding, left-over bits must be fewer than a group and zero, else the result is empty."""
    accumulator, bits, result = 0, 0, []
    for value in data:
        accumulator = (accumulator << from_bits) | value
        bits += from_bits
        while bits >= to_bits:
            bits -= to_bits
            result.append((accumulator >> bits) & ((1 << to_bits) - 1))
    rest = accumulator & ((1 << bits) - 1)
    if pad:
        return result + ([rest << (to_bits - bits)] if bits else [])
    return [] if bits >= from_bits or rest else result
