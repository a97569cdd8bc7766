import os
import re
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.crypto.identity import Purpose, SigningKey, verify_signature
from backuppeer.errors import AuthenticationFault, IncompatibleVersion, LocalError, PeerFault, ProtocolViolation
from backuppeer.ids import PeerId
from backuppeer.limits import FRAME_BYTES, HANDSHAKE_FRAME_BYTES
from backuppeer.wire.codec import FrameReader, decode, encode
from backuppeer.wire.codes import CloseCode
from backuppeer.wire.handshake import STREAM_OPENER, Handshake, Offer, ProvenPeer, TransportEnds, choose_version
from backuppeer.wire.messages import Challenge, Hello, Ping, Proof, Welcome
from backuppeer.wire.session import choose_close
from wire.pairs import Pair, peer_of, run_pair, transport_id


def messages_in(data):
    reader = FrameReader()
    reader.feed(data)
    found = []
    while (frame := reader.next_frame()) is not None:
        found.append(decode(frame))
    return found


def advance_to_proof(pair, **accept):
    """Return an acceptor that waits for a proof, and the honest proof for it."""
    dialler, acceptor = pair.dial(), pair.accept(**accept)
    challenge = acceptor.receive(dialler.start())
    return acceptor, dialler, dialler.receive(challenge)


def change(message, **fields):
    return encode(msgspec.structs.replace(message, **fields))


def test_two_peers_prove_themselves_to_each_other():
    pair = Pair()
    dialler, acceptor = pair.dial(), pair.accept()
    run_pair(dialler, acceptor)
    assert dialler.peer == ProvenPeer(peer_of(pair.acceptor), 1, 0)
    assert acceptor.peer == ProvenPeer(peer_of(pair.dialler), 1, 0)


def test_the_handshake_works_byte_by_byte_and_takes_nothing_that_follows():
    pair = Pair()
    dialler, acceptor = pair.dial(), pair.accept()
    pipes = {dialler: bytearray(), acceptor: bytearray(dialler.start())}
    while dialler.peer is None or acceptor.peer is None:
        for me, other in ((acceptor, dialler), (dialler, acceptor)):
            if pipes[me] and me.peer is None:
                size = min(me.wanted_bytes(), len(pipes[me]), 1)
                data = bytes(pipes[me][:size])
                del pipes[me][:size]
                pipes[other] += me.receive(data)
    assert not pipes[dialler]
    assert not pipes[acceptor]


def test_what_follows_a_welcome_in_the_same_read_is_kept_for_the_session():
    pair = Pair()
    dialler, acceptor = pair.dial(), pair.accept()
    proof = dialler.receive(acceptor.receive(dialler.start()))
    welcome = acceptor.receive(proof)
    dialler.receive(welcome + encode(Hello(program="x")))
    frame = dialler.reader.next_frame()
    assert frame is not None
    assert decode(frame) == Hello(program="x")


def test_the_caps_of_a_stranger_end_with_the_proof():
    pair = Pair()
    dialler, acceptor = pair.dial(), pair.accept()
    big = (FRAME_BYTES).to_bytes(4, "big")
    with pytest.raises(ProtocolViolation):
        pair.accept().receive(STREAM_OPENER + (HANDSHAKE_FRAME_BYTES + 1).to_bytes(4, "big"))
    run_pair(dialler, acceptor)
    for side in (dialler, acceptor):
        side.reader.feed(big)
        assert side.reader.wanted_bytes() == FRAME_BYTES


# --- the exact signature input


