"""Signed statements."""

import json
from pathlib import Path

import msgspec
import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.crypto.identity import Purpose, SigningKey
from backuppeer.errors import AuthenticationFault, LocalError, PeerFault, ProtocolViolation
from backuppeer.limits import STATEMENT_BYTES
from backuppeer.proof.audits import AuditAnswer, AuditChallenge
from backuppeer.proof.custody import HeadHeld, LossReport, StoreAck
from backuppeer.proof.notices import Notice
from backuppeer.proof.receipts import GapNote, Receipt, Vouch
from backuppeer.proof.removals import PackDelete, PackRevive, PackWithdraw
from backuppeer.proof.slots import SlotGift
from backuppeer.proof.statements import (
    ZERO_HASH,
    Agreement,
    Head,
    HeadReceipt,
    Statement,
    TransportBinding,
    WriterGrant,
    add_signature,
    check_beside,
    is_newer,
    open_proposal,
    open_statement,
    peek_statement,
    sign_beside,
    sign_statement,
    statement_hash,
)
from backuppeer.proof.succession import Succession
from backuppeer.proof.waivers import EndWaiver, LockWaiver, PurgeWaiver

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "statements.json").read_text())["statements"]
_KINDS = (
    *(WriterGrant, Agreement, Head, HeadReceipt, TransportBinding, PackDelete, PackRevive, PackWithdraw),
    *(StoreAck, AuditChallenge, AuditAnswer, LossReport, HeadHeld, Notice, LockWaiver, PurgeWaiver, EndWaiver),
    *(SlotGift, Receipt, GapNote, Vouch, Succession),
)
KINDS = {kind.__struct_config__.tag: kind for kind in _KINDS}
OWNER, HOST, OTHER = (SigningKey.from_seed(bytes([n]) * 32) for n in (1, 2, 3))
AGREEMENT = Agreement(
    agreement=bytes(16),
    revision=1,
    previous=ZERO_HASH,
    owner=OWNER.public,
    host=HOST.public,
    authority=OTHER.public,
    repository=bytes(16),
    size_bytes=10**10,
    start_ms=1_795_000_000_000,
    term_s=31_536_000,
    lock_s=2_592_000,
    availability=900,
    notice_s=86_400,
)
BINDING = TransportBinding(peer=HOST.public, transport=bytes(32), addresses=["192.0.2.1:4433"], time_ms=7)
SIGNED = sign_statement(BINDING, HOST)


def sign_blob(blob: bytes, *keys: SigningKey, purpose: Purpose = Purpose.TRANSPORT) -> bytes:
    """Sign whatever bytes, as a hostile peer can."""
    return len(blob).to_bytes(4, "big") + blob + b"".join(key.sign(purpose, blob) for key in keys)


def change(**fields: object) -> bytes:
    """Return a properly signed binding whose map has other fields; None takes one away."""
    names = {"kind": "transport-binding", **msgspec.structs.asdict(BINDING), **fields}
    return sign_blob(msgspec.msgpack.encode({k: v for k, v in names.items() if v is not None}), HOST)


def read_fields(vector: dict) -> dict:
    signed = bytes.fromhex(vector["signed"])
    example = msgspec.msgpack.decode(signed[4 : 4 + int.from_bytes(signed[:4], "big")])
    del example["kind"]
    assert set(vector["fields"]) == set(example) == set(KINDS[vector["kind"]].__struct_fields__)
    return {name: unhex(value, example[name]) for name, value in vector["fields"].items()}


def unhex(value: object, example: object) -> object:
    """Return what a vector's JSON stands for: bytes are hex there, and an example shows where."""
    if isinstance(example, list):
        return [unhex(one, other) for one, other in zip(value, example, strict=True)]
    if isinstance(example, dict):
        return {name: unhex(one, example[name]) for name, one in value.items()}
    return bytes.fromhex(value) if isinstance(example, bytes) else value


