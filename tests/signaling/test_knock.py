import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backuppeer import limits
from backuppeer.crypto.envelope import EnvelopeKey, seal_envelope
from backuppeer.crypto.identity import Purpose, SigningKey
from backuppeer.errors import AuthenticationFault, IntegrityFault, LocalError, PeerFault, ProtocolViolation
from backuppeer.signaling import knock as module
from backuppeer.signaling.container import sign_blob
from backuppeer.signaling.knock import (
    KnockReply,
    Verdict,
    open_knock,
    open_reply,
    read_header,
    seal_knock,
    seal_reply,
)
from backuppeer.signaling.listing import envelope_id
from signaling.kit import HOUR_MS, NOW_MS, Host, make_knock

HOST = Host()
OWNER = SigningKey.generate()
REPLY_INBOX = SigningKey.generate()
REPLY_KEY = EnvelopeKey.generate()


def knock(**changes):
    return make_knock(HOST, OWNER, REPLY_INBOX, REPLY_KEY, **changes)


def seal(value, **changes):
    return seal_knock(value, OWNER, envelope_key=HOST.envelope.public, **changes)


def opened(sealed, now_ms=NOW_MS):
    return open_knock(sealed, HOST.envelope, recipient=HOST.peer, now_ms=now_ms)


def force_seal(value, *, key=OWNER, purpose=Purpose.KNOCK, header=None, pad=b"\0"):
    """Seal what seal_knock would refuse, as a hostile owner does."""
    signed = sign_blob(msgspec.msgpack.encode(value), purpose, key=key, cap_bytes=module.PLAIN_BYTES)
    header = header or module._HEADER.pack(value.envelope_id[:8], value.listing_seq)
    plain = signed.ljust(module.PLAIN_BYTES, pad)
    return header + seal_envelope(HOST.envelope.public, plain, module._knock_info(HOST.peer, header))


def reply(verdict=Verdict.ACCEPTED, **changes):
    base = KnockReply(host=HOST.peer, owner=OWNER.public, nonce=b"n" * 16, verdict=verdict, issued_ms=NOW_MS)
    return msgspec.structs.replace(base, **changes)


def test_a_knock_opens_at_its_host_to_what_the_owner_said():
    value = knock()
    assert opened(seal(value)) == value


def test_knocks_of_any_content_have_one_size():
    full = knock(
        addresses=["x" * 64] * 4, servers=["wss://" + "s" * 250] * 2, size_bytes=1 << 60, lock_s=limits.LISTING_TERM_S
    )
    assert {len(seal(v)) for v in (knock(), full, knock(addresses=[], size_bytes=0))} == {limits.KNOCK_BYTES}
    assert opened(seal(full)) == full


def test_replies_of_every_verdict_have_the_size_of_a_knock():
    value = knock()
    replies = [
        reply(Verdict.ACCEPTED, nonce=value.nonce, binding=b"b" * limits.KNOCK_BINDING_BYTES, size_bytes=1 << 50),
        reply(Verdict.PENDING, nonce=value.nonce, message="a person must answer"),
        reply(Verdict.REJECTED, nonce=value.nonce, code="quota", message="x" * limits.KNOCK_TEXT_CHARS),
    ]
    sealed = [seal_reply(r, HOST.key, knock=value) for r in replies]
    assert {len(s) for s in sealed} == {limits.KNOCK_BYTES}
    assert [open_reply(s, REPLY_KEY, knock=value) for s in sealed] == replies


def test_the_clear_header_says_what_the_listing_says_anyway():
    header = read_header(seal(knock()))
    assert (header.envelope_id, header.number) == (envelope_id(HOST.envelope.public), NOW_MS)


def test_every_altered_region_of_a_knock_is_refused():
    sealed = seal(knock())
    for place in [*range(0, 1200, 97), *range(1200, len(sealed), 463), len(sealed) - 1]:
        with pytest.raises(PeerFault):
            opened(sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :])


def test_a_knock_for_another_host_is_refused_though_sealed_to_the_same_key():
    other = Host()
    sealed = seal(knock())
    with pytest.raises(IntegrityFault):
        open_knock(sealed, HOST.envelope, recipient=other.peer, now_ms=NOW_MS)


def test_a_host_cannot_pass_a_knock_on_in_the_owners_name():
    other = Host()
    value = knock()
    blob = msgspec.msgpack.encode(value)
    signed = sign_blob(blob, Purpose.KNOCK, key=OWNER, cap_bytes=module.PLAIN_BYTES)
    header = module._HEADER.pack(value.envelope_id, value.listing_seq)
    plain = signed.ljust(module.PLAIN_BYTES, b"\0")
    forwarded = header + seal_envelope(other.envelope.public, plain, module._knock_info(other.peer, header))
    with pytest.raises(ProtocolViolation, match="another host"):
        open_knock(forwarded, other.envelope, recipient=other.peer, now_ms=NOW_MS)


def test_a_knock_moved_to_another_listing_number_is_refused():
    value = knock()
    with pytest.raises(ProtocolViolation, match="another listing"):
        opened(force_seal(value, header=module._HEADER.pack(value.envelope_id, NOW_MS + 1)))


