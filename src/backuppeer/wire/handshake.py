"""The handshake: both ends of a connection prove their identities, the dialler first (docs/protocol.md, "Handshake").

Knows: the signature input, who reveals what when. Must not know: sockets, time, who is a partner (`may_answer` does).

The acceptor sends 32 random bytes and then nothing before the dialler has proven who it is, named the acceptor it
expects, and is somebody whom the acceptor answers. So probing by a stranger learns nothing but that something listens.
Both signatures cover the two transport ids which the transport itself has authenticated: a proof relayed by a man in
the middle, or recorded and replayed, names other transport ids or another nonce and does not verify.
"""

import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from msgspec import msgpack

from backuppeer.crypto.identity import Purpose, SigningKey, verify_signature
from backuppeer.errors import AuthenticationFault, IncompatibleVersion, LocalError, ProtocolViolation
from backuppeer.ids import PeerId, TransportId, shorten_peer_id
from backuppeer.limits import HANDSHAKE_FRAME_BYTES
from backuppeer.wire.codec import Frame, FrameReader, UnknownMessage, decode, encode
from backuppeer.wire.fields import Message
from backuppeer.wire.messages import Challenge, Proof, Welcome
from backuppeer.wire.table import Speaker, State, state_after_receiving, state_after_sending

STREAM_OPENER: Final = b"\x01"
"""What the dialler writes first: QUIC shows a stream to the peer only when something is written to it."""
NONCE_BYTES: Final = 32
_LABEL_VERSION: Final = 1
MayAnswer = Callable[[PeerId], bool]


@dataclass(frozen=True, slots=True)
class Offer:
    """What one side speaks: lowest and highest protocol version, and its feature bits."""

    versions: tuple[int, int] = (1, 1)
    features: int = 0


@dataclass(frozen=True, slots=True)
class ProvenPeer:
    """Who is at the other end, beyond doubt; the version to speak; the features that both have."""

    peer: PeerId
    version: int
    features: int


@dataclass(frozen=True, slots=True)
class TransportEnds:
    """The transport ids of both ends, as authenticated by the transport, not as claimed."""

    dialler: TransportId
    acceptor: TransportId


@dataclass(frozen=True, slots=True)
class _Claim:
    """Everything the dialler signs but for the transport ids."""

    offer: Offer
    dialler: bytes
    acceptor: bytes
    acceptor_nonce: bytes
    dialler_nonce: bytes


def _signed_by_dialler(claim: _Claim, ends: TransportEnds) -> bytes:
    return msgpack.encode(_signature_fields(claim, ends, role=Speaker.DIALLER))


def _signed_by_acceptor(claim: _Claim, ends: TransportEnds, answer: Offer, version: int) -> bytes:
    fields = _signature_fields(claim, ends, role=Speaker.ACCEPTOR)
    return msgpack.encode([*fields, list(answer.versions), answer.features, version])


def _signature_fields(claim: _Claim, ends: TransportEnds, *, role: Speaker) -> list[object]:
    """Return the array of docs/protocol.md; role 1 = dialler, 2 = acceptor, so that neither signature is the other."""
    return [
        _LABEL_VERSION,
        list(claim.offer.versions),
        claim.offer.features,
        1 if role is Speaker.DIALLER else 2,
        ends.dialler,
        ends.acceptor,
        claim.dialler,
        claim.acceptor,
        claim.acceptor_nonce,
        claim.dialler_nonce,
    ]


def choose_version(one: tuple[int, int], other: tuple[int, int]) -> int | None:
    """Return the highest version in both ranges (lowest, highest), or None."""
    version = min(one[1], other[1])
    return version if version >= max(one[0], other[0]) else None


def explain_gap(peer: PeerId, ours: tuple[int, int], theirs: tuple[int, int]) -> IncompatibleVersion:
    """Return the error for a proven peer whose versions (lowest, highest) have none in common with ours."""
    is_newer = theirs[0] > ours[1]
    which = "a newer" if is_newer else "an older"
    return IncompatibleVersion(
        f"{shorten_peer_id(peer)} has {which} backup-peer, and this one can't talk to it: "
        f"it speaks protocol {_write_versions(theirs)}, this one {_write_versions(ours)}",
        hint="install the newer backup-peer on this machine (docs/upgrades.md)"
        if is_newer
        else "ask its person to install the newer backup-peer (docs/upgrades.md)",
    )


def _write_versions(versions: tuple[int, int]) -> str:
    lowest, highest = versions
    return str(lowest) if lowest == highest else f"{lowest} to {highest}"