def open_vector(vector: dict) -> Statement:
    publics = [SigningKey.from_seed(bytes.fromhex(seed)).public for seed in vector["seeds"]]
    return open_statement(KINDS[vector["kind"]], bytes.fromhex(vector["signed"]), *publics)


vectors = pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["kind"])


@vectors
def test_vector_opens_to_its_fields_and_hash(vector):
    fields = {"kind": vector["kind"], **read_fields(vector)}
    assert msgspec.convert(fields, KINDS[vector["kind"]]) == open_vector(vector)
    assert statement_hash(bytes.fromhex(vector["signed"])).hex() == vector["hash"]


@vectors
def test_signing_the_fields_gives_the_vector(vector):
    keys = [SigningKey.from_seed(bytes.fromhex(seed)) for seed in vector["seeds"]]
    assert sign_statement(open_vector(vector), *keys).hex() == vector["signed"]


@vectors
def test_blob_is_a_plain_map_with_the_kind_first_and_ext_last(vector):
    signed = bytes.fromhex(vector["signed"])
    blob = signed[4 : 4 + int.from_bytes(signed[:4], "big")]
    names = list(msgspec.msgpack.decode(blob))
    assert names == ["kind", *vector["fields"]]
    assert names[-2:] == ["v", "ext"]


def test_one_more_signature_beside_a_request_about_packs_is_over_the_same_message():
    beside = [vector for vector in VECTORS if "beside" in vector]
    assert [vector["kind"] for vector in beside] == ["pack-delete", "pack-revive", "pack-withdraw"]
    for vector in beside:
        kind, signed = KINDS[vector["kind"]], bytes.fromhex(vector["signed"])
        key = SigningKey.from_seed(bytes.fromhex(vector["beside"]["seed"]))
        signature = sign_beside(kind, signed, key)
        assert signature.hex() == vector["beside"]["signature"]
        blob = signed[4 : 4 + int.from_bytes(signed[:4], "big")]
        assert (
            Ed25519PrivateKey.from_private_bytes(key.seed()).sign(
                b"backuppeer/v1/" + vector["kind"].encode() + b"\0" + blob
            )
            == signature
        )
        check_beside(kind, signed, signature, key.public)
        for wrong in (signature[:-1], bytes(64)):
            with pytest.raises(AuthenticationFault):
                check_beside(kind, signed, wrong, key.public)
        with pytest.raises(AuthenticationFault):
            check_beside(kind, signed, signature, OTHER.public)
        with pytest.raises(AuthenticationFault):
            check_beside(WriterGrant, signed, signature, key.public)


def reference_encode(value: object) -> bytes:
    """The few msgpack forms of a statement, each the shortest."""
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        if value < 128:
            return bytes([value])
        code, size = next((c, s) for c, s in ((0xCC, 1), (0xCD, 2), (0xCE, 4), (0xCF, 8)) if value < 256**s)
        return bytes([code]) + value.to_bytes(size, "big")
    if isinstance(value, bytes):
        assert len(value) < 65536
        head = bytes([0xC4, len(value)]) if len(value) < 256 else b"\xc5" + len(value).to_bytes(2, "big")
        return head + value
    if isinstance(value, str):
        assert len(value) < 32
        return bytes([0xA0 | len(value)]) + value.encode()
    if isinstance(value, list):
        return bytes([0x90 | len(value)]) + b"".join(map(reference_encode, value))
    assert isinstance(value, dict)
    assert len(value) < 65536
    head = bytes([0x80 | len(value)]) if len(value) < 16 else b"\xde" + len(value).to_bytes(2, "big")
    return head + b"".join(reference_encode(name) + reference_encode(item) for name, item in value.items())


