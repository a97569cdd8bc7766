"""The files by which a home's identity goes on as another (ADR 69): what is prepared, what takes place, what is kept.

Knows: `keys/succession`, `keys/heir`, `keys/former.G`, and their order. Must not know: hosts, who types words.

    keys/succession   the signed succession, the seed of a new device key, its grant: written first, gone at the end
    keys/heir         the key file of generation g + 1 (`keyfile`), under what opens this home; written second. One
                      rename makes it `keys/working`, once a host has followed
    keys/former.G     in a home of generation G: the identities of before that hosts still know, each with its signed
                      succession; sealed under a key of the working secret, whatever that itself is under

Killed anywhere the home is of one generation, whole, and what is missing is done by `settle_succession` at the next
start, or by the same command again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from backuppeer.agent.home.home import Home, sync_folder, write_private
from backuppeer.agent.home.keyfile import explain_damage, read_bounded, read_key_file
from backuppeer.agent.home.sealing import identity_of, open_working
from backuppeer.crypto.custody import open_sealed, seal_by_key
from backuppeer.crypto.identity import SigningKey
from backuppeer.crypto.keys import WorkingSecret, derive_former_key, derive_identity
from backuppeer.errors import BackupPeerError, LocalError
from backuppeer.ids import PeerId
from backuppeer.limits import SUCCESSION_STEPS
from backuppeer.proof.statements import WriterGrant, peek_statement
from backuppeer.proof.succession import Succession

_FRONT: Final = b"BPFORM\r\n\x01"
_Seed = Annotated[bytes, Meta(min_length=32, max_length=32)]


class Staged(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What `keys/succession` holds: all that is signed by the words, and whom the grant is for."""

    version: int
    succession: bytes
    device: _Seed
    grant: bytes

    def __repr__(self) -> str:
        """Return what is no secret."""
        return "Staged()"


@dataclass(frozen=True, slots=True)
class Heir:
    """Who this home is about to go on as. succession: signed."""

    working: WorkingSecret = field(repr=False)
    identity: SigningKey = field(repr=False)
    succession: bytes

    @property
    def peer(self) -> PeerId:
        """Return the peer id that it will have."""
        return PeerId(self.identity.public)


@dataclass(frozen=True, slots=True)
class FormerSelf:
    """Who this home was, for hosts that have not heard of it yet. succession: signed, to the next one."""

    identity: SigningKey = field(repr=False)
    succession: bytes

    @property
    def peer(self) -> PeerId:
        """Return the peer id of then."""
        return PeerId(self.identity.public)


def is_begun(home: Home) -> bool:
    """Return whether a succession was begun here and is not finished.

    Killed within `stage`, or on a full disk, one is left that nobody can go on with, and that no host has heard of: it
    counts for nothing.

    Raises:
        DamagedStateError: a file is not what it should be.

    """
    if not (home.keys / "succession").exists():
        return False
    return (home.keys / "heir").exists() or _has_taken_place(home)


def stage(home: Home, staged: Staged, heir: bytes) -> None:
    """Write what a succession takes, durably. heir: the bytes of its key file. No agent may have the home."""
    write_private(home.keys / "succession", msgspec.msgpack.encode(staged))
    # Last: an agent that finds it tells hosts, and has all that it takes then.
    write_private(home.keys / "heir", heir)


def unstage(home: Home) -> None:
    """Let go of a succession that has not taken place, for who follows one that began elsewhere."""
    (home.keys / "heir").unlink(missing_ok=True)
    finish_succession(home)


def load_heir(home: Home, secret: bytes) -> Heir | None:
    """Return who this home is about to go on as; None: nobody. secret: what opens the home.

    Raises:
        DamagedStateError, UserError: as for `keys/working`.

    """
    path = home.keys / "heir"
    if not path.exists():
        return None
    working = open_working(path, read_key_file(path), secret)
    heir = Heir(working, derive_identity(working), _read_staged(home).succession)
    if peek_statement(Succession, heir.succession).new != heir.peer:
        raise explain_damage(path)
    return heir