def test_the_signatures_cover_what_the_specification_says():
    pair = Pair()
    offers = Offer((1, 3), 5), Offer((1, 2), 6)
    dialler, acceptor = pair.dial(offer=offers[0]), pair.accept(offer=offers[1])
    from_dialler, from_acceptor = run_pair(dialler, acceptor)
    (proof,) = messages_in(from_dialler[1:])
    challenge, welcome = messages_in(from_acceptor)
    fields = [
        1, [1, 3], 5, 1, pair.ends.dialler, pair.ends.acceptor, pair.dialler.public, pair.acceptor.public,
        challenge.nonce, proof.nonce,
    ]  # fmt: skip
    verify_signature(pair.dialler.public, Purpose.SESSION_DIALLER, msgspec.msgpack.encode(fields), proof.signature)
    fields[3] = 2
    fields += [[1, 2], 6, 2]
    verify_signature(pair.acceptor.public, Purpose.SESSION_ACCEPTOR, msgspec.msgpack.encode(fields), welcome.signature)
    assert dialler.peer == ProvenPeer(peer_of(pair.acceptor), 2, 4)
    assert acceptor.peer == ProvenPeer(peer_of(pair.dialler), 2, 4)


# --- man in the middle, replay, misbinding


def test_a_man_in_the_middle_who_relays_all_bytes_is_caught_by_the_transport_ids():
    pair, middle = Pair(), transport_id()
    dialler = pair.dial(ends=TransportEnds(pair.ends.dialler, middle))
    acceptor = pair.accept(ends=TransportEnds(middle, pair.ends.acceptor))
    with pytest.raises(AuthenticationFault):
        run_pair(dialler, acceptor)
    assert dialler.peer is None
    assert acceptor.peer is None


@pytest.mark.parametrize("swap", ["dialler", "acceptor", "both"])
def test_swapped_transport_ids_are_caught(swap):
    pair = Pair()
    other = {
        "dialler": TransportEnds(transport_id(), pair.ends.acceptor),
        "acceptor": TransportEnds(pair.ends.dialler, transport_id()),
        "both": TransportEnds(pair.ends.acceptor, pair.ends.dialler),
    }[swap]
    acceptor = pair.accept(ends=other)
    with pytest.raises(AuthenticationFault):
        run_pair(pair.dial(), acceptor)
    assert acceptor.peer is None


def test_a_man_in_the_middle_can_not_put_his_own_identity_in_a_proof():
    pair, thief = Pair(), SigningKey.generate()
    acceptor, _, data = advance_to_proof(pair)
    (proof,) = messages_in(data)
    with pytest.raises(AuthenticationFault):
        acceptor.receive(change(proof, dialler=peer_of(thief)))


def test_an_impostor_can_not_answer_for_the_expected_peer():
    pair, impostor = Pair(), SigningKey.generate()
    dialler = pair.dial()
    false_acceptor = Handshake.accept(impostor, lambda _peer: True, ends=pair.ends)
    proof = dialler.receive(false_acceptor.receive(dialler.start()))
    # It can't even get the honest machine to answer, so it forges.
    with pytest.raises(AuthenticationFault):
        false_acceptor.receive(proof)
    forged = Welcome(versions=(1, 1), version=1, features=0, signature=impostor.sign(Purpose.SESSION_ACCEPTOR, b"x"))
    with pytest.raises(AuthenticationFault):
        dialler.receive(encode(forged))
    assert dialler.peer is None


def test_a_recorded_proof_is_worthless_on_another_connection():
    pair = Pair()
    _, _, recorded = advance_to_proof(pair)
    acceptor, _, _ = advance_to_proof(pair)
    with pytest.raises(AuthenticationFault):
        acceptor.receive(recorded)


def test_a_recorded_welcome_is_worthless_on_another_connection():
    pair = Pair()
    acceptor, dialler, proof = advance_to_proof(pair)
    recorded = acceptor.receive(proof)
    dialler.receive(recorded)
    again = pair.dial()
    # Even with the same challenge: the dialler's own nonce is new.
    again.receive(encode(Challenge(nonce=os.urandom(32))))
    with pytest.raises(AuthenticationFault):
        again.receive(recorded)
    assert again.peer is None


def test_a_proof_made_for_one_acceptor_is_worthless_before_another():
    pair, other = Pair(), SigningKey.generate()
    acceptor = Handshake.accept(other, lambda _peer: True, ends=pair.ends)
    with pytest.raises(AuthenticationFault):
        run_pair(pair.dial(), acceptor)
    acceptor = Handshake.accept(other, lambda _peer: True, ends=pair.ends)
    dialler = pair.dial()
    (proof,) = messages_in(dialler.receive(acceptor.receive(dialler.start())))
    with pytest.raises(AuthenticationFault):
        acceptor.receive(change(proof, acceptor=peer_of(other)))