@vectors
def test_vector_follows_from_the_specification_alone(vector):
    blob = reference_encode({"kind": vector["kind"], **read_fields(vector)})
    signed = bytes.fromhex(vector["signed"])
    assert signed.startswith(len(blob).to_bytes(4, "big") + blob)
    message = b"backuppeer/v1/" + KINDS[vector["kind"]].purpose.value + b"\0" + blob
    for at, seed in enumerate(vector["seeds"]):
        key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))
        assert signed[4 + len(blob) + 64 * at :][:64] == key.sign(message)
    assert len(signed) == 4 + len(blob) + 64 * len(vector["seeds"])
    domain = b"backuppeer v1 statement".ljust(32, b"\0")
    assert blake3(blob, key=domain).hexdigest() == vector["hash"]


def test_vectors_cover_every_kind():
    assert {vector["kind"] for vector in VECTORS} == set(KINDS) == {tag_of(kind) for kind in find_kinds(Statement)}
    assert len({kind.purpose for kind in KINDS.values()}) == len(KINDS)


def find_kinds(base: type) -> list[type]:
    """Return every kind of the package's statements; those of tests and bases, which have no purpose, are none."""
    found = [kind for below in base.__subclasses__() for kind in (below, *find_kinds(below))]
    return [kind for kind in found if hasattr(kind, "purpose") and kind.__module__.startswith("backuppeer.proof.")]


def tag_of(kind: type) -> str:
    return kind.__struct_config__.tag


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_any_buffer_opens(wrap):
    assert open_statement(TransportBinding, wrap(SIGNED), HOST.public) == BINDING
    assert peek_statement(TransportBinding, wrap(SIGNED)) == BINDING
    assert statement_hash(wrap(SIGNED)) == statement_hash(SIGNED)


# --- signatures
@given(bit=st.integers(0, len(SIGNED) * 8 - 1))
def test_flipped_bit_is_refused(bit):
    changed = bytearray(SIGNED)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(PeerFault):
        open_statement(TransportBinding, changed, HOST.public)


@given(cut=st.integers(0, len(SIGNED) - 1))
def test_shortened_statement_is_refused(cut):
    with pytest.raises(PeerFault):
        open_statement(TransportBinding, SIGNED[:cut], HOST.public)


@given(st.binary(max_size=300))
def test_random_bytes_are_refused(data):
    for call in (open_statement, lambda kind, signed, _: peek_statement(kind, signed)):
        with pytest.raises(PeerFault):
            call(TransportBinding, data, HOST.public)


def test_statement_by_somebody_else_is_refused():
    forged = sign_blob(msgspec.msgpack.encode(BINDING), OTHER)
    with pytest.raises(AuthenticationFault):
        open_statement(TransportBinding, forged, HOST.public)
    # Even a caller that was talked into checking with the forger's key sees that the statement names another.
    with pytest.raises(AuthenticationFault, match="another signer"):
        open_statement(TransportBinding, forged, OTHER.public)


def test_signature_for_another_purpose_is_refused():
    for purpose in set(Purpose) - {Purpose.TRANSPORT}:
        signed = sign_blob(msgspec.msgpack.encode(BINDING), HOST, purpose=purpose)
        with pytest.raises(AuthenticationFault):
            open_statement(TransportBinding, signed, HOST.public)


def test_missing_signature_is_refused():
    with pytest.raises(AuthenticationFault):
        open_statement(TransportBinding, SIGNED[:-64], HOST.public)


@pytest.mark.parametrize("extra", [b"\0", bytes(63), bytes(64), bytes(128)])
def test_bytes_after_the_signatures_are_refused(extra):
    with pytest.raises(ProtocolViolation):
        open_statement(TransportBinding, SIGNED + extra, HOST.public)


# --- agreements: two signatures
def test_proposal_becomes_an_agreement_with_the_second_signature():
    proposal = sign_statement(AGREEMENT, OWNER)
    assert open_proposal(Agreement, proposal, OWNER.public) == AGREEMENT
    assert peek_statement(Agreement, proposal) == AGREEMENT
    signed = add_signature(proposal, Agreement, HOST)
    assert signed == sign_statement(AGREEMENT, OWNER, HOST)
    assert open_statement(Agreement, signed, OWNER.public, HOST.public) == AGREEMENT
    assert statement_hash(proposal) == statement_hash(signed)


