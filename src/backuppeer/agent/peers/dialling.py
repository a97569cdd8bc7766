"""From a connection to a proven peer: the handshake's driver, and what its failures mean for who dialled.

Knows: one connection, before it is a session. Must not know: other sessions, where peers are found.
"""

from contextlib import suppress

from backuppeer.errors import AuthenticationFault, BackupPeerError, IncompatibleVersion, PeerUnreachable
from backuppeer.ids import PeerId, shorten_peer_id
from backuppeer.transport.base import Connection, Stream
from backuppeer.wire.codes import CloseCode
from backuppeer.wire.session import Handshake, ProvenPeer


async def shake_hands(handshake: Handshake, stream: Stream) -> ProvenPeer:
    """Run a handshake to its end.

    Raises:
        AuthenticationFault: the peer did not prove to be who it says, or who is expected.
        IncompatibleVersion: it did, and speaks no version of the protocol that this side speaks.
        PeerUnreachable: the connection is gone.

    """
    if opener := handshake.start():
        await stream.write(opener)
    while handshake.peer is None:
        reply = handshake.receive(await stream.read(handshake.wanted_bytes()))
        if reply:
            await stream.write(reply)
        if handshake.gap is not None:
            # Closing here would lose what was just said: who heard it closes.
            with suppress(PeerUnreachable):
                await stream.read(1)
            raise handshake.gap
    return handshake.peer


def is_duplicate(connection: Connection) -> bool:
    """Say whether the peer closed a connection because it has another session with us, or takes a dead one for it."""
    info = connection.close_info
    return info is not None and info.by_peer and info.code == CloseCode.DUPLICATE


def explain_dial(exc: BackupPeerError | TimeoutError, peer: PeerId) -> BackupPeerError:
    """Turn "closed in the handshake" into what a dialler can know: the peer would not talk to us, or isn't it."""
    if isinstance(exc, IncompatibleVersion):
        return exc
    name = shorten_peer_id(peer)
    if isinstance(exc, PeerUnreachable):
        return PeerUnreachable(
            f"{name} is there but closed the connection: {exc.message}",
            hint="it answers only those it has agreed with: try again, or `backup-peer connect PEER --storage 10GB`",
        )
    if isinstance(exc, TimeoutError):
        return PeerUnreachable(f"{name} did not finish the handshake in time", hint="try again in a moment")
    if isinstance(exc, AuthenticationFault):
        return AuthenticationFault(
            f"whoever answered for {name} could not prove to be it: {exc.message}",
            hint="do not go on; compare the safety words with the person you trust, and tell them",
        )
    return exc