def test_a_knock_signed_by_another_is_refused():
    with pytest.raises(AuthenticationFault):
        opened(force_seal(knock(), key=SigningKey.generate()))
    with pytest.raises(AuthenticationFault):
        opened(force_seal(knock(), purpose=Purpose.KNOCK_REPLY))


def test_padding_that_is_not_zero_is_refused():
    with pytest.raises(ProtocolViolation, match="padding"):
        opened(force_seal(knock(), pad=b"\1"))


def test_an_expired_or_future_knock_is_refused():
    sealed = seal(knock())
    opened(sealed, NOW_MS + 3 * HOUR_MS - 1)
    with pytest.raises(ProtocolViolation, match="expired"):
        opened(sealed, NOW_MS + 3 * HOUR_MS)
    with pytest.raises(ProtocolViolation, match="future"):
        opened(sealed, NOW_MS - 2 * HOUR_MS - 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"recipient": b"x"},
        {"transport": b"x" * 31},
        {"reply_inbox": b""},
        {"reply_key": b"k" * 100},
        {"nonce": b"n" * 15},
        {"addresses": ["a:1"] * 5},
        {"addresses": ["a" * 65]},
        {"addresses": [""]},
        {"servers": ["wss://a.example"] * 3},
        {"servers": ["file:///etc/passwd"]},
        {"size_bytes": -1},
        {"size_bytes": (1 << 60) + 1},
        {"term_s": -1},
        {"lock_s": limits.LISTING_TERM_S + 1},
        {"expires_ms": NOW_MS + HOUR_MS + 1},
        {"expires_ms": NOW_MS},
        {"listing_seq": 0},
        {"v": 2},
    ],
)
def test_a_knock_outside_its_rules_is_refused_on_both_sides(changes):
    value = knock(**changes)
    if "v" not in changes:
        with pytest.raises(LocalError):
            seal(value)
    with pytest.raises(ProtocolViolation):
        opened(force_seal(value))


def test_a_knock_is_sealed_only_to_the_key_it_names_and_by_its_owner():
    with pytest.raises(LocalError):
        seal_knock(knock(), OWNER, envelope_key=REPLY_KEY.public)
    with pytest.raises(LocalError):
        seal_knock(knock(), SigningKey.generate(), envelope_key=HOST.envelope.public)


@pytest.mark.parametrize("length", [0, 15, 16, limits.KNOCK_BYTES - 1, limits.KNOCK_BYTES + 1])
def test_a_knock_of_another_length_is_refused(length):
    with pytest.raises(ProtocolViolation, match="bytes"):
        opened(b"x" * length)


def test_a_reply_to_another_knock_or_by_another_host_is_refused():
    mine, other = knock(), knock()
    sealed = seal_reply(reply(nonce=mine.nonce), HOST.key, knock=mine)
    with pytest.raises(IntegrityFault):
        open_reply(sealed, REPLY_KEY, knock=other)
    liar = SigningKey.generate()
    forged = sign_blob(
        msgspec.msgpack.encode(reply(nonce=mine.nonce)), Purpose.KNOCK_REPLY, key=liar, cap_bytes=module.PLAIN_BYTES
    )
    header = b"h" * 16
    plain = forged.ljust(module.PLAIN_BYTES, b"\0")
    with pytest.raises(AuthenticationFault):
        open_reply(
            header + seal_envelope(REPLY_KEY.public, plain, module._reply_info(mine, header)), REPLY_KEY, knock=mine
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"host": SigningKey.generate().public},
        {"nonce": b"m" * 16},
        {"owner": b"o" * 32},
        {"message": "x" * (limits.KNOCK_TEXT_CHARS + 1)},
        {"binding": b"x" * (limits.KNOCK_BINDING_BYTES + 1)},
        {"verdict": Verdict.REJECTED, "binding": b"where I am"},
        {"size_bytes": -1},
        {"issued_ms": -1},
    ],
)
def test_a_reply_outside_its_rules_is_not_sealed(changes):
    value = knock()
    with pytest.raises(LocalError):
        seal_reply(reply(**{"nonce": value.nonce, **changes}), HOST.key, knock=value)


def test_a_knock_with_text_that_is_not_utf8_is_a_violation_and_no_crash_of_the_host():
    value = knock(addresses=["10.0.0.1:4433"])
    blob = msgspec.msgpack.encode(value).replace(b"10.0.0.1:4433", b"10.0.0.1:44\xff\xfe")
    signed = sign_blob(blob, Purpose.KNOCK, key=OWNER, cap_bytes=module.PLAIN_BYTES)
    header = module._HEADER.pack(value.envelope_id, value.listing_seq)
    plain = signed.ljust(module.PLAIN_BYTES, b"\0")
    with pytest.raises(ProtocolViolation, match="can't be read"):
        opened(header + seal_envelope(HOST.envelope.public, plain, module._knock_info(HOST.peer, header)))


@settings(max_examples=50)
@given(st.binary(max_size=400))
def test_random_blobs_well_signed_and_well_sealed_never_open(data):
    header = module._HEADER.pack(envelope_id(HOST.envelope.public), NOW_MS)
    plain = sign_blob(data, Purpose.KNOCK, key=OWNER, cap_bytes=module.PLAIN_BYTES).ljust(module.PLAIN_BYTES, b"\0")
    with pytest.raises(PeerFault):
        opened(header + seal_envelope(HOST.envelope.public, plain, module._knock_info(HOST.peer, header)))