def test_proposal_is_no_agreement_and_the_reverse():
    proposal = sign_statement(AGREEMENT, OWNER)
    with pytest.raises(AuthenticationFault):
        open_statement(Agreement, proposal, OWNER.public, HOST.public)
    with pytest.raises(AuthenticationFault):
        open_proposal(Agreement, add_signature(proposal, Agreement, HOST), OWNER.public)


def test_agreement_with_swapped_or_repeated_signatures_is_refused():
    signed = sign_statement(AGREEMENT, OWNER, HOST)
    body, first, second = signed[:-128], signed[-128:-64], signed[-64:]
    for tail in (second + first, first + first, second + second):
        with pytest.raises(AuthenticationFault):
            open_statement(Agreement, body + tail, OWNER.public, HOST.public)
    with pytest.raises(AuthenticationFault):
        open_statement(Agreement, signed, HOST.public, OWNER.public)


def test_only_the_host_named_adds_the_second_signature():
    proposal = sign_statement(AGREEMENT, OWNER)
    with pytest.raises(LocalError):
        add_signature(proposal, Agreement, OTHER)
    with pytest.raises(LocalError):
        add_signature(sign_statement(AGREEMENT, OWNER, HOST), Agreement, HOST)


@pytest.mark.parametrize("keys", [(), (OWNER, HOST, HOST), (HOST,), (OWNER, OTHER), (HOST, OWNER)])
def test_signing_with_other_keys_than_those_named_is_refused(keys):
    with pytest.raises(LocalError):
        sign_statement(AGREEMENT, *keys)


def test_checking_with_another_number_of_keys_is_our_own_mistake():
    signed = sign_statement(AGREEMENT, OWNER, HOST)
    for publics in ((), (OWNER.public,), (OWNER.public, HOST.public, HOST.public)):
        with pytest.raises(LocalError):
            open_statement(Agreement, signed, *publics)
    for publics in ((), (OWNER.public, HOST.public)):
        with pytest.raises(LocalError):
            open_proposal(Agreement, signed, *publics)


# --- encoding
def test_unknown_version_is_refused_by_name():
    with pytest.raises(ProtocolViolation, match="version 2 of transport-binding"):
        open_statement(TransportBinding, change(v=2, news=1), HOST.public)


def test_a_later_version_is_told_apart_from_all_that_is_merely_wrong():
    assert is_newer(change(v=2, news=1))
    assert not is_newer(change())
    assert not is_newer(change(v=0))
    assert not any(is_newer(data) for data in (b"", b"\0\0\0\5", b"\0\0\0\1\x93", b"\xff" * 400))


def test_unknown_field_is_refused_by_name():
    names = {"kind": "transport-binding", **msgspec.structs.asdict(BINDING), "news": 1}
    with pytest.raises(ProtocolViolation, match="news"):
        open_statement(TransportBinding, sign_blob(msgspec.msgpack.encode(names), HOST), HOST.public)


def test_unknown_extension_is_kept():
    signed = change(ext={"org.example": b"\0\xff"})
    assert open_statement(TransportBinding, signed, HOST.public).ext == {"org.example": b"\0\xff"}


@pytest.mark.parametrize(
    "ext",
    [{"": b""}, {"x" * 65: b""}, {str(n): b"" for n in range(17)}, {"x": "text"}, {"x": 1}, [], "text"],
    ids=["no-name", "long-name", "many", "text", "number", "list", "no-map"],
)
def test_malformed_extensions_are_refused(ext):
    with pytest.raises(ProtocolViolation):
        open_statement(TransportBinding, change(ext=ext), HOST.public)


