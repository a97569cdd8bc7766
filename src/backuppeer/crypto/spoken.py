"""SPAKE2 over a short spoken code: two who say the same words share a key, and who guesses has one try (ADR 76).

Knows: the library, roles, how the two halves of a confirmation are sealed. Must not know: nameplates, servers, invites.
The only importer of `spake2` (Ed25519 group, pure Python: it runs once for each code, and its time tells nothing that a
second try could use, since there is none).

key = SHA-256 over password, both roles with the context, both messages and the shared point: the context (server,
nameplate) and the roles are part of the transcript by construction. What each side seals under the key is bound to a
transcript of its caller's as well, by the AEAD: opening it is the key confirmation.
"""

import secrets
from typing import Final

from backuppeer.crypto.seal import TAG_BYTES, Opener, Sealer, Suite
from backuppeer.crypto.words import list_words
from backuppeer.errors import AuthenticationFault, IntegrityFault

MESSAGE_BYTES: Final = 33
SPOKEN_WORDS: Final = 2
"""Of 2,048: one in four million guesses is right, and each code is guessed at once."""
_HOST: Final = b"backuppeer/v1/spoken host\0"
_GUEST: Final = b"backuppeer/v1/spoken guest\0"
_GUEST_SLOT: Final = 0
_HOST_SLOT: Final = 1


class SharedKey:
    """What both have if both said the same words. Of one exchange: each side seals once. Shows nothing of itself."""

    __slots__ = ("_is_host", "_key")

    def __init__(self, key: bytes, *, is_host: bool) -> None:
        self._key, self._is_host = key, is_host

    def seal(self, plain: bytes, transcript: bytes) -> bytes:
        """Return `plain` sealed for the other side, bound to `transcript`; once in an exchange, or a nonce repeats."""
        out = bytearray(len(plain) + TAG_BYTES)
        sealer = Sealer(self._key, Suite.CHACHA20_POLY1305, transcript)
        sealer.seal_into(_HOST_SLOT if self._is_host else _GUEST_SLOT, plain, memoryview(out))
        return bytes(out)

    def open(self, sealed: bytes, transcript: bytes) -> bytes:
        """Return what the other side sealed.

        Raises:
            AuthenticationFault: it has another key, or saw another transcript: the words were not the same.

        """
        opener = Opener(self._key, Suite.CHACHA20_POLY1305, transcript)
        try:
            return opener.open(_GUEST_SLOT if self._is_host else _HOST_SLOT, sealed)
        except IntegrityFault as exc:
            raise AuthenticationFault("the words were not the same on both sides") from exc

    def __repr__(self) -> str:
        return "<SharedKey>"


class Exchange:
    """One side of one exchange. `message`: 33 bytes for the other side; they tell nothing of the words."""

    def __init__(self, words: str, context: bytes, *, is_host: bool) -> None:
        """Take the words as they are said, and what both know of the place: server and nameplate."""
        # It computes its group as it is imported, 0.1 s: every start of an agent or of `connect` would pay for it.
        import spake2  # noqa: PLC0415 - start-up time
        from spake2.ed25519_basic import NotOnCurve  # noqa: PLC0415 - start-up time

        side = spake2.SPAKE2_A if is_host else spake2.SPAKE2_B
        self._is_host, self._malformed = is_host, (spake2.SPAKEError, NotOnCurve, ValueError)
        self._side = side(words.encode("ascii"), idA=_HOST + context, idB=_GUEST + context)
        self.message: bytes = self._side.start()

    def finish(self, message: bytes) -> SharedKey:
        """Return the key; whether the other side has the same shows when something sealed is opened. Once.

        Raises:
            AuthenticationFault: the message is no point of the group, or our own.

        """
        if len(message) != MESSAGE_BYTES:
            raise AuthenticationFault(f"a message of a spoken code has {MESSAGE_BYTES} bytes, not {len(message)}")
        try:
            return SharedKey(self._side.finish(message), is_host=self._is_host)
        except self._malformed as exc:
            # What the library raises for bytes that are no point, of another subgroup, of the same side or our own.
            raise AuthenticationFault("a message of a spoken code is malformed") from exc

    def __repr__(self) -> str:
        return "<Exchange>"


def pick_words() -> str:
    """Return the words of a new code, joined by hyphens."""
    return "-".join(secrets.choice(list_words()) for _ in range(SPOKEN_WORDS))
