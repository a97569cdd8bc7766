import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer import limits
from backuppeer.crypto.identity import Purpose, SigningKey
from backuppeer.errors import AuthenticationFault, LocalError, PeerFault, ProtocolViolation
from backuppeer.signaling.container import sign_blob
from backuppeer.signaling.listing import (
    ListingKind,
    bucket_availability,
    bucket_bytes,
    is_region,
    name_servers,
    next_seq,
    open_listing,
    sign_listing,
)
from signaling.kit import HOUR_MS, NOW_MS, Host, flip_each

HOST = Host()


def force_sign(listing, key=HOST.key):
    """Sign what sign_listing would refuse, as a hostile peer does."""
    return sign_blob(msgspec.msgpack.encode(listing), Purpose.LISTING, key=key, cap_bytes=10**6)


def test_a_signed_listing_opens_to_what_was_signed():
    row = open_listing(HOST.signed(), NOW_MS)
    assert row.listing == HOST.listing()
    assert row.peer == HOST.peer
    assert row.signed == HOST.signed()


def test_every_altered_byte_is_refused():
    for altered in flip_each(HOST.signed(), 7):
        with pytest.raises(PeerFault):
            open_listing(altered, NOW_MS)


def test_a_listing_signed_by_another_key_is_refused():
    with pytest.raises(AuthenticationFault):
        open_listing(force_sign(HOST.listing(), SigningKey.generate()), NOW_MS)
    with pytest.raises(LocalError):
        sign_listing(HOST.listing(), SigningKey.generate())


def test_a_signature_for_another_purpose_is_refused():
    signed = sign_blob(msgspec.msgpack.encode(HOST.listing()), Purpose.KNOCK, key=HOST.key, cap_bytes=10**6)
    with pytest.raises(AuthenticationFault):
        open_listing(signed, NOW_MS)


def test_a_listing_with_text_that_is_not_utf8_is_a_violation_and_no_crash_of_the_viewer():
    blob = msgspec.msgpack.encode(HOST.listing(region="EU")).replace(b"\xa2EU", b"\xa2\xff\xfe")
    with pytest.raises(ProtocolViolation, match="can't be read"):
        open_listing(sign_blob(blob, Purpose.LISTING, key=HOST.key, cap_bytes=10**6), NOW_MS)


@pytest.mark.parametrize("cut", [0, 3, 67, 100, 1000, -1])
def test_a_cut_listing_is_refused(cut):
    with pytest.raises(ProtocolViolation):
        open_listing(HOST.signed()[:cut], NOW_MS)


def test_bytes_after_the_signature_are_refused():
    with pytest.raises(ProtocolViolation, match="after its signature"):
        open_listing(HOST.signed() + b"\0", NOW_MS)


def test_expiry_is_checked_with_two_hours_of_skew():
    signed = HOST.signed()
    expires_ms = NOW_MS + 2 * HOUR_MS
    open_listing(signed, expires_ms + 2 * HOUR_MS - 1)
    with pytest.raises(ProtocolViolation, match="expired"):
        open_listing(signed, expires_ms + 2 * HOUR_MS)


def test_a_listing_from_the_future_is_refused_beyond_two_hours_of_skew():
    signed = HOST.signed()
    open_listing(signed, NOW_MS - 2 * HOUR_MS)
    with pytest.raises(ProtocolViolation, match="future"):
        open_listing(signed, NOW_MS - 2 * HOUR_MS - 1)


def test_a_number_beyond_48_hours_is_refused():
    open_listing(HOST.signed(NOW_MS + 48 * HOUR_MS), NOW_MS)
    with pytest.raises(ProtocolViolation, match="number"):
        open_listing(HOST.signed(NOW_MS + 48 * HOUR_MS + 1), NOW_MS)


