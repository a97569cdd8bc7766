"""Recognition: how two partners know each other in a network where strangers listen (ADR 81).

Knows: which key comes from which, the tag that asks, the sealed answer. Must not know: sockets, what is answered.

    agreement id ‖ repository id ── root ─┬─ tag key      what a seeker shows to the door that it came to
                                          └─ answer key   of one question: what the door's answer is sealed under

Both ids are random, 128 bits each, and in the agreement that both sides keep. Others see them together only in a proof
of misbehaviour. Each door says a fresh challenge and each seeker a fresh nonce, so no two tags have anything in common,
and none is good for a second time. A stranger's door can say the challenge of another one as its own and pass the tag
on there; the answer it can't read, nor make another.
"""

import hmac
import os
from dataclasses import dataclass, field
from typing import Final

from backuppeer.crypto.digest import Domain, hash_bytes, hash_keyed
from backuppeer.crypto.keys import Label, derive_key
from backuppeer.crypto.seal import TAG_BYTES, Opener, Sealer, Suite
from backuppeer.ids import AgreementId, RepositoryId

CHALLENGE_BYTES: Final = 32
NONCE_BYTES: Final = 32
RECOGNITION_TAG_BYTES: Final = 32
SEAL_BYTES: Final = TAG_BYTES
_SLOT: Final = 0


@dataclass(frozen=True, slots=True)
class Recognition:
    """What the two sides of one agreement recognise each other by. Shows nothing of itself."""

    root: bytes = field(repr=False)

    def tag(self, challenge: bytes, nonce: bytes) -> bytes:
        """Return the 32 bytes that a seeker shows at a door; challenge: 32 bytes of the door, nonce: 32 of its own."""
        return hash_keyed(derive_key(self.root, Label.RECOGNITION_TAG), challenge + nonce)

    def is_tag(self, tag: bytes, challenge: bytes, nonce: bytes) -> bool:
        """Tell whether `tag` is what `tag` returns; compared in constant time."""
        return hmac.compare_digest(tag, self.tag(challenge, nonce))

    def seal(self, plain: bytes, challenge: bytes, nonce: bytes) -> bytes:
        """Return `plain` sealed for the seeker, SEAL_BYTES longer.

        Once for a challenge, which is the door's own: so the key is fresh, and its one nonce never comes twice.
        """
        out = bytearray(len(plain) + SEAL_BYTES)
        Sealer(self._answer_key(challenge, nonce), Suite.CHACHA20_POLY1305, challenge + nonce).seal_into(
            _SLOT, plain, memoryview(out)
        )
        return bytes(out)

    def open(self, sealed: bytes, challenge: bytes, nonce: bytes) -> bytes:
        """Return what a door sealed.

        Raises:
            IntegrityFault: it was none of the partner's: also what a stranger's door says.

        """
        return Opener(self._answer_key(challenge, nonce), Suite.CHACHA20_POLY1305, challenge + nonce).open(
            _SLOT, sealed
        )

    def _answer_key(self, challenge: bytes, nonce: bytes) -> bytes:
        return derive_key(self.root, Label.RECOGNITION_ANSWER, salt=challenge, context=nonce)


def derive_recognition(agreement: AgreementId, repository: RepositoryId) -> Recognition:
    """Return what the parties of an agreement recognise each other by; both ids have 16 bytes."""
    return Recognition(hash_bytes(Domain.RECOGNITION, agreement + repository))


def make_nonce() -> bytes:
    """Return 32 random bytes: a door's challenge, or a seeker's nonce."""
    return os.urandom(NONCE_BYTES)
