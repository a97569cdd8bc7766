"""A card: a slot shown to those alone who were invited, as a note among notes."""

import os

import msgspec
import pytest

from backuppeer.crypto.identity import Purpose, SigningKey
from backuppeer.crypto.invitation import derive_invitation
from backuppeer.errors import AuthenticationFault, IntegrityFault, LocalError, ProtocolViolation
from backuppeer.limits import CARD_LIFE_S, CLOCK_SKEW_S, LISTING_BYTES, NOTE_BYTES
from backuppeer.signaling.card import open_card, read_gift, seal_card, write_gift
from backuppeer.signaling.container import sign_blob
from backuppeer.signaling.listing import make_tombstone, open_listing
from signaling.kit import NOW_MS, Host

HOST, OTHER = Host(), Host()
KEYS = derive_invitation(b"s" * 16, HOST.peer)
INBOX = KEYS.inbox("one.example").public
DAY_MS = CARD_LIFE_S * 1000


def slot(host=HOST, **changes):
    return host.listing(**{"expires_ms": NOW_MS + DAY_MS, "ext": write_gift(5 * 10**9), **changes})


def seal(listing=None, host=HOST, inbox=INBOX):
    return seal_card(listing or slot(host), host.key, key=KEYS.opener().public, inbox=inbox)


def read(sealed, *, inbox=INBOX, now_ms=NOW_MS):
    return open_card(sealed, KEYS.opener(), inbox=inbox, host=HOST.peer, now_ms=now_ms)


def test_a_card_says_what_the_slot_is_and_what_its_invite_gives():
    sealed = seal()
    assert len(sealed) == NOTE_BYTES
    found = read(sealed)
    assert (found.peer, found.listing) == (HOST.peer, slot())
    assert read_gift(found.listing) == 5 * 10**9
    assert read_gift(slot(ext={})) == 0


def test_nothing_in_it_is_readable_without_the_invite():
    sealed = seal()
    assert HOST.peer not in sealed
    assert slot().inbox not in sealed
    with pytest.raises(IntegrityFault):
        open_card(sealed, derive_invitation(b"t" * 16, HOST.peer).opener(), inbox=INBOX, host=HOST.peer, now_ms=NOW_MS)


def test_where_nothing_lies_there_is_no_card():
    with pytest.raises(IntegrityFault):
        read(os.urandom(NOTE_BYTES))
    with pytest.raises(ProtocolViolation, match="7168 bytes"):
        read(seal()[:-1])


def test_it_can_not_be_moved_to_another_inbox():
    with pytest.raises(IntegrityFault):
        read(seal(), inbox=KEYS.inbox("two.example").public)


def test_another_peer_in_its_place_is_an_alarm():
    with pytest.raises(AuthenticationFault, match="another peer"):
        read(seal(host=OTHER))


def test_what_bears_the_hosts_name_and_not_its_signature_is_an_alarm(monkeypatch):
    blob = msgspec.msgpack.encode(slot())
    forged = sign_blob(blob, Purpose.INVITE_CARD, key=OTHER.key, cap_bytes=LISTING_BYTES)
    monkeypatch.setattr("backuppeer.signaling.card.sign_blob", lambda *_, **__: forged)
    with pytest.raises(AuthenticationFault):
        read(seal())


def test_junk_sealed_by_a_bearer_is_an_alarm(monkeypatch):
    monkeypatch.setattr("backuppeer.signaling.card.sign_blob", lambda *_, **__: b"\0\0\0\1x" + bytes(64))
    with pytest.raises(AuthenticationFault, match="not written by its host"):
        read(seal())


def test_no_server_takes_it_for_a_listing_nor_a_listing_for_it(monkeypatch):
    found = read(seal())
    with pytest.raises(ProtocolViolation):
        open_listing(found.signed, NOW_MS)  # lives too long
    short = read(seal(slot(expires_ms=NOW_MS + 1000)))
    with pytest.raises(AuthenticationFault):
        open_listing(short.signed, NOW_MS)
    monkeypatch.setattr("backuppeer.signaling.card.sign_blob", lambda *_, **__: HOST.signed())
    with pytest.raises(AuthenticationFault):
        read(seal())


def test_it_counts_for_a_day_and_the_skew_of_two_clocks():
    over_ms = NOW_MS + DAY_MS + CLOCK_SKEW_S * 1000
    assert read(seal(), now_ms=over_ms - 1).peer == HOST.peer
    with pytest.raises(ProtocolViolation, match="expired"):
        read(seal(), now_ms=over_ms)
    with pytest.raises(LocalError, match="lives at most 24 hours"):
        seal(slot(expires_ms=NOW_MS + DAY_MS + 1))


def test_a_tombstone_and_a_foreign_key_sign_none():
    with pytest.raises(LocalError, match="shows no slot"):
        seal(make_tombstone(HOST.peer, 1, now_ms=NOW_MS))
    with pytest.raises(LocalError, match="signed by the host"):
        seal_card(slot(), SigningKey.generate(), key=KEYS.opener().public, inbox=INBOX)
