"""Who writes the repository, as far as this home knows: its own grant beside those that hosts showed.

Knows: writer grants, the one seen that matters most. Must not know: heads, hosts. A grant is signed by the authority,
so no host can make one up. Two of one epoch for two devices were both signed by our words, on machines that did not
hear of each other: then neither may write, since one of them would drop what the other made.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from backuppeer.agent.home.keyring import HomeKeys
from backuppeer.agent.home.state import State
from backuppeer.clock import format_time
from backuppeer.errors import BackupPeerError, PeerFault, RefusedError
from backuppeer.proof.statements import Statement, WriterGrant, open_statement, sign_beside
from backuppeer.wire.messages import HeadState

_SEEN: Final = "writer.seen"
TAKE_OVER: Final = "`backup-peer recover --take-over`"


class Writer:
    """The right to write one repository."""

    def __init__(self, state: State, keys: HomeKeys) -> None:
        self._state, self._keys = state, keys

    @property
    def own(self) -> WriterGrant | None:
        """Return this device's grant; None in a home that was recovered and did not take over."""
        return open_statement(WriterGrant, self._keys.grant, self._keys.authority) if self._keys.grant else None

    @property
    def seen(self) -> WriterGrant | None:
        """Return the grant that hosts showed and that matters most here: the highest, of two the other device's."""
        kept = self._state.setting(_SEEN)
        return None if kept is None else open_statement(WriterGrant, kept, self._keys.authority)

    def see(self, signed: bytes) -> None:
        """Remember a grant that a host showed, if it matters more than the one remembered.

        Durable before anything else is done about it: a machine that was taken over stays so, whoever answers next.

        Raises:
            AuthenticationFault: not signed by our authority.

        """
        said, known = open_statement(WriterGrant, signed, self._keys.authority), self.seen
        if known is None or self._weight(said) > self._weight(known):
            self._state.put_setting(_SEEN, signed)

    def notice(self, heads: Sequence[HeadState]) -> None:
        """Remember what a host showed in its Hello; what is not ours, or not signed, is ignored."""
        for shown in heads:
            with suppress(PeerFault):
                grant = open_statement(WriterGrant, shown.grant, self._keys.authority)
                if grant.repository == self._keys.repository:
                    self.see(shown.grant)

    @property
    def highest_epoch(self) -> int:
        """Return the highest epoch of any grant known here, 0 for none."""
        return max((grant.epoch for grant in (self.own, self.seen) if grant is not None), default=0)

    @property
    def may_write(self) -> bool:
        """Whether this device is the writer, as far as is known."""
        return self._find_obstacle() is None

    def check(self) -> None:
        """Refuse to write unless this device is the writer.

        Raises:
            RefusedError: it holds no grant, or another device's stands above or beside it.

        """
        obstacle = self._find_obstacle()
        if obstacle is not None:
            raise obstacle

    def sign_beside(self, kind: type[Statement], signed: bytes) -> bytes:
        """Return this device's signature over a statement of our identity, 64 bytes; b"" when it may not write.

        Hosts want it since a take-over (ADR 35, 51). One of another device would be a broken protocol to them.
        """
        return sign_beside(kind, signed, self._keys.device) if self.may_write else b""

    def describe(self) -> str:
        """Return in words why this home may only read; empty when it may write."""
        obstacle = self._find_obstacle()
        return "" if obstacle is None else f"{obstacle.message}: {obstacle.hint}"

    def explain(self) -> str:
        """Return the same without what to do."""
        obstacle = self._find_obstacle()
        return "" if obstacle is None else obstacle.message

    def _weight(self, grant: WriterGrant) -> tuple[int, bool]:
        return grant.epoch, grant.device != self._keys.device.public

    def _find_obstacle(self) -> BackupPeerError | None:
        own, seen = self.own, self.seen
        if own is None:
            return _only_reads()
        if seen is None or self._weight(seen) <= (own.epoch, False):
            return None
        return _taken_over(seen) if seen.epoch > own.epoch else _two_writers(own.epoch)


def _only_reads() -> RefusedError:
    return RefusedError(
        "this home may only read: it came from the words or a copy, or its right went to another machine",
        hint=f"restore what you need; to make the backups on this machine from now on: {TAKE_OVER}",
    )


def _taken_over(grant: WriterGrant) -> RefusedError:
    return RefusedError(
        f"taken over: since {format_time(grant.time_ms)[:10]} another machine with your words makes these backups",
        hint=f"this one can still restore; {TAKE_OVER} here takes it back. If that was not you, somebody has your "
        "words: restore what you need, and begin anew with `backup-peer init --home DIR`",
    )


def _two_writers(epoch: int) -> RefusedError:
    return RefusedError(
        f"two machines took over these backups without hearing of each other (both epoch {epoch}): neither may write",
        hint=f"nothing is lost; run {TAKE_OVER} on the one that is to make the backups, when all hosts can be reached",
    )