@pytest.mark.parametrize("name", ["kind", "peer", "transport", "addresses", "time_ms", "v", "ext"])
def test_missing_field_is_refused(name):
    with pytest.raises(ProtocolViolation):
        open_statement(TransportBinding, change(**{name: None}), HOST.public)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "head"},
        {"kind": 1},
        {"v": "1"},
        {"v": True},
        {"peer": bytes(31)},
        {"peer": bytes(33)},
        {"peer": "p" * 32},
        {"transport": b""},
        {"time_ms": -1},
        {"time_ms": 2**63},
        {"time_ms": 1.0},
        {"addresses": ["a"] * 5},
        {"addresses": [""]},
        {"addresses": ["a" * 65]},
        {"addresses": ["1.2.3.4:5\n"]},
        {"addresses": ["1.2.3.4 5"]},
        {"addresses": ["\x1b[31m"]},
        {"addresses": ["bücher:1"]},
        {"addresses": b"a"},
    ],
    ids=str,
)
def test_field_out_of_bounds_is_refused(fields):
    with pytest.raises(ProtocolViolation):
        open_statement(TransportBinding, change(**fields), HOST.public)


def blob_variants() -> dict[str, bytes]:
    blob = msgspec.msgpack.encode(BINDING)
    fields = {"kind": "transport-binding", **msgspec.structs.asdict(BINDING)}
    return {
        "other-order": msgspec.msgpack.encode(dict(reversed(fields.items()))),
        "long-integer": blob.replace(b"\xa7time_ms\x07", b"\xa7time_ms\xcc\x07"),
        "long-map": b"\xde\x00\x07" + blob[1:],
        "long-text": blob.replace(b"\xa1v", b"\xd9\x01v"),
        "long-bytes": blob.replace(b"\xa4peer\xc4\x20", b"\xa4peer\xc5\x00\x20"),
        "repeated-field": b"\x88" + blob[1:].replace(b"\xa1v", b"\xa7time_ms\x08\xa1v"),
        "repeated-extension": blob.replace(b"\xa3ext\x80", b"\xa3ext\x82\xa1x\xc4\x00\xa1x\xc4\x00"),
        "trailing": blob + b"\0",
        "second-map": blob + blob,
        "no-map": b"\xc0",
        "array": b"\x91" + blob,
        "huge-map": b"\xdf\xff\xff\xff\xff" + blob[1:],
        "huge-list": blob.replace(b"\x91\xae192", b"\xdd\xff\xff\xff\xff\xae192"),
        "deep": blob.replace(b"\x91\xae192", b"\x91" * 3000 + b"\xae192"),
        "deep-unknown": b"\x88" + blob[1:].replace(b"\xa1v", b"\xa1x" + b"\x91" * 3000 + b"\xc0\xa1v"),
        "bad-utf8-value": blob.replace(b"192", b"\xff92"),
        "bad-utf8-name": blob.replace(b"time_ms", b"time\xffms"),
        "bad-utf8-kind": blob.replace(b"binding", b"bin\xffing"),
        "reserved-byte": b"\xc1",
    }


@pytest.mark.parametrize("name", blob_variants())
def test_blob_that_is_not_the_one_encoding_is_refused_though_signed(name):
    blob = blob_variants()[name]
    assert blob != msgspec.msgpack.encode(BINDING)
    with pytest.raises(ProtocolViolation):
        open_statement(TransportBinding, sign_blob(blob, HOST), HOST.public)


def test_messages_about_made_up_names_are_short_and_printable():
    names = {"kind": "transport-binding", **msgspec.structs.asdict(BINDING), "\x1b[31m" + "x" * 2000: 1}
    with pytest.raises(ProtocolViolation) as caught:
        peek_statement(TransportBinding, sign_blob(msgspec.msgpack.encode(names), HOST))
    assert len(caught.value.message) < 200
    assert caught.value.message.isprintable()
    with pytest.raises(ProtocolViolation) as caught:
        peek_statement(TransportBinding, change(kind="\x1b[31m" + "x" * 2000))
    assert len(caught.value.message) < 200
    assert caught.value.message.isprintable()


