"""What the words do for a succession (ADR 69): a new identity prepared here, or one followed that began elsewhere.

Knows: which keys follow from which, what the authority signs. Must not know: hosts, questions. No agent may have the
home meanwhile; the words are in the process that types them, and nowhere else.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from backuppeer.agent.home.heir import FormerSelf, Staged, is_begun, load_former, stage, unstage, write_former
from backuppeer.agent.home.home import Home, write_private
from backuppeer.agent.home.keyfile import KeyFile, read_key_file
from backuppeer.agent.home.keyring import check_master, refuse_words, unlock_working
from backuppeer.agent.home.sealing import identity_of, seal_working
from backuppeer.clock import Clock
from backuppeer.crypto.custody import USUAL, Stretch
from backuppeer.crypto.identity import SigningKey
from backuppeer.crypto.keys import WorkingSecret, derive_authority, derive_heir, derive_identity
from backuppeer.errors import DamagedStateError, PeerFault, UserError
from backuppeer.ids import DeviceId, PeerId, RepositoryId
from backuppeer.limits import SUCCESSION_STEPS
from backuppeer.proof.statements import WriterGrant, sign_statement
from backuppeer.proof.succession import Succession, open_succession

_REPOSITORY: Final = "repository"
"""Name among the extensions of a succession of the repository whose secrets of before the heir keeps (16 bytes)."""


def _keep_nothing(packed: bytes, secret: bytes) -> None:
    del packed, secret


@dataclass(frozen=True, slots=True)
class Opener:
    """What opens a home, b"" where nothing does, and is to open its heir.

    keep: called with the heir's key file and the secret before that file stands, for who keeps keys by their file.
    """

    secret: bytes = field(default=b"", repr=False)
    keep: Callable[[bytes, bytes], None] = _keep_nothing
    stretch: Stretch = USUAL

    def seal(self, heir: WorkingSecret, file: KeyFile) -> bytes:
        """Return the key file of an heir, under the custody of the one of before."""
        packed = seal_working(heir, file.authority, file.custody, self.secret, stretch=self.stretch)
        self.keep(packed, self.secret)
        return packed


def begin_succession(
    home: Home, master: bytes, opener: Opener, *, repository: RepositoryId, epoch: int, clock: Clock
) -> PeerId:
    """Prepare the next identity of a home, durably, and return its peer id; hosts are to be told of it then.

    epoch: of the grant that makes the heir's device the writer.

    Raises:
        UserError: the words are another's, or the identity went on too often, or a succession is under way.
        DamagedStateError: a key file is not what it should be.

    """
    if is_begun(home):
        raise UserError("a succession is under way here", hint="`backup-peer recover --new-identity` goes on with it")
    old = PeerId(derive_identity(check_master(home, master)).public)
    unlock_working(home, opener.secret)
    file = read_key_file(home.keys / "working")
    if file.generation > SUCCESSION_STEPS:
        raise UserError(
            f"this identity went on as another {SUCCESSION_STEPS} times already, and no further step is followed",
            hint="begin anew with `backup-peer init --home DIR`, and back up there",
        )
    heir, authority, device = (
        derive_heir(master, file.generation + 1, repository),
        derive_authority(master),
        SigningKey.generate(),
    )
    identity, now_ms = derive_identity(heir), clock.now_ms()
    said = Succession(
        authority=authority.public,
        old=old,
        new=PeerId(identity.public),
        generation=heir.generation,
        time_ms=now_ms,
        ext={_REPOSITORY: bytes(repository)},
    )
    grant = WriterGrant(repository=repository, epoch=epoch, device=DeviceId(device.public), time_ms=now_ms)
    staged = Staged(1, sign_statement(said, authority, identity), device.seed(), sign_statement(grant, authority))
    stage(home, staged, opener.seal(heir, file))
    return PeerId(identity.public)


def follow_succession(home: Home, master: bytes, signed: bytes, opener: Opener) -> PeerId:
    """Make a home the one that its identity went on as, elsewhere; return the new peer id. signed: what a host showed.

    Raises:
        UserError: the words are another's, or did not sign this, or it leads to an identity that is not of them.

    """
    before = check_master(home, master)
    unlock_working(home, opener.secret)
    file, said = read_key_file(home.keys / "working"), _open(master, signed)
    if said.old != identity_of(file) or not file.generation < said.generation <= SUCCESSION_STEPS + 1:
        raise refuse_words("a host led to a succession that is not of this home", hint="nothing was changed")
    heir = derive_heir(master, said.generation, _repository_of(said, file))
    if derive_identity(heir).public != said.new:
        raise refuse_words(
            "a host led to an identity that these words do not give",
            hint="nothing was changed; somebody signed with them",
        )
    # It may lead to the same identity, and must not be taken for what made this home so: its grant is another home's.
    unstage(home)
    write_former(home, heir, [*load_former(home, before), FormerSelf(derive_identity(before), signed)])
    write_private(home.keys / "working", opener.seal(heir, file))
    return PeerId(said.new)


def _open(master: bytes, signed: bytes) -> Succession:
    try:
        return open_succession(signed, derive_authority(master).public)
    except PeerFault as exc:
        raise refuse_words(
            "a host says that this identity went on elsewhere, and these words did not sign it",
            hint="nothing was changed",
        ) from exc


def _repository_of(said: Succession, file: KeyFile) -> RepositoryId:
    named = said.ext.get(_REPOSITORY, file.repository)
    if len(named) != len(RepositoryId(bytes(16))):
        raise DamagedStateError("a succession does not say which repository it is of", hint="nothing was changed")
    return RepositoryId(named)
