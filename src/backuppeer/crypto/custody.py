"""A secret under a passphrase, or under a key that somebody else keeps: how it lies in a file.

Knows: Argon2id, the AEAD, their parameters. Must not know: which file, who asks for the passphrase.

    sealed = memory u32be (KiB) ‖ passes u32be ‖ lanes u8 ‖ salt 32 ‖ ciphertext ‖ tag 16

Under a key the three numbers are zero. `bound` is what stands in front of it in the file: the AEAD covers it, and the
numbers and salt, so that none of it can be changed, and no sealed part can be put into another file.

Why the nonce may be zero: the key comes from a salt of 32 fresh random bytes, made for this one sealing; it never seals
a second text. ChaCha20-Poly1305 alone, whatever the processor: this happens once per start.
"""

import secrets
import struct
import unicodedata
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from backuppeer.crypto.keys import Label, derive_key
from backuppeer.errors import DamagedStateError, ExitCode, LocalError, UserError
from backuppeer.limits import (
    PASSPHRASE_CHARS,
    PASSPHRASE_LANES,
    PASSPHRASE_LEAST_CHARS,
    PASSPHRASE_MEMORY_KIB,
    PASSPHRASE_PASSES,
    STRETCH_LANES,
    STRETCH_MEMORY_KIB,
    STRETCH_PASSES,
)

_PARAMETERS: Final = struct.Struct(">IIB32s")
_NONCE: Final = bytes(12)
_TAG_BYTES: Final = 16
_KEY_BYTES: Final = 32
SEALED_MORE_BYTES: Final = _PARAMETERS.size + _TAG_BYTES
"""By how much a sealed text is longer than the text."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """What one guess at a passphrase costs: memory (KiB), passes, lanes of Argon2id (RFC 9106)."""

    memory_kib: int = PASSPHRASE_MEMORY_KIB
    passes: int = PASSPHRASE_PASSES
    lanes: int = PASSPHRASE_LANES


USUAL: Final = Stretch()


def check_passphrase(text: str) -> bytes:
    """Return a new passphrase as the bytes that are stretched: UTF-8 of its NFC form, so that keyboards don't matter.

    Raises:
        UserError: too short to withstand guessing, or too long.

    """
    plain = normalise_passphrase(text)
    if not len(plain.decode()) >= PASSPHRASE_LEAST_CHARS:
        raise UserError(
            f"a passphrase needs {PASSPHRASE_LEAST_CHARS} characters at least",
            hint="who has a copy of the disk may guess as often as he likes: five random words are good",
        )
    return plain


def normalise_passphrase(text: str) -> bytes:
    """Return a passphrase as the bytes that are stretched, be it good or not.

    Raises:
        UserError: it is too long, or no text.

    """
    if len(text) > PASSPHRASE_CHARS:
        raise UserError(f"a passphrase of more than {PASSPHRASE_CHARS} characters", hint="take a shorter one")
    try:
        return unicodedata.normalize("NFC", text).encode()
    except UnicodeEncodeError as exc:
        raise UserError("the passphrase is not in UTF-8", hint="is the terminal set to another encoding?") from exc


def seal_by_passphrase(plain: bytes, passphrase: bytes, *, bound: bytes, stretch: Stretch = USUAL) -> bytes:
    """Return a text sealed under a passphrase: about 0.4 s and 256 MiB.

    Raises:
        LocalError: the parameters are out of bounds.

    """
    return _seal(plain, passphrase, bound, stretch)


def seal_by_key(plain: bytes, key: bytes, *, bound: bytes) -> bytes:
    """Return a text sealed under a random key of 32 bytes.

    Raises:
        LocalError: the key has another length.

    """
    return _seal(plain, _checked_key(key), bound, None)


def open_sealed(sealed: bytes, secret: bytes, *, bound: bytes) -> bytes:
    """Return the text; `secret`: the passphrase (`normalise_passphrase`), or the key.

    Raises:
        UserError: another passphrase or key, or a file that was changed: nobody can tell the two apart. Exit code 12.
        DamagedStateError: too short, or with parameters that this program never wrote.

    """
    if len(sealed) < SEALED_MORE_BYTES:
        raise DamagedStateError("a sealed secret is cut short")
    memory_kib, passes, lanes, salt = _PARAMETERS.unpack_from(sealed)
    stretch = Stretch(memory_kib, passes, lanes) if memory_kib else None
    # Before any memory is taken: who wrote the file may not be a friend.
    if not _is_bounded(stretch):
        raise DamagedStateError("a sealed secret asks for more memory or time than any program of ours wrote")
    covered = bound + sealed[: _PARAMETERS.size]
    key = _stretch(secret, salt, stretch)
    try:
        return ChaCha20Poly1305(key).decrypt(_NONCE, sealed[_PARAMETERS.size :], covered)
    except InvalidTag:
        what = "passphrase" if stretch else "key in the keyring"
        error = UserError(
            f"the {what} is wrong",
            hint="forgotten? with the 24 words: `backup-peer passphrase set --words`; or the file was changed",
        )
        error.exit_code = ExitCode.AUTHENTICATION
        raise error from None


def _seal(plain: bytes, secret: bytes, bound: bytes, stretch: Stretch | None) -> bytes:
    if not _is_bounded(stretch):
        raise LocalError("the cost of a passphrase is out of bounds")
    salt = secrets.token_bytes(_KEY_BYTES)
    cost = (stretch.memory_kib, stretch.passes, stretch.lanes) if stretch else (0, 0, 0)
    parameters = _PARAMETERS.pack(*cost, salt)
    sealed = ChaCha20Poly1305(_stretch(secret, salt, stretch)).encrypt(_NONCE, plain, bound + parameters)
    return parameters + sealed


def _stretch(secret: bytes, salt: bytes, stretch: Stretch | None) -> bytes:
    """Return the key of one sealing: of its own salt, hence of its own."""
    if stretch is None:
        return derive_key(_checked_key(secret), Label.CUSTODY, salt=salt)
    kdf = Argon2id(
        salt=salt, length=_KEY_BYTES, iterations=stretch.passes, lanes=stretch.lanes, memory_cost=stretch.memory_kib
    )
    return derive_key(kdf.derive(secret), Label.CUSTODY, salt=salt)


def _is_bounded(stretch: Stretch | None) -> bool:
    if stretch is None:
        return True
    # Argon2 wants 8 KiB for each lane.
    least = 8 * stretch.lanes
    return (
        1 <= stretch.lanes <= STRETCH_LANES
        and 1 <= stretch.passes <= STRETCH_PASSES
        and least <= stretch.memory_kib <= STRETCH_MEMORY_KIB
    )


def _checked_key(key: bytes) -> bytes:
    if len(key) != _KEY_BYTES:
        raise LocalError(f"a key has {_KEY_BYTES} bytes, not {len(key)}")
    return key