def test_a_connection_to_another_transport_key_than_the_learned_one_is_refused_before_a_byte():
    pair = Pair()
    with pytest.raises(AuthenticationFault):
        Handshake.dial(pair.dialler, peer_of(pair.acceptor), ends=pair.ends, learned=transport_id())


# --- reflection


def test_a_proof_sent_back_to_its_maker_is_a_protocol_violation():
    pair = Pair()
    _, dialler, proof = advance_to_proof(pair)
    with pytest.raises(ProtocolViolation):
        dialler.receive(proof)


def test_a_signature_reflected_as_a_welcome_does_not_hold():
    pair = Pair()
    _, dialler, data = advance_to_proof(pair)
    (proof,) = messages_in(data)
    with pytest.raises(AuthenticationFault):
        dialler.receive(encode(Welcome(versions=(1, 1), version=1, features=0, signature=proof.signature)))


def test_nobody_talks_to_himself():
    pair = Pair()
    with pytest.raises(AuthenticationFault):
        pair.dial(expected=peer_of(pair.dialler))
    with pytest.raises(AuthenticationFault):
        pair.accept(ends=TransportEnds(pair.ends.dialler, pair.ends.dialler))
    twin = Pair(dialler=pair.acceptor, acceptor=pair.acceptor, ends=pair.ends)
    acceptor = twin.accept()
    acceptor.receive(STREAM_OPENER)
    proof = Proof(
        versions=(1, 1), features=0, dialler=peer_of(twin.dialler), acceptor=peer_of(twin.acceptor),
        nonce=os.urandom(32), signature=bytes(64),
    )  # fmt: skip
    with pytest.raises(AuthenticationFault):
        acceptor.receive(encode(proof))


# --- downgrade


@pytest.mark.parametrize("fields", [{"versions": (1, 1)}, {"features": 0}, {"versions": (2, 3)}, {"nonce": bytes(32)}])
def test_a_changed_proof_is_refused(fields):
    pair = Pair()
    dialler, acceptor = pair.dial(offer=Offer((1, 3), 7)), pair.accept(offer=Offer((1, 3), 7))
    (proof,) = messages_in(dialler.receive(acceptor.receive(dialler.start())))
    with pytest.raises(AuthenticationFault):
        acceptor.receive(change(proof, **fields))
    assert acceptor.peer is None


@pytest.mark.parametrize("fields", [{"versions": (1, 1), "version": 1}, {"version": 1}, {"features": 0}])
def test_a_changed_welcome_is_refused(fields):
    pair = Pair()
    dialler, acceptor = pair.dial(offer=Offer((1, 3), 7)), pair.accept(offer=Offer((1, 3), 7))
    (welcome,) = messages_in(acceptor.receive(dialler.receive(acceptor.receive(dialler.start()))))
    with pytest.raises(AuthenticationFault):
        dialler.receive(change(welcome, **fields))
    assert dialler.peer is None


def test_an_acceptor_that_chooses_an_older_version_than_both_speak_is_refused(monkeypatch):
    pair = Pair()
    dialler, acceptor = pair.dial(offer=Offer((1, 3))), pair.accept(offer=Offer((1, 3)))
    proof = dialler.receive(acceptor.receive(dialler.start()))
    monkeypatch.setattr("backuppeer.wire.handshake.choose_version", lambda *_: 1)
    welcome = acceptor.receive(proof)
    monkeypatch.undo()
    with pytest.raises(ProtocolViolation):
        dialler.receive(welcome)
    assert dialler.peer is None