def take_place(home: Home, heir: Heir, former: Sequence[FormerSelf]) -> None:
    """Let the heir be who this home is, durably. former: all of before that hosts may still know, the oldest first.

    The agent that does it goes on as it was, and is to be started anew.
    """
    write_former(home, heir.working, former)
    (home.keys / "heir").rename(home.keys / "working")
    sync_folder(home.keys)


def write_former(home: Home, working: WorkingSecret, former: Sequence[FormerSelf]) -> None:
    """Keep, for a home of the generation of `working`, who it was; before it is of that generation."""
    plain = msgspec.msgpack.encode([(one.identity.seed(), one.succession) for one in former])
    write_private(_former_path(home, working), _FRONT + seal_by_key(plain, derive_former_key(working), bound=_FRONT))


def load_former(home: Home, working: WorkingSecret) -> tuple[FormerSelf, ...]:
    """Return who this home was, for hosts that may still know it so; the oldest first.

    Raises:
        DamagedStateError: the file is not what it should be.

    """
    path = _former_path(home, working)
    try:
        data = read_bounded(path)
    except FileNotFoundError:
        return ()
    try:
        if not data.startswith(_FRONT):
            raise explain_damage(path)
        plain = open_sealed(data[len(_FRONT) :], derive_former_key(working), bound=_FRONT)
        rows = msgspec.msgpack.decode(plain, type=list[tuple[_Seed, bytes]])
        found = tuple(FormerSelf(SigningKey.from_seed(seed), signed) for seed, signed in rows)
        fits = all(peek_statement(Succession, one.succession).old == one.peer for one in found)
    except (msgspec.DecodeError, BackupPeerError) as exc:
        raise explain_damage(path) from exc
    if not fits or len(found) > SUCCESSION_STEPS:
        raise explain_damage(path)
    return found


def forget_former(home: Home, working: WorkingSecret) -> None:
    """Keep no identity of before any more: no host knows this home by one."""
    _former_path(home, working).unlink(missing_ok=True)


def settle_succession(home: Home) -> None:
    """Do what a succession that took place has left to do in the files; at each start, no agent may have the home.

    The heir has a device key of its own: whoever copied this home has the one of before, and its right to write.

    Raises:
        DamagedStateError: a file is not what it should be.

    """
    if not is_begun(home) or not _has_taken_place(home):
        return
    staged, file = _read_staged(home), read_key_file(home.keys / "working")
    grant, device = home.keys / "grant", SigningKey.from_seed(staged.device).public
    if not grant.exists() or peek_statement(WriterGrant, grant.read_bytes()).device != device:
        # The grant last: as long as it names another device, both are written again.
        write_private(home.keys / "device", staged.device)
        write_private(grant, staged.grant)
    for path in home.keys.glob("former.*"):
        if path.name != f"former.{file.generation}":
            path.unlink(missing_ok=True)


def finish_succession(home: Home) -> None:
    """Count a succession as done: its first head lies with hosts."""
    (home.keys / "succession").unlink(missing_ok=True)
    sync_folder(home.keys)


def _has_taken_place(home: Home) -> bool:
    """Return whether this home is the heir already."""
    if not home.exists_identity:
        return False
    said = peek_statement(Succession, _read_staged(home).succession)
    return said.new == identity_of(read_key_file(home.keys / "working"))


def _read_staged(home: Home) -> Staged:
    path = home.keys / "succession"
    try:
        staged = msgspec.msgpack.decode(read_bounded(path), type=Staged)
    except (msgspec.DecodeError, FileNotFoundError) as exc:
        raise explain_damage(path) from exc
    if staged.version != 1:
        raise LocalError(f"{path} was written by another version", hint="install the newer backup-peer again")
    return staged


def _former_path(home: Home, working: WorkingSecret) -> Path:
    return home.keys / f"former.{working.generation}"
