"""A signature that was verified is not verified again; one byte changed, and it is."""

import asyncio

import pytest

from backuppeer import limits
from backuppeer.crypto.identity import verify_signature
from backuppeer.errors import AuthenticationFault, PeerFault, ProtocolViolation
from backuppeer.signaling import listing
from backuppeer.signaling.browse import Browsing
from backuppeer.signaling.listing import open_listing
from backuppeer.signaling.merge import SeqMemory
from backuppeer.signaling.messages import Page
from backuppeer.signaling.verified import Verified
from signaling.kit import HOUR_MS, NOW_MS, Host, TurnedClock, flip_each


@pytest.fixture
def checked(monkeypatch):
    """What is verified, as it happens."""
    seen = []

    def verify(peer, purpose, blob, signature):
        seen.append(bytes(peer))
        verify_signature(peer, purpose, blob, signature)

    monkeypatch.setattr(listing, "verify_signature", verify)
    return seen


def browse(memory, rows, monkeypatch):
    async def pages(_url, *, limit):
        yield Page(rows[:limit], b"", len(rows))

    monkeypatch.setattr("backuppeer.signaling.browse.browse_server", pages)

    async def story():
        browsing = Browsing(memory, TurnedClock(), limit=len(rows), on_rows=None)
        return await browsing.run(["ws://a"], spawn=asyncio.create_task, is_patient=True)

    return asyncio.run(story())


def test_a_second_browse_verifies_what_is_new_alone(checked, monkeypatch):
    memory, old, new = SeqMemory(), [Host() for _ in range(3)], Host()
    first = browse(memory, [host.signed() for host in old], monkeypatch)
    assert sorted(checked) == sorted(host.peer for host in old)
    checked.clear()
    again = browse(memory, [row.signed for row in first.listings] + [new.signed()], monkeypatch)
    assert checked == [new.peer]
    assert {row.peer for row in again.listings} == {host.peer for host in [*old, new]}


def test_every_changed_byte_is_verified_anew_and_refused(checked):
    verified, signed = Verified(), Host().signed()
    open_listing(signed, NOW_MS, verified)
    for changed in flip_each(signed, 7):
        with pytest.raises(PeerFault):
            open_listing(changed, NOW_MS, verified)
    assert len(verified) == 1
    checked.clear()
    assert open_listing(signed, NOW_MS, verified).signed == signed
    assert checked == []


def test_what_failed_is_not_remembered_as_verified(checked):
    verified, signed = Verified(), bytearray(Host().signed())
    signed[-1] ^= 1
    for _ in range(2):
        with pytest.raises(AuthenticationFault):
            open_listing(bytes(signed), NOW_MS, verified)
    assert len(checked) == 2
    assert len(verified) == 0


def test_a_listing_that_was_verified_is_over_all_the_same_when_its_time_is():
    verified, signed = Verified(), Host().signed()
    open_listing(signed, NOW_MS, verified)
    with pytest.raises(ProtocolViolation, match="expired"):
        open_listing(signed, NOW_MS + 5 * HOUR_MS, verified)


def test_those_met_least_recently_are_forgotten_at_the_bound():
    verified = Verified()
    for number in range(limits.VERIFIED_LISTINGS):
        verified.put(number.to_bytes(32, "big"))
    assert verified.has(bytes(32))
    verified.put(b"x" * 32)
    assert len(verified) == limits.VERIFIED_LISTINGS
    assert verified.has(bytes(32)), "met just now"
    assert not verified.has((1).to_bytes(32, "big"))