class Handshake:
    """One side of one handshake, without IO; made by `dial` or `accept`, used once.

    Drive it so: send `start()`; then, until `peer` is set, read at most `wanted_bytes()`, pass them to `receive`, send
    what it returns; if then `gap` is set, wait for the peer to close, and give up. Any exception means: close with
    CloseCode.REJECTED and no reason, and let nothing else be seen.
    `reader` then goes on to read the control stream.
    """

    def __init__(self, speaker: Speaker, identity: SigningKey, *, ends: TransportEnds, offer: Offer) -> None:
        if hmac.compare_digest(ends.dialler, ends.acceptor):
            raise AuthenticationFault("a connection to ourselves")
        self.peer: ProvenPeer | None = None
        """The proven peer, once the handshake has succeeded."""
        self.gap: IncompatibleVersion | None = None
        """Set for an acceptor whose last words tell a proven partner that no version is common."""
        self.reader = FrameReader(cap=HANDSHAKE_FRAME_BYTES)
        self._speaker = speaker
        self._identity = identity
        self._ends = ends
        self._offer = offer
        self._nonce = b""
        self._state = State.OPENED
        self._awaits_opener = speaker is Speaker.ACCEPTOR
        self._expected: PeerId | None = None
        self._claim: _Claim | None = None
        self._answering: tuple[tuple[SigningKey, MayAnswer], ...] = ()

    @classmethod
    def dial(
        cls,
        identity: SigningKey,
        expected: PeerId,
        *,
        ends: TransportEnds,
        learned: TransportId,
        offer: Offer = Offer(),
        randomness: Callable[[int], bytes] = secrets.token_bytes,
    ) -> "Handshake":
        """Return the dialler's side, which expects `expected` at the transport id `learned` from a signed statement.

        Raises:
            AuthenticationFault: the connection leads to another transport id than the one learned, or to ourselves.

        """
        # Not a secret: the transport has authenticated this id. Checked again so that no caller can forget it.
        if ends.acceptor != learned:
            raise AuthenticationFault("the connection leads to another transport key than the peer's")
        if expected == identity.public:
            raise AuthenticationFault("a session with ourselves")
        self = cls(Speaker.DIALLER, identity, ends=ends, offer=offer)
        self._expected = expected
        # 32 bytes from the system: no two handshakes share a nonce, so a recorded Welcome never verifies again.
        self._nonce = randomness(NONCE_BYTES)
        return self

    @classmethod
    def accept(
        cls,
        identity: SigningKey,
        may_answer: MayAnswer,
        *,
        ends: TransportEnds,
        former: Sequence[tuple[SigningKey, MayAnswer]] = (),
        offer: Offer = Offer(),
        randomness: Callable[[int], bytes] = secrets.token_bytes,
    ) -> "Handshake":
        """Return the acceptor's side; `may_answer` says whether a dialler is partner, accepted knock or live invite.

        `may_answer` is asked for every well-formed proof, right or wrong, and should take the same time for all.
        former: identities of before by which some still know this home, each with whom it answers so (ADR 69).
        """
        self = cls(Speaker.ACCEPTOR, identity, ends=ends, offer=offer)
        self._answering = ((identity, may_answer), *former)
        # 32 bytes from the system: no two handshakes share a nonce, so a recorded Proof never verifies again.
        self._nonce = randomness(NONCE_BYTES)
        return self

    @property
    def own(self) -> PeerId:
        """Return which identity of ours it is made with: of an acceptor that has several, the one that was named."""
        return PeerId(self._identity.public)

    @property
    def is_over(self) -> bool:
        """Return whether the handshake has succeeded or failed."""
        return self._state in {State.PROVEN, State.FAILED}

    def start(self) -> bytes:
        """Return what is to be sent at once: the dialler's stream opener, or nothing."""
        return STREAM_OPENER if self._speaker is Speaker.DIALLER else b""

    def wanted_bytes(self) -> int:
        """Return how many bytes to read at most before calling `receive`; at least 1 while the handshake runs."""
        return 1 if self._awaits_opener else self.reader.wanted_bytes()

    def receive(self, data: bytes) -> bytes:
        """Take bytes of the peer (b"" = it finished) and return what is to be sent, maybe nothing.

        Raises:
            ProtocolViolation: bytes that are no handshake. Never tell the peer.
            AuthenticationFault: the peer did not prove what it had to. Never tell the peer.
            IncompatibleVersion: it has proven who it is, and that it speaks no version of ours.
            LocalError: the handshake is over.

        """
        if self.is_over:
            raise LocalError("the handshake is over")
        # Fail closed: whatever is raised below leaves the machine failed.
        state: State = self._state
        self._state = State.FAILED
        if not data:
            raise ProtocolViolation("the peer ended the handshake")
        reply = b""
        if self._awaits_opener:
            if data[:1] != STREAM_OPENER:
                raise ProtocolViolation("not a control stream")
            self._awaits_opener = False
            data = data[1:]
            reply, state = self._send(state, Challenge(nonce=self._nonce))
        self.reader.feed(data)
        while state not in {State.PROVEN, State.FAILED} and (frame := self.reader.next_frame()) is not None:
            sent, state = self._take(state, frame)
            reply += sent
        self._state = state
        return reply

    def _send(self, state: State, message: Message) -> tuple[bytes, State]:
        after = state_after_sending(self._speaker, state, type(message))
        return encode(message, cap=HANDSHAKE_FRAME_BYTES), after

    def _take(self, state: State, frame: Frame) -> tuple[bytes, State]:
        message = decode(frame)
        if isinstance(message, UnknownMessage):
            raise ProtocolViolation(f"unknown message type {message.number} in the handshake")
        other = Speaker.ACCEPTOR if self._speaker is Speaker.DIALLER else Speaker.DIALLER
        after = state_after_receiving(other, state, type(message))
        match message:
            case Challenge():
                return self._send(after, self._prove(message))
            case Proof():
                welcome, peer = self._check_proof(message)
                sent, after = self._send(after, welcome)
                if self.gap is not None:
                    return sent, State.FAILED
                self._set_proven(peer)
                return sent, after
            case Welcome():
                self._set_proven(self._check_welcome(message))
                return b"", after
            case _:
                raise LocalError(f"the table lists {type(message).__name__} in the handshake, nobody handles it")

    def _set_proven(self, peer: ProvenPeer) -> None:
        self.peer = peer
        self.reader.raise_cap()

    def _prove(self, challenge: Challenge) -> Proof:
        if self._expected is None:
            raise LocalError("a dialler without an expected peer")
        dialler = PeerId(self._identity.public)
        claim = _Claim(self._offer, dialler, self._expected, challenge.nonce, self._nonce)
        self._claim = claim
        return Proof(
            versions=self._offer.versions,
            features=self._offer.features,
            dialler=dialler,
            acceptor=self._expected,
            nonce=self._nonce,
            signature=self._identity.sign(Purpose.SESSION_DIALLER, _signed_by_dialler(claim, self._ends)),
        )

    def _check_proof(self, proof: Proof) -> tuple[Welcome, ProvenPeer]:
        """Decide whether to answer. All checks run whatever the others say, so that time tells a prober nothing."""
        if not self._answering:
            raise LocalError("an acceptor without a policy")
        offer = Offer(proof.versions, proof.features)
        claim = _Claim(offer, proof.dialler, proof.acceptor, self._nonce, proof.nonce)
        signed = _is_signed(proof.dialler, _signed_by_dialler(claim, self._ends), proof.signature)
        named, answered, foreign = False, False, True
        for identity, may_answer in self._answering:
            # Who we are is a secret before the dialler: compared in constant time, and all asked whatever one says.
            is_named = hmac.compare_digest(proof.acceptor, identity.public)
            is_answered = may_answer(proof.dialler)
            foreign &= not hmac.compare_digest(proof.dialler, identity.public)
            if is_named:
                named, answered, self._identity = True, is_answered, identity
        if not (signed & named & foreign & answered):
            raise AuthenticationFault(f"a dialler was turned away: {signed=} {named=} {foreign=} {answered=}")
        version = choose_version(self._offer.versions, offer.versions)
        if version is None:
            # Told under our signature, and only to who may be answered: a stranger still sees one close for everything.
            self.gap = explain_gap(proof.dialler, self._offer.versions, proof.versions)
            version = self._offer.versions[1]
        blob = _signed_by_acceptor(claim, self._ends, self._offer, version)
        welcome = Welcome(
            versions=self._offer.versions,
            version=version,
            features=self._offer.features,
            signature=self._identity.sign(Purpose.SESSION_ACCEPTOR, blob),
        )
        return welcome, ProvenPeer(proof.dialler, version, offer.features & self._offer.features)

    def _check_welcome(self, welcome: Welcome) -> ProvenPeer:
        if self._claim is None or self._expected is None:
            raise LocalError("a Welcome without a claim")
        answer = Offer(welcome.versions, welcome.features)
        blob = _signed_by_acceptor(self._claim, self._ends, answer, welcome.version)
        verify_signature(self._expected, Purpose.SESSION_ACCEPTOR, blob, welcome.signature)
        # Both ranges are signed, so whoever changed one to force an old version has broken a signature; and the
        # acceptor itself must have chosen the highest.
        version = choose_version(self._offer.versions, welcome.versions)
        if version is None:
            raise explain_gap(self._expected, self._offer.versions, welcome.versions)
        if welcome.version != version:
            raise ProtocolViolation(
                f"the peer chose protocol version {welcome.version}, which is not the highest common"
            )
        return ProvenPeer(self._expected, welcome.version, welcome.features & self._offer.features)


def _is_signed(public: bytes, blob: bytes, signature: bytes) -> bool:
    try:
        verify_signature(public, Purpose.SESSION_DIALLER, blob, signature)
    except AuthenticationFault:
        return False
    return True
