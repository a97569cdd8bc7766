"""Handshakes joined in memory."""

import os
from dataclasses import dataclass, field

from backuppeer.crypto.identity import SigningKey
from backuppeer.ids import PeerId, TransportId
from backuppeer.wire.handshake import Handshake, Offer, TransportEnds

PLAIN = Offer()


def transport_id() -> TransportId:
    return TransportId(os.urandom(32))


def peer_of(key: SigningKey) -> PeerId:
    return PeerId(key.public)


@dataclass
class Pair:
    """A dialler and an acceptor who would prove themselves to each other, unless a test meddles."""

    dialler: SigningKey = field(default_factory=SigningKey.generate)
    acceptor: SigningKey = field(default_factory=SigningKey.generate)
    ends: TransportEnds = field(default_factory=lambda: TransportEnds(transport_id(), transport_id()))

    def dial(self, *, expected: PeerId | None = None, ends: TransportEnds | None = None, offer: Offer = PLAIN):
        ends = ends or self.ends
        return Handshake.dial(
            self.dialler, expected or peer_of(self.acceptor), ends=ends, learned=ends.acceptor, offer=offer
        )

    def accept(self, *, ends: TransportEnds | None = None, offer: Offer = PLAIN, may_answer=lambda _peer: True):
        return Handshake.accept(self.acceptor, may_answer, ends=ends or self.ends, offer=offer)


def run_pair(dialler: Handshake, acceptor: Handshake) -> tuple[bytes, bytes]:
    """Pass bytes until both are silent; return all that dialler and acceptor sent."""
    to_acceptor, to_dialler = dialler.start(), acceptor.start()
    said_by_dialler, said_by_acceptor = to_acceptor, to_dialler
    while to_acceptor or to_dialler:
        if to_acceptor:
            data, to_acceptor = to_acceptor, b""
            reply = acceptor.receive(data)
            to_dialler += reply
            said_by_acceptor += reply
        if to_dialler:
            data, to_dialler = to_dialler, b""
            reply = dialler.receive(data)
            to_acceptor += reply
            said_by_dialler += reply
    return said_by_dialler, said_by_acceptor
