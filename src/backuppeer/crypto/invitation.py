"""Keys of an invite: what its bearer can find, open and prove, all from one short secret (ADR 75).

Knows: which key comes from which. Must not know: what an invite says, who uses it, servers.

    secret (16 random bytes) ‖ host ── root ─┬─ name      what both call the invite
                                             ├─ inbox     of a server: where its card lies
                                             ├─ card key  what the card is sealed to
                                             └─ proof key what a knock proves the invite with

128 bits that nobody chose: they are not guessed, so nothing has to make guessing slow. The host is part of the root, so
that a secret shown for another host leads nowhere.
"""

import hmac
import os
from dataclasses import dataclass, field
from typing import Final

from backuppeer.crypto.digest import Domain, hash_bytes, hash_keyed
from backuppeer.crypto.envelope import ENVELOPE_PRIVATE_BYTES, EnvelopeKey
from backuppeer.crypto.identity import SigningKey
from backuppeer.crypto.keys import Label, derive_key
from backuppeer.errors import LocalError
from backuppeer.ids import PeerId

INVITE_SECRET_BYTES: Final = 16
INVITE_NAME_BYTES: Final = 8
PROOF_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Invitation:
    """The keys of one invite. Everything but `name` is secret: its bearers and its host have it, and nobody else."""

    name: bytes
    """8 bytes. It tells nothing of the secret, and is shown to people and in lists."""
    root: bytes = field(repr=False)

    def inbox(self, server: str) -> SigningKey:
        """Return the key of the inbox where the card lies at one server; its public half names the inbox.

        server: host and port as clients dial them, ASCII: two servers see names that nothing links. Whoever bears the
        invite can write there as well: what is found counts only with the host's own signature.
        """
        context = server.encode("ascii", "backslashreplace")
        return SigningKey.from_seed(derive_key(self.root, Label.INVITE_INBOX, context=context))

    def opener(self) -> EnvelopeKey:
        """Return the key that the card is sealed to."""
        return EnvelopeKey.from_private_bytes(derive_key(self.root, Label.INVITE_CARD, length=ENVELOPE_PRIVATE_BYTES))

    def prove(self, owner: PeerId, nonce: bytes) -> bytes:
        """Return the 32 bytes that show in the knock of `owner` with this nonce that its sender bears the invite.

        A keyed hash, so the secret itself is in no knock; over the owner and the 16-byte nonce, both signed and of
        one knock alone, so it can't be used by another owner or again.
        """
        return hash_keyed(derive_key(self.root, Label.INVITE_PROOF), owner + nonce)

    def claim(self, owner: PeerId, nonce: bytes) -> bytes:
        """Return what a knock says of the invite: its name, 8 bytes, and the proof, 32."""
        return self.name + self.prove(owner, nonce)

    def is_proof(self, proof: bytes, owner: PeerId, nonce: bytes) -> bool:
        """Tell whether `proof` is what `prove` returns; compared in constant time."""
        return hmac.compare_digest(proof, self.prove(owner, nonce))


def make_secret() -> bytes:
    """Return the 16 random bytes of a new invite."""
    return os.urandom(INVITE_SECRET_BYTES)


def derive_invitation(secret: bytes, host: PeerId) -> Invitation:
    """Return the keys of the invite with this 16-byte secret to the slot of `host`.

    Raises:
        LocalError: the secret has another length.

    """
    if len(secret) != INVITE_SECRET_BYTES:
        raise LocalError(f"the secret of an invite has {INVITE_SECRET_BYTES} bytes, not {len(secret)}")
    root = hash_bytes(Domain.INVITE, secret + host)
    return Invitation(derive_key(root, Label.INVITE_NAME, length=INVITE_NAME_BYTES), root)


def derive_nameplate(number: int) -> Invitation:
    """Return the keys of the place where two who say `number` meet: known to whoever knows the number, so to anybody.

    They hide nothing and prove nothing; what lies there only looks like every other note. 25 bytes are hashed, where
    an invite has 48, so that no invite has these keys.
    """
    root = hash_bytes(Domain.INVITE, b"backuppeer nameplate\0" + number.to_bytes(4, "big"))
    return Invitation(derive_key(root, Label.INVITE_NAME, length=INVITE_NAME_BYTES), root)