@pytest.mark.parametrize(
    ("near", "far", "dialler_hears", "acceptor_hears"),
    [
        (
            (1, 1),
            (2, 3),
            "a newer backup-peer, .* it speaks protocol 2 to 3, this one 1",
            "an older .* 1, this one 2 to 3",
        ),
        ((3, 4), (1, 2), "an older .* 1 to 2, this one 3 to 4", "a newer .* 3 to 4, this one 1 to 2"),
    ],
)
def test_a_partner_without_a_common_version_is_told_so_under_a_signature_and_knows_who_has_to_upgrade(
    near, far, dialler_hears, acceptor_hears
):
    pair = Pair()
    dialler, acceptor = pair.dial(offer=Offer(near)), pair.accept(offer=Offer(far))
    with pytest.raises(IncompatibleVersion, match=dialler_hears) as heard:
        run_pair(dialler, acceptor)
    assert re.search(acceptor_hears, acceptor.gap.message)
    newer = "on this machine"
    assert [newer in heard.value.hint, newer in acceptor.gap.hint] == [near[1] < far[0], far[1] < near[0]]
    assert dialler.peer is acceptor.peer is None
    assert dialler.is_over
    assert acceptor.is_over


def test_a_welcome_that_says_a_gap_is_believed_of_nobody_else():
    pair = Pair()
    dialler, acceptor = pair.dial(offer=Offer((1, 1))), pair.accept(offer=Offer((1, 1)))
    (welcome,) = messages_in(acceptor.receive(dialler.receive(acceptor.receive(dialler.start()))))
    with pytest.raises(AuthenticationFault):
        dialler.receive(change(welcome, versions=(2, 3), version=3))


def test_a_stranger_without_a_common_version_is_told_nothing():
    pair = Pair()
    acceptor = pair.accept(offer=Offer((2, 3)), may_answer=lambda _peer: False)
    dialler = pair.dial()
    with pytest.raises(AuthenticationFault):
        acceptor.receive(dialler.receive(acceptor.receive(dialler.start())))
    assert acceptor.gap is None


def test_the_highest_common_version_is_chosen():
    assert choose_version((1, 2), (3, 4)) is None
    assert choose_version((1, 3), (2, 9)) == 3


# --- probing


def observe(pair, spoil=None, *, answered=True, nonce=bytes(32)):
    """Return everything that a dialler sees of an acceptor: its bytes, and the code and reason of its close."""
    acceptor = Handshake.accept(pair.acceptor, lambda _peer: answered, ends=pair.ends, randomness=lambda _n: nonce)
    dialler = pair.dial()
    seen = acceptor.receive(dialler.start())
    data = dialler.receive(seen)
    try:
        seen += acceptor.receive(spoil(data) if spoil else data)
    except PeerFault as exc:
        return seen, choose_close(exc, is_proven=acceptor.peer is not None), acceptor
    return seen, None, acceptor


def spoil_signature(data):
    (proof,) = messages_in(data)
    return change(proof, signature=bytes(64))


def spoil_name(data):
    (proof,) = messages_in(data)
    return change(proof, acceptor=PeerId(os.urandom(32)))


def spoil_key(data):
    (proof,) = messages_in(data)
    return change(proof, dialler=PeerId(bytes(32)))


PROBES = {
    "a stranger with a right proof": (None, False),
    "a bad signature": (spoil_signature, True),
    "a wrong expected identity": (spoil_name, True),
    "a malformed key": (spoil_key, True),
    "garbage": (lambda _data: b"\0\0\0\x02\x02\xff", True),
    "an unknown message type": (lambda _data: b"\0\0\0\x01\xc8", True),
    "an oversized frame": (lambda _data: b"\xff\xff\xff\xff", True),
    "a message of the session": (lambda _data: encode(Ping()), True),
    "an empty frame": (lambda _data: bytes(4), True),
    "an early end": (lambda _data: b"", True),
}


@pytest.mark.parametrize("probe", PROBES)
def test_every_probe_sees_the_same_bytes_and_the_same_close(probe):
    pair = Pair()
    spoil, answered = PROBES[probe]
    seen, close, acceptor = observe(pair, spoil, answered=answered)
    assert seen == encode(Challenge(nonce=bytes(32)))
    assert close is CloseCode.REJECTED
    assert acceptor.peer is None


