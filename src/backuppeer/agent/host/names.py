"""The names under which owners know this host: its own, and those of before of which they have not heard yet (ADR 69).

Knows: identities, which of them signs. Must not know: agreements, sessions, who was told.
"""

from collections.abc import Sequence

from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import ProtocolViolation, RefusedError
from backuppeer.ids import PeerId


class Names:
    """One host's identities. former: the oldest first."""

    def __init__(self, identity: SigningKey, former: Sequence[SigningKey] = ()) -> None:
        self.own, self.identity = PeerId(identity.public), identity
        self.former = tuple(PeerId(one.public) for one in former)
        self._keys = {PeerId(one.public): one for one in (*former, identity)}

    def signer(self, host: PeerId) -> SigningKey:
        """Return the key of one of the names.

        Raises:
            ProtocolViolation: it is none of them.

        """
        key = self._keys.get(host)
        if key is None:
            raise ProtocolViolation("the agreement is with another host")
        return key

    def check(self, host: PeerId) -> None:
        """Return if a new agreement names this host as what it is now.

        Raises:
            RefusedError: it names it as it was.
            ProtocolViolation: it names another host.

        """
        if host in self.former:
            raise RefusedError("this host goes on as another identity", hint="ask that one: the host tells who it is")
        if host != self.own:
            raise ProtocolViolation("the agreement is with another host")
