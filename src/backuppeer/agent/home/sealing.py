"""The secrets in the key file: how they are sealed, and opened again (keyfile, crypto.custody).

Knows: which secrets a home keeps, and in which order. Must not know: where the file lies, who asks for a passphrase.
"""

from pathlib import Path

from backuppeer.agent.home.keyfile import Custody, KeyFile, explain_damage, front_of
from backuppeer.crypto.custody import USUAL, Stretch, open_sealed, seal_by_key, seal_by_passphrase
from backuppeer.crypto.keys import SECRET_BYTES, FormerSecrets, WorkingSecret, derive_identity
from backuppeer.errors import UserError
from backuppeer.ids import RepositoryId


def identity_of(file: KeyFile) -> bytes:
    """Return the identity's public key, 32 bytes, without opening what is sealed."""
    return file.identity or derive_identity(WorkingSecret(secret=file.body, generation=file.generation)).public


def open_working(path: Path, file: KeyFile, secret: bytes) -> WorkingSecret:
    """Return what a key file keeps. secret: what opens a locked one; path: of the file, for words only.

    Raises:
        UserError: it is locked, and the secret is none or a wrong one.
        DamagedStateError: it does not hold what it should.

    """
    if file.custody is not Custody.NOTHING and not secret:
        raise UserError(
            f"the keys of {path.parent.parent} are locked, and nothing opens them",
            hint="`backup-peer agent start` on a terminal asks for the passphrase; "
            "`backup-peer config set passphrase_command COMMAND` names a command that says it",
        )
    is_open = file.custody is Custody.NOTHING
    plain = file.body if is_open else open_sealed(file.body, secret, bound=file.bound)
    if len(plain) != SECRET_BYTES * (file.generation if file.repository else 1):
        raise explain_damage(path)
    working = WorkingSecret(plain[:SECRET_BYTES], file.generation, _read_former(file, plain))
    # Sealed together, so only a program that wrote nonsense gets here; never speak under a name that is not ours.
    if derive_identity(working).public != identity_of(file):
        raise explain_damage(path)
    return working


def _read_former(file: KeyFile, plain: bytes) -> FormerSecrets | None:
    if not file.repository:
        return None
    secrets = tuple(plain[at : at + SECRET_BYTES] for at in range(SECRET_BYTES, len(plain), SECRET_BYTES))
    return FormerSecrets(RepositoryId(file.repository), secrets)


def seal_working(
    working: WorkingSecret, authority: bytes, custody: Custody, secret: bytes = b"", *, stretch: Stretch = USUAL
) -> bytes:
    """Return the bytes of a key file. authority: public key, 32 bytes; secret: what is to open it, b"" for nothing."""
    identity, former = derive_identity(working).public, working.former
    repository, before = (former.repository, former.secrets) if former is not None else (b"", ())
    front = front_of(custody, working.generation, authority, identity, repository=repository)
    plain = b"".join((working.secret, *before))
    if custody is Custody.NOTHING:
        return front + plain
    if custody is Custody.KEYRING:
        return front + seal_by_key(plain, secret, bound=front)
    return front + seal_by_passphrase(plain, secret, bound=front, stretch=stretch)