@pytest.mark.parametrize(
    "changes",
    [
        {"storage_bytes": 3 << 30},
        {"storage_bytes": 0},
        {"storage_bytes": -1},
        {"storage_bytes": 1 << 61},
        {"free_bytes": 1 << 36},
        {"free_bytes": 5},
        {"free_bytes": -4},
        {"availability": 949},
        {"availability": 1050},
        {"availability": -50},
        {"region": "eu"},
        {"region": "E"},
        {"region": "EU\n"},
        {"region": "Berlin, Main Street 5"},
        {"term_s": -1},
        {"lock_s": limits.LISTING_TERM_S + 1},
        {"inbox": b"short"},
        {"envelope_key": b"short"},
        {"envelope_id": b"otherkey"},
        {"servers": ["http://a.example"]},
        {"servers": ["wss://a.example"] * 5},
        {"servers": ["wss://" + "a" * 251]},
        {"expires_ms": NOW_MS + 2 * HOUR_MS + 1},
        {"expires_ms": NOW_MS},
        {"seq": 0},
        {"seq": -1},
        {"peer": b"x"},
        {"v": 2},
        {"kind": ListingKind.TOMBSTONE},
        {"ext": {"a": b"x" * 600}},
    ],
)
def test_a_listing_outside_its_rules_is_refused_on_both_sides(changes):
    listing = HOST.listing(**changes)
    if changes != {"v": 2}:
        with pytest.raises(LocalError):
            sign_listing(listing, HOST.key)
    with pytest.raises(PeerFault):
        open_listing(force_sign(listing), NOW_MS)


def test_an_unknown_field_is_refused_and_ext_is_not():
    raw = msgspec.msgpack.decode(msgspec.msgpack.encode(HOST.listing()))
    with pytest.raises(ProtocolViolation, match="reputation"):
        open_listing(force_sign({**raw, "reputation": 99}), NOW_MS)
    assert open_listing(force_sign({**raw, "ext": {"later": b"1"}}), NOW_MS).listing.ext == {"later": b"1"}


def test_a_newer_version_is_refused_by_name():
    raw = msgspec.msgpack.decode(msgspec.msgpack.encode(HOST.listing()))
    with pytest.raises(ProtocolViolation, match="version 2"):
        open_listing(force_sign({**raw, "v": 2, "new": 1}), NOW_MS)


def test_a_tombstone_opens_and_offers_nothing():
    row = open_listing(HOST.tombstone(NOW_MS + 1), NOW_MS)
    assert row.listing.kind is ListingKind.TOMBSTONE
    assert row.listing.storage_bytes == 0


def test_a_listing_of_two_kibibytes_is_the_longest():
    room = limits.LISTING_BYTES - len(HOST.signed(ext={"a": b"x" * 300})) + 300
    assert len(HOST.signed(ext={"a": b"x" * room})) == limits.LISTING_BYTES
    with pytest.raises(LocalError, match="bytes, at most"):
        HOST.signed(ext={"a": b"x" * (room + 1)})


def test_as_many_servers_are_named_as_fit():
    few = name_servers(HOST.listing(), ["wss://a.example", "wss://b.example"])
    assert few.servers == ["wss://a.example", "wss://b.example"]
    long = ["wss://" + "a" * 240 + ".example"] * 4
    named = name_servers(HOST.listing(), long)
    assert len(named.servers) == 1
    open_listing(sign_listing(named, HOST.key), NOW_MS)


def test_the_next_number_is_the_time_or_one_more_than_the_last():
    assert next_seq(0, NOW_MS) == NOW_MS
    assert next_seq(NOW_MS, NOW_MS) == NOW_MS + 1
    assert next_seq(NOW_MS + 5, NOW_MS) == NOW_MS + 6


@given(st.integers(0, 1 << 60))
def test_a_size_bucket_is_the_power_of_two_below(size):
    bucket = bucket_bytes(size)
    assert bucket == 0 if size == 0 else bucket <= size < 2 * bucket
    assert bucket & (bucket - 1) == 0


def test_a_region_is_coarse():
    assert all(is_region(text) for text in ("", "EU", "USA", "US-W", "DE-1"))
    assert not any(is_region(text) for text in ("eu", "E", "EURO", "US-", "US-WEST", "EU ", "EU\n"))


@given(st.integers(-5, 2000))
def test_an_availability_bucket_is_a_multiple_of_fifty(permille):
    bucket = bucket_availability(permille)
    assert bucket % 50 == 0
    assert 0 <= bucket <= 1000


@given(st.binary(max_size=300))
def test_random_bytes_never_open(data):
    with pytest.raises(PeerFault):
        open_listing(data, NOW_MS)


@given(st.binary(max_size=300))
def test_random_bytes_well_signed_never_open(data):
    with pytest.raises(PeerFault):
        open_listing(sign_blob(data, Purpose.LISTING, key=HOST.key, cap_bytes=10**6), NOW_MS)
