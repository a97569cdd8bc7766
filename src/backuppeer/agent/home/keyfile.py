r"""The file of the working secret, `keys/working`: open, under a passphrase, or under a key in the system's keyring.

Knows: the three layouts. Must not know: who asks for a passphrase, where a keyring is. Light to import: every command
looks here whether it must ask.

    version 1   magic `BPWORK\r\n` 8 ‖ 1 ‖ generation u32be ‖ authority public key 32 ‖ working secret 32
    version 2   magic ‖ 2 ‖ generation u32be ‖ authority public key 32 ‖ identity public key 32 ‖ custody u8 ‖ sealed
    version 3   magic ‖ 3 ‖ generation u32be ‖ authority public key 32 ‖ identity public key 32 ‖ custody u8 ‖
                repository id 16 ‖ secrets, sealed unless custody is 0

`sealed` is the working secret by `crypto.custody`, bound to all that stands before it. The identity's public key is
there so that a locked home knows who it is; it is checked against the secret when that is opened. Version 3 is that of
a home whose identity went on (ADR 69): `secrets` are the working secret and, for generations 1 … g-1 in this order,
the secret of that repository, 32 bytes each. So it is 32·g bytes long.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final

from backuppeer.errors import DamagedStateError, LocalError, NewerFormatError
from backuppeer.limits import SUCCESSION_STEPS

_MAGIC: Final = b"BPWORK\r\n"
_FRONT: Final = struct.Struct(">8sBI32s")
_OPEN_VERSION: Final = 1
_LOCKED_VERSION: Final = 2
_HEIR_VERSION: Final = 3
_SECRET_BYTES: Final = 32
_LOCKED: Final = struct.Struct(">32sB")
_HEIR: Final = struct.Struct(">32sB16s")
_SALT_AT: Final = 9
"""Where the salt begins in what is sealed (crypto.custody)."""
_LABEL_BYTES: Final = 8
_KEY_FILE_BYTES: Final = 16 * 1024
"""More than any key file has; what is longer is damaged however it goes on."""


class Custody(IntEnum):
    """What opens the working secret. Values are on disk: never renumber."""

    NOTHING = 0
    PASSPHRASE = 1
    KEYRING = 2


@dataclass(frozen=True, slots=True)
class KeyFile:
    """What stands in the file. body: the secrets themselves, or as they are sealed; bound: what stands before that.

    identity: public key, 32 bytes; empty in an open file of version 1, where it follows from the secret. repository: 16
    bytes, whose secrets of generations before are kept; empty where there are none.
    """

    custody: Custody
    generation: int
    authority: bytes
    identity: bytes
    bound: bytes
    body: bytes
    repository: bytes = b""

    @property
    def label(self) -> str:
        """A name for this very sealing: 16 hex digits of its salt, which is fresh each time."""
        return self.body[_SALT_AT : _SALT_AT + _LABEL_BYTES].hex()

    def __repr__(self) -> str:
        """Return what is no secret."""
        return f"KeyFile({self.custody.name})"


def front_of(custody: Custody, generation: int, authority: bytes, identity: bytes, *, repository: bytes = b"") -> bytes:
    """Return what stands before the secrets: a file is that and they, sealed but for Custody.NOTHING.

    repository: 16 bytes, where secrets of generations before follow.
    """
    if repository:
        front = _FRONT.pack(_MAGIC, _HEIR_VERSION, generation, authority)
        return front + _HEIR.pack(identity, custody, repository)
    if custody is Custody.NOTHING:
        return _FRONT.pack(_MAGIC, _OPEN_VERSION, generation, authority)
    return _FRONT.pack(_MAGIC, _LOCKED_VERSION, generation, authority) + _LOCKED.pack(identity, custody)


def read_key_file(path: Path) -> KeyFile:
    """Return what stands in the file; nothing sealed is opened.

    Raises:
        FileNotFoundError: there is none.
        DamagedStateError: it is not what it should be.
        NewerFormatError: of a later version of the program.
        LocalError: the system does not let us read it.

    """
    return parse_key_file(path, read_bounded(path))


def parse_key_file(path: Path, data: bytes) -> KeyFile:
    """Return what stands in the bytes of a key file; path: for words only.

    Raises:
        DamagedStateError, NewerFormatError: as `read_key_file`.

    """
    if len(data) < _FRONT.size or not data.startswith(_MAGIC):
        raise explain_damage(path)
    _, version, generation, authority = _FRONT.unpack_from(data)
    if version > _HEIR_VERSION:
        raise NewerFormatError(
            f"{path} was written by a newer version (key format {version}, this program knows {_HEIR_VERSION})",
            hint="install the newer backup-peer again; nothing was changed",
        )
    if version == _OPEN_VERSION and len(data) == _FRONT.size + _SECRET_BYTES:
        return KeyFile(Custody.NOTHING, generation, authority, b"", data[: _FRONT.size], data[_FRONT.size :])
    if version == _HEIR_VERSION:
        return _parse_heir(path, data, generation, authority)
    start = _FRONT.size + _LOCKED.size
    if version != _LOCKED_VERSION or len(data) <= start or data[start - 1] not in {Custody.PASSPHRASE, Custody.KEYRING}:
        raise explain_damage(path)
    identity, custody = _LOCKED.unpack_from(data, _FRONT.size)
    return KeyFile(Custody(custody), generation, authority, identity, data[:start], data[start:])


def _parse_heir(path: Path, data: bytes, generation: int, authority: bytes) -> KeyFile:
    start = _FRONT.size + _HEIR.size
    # Eight successions are followed: a file of more is none that this program wrote.
    if len(data) <= start or not 1 < generation <= SUCCESSION_STEPS + 1:
        raise explain_damage(path)
    identity, custody, repository = _HEIR.unpack_from(data, _FRONT.size)
    is_open = custody == Custody.NOTHING
    if custody not in set(Custody) or (is_open and len(data) != start + _SECRET_BYTES * generation):
        raise explain_damage(path)
    return KeyFile(Custody(custody), generation, authority, identity, data[:start], data[start:], repository)


def read_bounded(path: Path) -> bytes:
    """Return what a key file holds, or its first 16 KiB.

    Raises:
        FileNotFoundError: there is none.
        DamagedStateError: something else stands there.
        LocalError: the system does not let us read it; that is no damage.

    """
    try:
        with path.open("rb") as file:
            return file.read(_KEY_FILE_BYTES)
    except FileNotFoundError:
        raise
    except IsADirectoryError as exc:
        raise explain_damage(path) from exc
    except OSError as exc:
        raise LocalError(f"the key file {path} can't be read: {exc.strerror}", hint="is it yours to read?") from exc


def explain_damage(path: Path) -> DamagedStateError:
    """Return what to tell of a key file that is not what it should be."""
    return DamagedStateError(
        f"the key file {path} is damaged", hint="move this home aside and run `backup-peer recover` with your 24 words"
    )