def test_longest_statement_opens_and_a_longer_one_is_refused():
    room = STATEMENT_BYTES - len(msgspec.msgpack.encode(msgspec.structs.replace(BINDING, ext={"x": bytes(256)}))) + 256
    longest = msgspec.structs.replace(BINDING, ext={"x": bytes(room)})
    assert len(msgspec.msgpack.encode(longest)) == STATEMENT_BYTES
    assert open_statement(TransportBinding, sign_statement(longest, HOST), HOST.public) == longest
    longer = msgspec.structs.replace(BINDING, ext={"x": bytes(room + 1)})
    with pytest.raises(LocalError):
        sign_statement(longer, HOST)
    with pytest.raises(ProtocolViolation, match="4165"):
        open_statement(TransportBinding, sign_blob(msgspec.msgpack.encode(longer), HOST), HOST.public)
    with pytest.raises(ProtocolViolation):
        open_statement(TransportBinding, bytes(10**6), HOST.public)


@pytest.mark.parametrize("data", [b"", b"\0\0\0", b"\0\0\0\0", b"\0\0\0\5abc", b"\xff\xff\xff\xff"])
def test_hash_of_what_has_no_blob_is_refused(data):
    with pytest.raises(ProtocolViolation):
        statement_hash(data)


# --- chains
@pytest.mark.parametrize(("revision", "previous"), [(1, b"\1" * 32), (2, ZERO_HASH), (0, ZERO_HASH), (0, b"\1" * 32)])
def test_revision_that_does_not_fit_its_chain_is_refused(revision, previous):
    wrong = msgspec.structs.replace(AGREEMENT, revision=revision, previous=previous)
    with pytest.raises(LocalError):
        sign_statement(wrong, OWNER)
    forged = sign_blob(msgspec.msgpack.encode(wrong), OWNER, HOST, purpose=Purpose.AGREEMENT)
    with pytest.raises(ProtocolViolation):
        open_statement(Agreement, forged, OWNER.public, HOST.public)


def test_later_revision_names_the_one_before():
    first = sign_statement(AGREEMENT, OWNER, HOST)
    second = msgspec.structs.replace(AGREEMENT, revision=2, previous=statement_hash(first), size_bytes=1)
    assert open_statement(Agreement, sign_statement(second, OWNER, HOST), OWNER.public, HOST.public) == second
    assert statement_hash(sign_statement(second, OWNER)) != statement_hash(first)


@pytest.mark.parametrize("availability", [-1, 1001])
def test_availability_is_a_permille(availability):
    with pytest.raises(LocalError):
        sign_statement(msgspec.structs.replace(AGREEMENT, availability=availability), OWNER)


@given(
    size=st.integers(0, 2**63 - 1),
    revision=st.integers(2, 2**63 - 1),
    previous=st.binary(min_size=32, max_size=32).filter(any),
    agreement=st.binary(min_size=16, max_size=16),
    ext=st.dictionaries(st.text(min_size=1, max_size=64), st.binary(max_size=20), max_size=10),
)
def test_any_agreement_returns_as_it_was_signed(size, revision, previous, agreement, ext):
    statement = msgspec.structs.replace(
        AGREEMENT, size_bytes=size, revision=revision, previous=previous, agreement=agreement, ext=ext
    )
    signed = sign_statement(statement, OWNER, HOST)
    assert open_statement(Agreement, signed, OWNER.public, HOST.public) == statement
    for other in KINDS.values():
        if other is not Agreement:
            with pytest.raises(ProtocolViolation):
                peek_statement(other, signed)


def test_statements_do_not_change():
    with pytest.raises(AttributeError):
        BINDING.time_ms = 8
