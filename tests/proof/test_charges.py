"""Files of proofs and rebuttals."""

import msgspec
import pytest
from court import STORED, Court
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.errors import LocalError, ProtocolViolation
from backuppeer.ids import StoredId
from backuppeer.limits import (
    ACK_PACKS,
    AUDIT_SAMPLE_LEAVES,
    AUDIT_SAMPLES,
    LEAF_BYTES,
    PROOF_BYTES,
    PROOF_PATH_NODES,
    PROOF_REVISIONS,
    REBUTTAL_ENDINGS,
    REBUTTAL_REMOVALS,
    REMOVAL_PACKS,
    SIGNED_BYTES,
)
from backuppeer.proof.charges import (
    Rebuttal,
    ShownRemoval,
    pack_charge,
    pack_rebuttal,
    unpack_charge,
    unpack_rebuttal,
)

COURT = Court()
CHARGES = COURT.charges()
REBUTTAL = Rebuttal(removals=[COURT.delete()], agreements=[COURT.agree(2)])
FILES = {name: pack_charge(charge) for name, charge in CHARGES.items()}
every_charge = pytest.mark.parametrize("crime", CHARGES)
PACKS = [StoredId(n.to_bytes(32, "big")) for n in range(ACK_PACKS)]
LONGEST = bytes(SIGNED_BYTES)


@every_charge
def test_charge_returns_as_it_was_packed(crime):
    assert unpack_charge(FILES[crime]) == CHARGES[crime]
    assert pack_charge(unpack_charge(memoryview(FILES[crime]))) == FILES[crime]


def test_rebuttal_returns_as_it_was_packed():
    assert unpack_rebuttal(pack_rebuttal(REBUTTAL)) == REBUTTAL
    assert unpack_rebuttal(pack_rebuttal(Rebuttal())) == Rebuttal()
    ended = msgspec.structs.replace(REBUTTAL, endings=[b"n"])
    assert unpack_rebuttal(pack_rebuttal(ended)) == ended
    assert pack_rebuttal(REBUTTAL)[7] == 1, "who knows no endings reads all others"
    assert pack_rebuttal(ended)[7] == 2
    with pytest.raises(ProtocolViolation, match="one encoding"):
        unpack_rebuttal(b"BPREPLY\x02" + msgspec.msgpack.encode(REBUTTAL))


def test_file_of_one_kind_is_none_of_the_other():
    with pytest.raises(ProtocolViolation, match="no rebuttal"):
        unpack_rebuttal(FILES["lost-pack"])
    with pytest.raises(ProtocolViolation, match="no proof of misbehaviour"):
        unpack_charge(pack_rebuttal(REBUTTAL))


@pytest.mark.parametrize("data", [b"", b"BPPROOF", b"BPPROOF\x01", b"BPPROOF\x01\xc0", b"BPPROOF\x01\x80", b"x" * 99])
def test_what_is_no_proof_is_refused(data):
    with pytest.raises(ProtocolViolation):
        unpack_charge(data)


def test_later_version_is_refused_by_name():
    with pytest.raises(ProtocolViolation, match="version 2") as caught:
        unpack_charge(b"BPPROOF\x02" + FILES["lost-pack"][8:])
    assert "newer" in caught.value.hint


@every_charge
@given(data=st.data())
def test_shortened_or_lengthened_file_is_refused(crime, data):
    file = FILES[crime]
    with pytest.raises(ProtocolViolation):
        unpack_charge(file[: data.draw(st.integers(0, len(file) - 1))])
    with pytest.raises(ProtocolViolation):
        unpack_charge(file + data.draw(st.binary(min_size=1, max_size=9)))


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data):
    magics = ((unpack_charge, b"BPPROOF\x01"), (unpack_rebuttal, b"BPREPLY\x01"), (unpack_rebuttal, b"BPREPLY\x02"))
    for read, magic in magics:
        with pytest.raises(ProtocolViolation):
            read(magic + data)