@pytest.mark.parametrize("probe", PROBES)
def test_no_probe_gets_a_byte_of_the_identity_or_a_signature_by_it(probe, monkeypatch):
    pair = Pair()
    spoil, answered = PROBES[probe]
    signed = []
    honest = SigningKey.sign

    def watch(key, purpose, blob):
        signed.append(key.public)
        return honest(key, purpose, blob)

    monkeypatch.setattr(SigningKey, "sign", watch)
    seen, _, _ = observe(pair, spoil, answered=answered, nonce=os.urandom(32))
    assert pair.acceptor.public not in signed
    for start in range(0, 32, 4):
        assert pair.acceptor.public[start : start + 4] not in seen


def test_the_policy_is_asked_also_when_the_signature_is_bad():
    pair, asked = Pair(), []
    acceptor, _, data = advance_to_proof(pair, may_answer=lambda peer: asked.append(peer) or True)
    with pytest.raises(AuthenticationFault):
        acceptor.receive(spoil_signature(data))
    assert asked == [peer_of(pair.dialler)]


def test_a_policy_that_breaks_leaves_the_handshake_failed():
    def explode(_peer):
        raise OSError("disk")

    acceptor, _, data = advance_to_proof(Pair(), may_answer=explode)
    with pytest.raises(OSError, match="disk"):
        acceptor.receive(data)
    assert acceptor.peer is None
    with pytest.raises(LocalError):
        acceptor.receive(data)


def test_a_failed_or_finished_handshake_takes_no_more():
    pair = Pair()
    dialler, acceptor = pair.dial(), pair.accept()
    run_pair(dialler, acceptor)
    for side in (dialler, acceptor):
        with pytest.raises(LocalError):
            side.receive(b"x")
    acceptor, _, data = advance_to_proof(pair)
    with pytest.raises(PeerFault):
        acceptor.receive(spoil_signature(data))
    with pytest.raises(LocalError):
        acceptor.receive(data)
    assert acceptor.peer is None


def test_a_wrong_opener_is_refused():
    with pytest.raises(ProtocolViolation):
        Pair().accept().receive(b"\x02")


@given(st.binary(min_size=1, max_size=300))
def test_whatever_a_stranger_sends_only_our_errors_come_out(data):
    acceptor = Pair().accept()
    acceptor.receive(STREAM_OPENER)
    with suppress(PeerFault):
        assert acceptor.receive(data) == b""
    assert acceptor.peer is None


@given(st.data())
def test_no_proof_with_a_changed_byte_is_accepted(data):
    acceptor, _, proof = advance_to_proof(Pair())
    index = data.draw(st.integers(0, len(proof) - 1))
    flip = data.draw(st.integers(1, 255))
    changed = bytearray(proof)
    changed[index] ^= flip
    with suppress(PeerFault):
        acceptor.receive(bytes(changed))
    assert acceptor.peer is None


# --- identities of before
def test_an_acceptor_answers_under_a_name_of_before_whom_it_is_told_to_and_says_which_was_named():
    pair, before = Pair(), SigningKey.generate()
    partner = peer_of(pair.dialler)
    for expected in (before, pair.acceptor):
        dialler = pair.dial(expected=peer_of(expected))
        acceptor = Handshake.accept(
            pair.acceptor, lambda _: True, ends=pair.ends, former=[(before, lambda peer: peer == partner)]
        )
        run_pair(dialler, acceptor)
        assert (dialler.peer.peer, acceptor.peer.peer, acceptor.own) == (
            peer_of(expected),
            partner,
            peer_of(expected),
        )


def test_a_name_of_before_is_answered_to_nobody_else_and_its_thief_gets_no_session_as_it():
    pair, before = Pair(), SigningKey.generate()
    stranger = pair.dial(expected=peer_of(before))
    with pytest.raises(AuthenticationFault):
        run_pair(
            stranger,
            Handshake.accept(pair.acceptor, lambda _: True, ends=pair.ends, former=[(before, lambda _: False)]),
        )
    thief = Handshake.dial(before, peer_of(pair.acceptor), ends=pair.ends, learned=pair.ends.acceptor)
    with pytest.raises(AuthenticationFault):
        run_pair(
            thief, Handshake.accept(pair.acceptor, lambda _: True, ends=pair.ends, former=[(before, lambda _: True)])
        )
