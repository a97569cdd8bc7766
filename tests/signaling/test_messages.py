import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer import limits
from backuppeer.crypto.stamp import BITS_MOST, NO_WORK, STAMP_BYTES
from backuppeer.errors import ProtocolViolation
from backuppeer.signaling import messages
from backuppeer.signaling.messages import (
    NEXT_ROLE,
    OBSERVER_BYTES,
    AskRelay,
    Browse,
    Challenge,
    Deposit,
    Deposited,
    InboxOpen,
    Message,
    OpenInbox,
    Page,
    ProveInbox,
    Publish,
    Published,
    Refusal,
    RelayIs,
    Role,
    Taken,
    WorkWanted,
    decode_answer,
    decode_request,
    encode,
    inbox_proof_blob,
    next_role,
)

REQUESTS = [
    Publish(b"l" * limits.LISTING_BYTES),
    Publish(b"l" * limits.LISTING_BYTES, b"s" * STAMP_BYTES),
    Browse(b"", 1),
    Browse(b"c" * 64, limits.PAGE_LISTINGS),
    Deposit(b"i" * 32, b"s" * limits.KNOCK_BYTES),
    Deposit(b"i" * 32, b"s" * limits.KNOCK_BYTES, NO_WORK),
    OpenInbox(b"i" * 32),
    ProveInbox(b"p" * 64),
    Taken(7),
    AskRelay(b"t" * 32),
]
ANSWERS = [
    Published(accepted=True, code=""),
    Published(accepted=False, code=Refusal.STAMP, bits=16),
    Page([b"r" * limits.LISTING_BYTES] * limits.PAGE_LISTINGS, b"c" * 64, 9),
    Deposited(),
    WorkWanted(1, b"c" * 32),
    Challenge(b"n" * 32),
    InboxOpen(),
    Message(3, b"s" * limits.KNOCK_BYTES),
    RelayIs(),
    RelayIs(limits.RELAY_LIFE_MOST_S, [b"o" * OBSERVER_BYTES] * limits.OBSERVERS, "w" * limits.SERVER_URL_CHARS),
]


@pytest.mark.parametrize("request_", REQUESTS)
def test_a_request_comes_back_as_it_was(request_):
    data = encode(request_)
    assert len(data) <= limits.SIGNALING_CLIENT_FRAME_BYTES
    assert decode_request(data) == request_


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_comes_back_as_it_was_and_fits_the_frame(answer):
    data = encode(answer)
    assert len(data) <= limits.SIGNALING_FRAME_BYTES
    assert decode_answer(data) == answer


@pytest.mark.parametrize(
    "request_",
    [
        Publish(b"l" * (limits.LISTING_BYTES + 1)),
        Browse(b"c" * 65, 1),
        Browse(b"", 0),
        Browse(b"", limits.PAGE_LISTINGS + 1),
        Deposit(b"i" * 31, b"s" * limits.KNOCK_BYTES),
        Deposit(b"i" * 32, b"s" * limits.KNOCK_BYTES, NO_WORK + b"w"),
        Deposit(b"i" * 32, b"s" * (limits.KNOCK_BYTES - 1)),
        Deposit(b"i" * 32, b"s" * (limits.KNOCK_BYTES + 1)),
        OpenInbox(b""),
        ProveInbox(b"p" * 63),
        Taken(-1),
        Taken(1 << 63),
        AskRelay(b"t" * 31),
    ],
)
def test_a_request_beyond_its_cap_is_refused(request_):
    with pytest.raises(ProtocolViolation):
        decode_request(encode(request_))


@pytest.mark.parametrize(
    "answer",
    [
        Page([b""] * (limits.PAGE_LISTINGS + 1), b"", 0),
        Page([], b"c" * 65, 0),
        Challenge(b"n" * 31),
        WorkWanted(0, b"c" * 32),
        WorkWanted(BITS_MOST + 1, b"c" * 32),
        WorkWanted(1, b"c" * 31),
        Message(1, b"short"),
        Published(accepted=False, code="x" * (limits.KNOCK_TEXT_CHARS + 1)),
        RelayIs(-1),
        RelayIs(1, [], "w" * (limits.SERVER_URL_CHARS + 1)),
        RelayIs(limits.RELAY_LIFE_MOST_S + 1),
        RelayIs(1, [b"o" * OBSERVER_BYTES] * (limits.OBSERVERS + 1)),
        RelayIs(1, [b"o" * (OBSERVER_BYTES - 1)]),
    ],
)
def test_an_answer_beyond_its_cap_is_refused(answer):
    with pytest.raises(ProtocolViolation):
        decode_answer(encode(answer))