@pytest.mark.parametrize(
    "body",
    [
        b"\x91" * 5000,
        b"\xdf\xff\xff\xff\xff",
        b"\x81\xa6charge\x91" * 3000,
        b"\x81\xa6charge\xa3\xff\xff\xff",
    ],
)
def test_hostile_bodies_are_refused(body):
    with pytest.raises(ProtocolViolation):
        unpack_charge(b"BPPROOF\x01" + body)


def test_other_encodings_of_the_same_are_refused():
    body = FILES["older-head"][8:]
    fields = msgspec.msgpack.decode(body)
    assert msgspec.msgpack.encode(fields) == body
    reordered = dict(reversed(fields.items()))
    for other in (reordered, {**fields, "news": 1}, {k: v for k, v in fields.items() if k != "held"}):
        with pytest.raises(ProtocolViolation):
            unpack_charge(b"BPPROOF\x01" + msgspec.msgpack.encode(other))
    with pytest.raises(ProtocolViolation, match="one encoding"):
        unpack_charge(b"BPPROOF\x01\xde\x00" + bytes([len(fields)]) + body[1:])


def test_largest_charge_and_rebuttal_fit_their_file():
    largest = msgspec.structs.replace(
        CHARGES["wrong-answer"],
        agreements=[LONGEST] * PROOF_REVISIONS,
        head=LONGEST,
        grant=LONGEST,
        receipt=LONGEST,
        ack=LONGEST,
        acked=PACKS,
        challenge=LONGEST,
        answer=LONGEST,
        sample=AUDIT_SAMPLES - 1,
        length=2**63 - 1,
        path=[bytes(32)] * PROOF_PATH_NODES,
        data=bytes(AUDIT_SAMPLE_LEAVES * LEAF_BYTES),
    )
    assert unpack_charge(pack_charge(largest)) == largest
    removals = [ShownRemoval(LONGEST, PACKS[:REMOVAL_PACKS])] * REBUTTAL_REMOVALS
    answer = Rebuttal(removals=removals, agreements=[LONGEST] * PROOF_REVISIONS)
    assert len(pack_rebuttal(answer)) <= PROOF_BYTES


@pytest.mark.parametrize(
    "changes",
    [
        {"agreements": []},
        {"agreements": [LONGEST] * (PROOF_REVISIONS + 1)},
        {"head": LONGEST + b"\0"},
        {"ack": b""},
        {"acked": []},
        {"acked": [*PACKS, STORED]},
        {"acked": [b"short"]},
        {"sample": AUDIT_SAMPLES},
        {"sample": -1},
        {"length": 2**63},
        {"path": [bytes(32)] * (PROOF_PATH_NODES + 1)},
        {"path": [bytes(31)]},
        {"data": bytes(AUDIT_SAMPLE_LEAVES * LEAF_BYTES + 1)},
    ],
    ids=str,
)
def test_what_is_over_a_cap_is_neither_written_nor_read(changes):
    charge = msgspec.structs.replace(CHARGES["wrong-answer"], **changes)
    with pytest.raises(LocalError):
        pack_charge(charge)
    with pytest.raises(ProtocolViolation):
        unpack_charge(b"BPPROOF\x01" + msgspec.msgpack.encode(charge))


@pytest.mark.parametrize(
    "rebuttal",
    [
        Rebuttal(removals=[COURT.delete()] * (REBUTTAL_REMOVALS + 1)),
        Rebuttal(agreements=[LONGEST] * (PROOF_REVISIONS + 1)),
        Rebuttal(endings=[LONGEST] * (REBUTTAL_ENDINGS + 1)),
        Rebuttal(removals=[ShownRemoval(b"x", [])]),
        Rebuttal(removals=[ShownRemoval(b"", [STORED])]),
        Rebuttal(removals=[ShownRemoval(b"x", [*PACKS, STORED])]),
    ],
    ids=range(6),
)
def test_rebuttal_over_a_cap_is_neither_written_nor_read(rebuttal):
    with pytest.raises(LocalError):
        pack_rebuttal(rebuttal)


def test_endless_file_is_refused_without_being_decoded():
    with pytest.raises(ProtocolViolation, match="longer"):
        unpack_charge(b"BPPROOF\x01" + bytes(PROOF_BYTES))
