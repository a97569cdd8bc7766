"""The vectors and tables of docs/protocol.md are what the code does."""

import re
from pathlib import Path

from backuppeer.crypto.identity import SigningKey
from backuppeer.ids import PeerId, TransportId
from backuppeer.wire.codec import encode
from backuppeer.wire.codes import CloseCode, RefusalCode
from backuppeer.wire.handshake import Handshake, TransportEnds
from backuppeer.wire.messages import Challenge
from backuppeer.wire.numbers import TYPES
from backuppeer.wire.table import TABLE, Speaker, State

TEXT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()


def vector(name):
    found = re.search(rf"^{name}\n```\n([0-9a-f\n]+)```$", TEXT, re.MULTILINE)
    assert found is not None
    return bytes.fromhex(found[1].replace("\n", ""))


def test_the_handshake_of_the_specification_is_ours_byte_for_byte():
    keys = SigningKey.from_seed(b"\1" * 32), SigningKey.from_seed(b"\2" * 32)
    ends = TransportEnds(TransportId(b"\3" * 32), TransportId(b"\4" * 32))
    dialler = Handshake.dial(
        keys[0], PeerId(keys[1].public), ends=ends, learned=ends.acceptor, randomness=lambda n: b"\6" * n
    )
    acceptor = Handshake.accept(keys[1], lambda _peer: True, ends=ends, randomness=lambda n: b"\5" * n)
    challenge = acceptor.receive(dialler.start())
    proof = dialler.receive(challenge)
    welcome = acceptor.receive(proof)
    dialler.receive(welcome)
    assert (vector("dialler identity"), vector("acceptor identity")) == (keys[0].public, keys[1].public)
    assert challenge == encode(Challenge(nonce=b"\5" * 32)) == vector("Challenge")
    assert proof == vector("Proof")
    assert welcome == vector("Welcome")


def test_every_message_code_and_state_stands_in_the_specification():
    for number, kind in TYPES.items():
        assert f"| {number} | {kind.__name__} |" in TEXT
    for code in CloseCode:
        assert f"| {code.value} | {code.name} |" in TEXT
    for refusal in RefusalCode:
        assert f"{refusal.value} {refusal.name.lower().replace('_', ' ')}" in TEXT
    for state in set(State) - {State.FAILED}:
        assert state.name in TEXT


def test_every_row_of_the_request_table_stands_in_the_specification():
    for speaker, state, kind in TABLE:
        if speaker is Speaker.OPENER:
            assert f"| {state.name} | opener | {kind.__name__} |" in TEXT