def test_a_frame_beyond_its_cap_is_refused_undecoded():
    with pytest.raises(ProtocolViolation, match="too long"):
        decode_request(encode(Taken(1)) + b"\0" * limits.SIGNALING_CLIENT_FRAME_BYTES)
    with pytest.raises(ProtocolViolation, match="too long"):
        decode_answer(b"\0" * (limits.SIGNALING_FRAME_BYTES + 1))


def test_text_is_refused():
    with pytest.raises(ProtocolViolation, match="text"):
        decode_request('{"t":"browse"}')


@given(st.binary(max_size=200))
def test_random_bytes_are_a_request_or_a_violation(data):
    try:
        decode_request(data)
    except ProtocolViolation:
        return
    assert decode_request(encode(decode_request(data))) == decode_request(data)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.binary(max_size=70) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)
TAGS = st.sampled_from(["publish", "browse", "deposit", "open-inbox", "prove-inbox", "taken", "page", "nonsense"])
FIELDS = st.sampled_from(["listing", "cursor", "limit", "inbox", "sealed", "signature", "number", "new"])


@given(TAGS, st.dictionaries(FIELDS, JUNK, max_size=5))
def test_well_tagged_junk_is_a_request_or_a_violation(tag, fields):
    data = messages._ENCODER.encode({"t": tag, **fields})
    try:
        request = decode_request(data)
    except ProtocolViolation:
        return
    assert isinstance(request, messages.Request)


def test_deep_nesting_is_a_violation_and_no_crash():
    with pytest.raises(ProtocolViolation):
        decode_request(b"\x91" * 8000 + b"\x90")


def test_text_that_is_not_utf8_is_a_violation_and_no_crash():
    data = encode(Published(accepted=False, code="XX")).replace(b"XX", b"\xff\xfe")
    with pytest.raises(ProtocolViolation, match="can't be read"):
        decode_answer(data)
    with pytest.raises(ProtocolViolation, match="can't be read"):
        decode_request(encode(Taken(1)).replace(b"taken", b"tak\xff\xfe"))


def test_unknown_fields_are_ignored_and_unknown_types_are_not():
    data = messages._ENCODER.encode({"t": "taken", "number": 1, "later": True})
    assert decode_request(data) == Taken(1)
    with pytest.raises(ProtocolViolation):
        decode_request(messages._ENCODER.encode({"t": "later", "number": 1}))


def test_the_answer_to_a_deposit_is_always_the_same_bytes():
    assert encode(Deposited()) == encode(Deposited())
    assert Deposited.__struct_fields__ == ()


def test_every_pair_outside_the_table_is_refused():
    for role in Role:
        for request in REQUESTS:
            if (role, type(request)) in NEXT_ROLE:
                assert next_role(role, request) is NEXT_ROLE[role, type(request)]
            else:
                with pytest.raises(ProtocolViolation):
                    next_role(role, request)


def test_no_socket_can_both_publish_and_do_anything_else():
    assert [pair for pair in NEXT_ROLE if pair[0] is Role.PUBLISHER] == [(Role.PUBLISHER, Publish)]
    assert [pair for pair in NEXT_ROLE if pair[0] is Role.SENDER] == [(Role.SENDER, Deposit)]
    assert [pair for pair in NEXT_ROLE if pair[0] is Role.VIEWER] == [(Role.VIEWER, Browse)]


def test_the_inbox_proof_differs_by_challenge_inbox_and_origin():
    blobs = {inbox_proof_blob(n * 32, o, i * 32) for n in (b"a", b"b") for o in ("x", "y:1") for i in (b"i", b"j")}
    assert len(blobs) == 8
